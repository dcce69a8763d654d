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


def plain(meta_params, unit) -> np.ndarray:
    """``[5]``: the optimizer's numbers last, in plain units."""
    return np.concatenate([meta_params["drift"], unit * np.asarray(meta_params["optimizer"]["w"])])


def score(meta_params, unit) -> float:
    x = plain(meta_params, unit)
    return -float(np.square(x[:3] - 3.0).sum() + 100 * np.square(x[3:] - 0.25).sum())


def init(key, unit=1.0):
    """The optimizer's numbers are counted in units."""
    return {"drift": jnp.ones(3), "optimizer": {"w": jnp.full((2,), 0.5 / unit)}}


def means(meta, unit):
    """Means over a few generations, the optimizer's numbers in plain units, and the last requests."""
    state = meta.init(jax.random.key(0))
    found = [meta.answer(state).meta_params]
    for generation in range(3):
        requests, state = meta.ask(jax.random.key(generation), state)
        scores = {r.id: {"task": np.array([score(r.proposal.meta_params, unit)])} for r in requests}
        state = meta.tell(state, {name: ScoreResult(name, each) for name, each in scores.items()})
        found.append(meta.answer(state).meta_params)
    return np.stack([plain(meta_params, unit) for meta_params in found]), requests


@pytest.mark.parametrize("strategy", ["Open_ES", "PBE"])
def test_a_scaled_entry_is_searched_in_its_own_units(strategy):
    """With a factor that is a power of 2, bit for bit."""
    scaled = make_meta(config_of(strategy, population=8, scales={"optimizer": 0.125}), init)
    in_units = make_meta(config_of(strategy, population=8), lambda key: init(key, 0.125))
    found, requests = means(scaled, 1.0)
    expected, in_eighths = means(in_units, 0.125)
    np.testing.assert_array_equal(found, expected)
    assert np.ptp(found, axis=0).min() > 0
    for one, other in zip(requests, in_eighths, strict=True):
        ours, theirs = plain(one.proposal.meta_params, 1.0), plain(other.proposal.meta_params, 0.125)
        np.testing.assert_array_equal(ours, theirs)


def test_an_entry_that_is_not_searched_has_no_scale():
    with pytest.raises(BadInput, match="'optimiser'"):
        make_meta(ESConfig(population=8, scales={"optimiser": 0.1}), init)
    for wrong in (0.0, -1.0, float("nan")):
        with pytest.raises(BadInput, match="drift="):
            ESConfig(scales={"drift": wrong})
