"""Exported mirror maps: parity with ours, the loss by hand, and what a host can do wrong."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from discovery.core.errors import RunError
from discovery.core.jobs import AlgorithmSpec
from discovery.export.trials import MIRROR_MAP, reference
from discovery.export.verify import compare, probe
from discovery.export.write import resolve
from objectives.mirror_map.algorithm import SMALLEST


def ampo(**options):
    return AlgorithmSpec("ampo", tuple(options.items()))


SPECS: dict[str, tuple[AlgorithmSpec, dict[str, float]]] = {
    "temporal": (ampo(normalized=True, temporal=True, units=12), {"eta": 0.5}),
    "tsallis": (ampo(map="tsallis"), {"tsallis_q": 0.7}),
    "negative_entropy": (ampo(map="negative_entropy"), {"eta": 2.0}),
    "l2": (ampo(map="l2"), {"eta": 2.0}),
    "learned": (ampo(), {}),
    "learned, random": (ampo(anchored=False, units=6), {"eta": 3.0}),
    "tsallis, sparse": (ampo(map="tsallis"), {"tsallis_q": 1.5}),
    "tsallis at 1": (ampo(map="tsallis"), {"tsallis_q": 1.0}),
}
POINTS = 400


@pytest.fixture(scope="module")
def source_of(exported):
    return functools.cache(lambda name: exported(*SPECS[name]))


@pytest.fixture(scope="module")
def ours(searched):
    def compute(name):
        spec, numbers = SPECS[name]
        algorithm, entries, resolved = resolve(spec, searched(spec), numbers)
        at = MIRROR_MAP.points(spec, algorithm, resolved, POINTS, 0)
        return at, reference(algorithm, entries, resolved, at, MIRROR_MAP)

    return compute


def assert_same(spec, theirs, ours, at):
    compare(spec, theirs, ours, at, MIRROR_MAP)
    values, probabilities = ours["float64/value"], ours["float64/value"][:, :4]
    assert values.shape == (POINTS, 5) and np.abs(ours["float64/gradient"]).max() > 0.1
    np.testing.assert_allclose(probabilities.sum(-1), 1.0, atol=1e-12)
    np.testing.assert_allclose(theirs["float32/value"], ours["float32/value"], rtol=1e-4, atol=1e-4)


def test_policy_loss_and_derivatives_are_ours_and_another_number_is_refused(source_of, ours):
    spec, right, (at, expected) = SPECS["temporal"][0], source_of("temporal"), ours("temporal")
    found, wrong = probe([right, right.replace("RISE = 0.6931", "RISE = 0.6932")], at)
    assert_same(spec, found, expected, at)
    with pytest.raises(RunError, match=r"value of 'ampo'.*n/N 0"):
        compare(spec, wrong, expected, at, MIRROR_MAP)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in SPECS if name != "temporal"])
def test_policy_loss_and_derivatives_are_ours_for_every_map(name, source_of, ours):
    at, expected = ours(name)
    assert_same(SPECS[name][0], probe([source_of(name)], at)[0], expected, at)


def test_loss_by_hand(source_of, load):
    """Negative entropy, eta = 2: two samples, the second of an action that was all but impossible."""
    file = load(source_of("negative_entropy"))
    scores, action = jnp.array([[0.2, 0.4], [1.0, -1.0]]), jnp.array([1, 0])
    got = file["score_loss"](scores, action, jnp.log(jnp.array([0.3, 1e-9])), jnp.array([1.0, -3.0]))
    targets = np.array([1 + (1 + np.log(0.3)) / 2, -3 + (1 + np.log(1e-6)) / 2])
    np.testing.assert_allclose(got, (np.array([0.4, 1.0]) - targets) ** 2, rtol=1e-5)
    assert file["SMALLEST"] == SMALLEST


def test_any_shape_and_type(source_of, load):
    file: dict[str, Any] = load(source_of("tsallis"))
    scores = jnp.asarray(np.random.default_rng(0).normal(0, 1, (2, 3, 4)), jnp.bfloat16)
    zeros = jnp.zeros((2, 3))
    with jax.numpy_rank_promotion("raise"):
        p = jax.jit(file["policy"])(scores)
        assert jax.eval_shape(file["score_loss"], scores, zeros.astype(int), zeros, zeros).shape == (2, 3)
    assert p.shape == (2, 3, 4) and p.dtype == jnp.float32
    np.testing.assert_allclose(p.sum(-1), 1.0, atol=1e-5)
    with pytest.raises(ValueError, match=r"\(2, 3, 4\)"):
        file["score_loss"](scores, zeros.astype(int), zeros[..., None], zeros)


def test_a_temporal_map_requires_the_fraction_and_uses_it(source_of, load):
    file = load(source_of("temporal"))
    policy = jax.jit(file["policy"])
    with pytest.raises(TypeError, match="fraction"):
        file["policy"](jnp.zeros(3))
    scores = jnp.array([1.0, 0.0, -1.0])
    early, late = (policy(scores, fraction=fraction) for fraction in (0.0, 0.9))
    assert np.abs(early - late).max() > 1e-3
