"""Agents that learn as DiscoRL's meta-network says: what the target network sees, and a whole life."""

import functools
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from discovery.inner.loops import train
from discovery.inner.loops.on_policy import complete, init, parts
from discovery.inner.rollout import rollout
from environments.task import Setup
from objectives import build
from objectives.base import Progress
from tests.inner.states import ENDINGS, assert_same_bits

SIZES = {"predictions": 3, "units": 4, "lifetime": 3, "embedding": 6, "bins": 7, "action_units": 4}


@pytest.mark.slow
def test_the_target_network_sees_what_the_agent_sees():
    """With the agent's parameters it says the same, to an episode's last moment; with others it does not."""
    algorithm = build("disco", SIZES)
    setup = replace(ENDINGS, n_steps=6, n_envs=3, hidden=(4,), recurrence="gru")
    environment, network = parts(algorithm, setup)
    meta_params = complete(algorithm, {}, jax.jit(algorithm.init)(jax.random.key(0)))

    @jax.jit
    def lived(share):
        state = init(algorithm, setup, meta_params, jax.random.key(0), 10)
        target = jax.tree.map(lambda p: share * p, state.params)
        arguments = (state.params, (state.environments, state.carry), Progress(0, 10), jax.random.key(1))
        memory = state.memory._replace(target=target)
        return rollout(algorithm, environment, setup, network, meta_params, *arguments, memory)[1].trajectory

    same, other = lived(1.0), lived(0.5)
    ended = np.asarray(same.terminated | same.truncated)
    assert ended[:-1].any()
    own, of_target = (same.outputs, same.outputs_next), (same.target_outputs, same.target_outputs_next)
    jax.tree.map(functools.partial(np.testing.assert_allclose, atol=1e-5), own, of_target)
    assert_same_bits(same.outputs, other.outputs)
    assert ((other.target_outputs["z"] != other.outputs["z"]).reshape(6, 3, -1).any(-1)).all()


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
