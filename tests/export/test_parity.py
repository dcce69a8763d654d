"""An exported file computes what the algorithm computes, for every algorithm and option."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from discovery.core.jobs import AlgorithmSpec
from discovery.export.verify import points, probe, reference
from discovery.export.write import resolve
from objectives import build


def lpo(**options: Any) -> AlgorithmSpec:
    return AlgorithmSpec("lpo", tuple(options.items()))


CASES: dict[str, tuple[AlgorithmSpec, dict[str, Any]]] = {
    **{name: (AlgorithmSpec(name), {}) for name in ("a2c", "vsop", "policy_gradient", "ppo")},
    "ppo, wider": (AlgorithmSpec("ppo"), {"clip": np.float32(0.3)}),
    "ppo_kl": (AlgorithmSpec("ppo_kl"), {"kl_coef": 0.7}),
    "dpo, other constants": (AlgorithmSpec("dpo"), {"dpo_alpha": 1.5, "dpo_beta": 0.4}),
    "lpo anchored": (lpo(anchored=True), {"clip": 0.1}),
    "lpo temporal": (lpo(temporal=True), {}),
    "lpo anchored temporal": (lpo(anchored=True, temporal=True), {}),
    "lpo narrow": (lpo(log_ratio_clip=1.0, width=5, xi=0.01), {}),
    "lpo unclipped": (lpo(log_ratio_clip=float("inf"), width=5), {}),
    **{f"lpo {name}": (lpo(activation=name, width=9), {}) for name in ("relu", "swish", "gelu")},
    "lpo as bytes": (lpo(width=600), {}),
}


@pytest.fixture(scope="module")
def at():
    return points(10_000, 0, 3.0, 0.2)


@pytest.fixture(scope="module")
def theirs(exported, at):
    """What all files compute, in one process that cannot import our packages."""
    return dict(zip(CASES, probe([exported(*case) for case in CASES.values()], at), strict=True))


@pytest.mark.parametrize("name", CASES)
def test_values_and_gradients_agree_in_float64(name, theirs, at, searched):
    spec, numbers = CASES[name]
    algorithm, entries, resolved = resolve(spec, searched(spec), numbers)
    ours = reference(algorithm, entries, resolved, at)
    for kind in ("value", "gradient"):
        a, b = theirs[name][f"float64/{kind}"], ours[f"float64/{kind}"]
        assert a.dtype == np.float64
        assert np.all(np.abs(a - b) <= 1e-9 + 1e-9 * np.abs(b))
    assert theirs[name]["float32/value"].dtype == np.float32
    a, b = theirs[name]["float32/value"], ours["float32/value"]
    assert np.abs(a - b).max() <= 1e-4 * (1 + np.abs(b).max())


def test_points_cover_what_matters(at):
    log_ratio = at["log_prob"] - at["old_log_prob"]
    assert log_ratio.min() == -3.5 and log_ratio.max() == 3.5
    assert {0.0, 3.0, -3.0} <= set(log_ratio.tolist())
    assert np.abs(log_ratio - np.log(1.2)).min() < 1e-5
    assert (at["advantage"] == 0).sum() > 100
    assert at["fraction"].min() == 0.0 and 0.99 < at["fraction"].max() < 1.0
    exact = np.float32(at["log_prob"]) - np.float32(at["old_log_prob"])
    np.testing.assert_array_equal(exact, log_ratio)
    np.testing.assert_array_equal(at["fraction"], at["update"] / 1024)


@pytest.mark.parametrize("name", ["vsop", "ppo, wider", "lpo anchored temporal", "lpo as bytes"])
def test_weights_and_metadata_are_exact(name, exported, load, searched):
    spec, numbers = CASES[name]
    source = exported(spec, numbers)
    file = load(source)
    algorithm = build(spec.name, dict(spec.options))
    assert file["NORMALIZED_ADVANTAGE"] is algorithm.policy_loss.normalize_advantage
    assert file["NEEDS_PROGRESS"] is dict(spec.options).get("temporal", False)
    for key, value in searched(spec).get("drift", {}).items():
        assert file[key.upper()].dtype == np.float32
        np.testing.assert_array_equal(file[key.upper()], value)
    assert name != "ppo, wider" or file["CLIP"] == 0.3
    assert ("base64" in source) is (name == "lpo as bytes")


def test_any_shape_and_dtype(exported, load):
    file = load(exported(lpo(temporal=True, width=6)))
    log_prob, old, advantage = (
        jax.random.normal(key, (3, 4)) for key in jax.random.split(jax.random.key(1), 3)
    )
    policy_loss = jax.jit(file["policy_loss"])
    with pytest.raises(TypeError, match="fraction"):
        file["policy_loss"](log_prob, old, advantage)
    with jax.numpy_rank_promotion("raise"):
        assert file["policy_loss"](*jnp.ones((3, 2, 5)), fraction=0.5).shape == (2, 5)
        assert file["policy_loss"](-1.0, -1.0, 2.0, fraction=0.5).shape == ()
    with pytest.raises(ValueError, match=r"\(3, 1\), \(3,\), \(3,\)"):
        file["policy_loss"](jnp.zeros((3, 1)), jnp.zeros(3), jnp.ones(3), fraction=0.5)
    batch = policy_loss(log_prob, old, advantage, fraction=0.25)
    assert batch.shape == (3, 4) and batch.dtype == jnp.float32
    one = policy_loss(log_prob[1, 2], old[1, 2], advantage[1, 2], fraction=0.25)
    np.testing.assert_allclose(batch[1, 2], one, rtol=1e-6)
    per_sample = policy_loss(log_prob, old, advantage, fraction=jnp.full((3, 4), 0.25))
    np.testing.assert_allclose(batch, per_sample, rtol=1e-6)
    assert np.abs(batch - policy_loss(log_prob, old, advantage, fraction=0.9)).max() > 1e-3
    drift = jax.jit(file["drift"])(log_prob - old, advantage, fraction=0.25)
    np.testing.assert_allclose(batch, drift - jnp.exp(log_prob - old) * advantage, rtol=1e-5, atol=1e-6)
