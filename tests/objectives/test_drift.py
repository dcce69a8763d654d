"""Learned drifts: legality for every weight, PPO at zero weights, temporal gates."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from objectives import build
from objectives.base import Progress
from objectives.drift import ACTIVATIONS

NOW = Progress(3, 10)
VARIANTS = [
    {},
    {"temporal": True, "anchored": True},
    *({"activation": name, "width": 16} for name in ACTIVATIONS),
]


def drift_of(algorithm):
    """f(meta_params, log r, A, progress), recovered from the policy loss -(r A - f)."""

    def drift(meta_params, log_ratio, advantage, progress=NOW):
        loss = algorithm.policy_loss.per_sample(
            meta_params, log_ratio, jnp.zeros_like(log_ratio), advantage, progress
        )
        return loss + jnp.exp(log_ratio) * advantage

    return drift


def random_meta_params(algorithm, seed, scale=1.0):
    """Defaults and weights of any size; not the initial ones, which may be zero."""
    shapes = jax.eval_shape(algorithm.init, jax.random.key(0))["drift"]
    keys = jax.random.split(jax.random.key(seed), len(shapes))
    weights = {
        name: scale * jax.random.normal(key, shape.shape)
        for key, (name, shape) in zip(keys, shapes.items(), strict=True)
    }
    return {**dict(algorithm.defaults), "drift": weights}


def grid():
    log_ratio, advantage = jnp.meshgrid(jnp.linspace(-2, 2, 81), jnp.linspace(-8, 8, 65))
    return log_ratio.ravel(), advantage.ravel()


@pytest.mark.parametrize("options", VARIANTS, ids=str)
def test_the_drift_is_legal_whatever_its_weights(options):
    """Exactly zero and flat at ratio one, early and late in life; never negative, somewhere positive."""
    algorithm = build("lpo", options)
    drift = jax.jit(drift_of(algorithm))
    advantage = jnp.asarray(np.random.default_rng(0).normal(0, 4, 1000), jnp.float32)
    at_one = jnp.zeros(1000)

    @jax.jit
    def value_and_slope(meta_params, update):
        f = lambda x: algorithm.policy_loss.per_sample(  # noqa: E731
            meta_params, x, at_one, advantage, Progress(update, 10)
        )
        return f(at_one), jax.grad(lambda x: f(x).sum())(at_one)

    for seed, scale in enumerate([0.1, 1.0, 10.0]):
        meta_params = random_meta_params(algorithm, seed, scale)
        for update in (0, 1, 5, 9):
            value, slope = value_and_slope(meta_params, jnp.int32(update))
            np.testing.assert_array_equal(value, -advantage)
            np.testing.assert_array_equal(slope, -advantage)
        f = drift(random_meta_params(algorithm, seed), *grid())
        # The drift is recovered from the loss by adding r A, of size up to 60: hence the rounding.
        assert (f >= -1e-4).all() and (f > 0.1).any()


def test_anchored_with_zero_weights_has_the_gradient_of_ppo():
    xi = 1e-4
    anchored = build("lpo", {"anchored": True, "temporal": True})
    ppo = build("ppo")
    meta_params = {**dict(anchored.defaults), **anchored.init(jax.random.key(0))}
    assert not meta_params["drift"]["w_out"].any() and meta_params["drift"]["w_in"].any()
    log_ratio, advantage = grid()
    old = jnp.zeros_like(log_ratio)

    def slope(algorithm):
        loss = lambda x: algorithm.policy_loss.per_sample(meta_params, x, old, advantage, NOW).sum()  # noqa: E731
        return np.asarray(jax.jit(jax.grad(loss))(log_ratio))

    ratio = np.exp(np.asarray(log_ratio, float))
    f_ppo = np.maximum((ratio - ratio.clip(0.8, 1.2)) * np.asarray(advantage), 0.0)
    inside, outside = f_ppo == 0, f_ppo > 1.01 * xi
    assert outside.sum() > 1000
    np.testing.assert_allclose(slope(anchored)[outside], slope(ppo)[outside], atol=1e-5)
    np.testing.assert_array_equal(slope(anchored)[inside], slope(ppo)[inside])


def test_default_initial_mean_is_no_dead_point():
    """A search that starts at exactly zero and samples antithetic pairs sees no slope: so it must not."""
    for options in VARIANTS[:2]:
        weights = build("lpo", options).init(jax.random.key(0))["drift"]
        assert np.abs(weights["w_in"]).max() > 0.1
        assert bool(np.any(weights["w_out"])) != bool(options.get("anchored"))
    scaled = build("lpo", {"anchored": True, "output_scale": 2.0}).init(jax.random.key(0))["drift"]["w_out"]
    assert np.std(scaled) == pytest.approx(2.0 / 128**0.5, rel=0.3)


@pytest.mark.parametrize(
    "options", [{}, {"temporal": True}, {"anchored": True, "xi": 0.3, "log_ratio_clip": 1.0}], ids=str
)
def test_drift_against_numpy(options):
    """The whole formula once more, with numpy and float64, features in the order of the original."""
    algorithm = build("lpo", options)
    meta_params = random_meta_params(algorithm, 4)
    log_ratio, advantage = (np.asarray(x, np.float64) for x in grid())
    bound = options.get("log_ratio_clip", 3.0)
    x = log_ratio.clip(-bound, bound)
    u = np.stack([x, x**2, 1 - np.exp(x), (1 - np.exp(x)) ** 2], -1)
    features = np.concatenate([u, advantage[:, None] * u], -1)
    if "temporal" in options:
        features = np.concatenate([features, 0.3 * features], -1)  # three of ten updates
    weights = jax.tree.map(lambda w: np.asarray(w, np.float64), meta_params["drift"])
    g = np.tanh(features @ weights["w_in"]) @ weights["w_out"]
    r = np.exp(log_ratio)
    base = np.maximum((r - r.clip(0.8, 1.2)) * advantage, 0) if "anchored" in options else 0.0
    expected = np.maximum(base + g - options.get("xi", 1e-4), 0.0)
    got = jax.jit(drift_of(algorithm))(meta_params, *grid())
    np.testing.assert_allclose(got, expected, atol=5e-3)


def test_far_ratios_stay_finite():
    """An action that the new policy has all but forgotten, or nearly always takes."""
    algorithm = build("lpo", {"anchored": True})
    meta_params = random_meta_params(algorithm, 0)
    log_ratio = jnp.array([-80.0, -20.0, 20.0, 40.0])
    advantage = jnp.array([3.0, -3.0, -3.0, 3.0])
    loss = lambda x: algorithm.policy_loss.per_sample(meta_params, x, jnp.zeros(4), advantage, NOW)  # noqa: E731
    assert np.isfinite(jax.jit(loss)(log_ratio)).all()
    assert np.isfinite(jax.jit(jax.grad(lambda x: loss(x).sum()))(log_ratio)).all()
