"""Agents that learn from learned targets: whole lives on delayed chains, and derivatives of whole lives."""

import functools
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from discovery.inner.loops.on_policy import advance, complete, init, parts
from environments.task import Setup
from objectives import build
from objectives.lpg.algorithm import DEEP_LPG
from tests.inner.states import ENDINGS, assert_same_bits

OPTIONS = {"temporal": True, "optimizer": "sgd", "width": 4, "embedding": 3, "targets": 3}
TA_LPG = build("lpg", {**OPTIONS, "initial": "random"})
CHAIN = Setup("chain/short", n_envs=16, n_steps=20, n_epochs=1, n_minibatches=1, hidden=(), curve_points=5)
LEVEL = 3  # a seed whose chain has seven steps; the first action 1 is the good one

RANDOM = jax.tree.map(lambda w: w + 0.1, jax.jit(TA_LPG.init)(jax.random.key(0)))  # no relu is silent
ZERO = jax.tree.map(jnp.zeros_like, RANDOM)


def timeless() -> Any:
    """Random weights that do not look at n/N and log N."""
    recurrence = RANDOM["lpg"]["recurrence"]
    kernel = recurrence["kernel"].at[5:].set(0.0)
    return {"lpg": {**RANDOM["lpg"], "recurrence": {**recurrence, "kernel": kernel}}}


def reinforce() -> Any:
    """Two units of the GRU hold fading sums of tanh(5 r) and tanh(- 5 r): pi_hat is a discounted return.

    z = sigmoid(4) = 0.98 is the discount, and both recurrent matrices are zero.
    """
    lpg = jax.tree.map(np.array, ZERO["lpg"])
    lpg["recurrence"]["bias"][4:8] = 4.0  # z of four units; r before it, n after it
    lpg["recurrence"]["kernel"][0, 8:10] = 5.0, -5.0
    lpg["pi_hat"]["kernel"][:2, 0] = 50.0, -50.0
    return {"lpg": jax.tree.map(jnp.asarray, lpg)}


def live(algorithm: Any, setup: Setup, numbers: Any, searched: Any, lifetime: Any, n_updates: Any) -> Any:
    """The state after `n_updates` of a life of `lifetime`."""
    meta_params = complete(algorithm, numbers, searched)
    born = init(algorithm, setup, meta_params, jax.random.key(LEVEL), lifetime)
    return advance(algorithm, setup, meta_params, born, n_updates)[0]


@pytest.fixture(scope="module")
def lanes():
    """States after five lives side by side."""
    lives = [(RANDOM, 10, 10), (RANDOM, 25, 10), (timeless(), 10, 10), (timeless(), 25, 10)]
    lives += [(reinforce(), 60, 60)]
    weights = jax.tree.map(lambda *leaves: jnp.stack(leaves), *(searched for searched, _, _ in lives))
    lifetimes, updates = (jnp.array([x[i] for x in lives], jnp.int32) for i in (1, 2))
    together = jax.jit(jax.vmap(functools.partial(live, TA_LPG, CHAIN, {})))
    states = together(weights, lifetimes, updates)
    return [jax.tree.map(lambda x, i=i: x[i], states) for i in range(len(lives))]


def test_the_length_of_a_life_matters_to_who_looks_at_it(lanes):
    """After ten updates: lives of 10 and of 25 differ, unless the weights of n/N and log N are zero."""
    short, long, *blind = (state.params for state in lanes[:4])
    heads = [np.asarray(params["actor"]["logits"]["kernel"]) for params in (short, long)]
    assert np.abs(heads[0] - heads[1]).max() > 1e-2
    assert not np.any(short["actor"]["logits"]["bias"])
    assert_same_bits(*blind)


def test_weights_of_reinforce_learn_the_delayed_chain(lanes):
    """pi_hat is the discounted return: from a coin's 0 to nearly always the good branch."""
    curve = lanes[4].record.windows.means()["episode_return"]
    assert curve[-1] > 0.9 and curve[-1] > curve[0] + 0.1, curve


@pytest.mark.slow
def test_weights_of_reinforce_teach_an_agent_with_a_hidden_layer_by_adam():
    """As `lpg` is by default, with the numbers of `DEEP_LPG`: the chain of seven steps, 600 updates."""
    adam = build("lpg", {**OPTIONS, "optimizer": "adam"})
    life = jax.jit(functools.partial(live, adam, replace(CHAIN, hidden=(16,)), DEEP_LPG))
    last = life(reinforce(), 600, 600)
    assert last.params["actor"]["hidden_0"]["kernel"].shape[1] == 16
    curve = last.record.windows.means()["episode_return"]
    assert curve[-1] > 0.9 and curve[-1] > curve[0] + 0.5, curve


def double(tree: Any) -> Any:
    return jax.tree.map(lambda x: jnp.asarray(x, jnp.float64), tree)


@pytest.mark.slow
def test_derivative_of_a_life_by_the_weights():
    """An agent with a hidden layer, after three updates in float64, keys frozen: each array by itself.

    Episodes of every ending. No step of the agent is cut off, so that every update counts.
    """
    setup = replace(ENDINGS, hidden=(4,))
    numbers = {"learning_rate": 0.5, "critic_rate": 1.0, "bias_rate": 1.0, "max_grad_norm": 10.0}
    _, network = parts(TA_LPG, setup)

    @jax.jit
    @jax.value_and_grad
    def outcome(searched):
        """Of log-probabilities and bootstrap vectors in nine states."""
        meta_params = {**double(complete(TA_LPG, numbers, {})), **searched}
        state = init(TA_LPG, setup, meta_params, jax.random.key(0), 3)
        state, _ = advance(TA_LPG, setup, meta_params, state._replace(params=double(state.params)), 3)
        seen = double(jnp.stack(jnp.meshgrid(jnp.arange(3.0), jnp.arange(3.0)), axis=-1).reshape(-1, 2))
        outputs = network.unroll(state.params, state.carry, seen, jnp.zeros(9, bool))[1]
        log_y = jax.nn.log_softmax(outputs["bootstrap"])
        return jax.nn.log_softmax(outputs["logits"])[:, 0].sum() + jnp.sin(log_y[:, 1]).sum()

    with jax.enable_x64(True):
        searched = double(RANDOM)
        value, slopes = outcome(searched)
        assert value.dtype == jnp.float64
        leaves, structure = jax.tree.flatten(searched)
        names = [jax.tree_util.keystr(path) for path, _ in jax.tree.leaves_with_path(searched)]
        for index, slope in enumerate(jax.tree.leaves(slopes)):
            direction = jnp.asarray(np.random.default_rng(index).normal(0, 1, slope.shape))
            there, here = (
                float(outcome(structure.unflatten([*leaves[:index], moved, *leaves[index + 1 :]]))[0])
                for moved in (leaves[index] + h * direction for h in (1e-5, -1e-5))
            )
            expected = float((slope * direction).sum())
            assert abs(expected) > 1e-7, names[index]
            assert expected == pytest.approx((there - here) / 2e-5, rel=1e-4, abs=1e-9), names[index]
