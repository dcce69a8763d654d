"""Distributions against scipy, numpy and frequencies."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special, stats

from objectives.distributions import Categorical, Discrete, Gaussian, Logistic


@pytest.fixture(scope="module")
def logits():
    return np.random.default_rng(0).normal(0, 2, (3, 5, 4)).astype(np.float32)


@pytest.mark.parametrize("make", [Categorical, lambda logits: Discrete(jax.nn.softmax(logits))])
def test_categorical_and_discrete_against_scipy(logits, make):
    """Two ways to write one distribution, where all probabilities are positive."""
    action = np.random.default_rng(1).integers(0, 4, (3, 5))
    log_p = special.log_softmax(logits.astype(np.float64), axis=-1)
    distribution = make(jnp.asarray(logits))
    expected = np.take_along_axis(log_p, action[..., None], -1)[..., 0]
    np.testing.assert_allclose(distribution.log_prob(jnp.asarray(action)), expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(distribution.entropy(), -(np.exp(log_p) * log_p).sum(-1), rtol=1e-5)
    np.testing.assert_array_equal(distribution.mode(), logits.argmax(-1))


def test_categorical_samples_with_its_frequencies():
    p = np.array([0.5, 0.3, 0.15, 0.05])
    action = Categorical(jnp.broadcast_to(jnp.log(p), (20_000, 4))).sample(jax.random.key(0))
    assert action.shape == (20_000,) and action.dtype == jnp.int32
    np.testing.assert_allclose(np.bincount(action, minlength=4) / 20_000, p, atol=0.02)


def test_discrete_with_probabilities_of_zero():
    """They are never drawn, count nothing in the entropy, and have finite log-probabilities and slopes."""

    @jax.jit
    def everything(p):
        entropy, log_prob = Discrete(p).entropy(), Discrete(p).log_prob(jnp.int32(0))
        slope = jax.grad(lambda p: Discrete(p).entropy() + Discrete(p).log_prob(jnp.int32(0)))(p)
        return Discrete(jnp.broadcast_to(p, (20_000, 4))).sample(jax.random.key(0)), entropy, log_prob, slope

    action, entropy, log_prob, slope = everything(jnp.asarray([0.0, 0.7, 0.0, 0.3]))
    assert action.dtype == jnp.int32
    counts = np.bincount(action, minlength=4)
    assert counts[0] == counts[2] == 0 and counts[1] / 20_000 == pytest.approx(0.7, abs=0.02)
    assert float(entropy) == pytest.approx(stats.entropy([0.7, 0.3]), rel=1e-6)
    np.testing.assert_allclose(slope, [0.0, -np.log(0.7) - 1, 0.0, -np.log(0.3) - 1], rtol=1e-5)
    np.testing.assert_allclose(log_prob, np.log(np.finfo(np.float32).tiny), rtol=1e-6)
    assert np.all(everything(jnp.eye(4)[2])[0] == 2)


def test_categorical_with_a_forbidden_action_stays_finite():
    logits = jnp.array([0.0, 1.0, -jnp.inf])
    p = special.softmax([0.0, 1.0])
    assert float(Categorical(logits).entropy()) == pytest.approx(-(p * np.log(p)).sum(), rel=1e-5)
    for f in (lambda x: Categorical(x).entropy(), lambda x: Categorical(x).log_prob(jnp.int32(0))):
        assert np.isfinite(jax.grad(f)(logits)).all()


@pytest.mark.parametrize(
    ("make", "theirs"),
    [(Gaussian, stats.norm), (lambda mean, log_scale: Logistic(mean, jnp.exp(log_scale)), stats.logistic)],
    ids=["gaussian", "logistic"],
)
def test_continuous_ones_against_scipy(make, theirs):
    rng = np.random.default_rng(0)
    mean, log_scale, action = (rng.normal(0, 1, (7, 3)).astype(np.float32) for _ in range(3))
    distribution = make(jnp.asarray(mean), jnp.asarray(log_scale))
    expected = theirs.logpdf(action, mean, np.exp(log_scale)).sum(-1)
    np.testing.assert_allclose(distribution.log_prob(jnp.asarray(action)), expected, rtol=1e-4, atol=1e-6)
    expected = theirs.entropy(mean, np.exp(log_scale)).sum(-1)
    np.testing.assert_allclose(distribution.entropy(), expected, rtol=1e-5)
    np.testing.assert_array_equal(distribution.mode(), mean)


def test_gaussian_samples_with_its_moments():
    mean, std = jnp.array([1.0, -2.0]), jnp.array([0.5, 3.0])
    distribution = Gaussian(jnp.broadcast_to(mean, (20_000, 2)), jnp.broadcast_to(jnp.log(std), (20_000, 2)))
    action = np.asarray(distribution.sample(jax.random.key(0)))
    assert action.shape == (20_000, 2)
    np.testing.assert_allclose(action.mean(0), mean, atol=0.1)
    np.testing.assert_allclose(action.std(0), std, rtol=0.03)


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

    def distance(x):
        return stats.kstest(x, "uniform", method="asymp").statistic  # type: ignore[attr-defined]

    x, y = squashed(0.5).T
    quantile = 1.63 / np.sqrt(20_000)
    assert max(distance(x), distance(y)) < quantile
    assert abs(stats.pearsonr(x, y)[0]) < 0.03  # type: ignore[operator]
    assert distance(squashed(0.6)[:, 0]) > quantile
