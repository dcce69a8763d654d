# pyright: reportAttributeAccessIssue=false
"""Entries of unlike size in one search: the same search as in the entries' own units."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from discovery.core.config.evolution import ESConfig
from discovery.core.errors import BadInput
from discovery.meta.base import ScoreResult
from discovery.meta.make import make_meta
from tests.meta.conftest import config_of

STRATEGIES = ("Open_ES", "PBE")


def init(key):
    return {"drift": jnp.ones(3), "optimizer": {"w": jnp.full((2,), 0.5)}}


def in_units(key):
    """The same beginning, where the optimizer's numbers are counted in eighths."""
    return {"drift": jnp.ones(3), "optimizer": {"w": jnp.full((2,), 4.0)}}


def score(meta_params, unit) -> float:
    drift, optimizer = np.asarray(meta_params["drift"]), np.asarray(meta_params["optimizer"]["w"]) * unit
    return -float(np.square(drift - 3.0).sum() + 100 * np.square(optimizer - 0.25).sum())


def means(meta, unit):
    """Means over a few generations, the optimizer's numbers in plain units, and the last requests."""
    state = meta.init(jax.random.key(0))
    found = [meta.answer(state).meta_params]
    for generation in range(3):
        requests, state = meta.ask(jax.random.key(generation), state)
        scores = {r.id: {"task": np.array([score(r.proposal.meta_params, unit)])} for r in requests}
        state = meta.tell(state, {name: ScoreResult(name, each) for name, each in scores.items()})
        found.append(meta.answer(state).meta_params)
    flat = [np.concatenate([np.ravel(m["drift"]), np.ravel(m["optimizer"]["w"]) * unit]) for m in found]
    return np.stack(flat), requests


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_scaled_entry_is_searched_in_its_own_units(strategy):
    """With a factor that is a power of 2, bit for bit."""
    scaled = make_meta(config_of(strategy, population=8, scales={"optimizer": 0.125}), init)
    plain = make_meta(config_of(strategy, population=8), in_units)
    found, requests = means(scaled, 1.0)
    expected, in_eighths = means(plain, 0.125)
    np.testing.assert_array_equal(found, expected)
    assert np.ptp(found, axis=0).min() > 0
    for one, other in zip(requests, in_eighths, strict=True):
        np.testing.assert_array_equal(
            one.proposal.meta_params["optimizer"]["w"],
            0.125 * np.asarray(other.proposal.meta_params["optimizer"]["w"]),
        )


def test_an_entry_that_is_not_searched_has_no_scale():
    with pytest.raises(BadInput, match="'optimiser'"):
        make_meta(ESConfig(population=8, scales={"optimiser": 0.1}), init)
    for wrong in (0.0, -1.0, float("nan")):
        with pytest.raises(BadInput, match="drift="):
            ESConfig(scales={"drift": wrong})
