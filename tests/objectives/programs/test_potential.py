"""A program as a potential: the known ones are those that are written by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from objectives.mirror_map.learned_potential import RISE
from objectives.mirror_map.potentials import l2, negative_entropy, tsallis
from objectives.mirror_map.program_potential import program, weights_of
from objectives.mirror_map.simplex import project
from objectives.programs.code import Size, encode
from objectives.programs.known import known

Y = jnp.geomspace(1e-4, 1.0, 20)
SCORES = 2 * jax.random.normal(jax.random.key(0), (3, 4))
ORIGINALS = {
    "negative_entropy": (negative_entropy, ()),
    "l2": (l2, ()),
    "tsallis": (tsallis, jnp.float32(0.5)),
}


@jax.jit
def of_program(weights):
    policies, backwards = jax.vjp(lambda z: project(program, weights, z), SCORES)
    return program.inverse(weights, Y), program.integral(weights, Y), policies, backwards(SCORES**2)[0]


@pytest.mark.parametrize("name", ORIGINALS)
def test_known_potentials(name):
    potential, weights = ORIGINALS[name]
    policies, backwards = jax.vjp(lambda z: project(potential, weights, z), SCORES)
    expected = (
        potential.inverse(weights, Y),
        potential.integral(weights, Y),
        policies,
        backwards(SCORES**2)[0],
    )
    found = of_program(weights_of(encode(known("potential", name), Size(16, 8)), normalized=False))
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-5, atol=2e-5)


def test_a_normalized_program_rises_as_negative_entropy_does():
    weights = weights_of(encode(known("potential", "tsallis"), Size(16, 8)), normalized=True)
    half, one = program.inverse(weights, jnp.asarray([0.5, 1.0]))
    assert float(one - half) == pytest.approx(RISE, rel=1e-5)
