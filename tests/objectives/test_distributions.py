"""Distributions against scipy, numpy and frequencies."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special, stats

from objectives.base import Progress
from objectives.distributions import Categorical, Discrete, Gaussian, Logistic
from objectives.parts import actor_critic_policy


@pytest.fixture(scope="module")
def logits():
    return np.random.default_rng(0).normal(0, 2, (3, 5, 4)).astype(np.float32)


def test_categorical_log_prob_and_entropy(logits):
    action = np.random.default_rng(1).integers(0, 4, (3, 5))
    log_p = special.log_softmax(logits.astype(np.float64), axis=-1)
    distribution = Categorical(jnp.asarray(logits))
    expected = np.take_along_axis(log_p, action[..., None], -1)[..., 0]
    np.testing.assert_allclose(distribution.log_prob(jnp.asarray(action)), expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(distribution.entropy(), -(np.exp(log_p) * log_p).sum(-1), rtol=1e-5)
    np.testing.assert_array_equal(distribution.mode(), logits.argmax(-1))


def test_categorical_samples_with_its_frequencies():
    p = np.array([0.5, 0.3, 0.15, 0.05])
    action = Categorical(jnp.broadcast_to(jnp.log(p), (20_000, 4))).sample(jax.random.key(0))
    assert action.shape == (20_000,) and action.dtype == jnp.int32
    np.testing.assert_allclose(np.bincount(action, minlength=4) / 20_000, p, atol=0.02)


def test_discrete_is_categorical_where_all_probabilities_are_positive(logits):
    p = special.softmax(logits.astype(np.float64), axis=-1)
    here, there = Discrete(jnp.asarray(p)), Categorical(jnp.asarray(logits))
    action = jnp.asarray(np.random.default_rng(1).integers(0, 4, (3, 5)))
    np.testing.assert_allclose(here.log_prob(action), there.log_prob(action), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(here.entropy(), there.entropy(), rtol=1e-5)
    np.testing.assert_array_equal(here.mode(), there.mode())


def test_discrete_with_probabilities_of_zero():
    """They are never drawn, count nothing in the entropy, and have finite log-probabilities and slopes."""
    p = jnp.asarray([0.0, 0.7, 0.0, 0.3])
    action = Discrete(jnp.broadcast_to(p, (20_000, 4))).sample(jax.random.key(0))
    assert action.dtype == jnp.int32
    counts = np.bincount(action, minlength=4)
    assert counts[0] == counts[2] == 0 and counts[1] / 20_000 == pytest.approx(0.7, abs=0.02)
    assert float(Discrete(p).entropy()) == pytest.approx(stats.entropy([0.7, 0.3]), rel=1e-6)
    slope = jax.grad(lambda p: Discrete(p).entropy() + Discrete(p).log_prob(jnp.int32(0)))(p)
    np.testing.assert_allclose(slope, [0.0, -np.log(0.7) - 1, 0.0, -np.log(0.3) - 1], rtol=1e-5)
    np.testing.assert_allclose(
        Discrete(p).log_prob(jnp.int32(0)), np.log(np.finfo(np.float32).tiny), rtol=1e-6
    )
    assert int(Discrete(jnp.eye(4)[2]).sample(jax.random.key(1))) == 2


def test_categorical_with_a_forbidden_action_stays_finite():
    logits = jnp.array([0.0, 1.0, -jnp.inf])
    p = special.softmax([0.0, 1.0])
    assert float(Categorical(logits).entropy()) == pytest.approx(-(p * np.log(p)).sum(), rel=1e-5)
    for f in (lambda x: Categorical(x).entropy(), lambda x: Categorical(x).log_prob(jnp.int32(0))):
        assert np.isfinite(jax.grad(f)(logits)).all()


def test_entropy_gradient_matches_finite_differences(logits):
    with jax.enable_x64(True):
        x = jnp.asarray(logits[0, 0], jnp.float64)
        gradient = jax.grad(lambda x: Categorical(x).entropy())(x)
        for i, step in enumerate(np.eye(4) * 1e-6):
            slope = (Categorical(x + step).entropy() - Categorical(x - step).entropy()) / 2e-6
            np.testing.assert_allclose(gradient[i], slope, rtol=1e-6, atol=1e-9)


def test_gaussian_against_scipy():
    rng = np.random.default_rng(0)
    mean, log_std, action = (rng.normal(0, 1, (7, 3)).astype(np.float32) for _ in range(3))
    distribution = Gaussian(jnp.asarray(mean), jnp.asarray(log_std))
    expected = stats.norm.logpdf(action, mean, np.exp(log_std)).sum(-1)
    np.testing.assert_allclose(distribution.log_prob(jnp.asarray(action)), expected, rtol=1e-4)
    expected = stats.norm.entropy(mean, np.exp(log_std)).sum(-1)
    np.testing.assert_allclose(distribution.entropy(), expected, rtol=1e-5)
    np.testing.assert_array_equal(distribution.mode(), mean)


def test_gaussian_samples_with_its_moments():
    mean, std = jnp.array([1.0, -2.0]), jnp.array([0.5, 3.0])
    distribution = Gaussian(jnp.broadcast_to(mean, (20_000, 2)), jnp.broadcast_to(jnp.log(std), (20_000, 2)))
    action = np.asarray(distribution.sample(jax.random.key(0)))
    assert action.shape == (20_000, 2)
    np.testing.assert_allclose(action.mean(0), mean, atol=0.1)
    np.testing.assert_allclose(action.std(0), std, rtol=0.03)


def test_logistic_against_numerical_integration():
    """Its density integrates to 1, and -p log p to the entropy; log_prob is the logarithm of a difference."""
    mean, scale = jnp.array([0.0, 1.5]), jnp.array([0.5, 2.0])
    distribution = Logistic(mean, scale)
    entropies = []
    for m, s in ((0.0, 0.5), (1.5, 2.0)):
        one = Logistic(jnp.array([m]), jnp.array([s]))
        u = np.linspace(m - 40 * s, m + 40 * s, 80_001)
        log_p = np.asarray(one.log_prob(jnp.asarray(u, jnp.float32)[:, None]), np.float64)
        p = np.exp(log_p)
        assert np.trapezoid(p, u) == pytest.approx(1.0, abs=1e-4)
        entropies.append(-np.trapezoid(p * log_p, u))
        assert float(one.entropy()) == pytest.approx(entropies[-1], abs=1e-3)
        h = 1e-3 * s
        density = (special.expit((u + h - m) / s) - special.expit((u - h - m) / s)) / (2 * h)
        middle = np.abs(u - m) < 5 * s
        np.testing.assert_allclose(p[middle], density[middle], rtol=1e-4)
    assert float(distribution.entropy()) == pytest.approx(sum(entropies), abs=2e-3)
    both = distribution.log_prob(jnp.array([0.3, -4.0]))
    assert both.shape == ()
    assert float(both) == pytest.approx(
        stats.logistic.logpdf(0.3, 0, 0.5) + stats.logistic.logpdf(-4.0, 1.5, 2.0), rel=1e-5
    )
    np.testing.assert_array_equal(distribution.mode(), mean)


def test_logistic_stays_finite_far_out():
    far = jnp.array([[-500.0], [500.0]])
    distribution = Logistic(jnp.zeros(1), jnp.full(1, 0.5))
    np.testing.assert_allclose(distribution.log_prob(far), -1000.0 - np.log(0.5), rtol=1e-6)
    assert np.isfinite(jax.grad(lambda u: distribution.log_prob(u).sum())(far)).all()


def test_logistic_of_scale_one_half_is_uniform_when_squashed():
    """Kolmogorov and Smirnov's D below its 1% quantile; not so for a scale of 0.6."""

    def squashed(scale):
        distribution = Logistic(jnp.zeros((20_000, 2)), jnp.full((20_000, 2), scale))
        return (np.tanh(np.asarray(distribution.sample(jax.random.key(0)), np.float64)) + 1) / 2

    x, y = squashed(0.5).T
    quantile = 1.63 / np.sqrt(20_000)
    assert max(distance_from_uniform(x), distance_from_uniform(y)) < quantile
    assert abs(stats.pearsonr(x, y)[0]) < 0.03  # type: ignore[operator]
    assert distance_from_uniform(squashed(0.6)[:, 0]) > quantile


