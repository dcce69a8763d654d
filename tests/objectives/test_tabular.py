"""Exact policy mirror descent: values against iteration, steps against a general optimizer."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import optimize

from objectives.tabular import evaluate, mirror_descent_step
from tests.objectives.maps import bregman, members, mirror_descent

S, A, GAMMA = 5, 3, 0.9


def process(seed=0, ends=0.1):
    """A random process whose episodes end with probability `ends` after each step."""
    rng = np.random.default_rng(seed)
    return (1 - ends) * rng.dirichlet(np.full(S, 0.5), (S, A)), rng.normal(size=(S, A))


def policy_of(seed):
    return np.random.default_rng(seed).dirichlet(np.ones(A), S)


def test_values_are_the_fixed_point_of_iteration():
    transition, reward = process()
    policy, value = policy_of(1), np.zeros(S)
    for _ in range(300):
        value = (policy * (reward + GAMMA * transition @ value)).sum(-1)
    got, action_value = jax.jit(evaluate)(
        *(jnp.asarray(x, float) for x in (transition, reward, GAMMA, policy))
    )
    np.testing.assert_allclose(got, value, atol=1e-5)
    np.testing.assert_allclose(action_value, reward + GAMMA * transition @ value, atol=1e-5)


@pytest.mark.parametrize("name", members())
def test_a_step_solves_its_optimization_problem(name):
    """Against sequential quadratic programming from the old policy, and by its conditions of optimality."""
    with jax.enable_x64(True):
        potential, weights = members()[name]
        old, q, eta = policy_of(2), np.random.default_rng(3).normal(size=(S, A)), 0.7
        step = jax.jit(lambda w, p, q: mirror_descent_step(potential, w, p, q, eta))
        new = np.asarray(step(weights, jnp.asarray(old), jnp.asarray(q)))

        def cost(p, s):
            at = jnp.asarray(old)[s]
            return bregman(potential, weights, p, at) - eta * (jnp.asarray(q)[s] * p).sum()

        with_slope = jax.jit(jax.value_and_grad(cost))
        for s in range(2):
            best = optimize.minimize(
                lambda p, s=s: tuple(np.asarray(x) for x in with_slope(jnp.asarray(p), s)),
                old[s],
                jac=True,
                method="SLSQP",
                bounds=[(1e-9, 1.0)] * A,
                constraints={"type": "eq", "fun": lambda p: p.sum() - 1.0, "jac": np.ones_like},
                options={"ftol": 1e-13, "maxiter": 300},
            )
            assert float(with_slope(jnp.asarray(new[s]), s)[0]) <= best.fun + 1e-7
            np.testing.assert_allclose(new[s], best.x, atol=2e-4)
        inverse = jax.jit(potential.inverse)
        slack = eta * q + np.asarray(inverse(weights, jnp.asarray(old)))
        slack -= np.asarray(inverse(weights, jnp.asarray(np.maximum(new, 1e-8))))
        level = np.where(new > 0, slack, np.nan)
        assert np.nanmax(np.nanmax(level, -1) - np.nanmin(level, -1)) < 1e-5  # one multiplier per state
        assert (slack <= np.nanmin(level, -1, keepdims=True) + 1e-5).all()


def test_the_value_is_differentiable_by_the_map():
    with jax.enable_x64(True):
        potential, net = members()["learned"]
        transition, reward = (jnp.asarray(x) for x in process())

        @jax.jit
        @jax.value_and_grad
        def value(log):
            _, values = mirror_descent(
                potential, net._replace(terms=net.terms.at[1].set(log)), transition, reward, GAMMA, 1.0, 3
            )
            return values[-1].mean()

        _, slope = value(jnp.asarray(0.3))
        difference = (value(jnp.asarray(0.3 + 1e-6))[0] - value(jnp.asarray(0.3 - 1e-6))[0]) / 2e-6
        assert float(slope) == pytest.approx(float(difference), rel=1e-5) and abs(float(slope)) > 1e-3
