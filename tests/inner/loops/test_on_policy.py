"""One training: resumable to the bit, independent of its neighbors, of fixed size, honest when it breaks."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from discovery.inner.loops import train as train_one
from discovery.inner.loops.on_policy import advance, complete, init
from environments.task import Setup
from tests.inner.states import (
    CATCH,
    PPO,
    PRODUCTION,
    assert_same_bits,
    assert_splitting_changes_no_bit,
    numbers,
)

WIDTH = 3
PENDULUM = Setup("Pendulum-v1", 4, 8, 1, 1, (16,), "relu", shared_torso=True, curve_points=5)
quick_train = jax.jit(train_one, static_argnums=(0, 1))


@functools.partial(jax.jit, compiler_options=PRODUCTION)
@jax.vmap
def born(learning_rate, key, lifetime):
    """Newborn agents of PPO in lanes."""
    return init(PPO, CATCH, {**numbers(), "learning_rate": learning_rate}, key, lifetime)


@functools.partial(jax.jit, compiler_options=PRODUCTION)
@jax.vmap
def lived(learning_rate, state, n_updates):
    """The same after some updates, and their metrics."""
    return advance(PPO, CATCH, {**numbers(), "learning_rate": learning_rate}, state, n_updates)


def live(learning_rates, seeds, lifetimes):
    """Whole lives in chunks of one width; a list of states."""
    rates, lifetimes = jnp.asarray(learning_rates, jnp.float32), jnp.asarray(lifetimes, jnp.int32)
    keys = jnp.stack([jax.random.key(seed) for seed in seeds])
    states, _ = lived(rates, born(rates, keys, lifetimes), lifetimes)
    return [jax.tree.map(lambda x, i=i: x[i], states) for i in range(WIDTH)]


def in_lanes(program, learning_rate, *given):
    """What a program does in the first of equal lanes."""
    equal = jax.tree.map(lambda x: jnp.stack([x] * WIDTH), (learning_rate, *given))
    return jax.tree.map(lambda x: x[0], program(*equal))


def begin(algorithm, setup, meta_params, key, lifetime):
    return in_lanes(born, meta_params["learning_rate"], key, jnp.int32(lifetime))


def go(algorithm, setup, meta_params, state, n_updates):
    return in_lanes(lived, meta_params["learning_rate"], state, jnp.int32(n_updates))


def test_splitting_a_training_changes_no_bit():
    assert_splitting_changes_no_bit(PPO, numbers(), begin, go)


def test_the_same_key_gives_the_same_training_and_another_another():
    def trained(seed):
        return go(PPO, CATCH, numbers(), begin(PPO, CATCH, numbers(), jax.random.key(seed), 9), 3)[0]

    one, again, other = trained(0), trained(0), trained(1)
    assert_same_bits(one, again)
    kernels = [state.params["actor"]["logits"]["kernel"] for state in (one, other)]
    assert not np.array_equal(*kernels)
    assert not np.array_equal(one.environments.observation, other.environments.observation)


def test_metrics_and_record_agree():
    state = begin(PPO, CATCH, numbers(), jax.random.key(0), 10)
    state, total = go(PPO, CATCH, numbers(), state, 10)
    sums = jax.tree.map(jnp.sum, state.record.windows)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), sums, total)
    # Catch ends after 9 steps: 80 steps make 8 episodes in each of 4 instances.
    assert float(total.episodes) == 32 and float(total.episode_length) == 9 * 32
    assert -32 <= float(total.episode_return) <= 32


def test_complete_prefers_the_search_to_the_task_to_the_defaults():
    got = complete(PPO, {"gamma": 0.5, "clip": 0.3}, {"clip": jnp.float32(0.4)})
    assert [float(got[name]) for name in ("gamma", "clip", "gae_lambda")] == pytest.approx([0.5, 0.4, 0.95])
    assert all(x.dtype == jnp.float32 for x in got.values())


def test_a_lane_does_not_see_its_neighbors():
    """Bitwise, at equal width: other seeds, learning rates, lifetimes and places beside it; one diverges."""
    here = live([3e-3, 1e-3, 1e-2], [7, 1, 2], [12, 5, 30])
    there = live([1e-2, 1e30, 3e-3], [3, 4, 7], [7, 3, 12])
    assert_same_bits(here[0], there[2])
    assert [int(state.record.nonfinite_update) for state in there] == [-1, 0, -1]


def test_a_short_life_in_a_chunk_ends_as_it_would_among_its_like():
    """N = 10 beside N = 25 and padding, against ten updates beside its equals: not one more."""
    padded = live([3e-3] * 3, [5, 6, 5], [10, 25, 0])
    together = live([3e-3] * 3, [5, 5, 5], [10, 10, 10])
    assert_same_bits(padded[0], together[1])
    assert int(padded[0].update) == 10 and int(padded[1].update) == 25 and int(padded[2].update) == 0
    state = begin(PPO, CATCH, numbers(), jax.random.key(5), 0)
    assert_same_bits(padded[2], state)  # a life of no updates


def test_training_improves():
    states = live([1e-2] * 3, [0, 1, 2], [300] * 3)
    for state in states:
        curve = state.record.windows.means()["episode_return"]
        assert float(curve[0]) < 0.0 and float(curve[-1]) > 0.5


def test_parameters_broken_by_the_very_last_step_are_noticed():
    """A life of one update of one step, whose loss and gradient were still fine."""
    broken = numbers() | {"learning_rate": jnp.float32(jnp.nan)}
    outcome = quick_train(PPO, PENDULUM, broken, jax.random.key(0), 1)
    assert int(outcome.nonfinite_step) == 0 and np.isfinite(outcome.metrics["grad_norm"][-1])


def test_continuous_actions_on_a_shared_torso_train():
    """A life too short for any Pendulum episode has no score."""
    outcome = quick_train(PPO, PENDULUM, numbers(), jax.random.key(0), 12)
    assert int(outcome.nonfinite_step) == -1
    assert np.isfinite(outcome.metrics["entropy"]).all() and np.isfinite(outcome.metrics["grad_norm"]).all()
    assert np.isnan(outcome.final)
