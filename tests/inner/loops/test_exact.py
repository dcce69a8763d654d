"""Exact training: the same as policy mirror descent by itself, and what does not go with it."""

from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from discovery.core.jobs import AlgorithmSpec
from discovery.core.suites import fingerprint
from discovery.inner.compile import run_chunk
from discovery.inner.loops import exact
from discovery.judging.evaluate import _fingerprint
from discovery.results.subjects import Subject
from environments import Setup, Task
from objectives import build
from objectives.mirror_map.algorithm import POTENTIALS
from objectives.mirror_map.learned_potential import monotone
from tests.objectives.maps import mirror_descent

ONES: dict[str, Any] = {"n_envs": 1, "n_steps": 1, "n_epochs": 1, "n_minibatches": 1}
SETUP = Setup("grid/small", exact=True, curve_points=6, **ONES)
TASK = Task("exact", SETUP, 6, {"eta": 0.5, "gamma": 0.9}, score="auc")
LEARNED = AlgorithmSpec("ampo", (("anchored", False), ("temporal", True), ("units", 6)))
KEYS = np.array([[0, 1], [0, 2], [0, 3], [0, 4]], np.uint32)  # four levels
WHOLE = np.full(len(KEYS), 6, np.int32)  # steps of a whole life


def run(meta_params, **stretch):
    stacked = jax.tree.map(lambda x: np.stack([x] * len(KEYS)), meta_params)
    return run_chunk(LEARNED, TASK, stacked, KEYS, WHOLE, **stretch)


def process_of(key):
    environment, _ = exact.parts(build("ampo"), SETUP)
    assert environment.process is not None
    return environment.process(environment.sample_level(jax.random.wrap_key_data(jnp.asarray(key))))


@pytest.fixture(scope="module")
def learned():
    """A learned map whose numbers change over a life, the same one at rest, and its trainings."""
    meta_params = jax.tree.map(np.asarray, build("ampo", dict(LEARNED.options)).init(jax.random.key(1)))
    still = {"potential": dict(meta_params["potential"])}
    meta_params["potential"]["change"] = jax.tree.map(lambda x: x + 0.5, meta_params["potential"]["change"])
    return meta_params, still, run(still, until=WHOLE)[0]


def test_a_training_at_rest_is_policy_mirror_descent_on_the_level_of_its_key(learned):
    _, still, outcome = learned

    @jax.jit
    def descend(key, numbers):
        p, weights = process_of(key), monotone(numbers, anchored=False)
        policy, values = mirror_descent(POTENTIALS["learned"], weights, p.transition, p.reward, 0.9, 0.5, 6)
        return jax.scipy.special.entr(policy).sum(-1).mean(), values[:, p.start]

    gains = []
    for lane, key in enumerate(KEYS):
        entropy, values = descend(key, still["potential"]["start"])
        np.testing.assert_allclose(outcome.curve[lane], values[1:], rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(outcome.score[lane], values[1:].mean(), rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(outcome.metrics["entropy"][lane, -1], entropy, rtol=1e-3)
        gains.append(float(values[-1] - values[0]))
    assert gains[0] > 1e-2, "it learns"
    assert (np.diff(outcome.curve, axis=1) > -1e-4).all(), "no step lowers the value"
    assert np.ptp(outcome.curve[:, -1]) > 1e-2, "levels differ"
    assert (outcome.metrics["kl"][:, 0] > 0).all()
    np.testing.assert_array_equal(outcome.episodes, 1.0)


def test_splitting_a_temporal_training_changes_no_bit(learned):
    meta_params, _, fixed = learned
    whole, _, _ = run(meta_params, until=WHOLE)
    part, state, _ = run(meta_params, until=np.full_like(WHOLE, 2))
    rest, _, _ = run(meta_params, until=WHOLE, checkpoint=state)
    np.testing.assert_array_equal(rest.curve, whole.curve)
    np.testing.assert_array_equal(part.curve[:, :2], whole.curve[:, :2])
    np.testing.assert_array_equal(fixed.curve[:, 0], whole.curve[:, 0])  # n/N = 0
    assert (fixed.curve[:, 2] != whole.curve[:, 2]).any(), "the map changes with n/N"


def test_what_does_not_go_with_it_is_refused():
    with pytest.raises(ValueError, match="'ppo'"):
        exact.check(build("ppo"), SETUP)
    for environment, options in (("CartPole-v1", {}), ("grid/small", {"random_places": True})):
        setup = replace(SETUP, environment=environment, options=options)
        with pytest.raises(ValueError, match="has none"):
            exact.check(build("ampo"), setup)
    with pytest.raises(ValueError, match="n_envs must be 1, got 8"):
        Setup("grid/small", exact=True)
    with pytest.raises(ValueError, match="hidden"):
        Setup("grid/small", exact=True, hidden=(8,), **ONES)


def test_setups_that_are_not_exact_keep_their_fingerprints():
    """Returns that were measured before there was exact training are found again."""
    task = Task("classic", Setup("CartPole-v1"))
    assert fingerprint(task) == "f61bdc23ee94"
    subject = Subject("ampo", AlgorithmSpec("ampo", (("map", "l2"),)))
    rollouts = Task("exact", Setup("grid/small", curve_points=6, **ONES), 6, TASK.numbers, score="auc")
    assert _fingerprint(subject, TASK) != _fingerprint(subject, rollouts)
