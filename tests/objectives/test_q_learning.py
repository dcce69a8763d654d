"""PQN: returns against their definition as a mixture of n-step returns, the schedule and the step by hand."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from discovery.inner.loops.on_policy import check_numbers, complete
from objectives import build
from objectives.base import Batch, Progress
from objectives.optimizers import OPTIMIZERS
from tests.objectives.by_hand import mean_of_n_step_returns, random_rollout

T, E, A = 7, 3, 4
GAMMA, LAMBDA = 0.9, 0.6
NOW = Progress(0, 10)


def test_returns_are_mixtures_of_n_step_returns():
    ends: Any = {"terminated": [(1, 0), (5, 2)], "truncated": [(4, 1), (6, 2), (1, 0)]}
    some = random_rollout(T, E, {"q": (A,)}, **ends, n_actions=A)
    numbers = complete(build("pqn"), {"gamma": GAMMA, "q_lambda": LAMBDA, "reward_scale": 0.5}, {})
    found = build("pqn").targets(numbers, (), some, NOW)
    scaled = some._replace(reward=0.5 * some.reward)
    expected = mean_of_n_step_returns(scaled, some.outputs_next["q"].max(-1), GAMMA, LAMBDA)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("n", "epsilon"), [(0, 1.0), (5, 0.6), (10, 0.2), (60, 0.2)])
def test_epsilon_falls_linearly_and_then_stays(n, epsilon):
    numbers = complete(build("pqn"), {"epsilon_end": 0.2, "epsilon_decay": 0.1}, {})
    policy = build("pqn").policy.distribution(
        numbers, {"q": jnp.array([[0.1, 3.0, -1.0, 2.0]])}, Progress(n, 100)
    )
    other = epsilon / A
    probabilities = np.exp([float(policy.log_prob(jnp.array([a]))[0]) for a in range(A)])
    np.testing.assert_allclose(probabilities, [other, 1 - 3 * other, other, other], rtol=1e-5)
    assert epsilon == 1.0 or policy.mode()[0] == 1


def test_loss_is_half_the_squared_error_of_the_action_that_was_taken():
    q = jnp.array([[1.0, 2.0, 3.0, 4.0], [0.0, -1.0, 5.0, 2.0]])
    none = jnp.zeros(2)
    batch = Batch(none, jnp.array([3, 1]), none, none, none, none, {}, targets=jnp.array([1.0, 1.0]))
    loss = build("pqn").loss.per_sample({}, batch, {"q": q}, NOW, jax.random.key(0))
    np.testing.assert_allclose(loss, [4.5, 2.0])


def test_rectified_adam_by_hand():
    """Liu et al. 2020, Algorithm 2: below rho = 5 the step is momentum's alone."""
    b1, b2, eps, rate = 0.9, 0.999, 1e-8, 0.1
    steps, defaults = OPTIMIZERS["radam"]
    numbers = {**defaults, "learning_rate": rate, "anneal": 0.0, "max_grad_norm": 1e9}
    optimizer, draw = steps(numbers), np.random.default_rng(0)
    params = {"critic": {"w": jnp.zeros(3)}}
    update_of = jax.jit(functools.partial(optimizer.update, progress=NOW))
    state, m, v = optimizer.init(params), np.zeros(3), np.zeros(3)
    limit = 2 / (1 - b2) - 1
    for t in range(1, 12):
        gradient = draw.normal(size=3)
        update, state = update_of({"critic": {"w": jnp.asarray(gradient, jnp.float32)}}, state, params)
        m, v = b1 * m + (1 - b1) * gradient, b2 * v + (1 - b2) * gradient**2
        rho, step = limit - 2 * t * b2**t / (1 - b2**t), m / (1 - b1**t)
        if rho >= 5:
            rectified = (rho - 4) * (rho - 2) * limit / ((limit - 4) * (limit - 2) * rho)
            step = np.sqrt(rectified) * step / (np.sqrt(v / (1 - b2**t)) + eps)
        # rho is the difference of numbers near 2,000, of which float32 keeps 0.01
        (moved,) = jax.tree.leaves(update)
        np.testing.assert_allclose(moved, -rate * step, rtol=2e-2)


def test_what_makes_no_sense_is_refused():
    with pytest.raises(ValueError, match="discrete"):
        build("pqn").policy.heads(2, True)
    with pytest.raises(ValueError, match="epsilon_end"):
        check_numbers(build("pqn"), {"epsilon_end": 2.0})
