"""The projection onto the simplex that a potential defines, with an implicit derivative.

    p_a = relu(phi(z_a + lambda)),   sum_a p_a = 1

lambda is found by search, and differentiated by the implicit function theorem:
d lambda = -(d mass at fixed lambda) / (d mass / d lambda). All else is differentiated as it is written. So
derivatives of any order, by the scores and by the potential's weights, are those of the solution, not of the
search.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from objectives.potentials import Potential

STEPS = 30
"""Steps at most: halvings of the bracket, or Newton's where these are shorter. Mostly 4 to 8 are enough."""


def project(potential: Potential, weights: Any, z: Float[Array, "... A"]) -> Float[Array, "... A"]:
    """The probabilities that maximize sum_a z_a p_a - H(p_a) over the simplex.

    They sum to 1 within rounding, may be exactly zero, and do not change when a constant is added to `z`.
    Before they are divided by their sum, it is 1 within 2e-6 in float64 and 2e-5 in float32; but where phi is
    infinitely steep, no float32 lambda is right: for a bare cube unit with b = 0 it is off by up to 6e-3.
    """
    p = _undivided(potential, weights, z)
    return p / p.sum(-1, keepdims=True)


def _undivided(potential: Potential, weights: Any, z: Array) -> Array:
    """phi(z + lambda), whose sum differs from 1 by what lambda is not exact."""
    z = z - z.max(-1, keepdims=True)
    bracket = potential.inverse(weights, jnp.asarray([1.0 / z.shape[-1], 1.0], z.dtype))
    prepared = potential.prepare(weights)
    return potential.phi(prepared, z + _offset(potential, prepared, z, bracket))


def _mass(potential: Potential, prepared: Any, z: Array, offset: Array) -> Array:
    """The sum of all phi(z_a + offset), [..., 1]."""
    return potential.phi(prepared, z + offset).sum(-1, keepdims=True)


def _mass_and_slope(potential: Potential, prepared: Any, z: Array, offset: Array) -> tuple[Array, Array]:
    """The mass, and its derivative by the offset, which is positive where any action has a probability."""
    unit = jnp.ones_like(offset)
    value, slope = jax.jvp(lambda x: _mass(potential, prepared, z, x), (offset,), (unit,))
    return value, jnp.maximum(slope, jnp.finfo(z.dtype).tiny)


def _offset(potential: Potential, prepared: Any, z: Array, bracket: Array) -> Array:
    """lambda ``[..., 1]``. Its derivative, of any order, is that of the solution, not of the search."""

    @jax.custom_jvp
    def solution(prepared: Any, z: Array, bracket: Array) -> Array:
        return _search(potential, prepared, z, bracket)

    @solution.defjvp
    def solution_jvp(primals: Any, tangents: Any) -> tuple[Array, Array]:
        prepared, z, bracket = primals
        found = solution(prepared, z, bracket)
        _, moved = jax.jvp(lambda w, z: _mass(potential, w, z, found), (prepared, z), tangents[:2])
        return found, -moved / _mass_and_slope(potential, prepared, z, found)[1]

    return solution(prepared, z, bracket)


def _search(potential: Potential, prepared: Any, z: Array, bracket: Array) -> Array:
    """lambda ``[..., 1]``, between the two numbers of `bracket`, for scores ``[..., A]`` whose largest is 0.

    With lambda = phi^{-1}(1 / A) no probability exceeds 1 / A; with phi^{-1}(1) the largest is 1.
    """
    tolerance = 4.0 * jnp.finfo(z.dtype).eps * jnp.abs(bracket).max()

    def goes_on(carry: tuple[Array, ...]) -> Array:
        step, *_, moved = carry
        return (step < STEPS) & (moved > tolerance).any()

    def refine(carry: tuple[Array, ...]) -> tuple[Array, ...]:
        """Newton's step where it stays inside and is at most half the last one, else a halving."""
        step, low, high, here, moved = carry
        value, slope = _mass_and_slope(potential, prepared, z, here)
        low, high = jnp.where(value < 1.0, here, low), jnp.where(value < 1.0, high, here)
        newton = here - (value - 1.0) / slope
        good = (newton >= low) & (newton <= high) & (jnp.abs(newton - here) <= 0.5 * moved)
        there = jnp.where(good, newton, 0.5 * (low + high))
        there = jnp.where(moved > tolerance, there, here)  # a row must not depend on what others still need
        return step + 1, low, high, there, jnp.abs(there - here)

    low, high = (jnp.broadcast_to(end, (*z.shape[:-1], 1)) for end in bracket)
    return jax.lax.while_loop(goes_on, refine, (jnp.int32(0), low, high, high, high - low))[3]
