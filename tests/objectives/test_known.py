"""Known policy losses against the formulas they were published with, and against tables."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from objectives import build
from objectives.base import Progress
from objectives.known import dpo_drift, kl_drift, no_drift, ppo_drift

NOW = Progress(0, 1)
RATIO = np.array([0.2, 0.5, 0.8, 0.95, 1.05, 1.2, 1.5, 2.0, 3.0])
DPO_SLOPES = {
    -2.0: [7.9991, 1.8456, -1.0032, -1.9396, -2, -2, -2, -2, -2],
    -1.0: [3.9073, 0.3431, -0.8419, -0.9923, -1, -1, -1, -1, -1],
    1.0: [1, 1, 1, 1, 0.9994, 0.9901, 0.9400, 0.7864, 0.4200],
    2.0: [2, 2, 2, 2, 1.9950, 1.9221, 1.5729, 0.8399, 0.1413],
}
"""d (r A - f) / d r of DPO at RATIO, by advantage: derived for the closed form, alpha 2, beta 0.6."""


def loss_of_ratio(algorithm, ratio, advantage, old_log_prob=-1.3):
    """The policy loss as a function of r, which is how papers write it."""
    numbers = dict(algorithm.defaults)
    log_prob = jnp.log(ratio) + old_log_prob
    return algorithm.policy_loss.per_sample(
        numbers, log_prob, jnp.full_like(log_prob, old_log_prob), advantage, NOW
    )


def value_and_slope(algorithm: Any, ratio: Any, advantage: Any) -> tuple[Any, Any]:
    """Loss and d loss / d r, elementwise; the first argument may be any elementwise function of (r, A)."""
    function: Any = algorithm if callable(algorithm) else lambda r, a: loss_of_ratio(algorithm, r, a)
    ratio, advantage = jnp.broadcast_arrays(jnp.asarray(ratio, float), jnp.asarray(advantage, float))
    slope = jax.jit(jax.grad(lambda r: function(r, advantage).sum()))(ratio)
    return function(ratio, advantage), slope


def grid() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return np.exp(rng.uniform(-2, 2, 2000)), rng.uniform(-8, 8, 2000)


def test_dpo_slopes_match_the_table():
    advantages = np.array(sorted(DPO_SLOPES))[:, None]
    _, slope = value_and_slope(build("dpo"), RATIO, advantages)
    np.testing.assert_allclose(-slope, [DPO_SLOPES[a] for a in sorted(DPO_SLOPES)], atol=1e-3)


def test_ppo_is_the_clipped_surrogate_in_value_and_slope():
    (ratio, advantage), clip = grid(), 0.3
    ppo = build("ppo")
    ppo = ppo._replace(defaults=tuple({**dict(ppo.defaults), "clip": clip}.items()))

    def surrogate(r, a):
        return -jnp.minimum(r * a, jnp.clip(r, 1 - clip, 1 + clip) * a)

    got, slope = value_and_slope(ppo, ratio, advantage)
    expected, expected_slope = value_and_slope(surrogate, ratio, advantage)
    np.testing.assert_allclose(got, expected, rtol=2e-5, atol=1e-5)
    np.testing.assert_allclose(slope, expected_slope, rtol=2e-5, atol=1e-5)


def test_ppo_kl_penalty_estimates_the_divergence():
    """The mean of the drift under the old policy is kl_coef * KL(old || new), exactly."""
    old, new = np.array([0.5, 0.3, 0.2]), np.array([0.2, 0.3, 0.5])
    drift = kl_drift({"kl_coef": 3.0}, jnp.log(new / old), jnp.ones(3), NOW)
    assert float((old * drift).sum()) == pytest.approx(3.0 * (old * np.log(old / new)).sum(), rel=1e-5)
    got, slope = value_and_slope(build("ppo_kl"), 2.0, 1.5)
    assert float(got) == pytest.approx(-2.0 * 1.5 + (2.0 - 1.0 - np.log(2.0)), rel=1e-5)
    assert float(slope) == pytest.approx(-1.5 + 1.0 - 1.0 / 2.0, rel=1e-5)


def test_policy_gradient_has_no_drift():
    ratio, advantage = grid()
    got, slope = value_and_slope(build("policy_gradient"), ratio, advantage)
    np.testing.assert_allclose(got, -ratio * advantage, rtol=1e-5)
    np.testing.assert_allclose(slope, -advantage, rtol=1e-5)


@pytest.mark.parametrize(("name", "weight"), [("a2c", lambda a: a), ("vsop", lambda a: max(a, 0.0))])
def test_losses_without_a_ratio(name, weight):
    algorithm = build(name)
    for log_prob, advantage in [(-0.3, 2.0), (-2.0, -1.5)]:
        for old in (-0.3, -5.0):
            got = algorithm.policy_loss.per_sample(
                dict(algorithm.defaults), jnp.float32(log_prob), jnp.float32(old), jnp.float32(advantage), NOW
            )
            assert float(got) == pytest.approx(-log_prob * weight(advantage), rel=1e-6)
    assert not algorithm.policy_loss.normalize_advantage


def test_random_ignores_the_network():
    """Every discrete action is as probable as any other; continuous ones are logistic with scale 1/2."""
    policy = build("random").policy
    far = jnp.array([[3.0, -40.0, 7.0]])
    assert set(policy.heads(3, False)) == {"logits"} and set(policy.heads(3, True)) == {"mean"}
    discrete = policy.distribution({}, {"logits": far}, NOW)
    for action in range(3):
        assert float(discrete.log_prob(jnp.full(1, action))[0]) == pytest.approx(-np.log(3), rel=1e-6)
    assert float(discrete.entropy()[0]) == pytest.approx(np.log(3), rel=1e-6)
    continuous = policy.distribution({}, {"mean": far}, NOW)
    # The density of u = logit(U) / 2 at 0 is that of U, times d sigmoid(2 u) / du = 2 * 1/4.
    assert float(continuous.log_prob(jnp.zeros((1, 3)))[0]) == pytest.approx(3 * np.log(0.5), rel=1e-6)


@pytest.mark.parametrize(
    ("drift", "numbers"),
    [
        (no_drift, {}),
        (ppo_drift, {"clip": 0.2}),
        (kl_drift, {"kl_coef": 1.0}),
        (dpo_drift, {"dpo_alpha": 2.0, "dpo_beta": 0.6}),
    ],
)
def test_closed_form_drifts_are_legal(drift, numbers):
    """Zero and flat at r = 1, never negative: exactly, for kinks are where rounding hurts."""
    ratio, advantage = (jnp.asarray(x, jnp.float32) for x in grid())
    at_one = jnp.zeros_like(advantage)
    f = jax.jit(lambda log_ratio: drift(numbers, log_ratio, advantage, NOW))
    np.testing.assert_array_equal(f(at_one), at_one)
    np.testing.assert_array_equal(jax.jit(jax.grad(lambda x: f(x).sum()))(at_one), at_one)
    # r - 1 - log r >= 0 holds up to the rounding of its two terms.
    assert (f(jnp.log(ratio)) >= -1e-6).all()


@pytest.mark.parametrize("advantage", [2.0, -1.5])
def test_far_ratios_stay_finite(advantage):
    """Where r overflows float32, PPO's min(r A, clip(r) A) is finite or huge, never NaN; so is ours."""
    algorithm = build("ppo")
    numbers, old = dict(algorithm.defaults), jnp.float32(-100.0)
    slope = jax.grad(
        lambda new: algorithm.policy_loss.per_sample(numbers, new, old, jnp.float32(advantage), NOW)
    )
    assert float(slope(jnp.float32(-0.1))) == 0.0
