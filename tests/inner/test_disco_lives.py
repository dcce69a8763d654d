"""Agents that learn as DiscoRL's meta-network says: whole lives, target networks, derivatives of lives."""

import functools
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from discovery.inner.loops import train
from discovery.inner.loops.on_policy import advance, complete, init, parts
from discovery.inner.rollout import rollout
from environments.task import Setup
from objectives import build
from objectives.base import Progress
from tests.inner.states import ENDINGS, assert_same_bits
from tests.inner.worlds import FINAL

SIZES = {"predictions": 3, "units": 4, "lifetime": 3, "embedding": 6, "bins": 7, "action_units": 4}
DISCO = build("disco", SIZES)
SETUP = replace(ENDINGS, n_steps=6, n_envs=3, hidden=(4,))


@functools.cache
def weights() -> Any:
    """Random ones, biases too, so that no relu is silent and the gate is open at birth."""
    searched = jax.jit(DISCO.init)(jax.random.key(0))
    rng = np.random.default_rng(0)
    return jax.tree.map(lambda w: w + jnp.asarray(rng.normal(0, 0.3, w.shape), jnp.float32), searched)


def complete_with(searched: Any) -> dict[str, Any]:
    return complete(DISCO, {"learning_rate": 0.03}, searched)


@jax.jit
def live(searched: Any, key: Any, n_updates: Any) -> Any:
    """An agent at birth, and after so many updates."""
    meta_params = complete_with(searched)
    born = init(DISCO, SETUP, meta_params, key, 20)
    return born, advance(DISCO, SETUP, meta_params, born, n_updates)


@pytest.mark.slow
def test_a_life_is_finite_and_changes_all_of_the_agent_and_what_it_remembers():
    born, (last, metrics) = live(weights(), jax.random.key(0), 20)
    assert int(last.record.nonfinite_update) == -1 and int(last.update) == 20
    for (path, before), after in zip(
        jax.tree.leaves_with_path(born.params), jax.tree.leaves(last.params), strict=True
    ):
        assert np.abs(after - before).max() > 1e-3, jax.tree_util.keystr(path)
    assert np.isfinite(jax.tree.leaves(metrics)).all() and float(metrics.loss) > 0
    assert_same_bits(last.memory.latest, last.params)
    assert float(last.memory.advantages.weight) == pytest.approx(1 - 0.99**20, rel=1e-4)


def test_the_target_network_sees_what_the_agent_sees():
    """With the agent's parameters it says the same, to an episode's last moment; with others it does not."""
    setup = replace(SETUP, recurrence="gru")
    environment, network = parts(DISCO, setup)

    @jax.jit
    def lived(share):
        meta_params = complete_with(weights())
        state = init(DISCO, setup, meta_params, jax.random.key(0), 10)
        target = jax.tree.map(lambda p: share * p, state.params)
        arguments = (state.params, (state.environments, state.carry), Progress(0, 10), jax.random.key(1))
        memory = state.memory._replace(target=target)
        return rollout(DISCO, environment, setup, network, meta_params, *arguments, memory)[1].trajectory

    same, other = lived(1.0), lived(0.5)
    ended = np.asarray(same.terminated | same.truncated)
    assert ended[:-1].any() and FINAL == 9.0
    for outputs, of_target in (
        (same.outputs, same.target_outputs),
        (same.outputs_next, same.target_outputs_next),
    ):
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), outputs, of_target)
    assert_same_bits(same.outputs, other.outputs)
    assert (
        np.abs(np.asarray(other.target_outputs["z"] - other.outputs["z"])).reshape(6, 3, -1).max(-1).min() > 0
    )


@pytest.mark.slow
def test_a_life_can_be_differentiated_by_every_weight():
    """Three updates, published optimizer: the first life steps count from the second on."""

    @jax.jit
    @jax.grad
    def slopes(searched):
        meta_params = complete_with(searched)
        state = init(DISCO, SETUP, meta_params, jax.random.key(0), 3)
        state, _ = advance(DISCO, SETUP, meta_params, state, 3)
        _, network = parts(DISCO, SETUP)
        seen = jnp.array([[0.0, 1.0], [2.0, 0.0], [1.0, 2.0]])
        outputs = network.unroll(state.params, {}, seen, jnp.zeros(3, bool))[1]
        return sum(jnp.sin(3 * outputs[name]).sum() for name in ("logits", "y", "z"))

    for path, slope in jax.tree.leaves_with_path(slopes(weights())):
        entry = jax.tree_util.keystr(path)
        without_effect = entry == "['disco']['pi_hat']['out']['bias']"  # the same for all of a softmax
        assert np.isfinite(slope).all(), entry
        assert (np.abs(slope).max() > 1e-7) != without_effect, entry


@pytest.mark.slow
def test_a_target_policy_that_prefers_what_is_worth_more_learns_to_balance():
    """pi_hat = softmax(30 normalized advantages of q^-), with weights written by hand.

    Two units of the action embedding hold the positive and the negative part of an action's eighth number.
    """
    algorithm = build("disco", {**SIZES, "embedding": 4, "bins": 301, "action_units": 16})
    setup = Setup("CartPole-v1", 16, 16, n_epochs=1, n_minibatches=1, hidden=(32,), curve_points=5)
    shapes = jax.eval_shape(algorithm.init, jax.random.key(0))
    searched = jax.tree.map(lambda leaf: np.zeros(leaf.shape, np.float32), shapes)
    network, units = searched["disco"], SIZES["units"]
    network["inputs"]["actions"]["in"]["kernel"][7, :2] = 1.0, -1.0
    network["inputs"]["actions"]["out"]["kernel"][:2] = np.eye(2)
    network["pi_hat"]["context"]["kernel"][units : units + 2, :2] = np.eye(2)
    network["pi_hat"]["out"]["kernel"][:2, 0] = 30.0, -30.0
    numbers = {"learning_rate": 5e-3, "q_coef": 1.0, "gamma": 0.97}
    meta_params = complete(algorithm, numbers, jax.tree.map(jnp.asarray, searched))
    outcome = jax.jit(train, static_argnums=(0, 1))(algorithm, setup, meta_params, jax.random.key(0), 2000)
    assert outcome.curve[0] < 40 and outcome.curve[-1] > 100, outcome.curve
