"""A potential whose inverse phi^{-1} is a program; see `objectives/programs`.

    phi^{-1}(y) = f g(y),     with g the program, and f = 1

or, if it is normalized, f such that phi^{-1} rises between 1/2 and 1 as negative entropy does. phi is
tabulated as that of the learned potential.
"""

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from objectives.mirror_map.learned_potential import NODES, RISE, Table, learned
from objectives.mirror_map.potentials import Potential, slope
from objectives.programs.code import Code
from objectives.programs.interpreter import interpret

_AT, _SHARE = np.polynomial.legendre.leggauss(48)
"""Nodes and weights of Gauss and Legendre's quadrature on [-1, 1]."""


class ScaledProgram(NamedTuple):
    """The weights: a program as arrays, and the factor f on its result."""

    code: Code
    factor: Float[Array, ""]


def weights_of(code: Code, normalized: bool, dtype: Any = jnp.float32) -> ScaledProgram:
    """The weights of a program."""
    code = {**code, "constants": jnp.asarray(code["constants"], dtype)}
    plain = ScaledProgram(code, jnp.ones((), dtype))
    if not normalized:
        return plain
    half, one = _inverse(plain, jnp.asarray([0.5, 1.0], dtype))
    return ScaledProgram(code, RISE / jnp.maximum(one - half, jnp.finfo(dtype).tiny ** 0.5))


def _inverse(weights: ScaledProgram, y: Float[Array, "..."]) -> Float[Array, "..."]:
    """phi^{-1}(y), elementwise."""
    (result,) = interpret(weights.code, (y,))
    return weights.factor * result


def _integral(weights: ScaledProgram, y: Float[Array, "..."]) -> Float[Array, "..."]:
    """The integral of phi^{-1} from 1 to y: by quadrature in u = y^(1/4), in which a logarithm is tame."""
    begin = jnp.maximum(y, 0.0) ** 0.25
    half = 0.5 * (1.0 - begin)
    u = begin[..., None] + half[..., None] * (1.0 + jnp.asarray(_AT, y.dtype))
    values = _inverse(weights, u**4) * 4 * u**3 * jnp.asarray(_SHARE, y.dtype)
    return -half * values.sum(-1)


def _tabulate(weights: ScaledProgram) -> Table:
    """phi at phi^{-1}(NODES)."""
    y = jnp.asarray(NODES, weights.factor.dtype)
    steepness = slope(program, weights, y)
    return Table(_inverse(weights, y), y, 1.0 / jnp.maximum(steepness, jnp.finfo(y.dtype).eps))


program = Potential(_inverse, _integral, _tabulate, learned.phi)
"""Its weights are a `ScaledProgram`."""