def distance_from_uniform(x):
    """Kolmogorov and Smirnov's D: the largest difference of the empirical from the uniform distribution."""
    x, n = np.sort(x), len(x)
    return max((np.arange(1, n + 1) / n - x).max(), (x - np.arange(n) / n).max())


def test_actor_critic_policy_declares_and_reads_its_heads():
    progress = Progress(0, 1)
    discrete = actor_critic_policy.heads(3, False)
    assert set(discrete) == {"logits", "value"} and discrete["logits"].size == 3
    continuous = actor_critic_policy.heads(2, True)
    assert set(continuous) == {"mean", "log_std", "value"}
    assert continuous["log_std"].free and continuous["log_std"].initial == 0.0
    for heads in (discrete, continuous):
        assert heads["value"].size == 0 and heads["value"].torso == "critic" and heads["value"].scale == 1.0
    assert discrete["logits"].scale == continuous["mean"].scale == 0.01
    outputs = {"logits": jnp.zeros((5, 3)), "value": jnp.zeros(5)}
    assert isinstance(actor_critic_policy.distribution({}, outputs, progress), Categorical)
    outputs = {"mean": jnp.zeros((5, 2)), "log_std": jnp.zeros((5, 2)), "value": jnp.zeros(5)}
    assert isinstance(actor_critic_policy.distribution({}, outputs, progress), Gaussian)
