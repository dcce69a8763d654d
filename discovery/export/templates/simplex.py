"""The projection onto the simplex that a potential defines; potentials in closed form have no table."""

import jax
import jax.numpy as jnp

from discovery.export.templates.learned_map import phi

STEPS = 30


def project(table, z, ends):
    """Probabilities relu(phi(z_a + lambda)), [..., A], that sum to 1; not changed by a constant added to `z`.

    `ends` are phi^{-1}(1 / A) and phi^{-1}(1), between which lambda lies once the largest score is zero.
    """
    z = z - z.max(-1, keepdims=True)
    p = phi(table, z + offset(table, z, ends))
    return p / p.sum(-1, keepdims=True)


def mass(table, z, at):
    """The sum of all phi(z_a + at), [..., 1]."""
    return phi(table, z + at).sum(-1, keepdims=True)


def mass_and_slope(table, z, at):
    """The mass and its derivative by the offset."""
    value, slope = jax.jvp(lambda x: mass(table, z, x), (at,), (jnp.ones_like(at),))
    return value, jnp.maximum(slope, jnp.finfo(z.dtype).tiny)


@jax.custom_jvp
def offset(table, z, ends):
    """lambda, [..., 1]: by Newton's steps where these stay inside and shrink, else by bisection."""
    tolerance = 4.0 * jnp.finfo(z.dtype).eps * jnp.abs(ends).max()

    def goes_on(carry):
        return (carry[0] < STEPS) & (carry[-1] > tolerance).any()

    def refine(carry):
        step, low, high, here, moved = carry
        value, slope = mass_and_slope(table, z, here)
        low, high = jnp.where(value < 1.0, here, low), jnp.where(value < 1.0, high, here)
        newton = here - (value - 1.0) / slope
        good = (newton >= low) & (newton <= high) & (jnp.abs(newton - here) <= 0.5 * moved)
        there = jnp.where(good, newton, 0.5 * (low + high))
        there = jnp.where(moved > tolerance, there, here)
        return step + 1, low, high, there, jnp.abs(there - here)

    low, high = (jnp.broadcast_to(end, (*z.shape[:-1], 1)) for end in ends)
    return jax.lax.while_loop(goes_on, refine, (jnp.int32(0), low, high, high, high - low))[3]


@offset.defjvp
def offset_jvp(primals, tangents):
    """Of the solution, not of the search: -(d mass at this lambda) / (d mass / d lambda). By scores alone."""
    table, z, _ = primals
    found = offset(*primals)
    _, moved = jax.jvp(lambda z: mass(table, z, found), (z,), (tangents[-2],))
    return found, -moved / mass_and_slope(table, z, found)[1]
