"""Values of DiscoRL: bins, Retrace and moving averages against closed forms and loops."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from objectives.disco.values import (
    add_to_moments,
    expected,
    no_moments,
    normalize,
    retrace,
    squeeze,
    two_hot,
    unsqueeze,
    values_of,
)
from tests.objectives.by_hand import random_rollout, softmax

T, E, A = 6, 3, 3


def h(x):
    return np.sign(x) * (np.sqrt(np.abs(x) + 1) - 1) + 1e-3 * x


def h_inverse(y):
    """As it is usually written, where it cancels; float64."""
    y = np.asarray(y, np.float64)
    root = (np.sqrt(1 + 4e-3 * (np.abs(y) + 1 + 1e-3)) - 1) / 2e-3
    return np.sign(y) * (root**2 - 1)


def test_the_transform_by_hand_and_back():
    both = jax.jit(lambda x: (squeeze(x), unsqueeze(squeeze(x))))
    x = np.array([0.0, 1e-6, 0.3, 1.0, 3.0, 8.0, 50.0, 1e3, 5e4])
    x = np.concatenate([-x[::-1], x])
    y, back = both(jnp.asarray(x, jnp.float32))
    np.testing.assert_allclose(np.asarray(y)[[9, 13, 3]], [0.0, 1.003, -2.008], rtol=1e-6)
    np.testing.assert_allclose(back, x, rtol=2e-6, atol=1e-12)
    with jax.enable_x64(True):
        y, back = both(jnp.asarray(x))
        np.testing.assert_allclose(y, h(x), rtol=1e-9)
        np.testing.assert_allclose(back, x, rtol=1e-13)
        np.testing.assert_allclose(back, h_inverse(y), rtol=1e-9, atol=1e-9)


def test_two_hot_is_two_neighbors_whose_mean_is_the_number():
    n_bins = 21
    x = np.array([0.0, 3.0, -3.0, 0.41, 1234.5, -40_000.0, 1e6, -1e6])
    p = np.asarray(jax.jit(two_hot, static_argnums=1)(jnp.asarray(x, jnp.float32), n_bins), np.float64)
    bins = np.linspace(-300, 300, n_bins)
    np.testing.assert_allclose(p.sum(-1), 1.0, rtol=1e-5)
    for row in p:
        places = np.flatnonzero(row > 1e-4)
        assert len(places) <= 2 and np.ptp(places) <= 1
    np.testing.assert_allclose(p @ bins, np.clip(h(x), -300, 300), rtol=1e-4, atol=1e-3)
    back = jax.jit(lambda x: expected(jnp.log(two_hot(x, n_bins))))(jnp.asarray(x, jnp.float32))
    np.testing.assert_allclose(back[:-2], x[:-2], rtol=1e-3, atol=2e-3)


def as_a_sum(reward, discount, ended, q, value_next, trace):
    """q_t + sum_k>=t (prod_i=t+1..k discount_i-1 c_i) (r_k + discount_k V'_k - q_k): Munos et al., eq. 4."""
    target = np.zeros_like(reward)
    for t, e in np.ndindex(reward.shape):
        target[t, e], weight = q[t, e], 1.0
        for k in range(t, len(reward)):
            if k > t:
                weight *= 0.0 if ended[k - 1, e] else discount[k - 1, e] * trace[k, e]
            target[t, e] += weight * (reward[k, e] + discount[k, e] * value_next[k, e] - q[k, e])
    return target


def test_retrace_is_the_sum_of_temporal_differences():
    rng = np.random.default_rng(0)
    reward, q, value_next = rng.normal(size=(3, T, E))
    trace = 0.95 * np.minimum(1, rng.uniform(0.3, 2, (T, E)))
    terminated, truncated = np.zeros((2, T, E), bool)
    terminated[2, 0] = truncated[1, 1] = terminated[4, 2] = truncated[4, 2] = True
    discount, ended = np.where(terminated, 0.0, 0.9), terminated | truncated
    with jax.enable_x64(True):
        arrays = [jnp.asarray(x) for x in (reward, discount, ended, q, value_next, trace)]
        got = jax.jit(retrace)(*arrays)
    np.testing.assert_allclose(got, as_a_sum(reward, discount, ended, q, value_next, trace), rtol=1e-12)
    one_step = reward + discount * value_next
    np.testing.assert_allclose(got[ended], one_step[ended])  # past an end nothing is seen
    np.testing.assert_allclose(got[-1], one_step[-1])


def test_averages_forget_and_have_no_bias_towards_zero():
    rng = np.random.default_rng(0)
    batches = rng.normal(3.0, 2.0, (5, T, E))
    moments = no_moments()
    for batch in batches:
        moments = add_to_moments(moments, jnp.asarray(batch, jnp.float32), 0.9)
    weights = 0.9 ** np.arange(5)[::-1]
    weights /= weights.sum()
    mean = weights @ batches.mean((1, 2))
    deviation = np.sqrt(weights @ np.square(batches).mean((1, 2)) - mean**2)
    got = normalize(moments, jnp.asarray(batches[0], jnp.float32))
    np.testing.assert_allclose(got, (batches[0] - mean) / deviation, rtol=1e-4)
    same = jnp.full((T, E), 2.0)
    still = normalize(add_to_moments(no_moments(), same, 0.99), same)
    np.testing.assert_allclose(still, 0.0, atol=1e-2)


def test_values_along_a_trajectory():
    heads = {"logits": (A,), "q": (A, 11)}
    ends: Any = {"terminated": [(2, 0), (1, 2)], "truncated": [(3, 1), (1, 2)]}
    trajectory = random_rollout(T, E, heads, **ends, target=True, seed=2)
    got = jax.jit(values_of)({"gamma": 0.9, "trace_lambda": 0.8}, trajectory)
    bins = np.linspace(-300, 300, 11)
    names = ("outputs", "outputs_next", "target_outputs", "target_outputs_next")
    q, q_next, q_target, q_target_next = (
        h_inverse(softmax(getattr(trajectory, name)["q"]) @ bins) for name in names
    )
    pi, pi_next = softmax(trajectory.outputs["logits"]), softmax(trajectory.outputs_next["logits"])
    target_value = (pi * q_target).sum(-1)
    rows, columns = np.indices((T, E))
    taken = rows, columns, np.asarray(trajectory.action)
    trace = 0.8 * np.minimum(1, pi[taken] / np.exp(np.asarray(trajectory.log_prob, np.float64)))
    assert 0 < (trace < 0.8).sum() < T * E
    terminated = np.asarray(trajectory.terminated)
    q_hat = as_a_sum(
        np.asarray(trajectory.reward, np.float64),
        np.where(terminated, 0.0, 0.9),
        terminated | np.asarray(trajectory.truncated),
        q_target[taken],
        (pi_next * q_target_next).sum(-1),
        trace,
    )
    for found, exact in (
        (got.value, (pi * q).sum(-1)),
        (got.value_next, (pi_next * q_next).sum(-1)),
        (got.action_value, q_target),
        (got.action_advantage, q_target - target_value[..., None]),
        (got.q_target, q_hat),
        (got.advantage, q_hat - target_value),
    ):  # numbers in the thousands, from sums of h that nearly cancel
        np.testing.assert_allclose(found, exact, rtol=2e-3, atol=2e-2)
