"""PQN: returns against their definition as a mixture of n-step returns, the schedule by hand."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from discovery.inner.loops.on_policy import complete
from objectives import build
from objectives.base import Progress
from tests.objectives.by_hand import batch_of, mean_of_n_step_returns, random_rollout

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
    batch = batch_of([3, 1], jnp.array([1.0, 1.0]))
    loss = build("pqn").loss.per_sample({}, batch, {"q": q}, NOW, jax.random.key(0))
    np.testing.assert_allclose(loss, [4.5, 2.0])
