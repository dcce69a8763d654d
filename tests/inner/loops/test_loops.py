"""What every loop has in common: four functions, levels as arguments, gradients through a fixed length."""

import functools
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import pytest

from discovery.inner.loops import LOOPS, loop_of, trained_on
from discovery.inner.loops.on_policy import complete
from environments.make import make
from environments.task import Setup
from objectives import build
from objectives.base import PolicyLoss
from objectives.parts import actor_critic
from tests.inner.states import PPO, assert_same_bits

ONES: dict[str, Any] = {"n_envs": 1, "n_steps": 1, "n_epochs": 1, "n_minibatches": 1}
EXACT = Setup("grid/small", exact=True, curve_points=3, **ONES)
GRID = Setup("grid/small", 2, 4, 1, 2, (4,), curve_points=3)
AMPO, NUMBERS = build("ampo", {"map": "l2"}), {"eta": 0.5, "gamma": 0.9}


def test_the_algorithm_names_its_loop():
    assert loop_of(AMPO) is LOOPS["on_policy"]
    assert loop_of(trained_on(AMPO, EXACT)) is LOOPS["exact"] and trained_on(AMPO, GRID) is AMPO
    with pytest.raises(ValueError, match="'replay'"):
        loop_of(AMPO._replace(loop="replay"))
    with pytest.raises(ValueError, match="exact = true"):
        loop_of(AMPO._replace(loop="exact")).check(AMPO, GRID)


@pytest.mark.parametrize("setup", [EXACT, GRID], ids=["exact", "on_policy"])
def test_a_level_that_is_given_is_the_one_that_is_trained_on(setup):
    """The level that the key draws, given: the same bits. Another: another training."""
    algorithm, meta_params = trained_on(AMPO, setup), complete(AMPO, NUMBERS, {})
    begin = jax.jit(functools.partial(loop_of(algorithm).init, algorithm, setup, meta_params, lifetime=3))
    key, environment = jax.random.key(3), make(setup.environment)
    drawn = begin(key)
    level = drawn.level if setup.exact else drawn.environments.level
    assert_same_bits(begin(key, level=level), drawn)
    other = environment.sample_level(jax.random.key(4))
    given = begin(key, level=other)
    assert_same_bits(given.level if setup.exact else given.environments.level, other)


@pytest.mark.slow
def test_a_training_of_fixed_length_can_be_differentiated():
    """Traced only: test_lpg_lives compares the derivatives of a life with finite differences."""
    setup, algorithm = replace(GRID, environment="CartPole-v1"), build("lpo", {"width": 2})
    loop, searched = loop_of(algorithm), algorithm.init(jax.random.key(0))

    def outcome(shift):
        meta_params = complete(algorithm, {}, jax.tree.map(lambda x: x + shift, searched))
        state = loop.init(algorithm, setup, meta_params, jax.random.key(1), 4)
        reached, _ = loop.advance(algorithm, setup, meta_params, state, 2)
        return sum(jnp.sin(x).sum() for x in jax.tree.leaves(reached.params["actor"]))

    assert jax.eval_shape(jax.grad(outcome), 0.0).shape == ()


def test_minibatches_of_one_sample_are_refused_where_advantages_are_standardized():
    one_sample = replace(GRID, n_minibatches=GRID.n_envs * GRID.n_steps)
    with pytest.raises(ValueError, match="minibatches of one sample"):
        loop_of(PPO).check(PPO, one_sample)
    loop_of(PPO).check(PPO, replace(one_sample, n_minibatches=4))


def with_loss(change):
    """PPO with another loss in place of one number per sample."""
    return PPO._replace(loss=PPO.loss._replace(per_sample=lambda *x: change(PPO.loss.per_sample(*x))))


def with_policy_loss(loss):
    return actor_critic("broadcasts", PolicyLoss(lambda _, log_prob, *others: loss(log_prob)))


@pytest.mark.parametrize(
    ("algorithm", "said"),
    [
        (with_loss(lambda loss: loss.mean()), r"\(4,\), got \(\)"),
        (with_loss(lambda loss: loss[:, None]), r"\(4,\), got \(4, 1\)"),
        (with_loss(lambda loss: 0.0), r"\(4,\), got \(\)"),
        (with_policy_loss(lambda log_prob: jnp.float32(0)), "one per sample"),
        (with_policy_loss(lambda log_prob: log_prob > 0), "one per sample"),
    ],
)
def test_a_loss_that_would_broadcast_is_refused(algorithm, said):
    """A mean would pass unseen, and (B, 1) would broadcast against (B,): both are told while tracing."""
    loop, meta_params = loop_of(algorithm), complete(algorithm, {}, {})

    def training(key):
        state = loop.init(algorithm, GRID, meta_params, key, 1)
        return loop.advance(algorithm, GRID, meta_params, state, 1)

    with pytest.raises(ValueError, match=said):
        jax.eval_shape(training, jax.random.key(0))
