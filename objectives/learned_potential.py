"""The learned potential: phi^{-1} as a monotone network of one hidden layer (Alfano et al. 2025).

    phi^{-1}(y) = sum_j v_j g_j(w_j y + b_j) + a y + c log y,      v, w, b, a, c >= 0

The units are in six equal groups, by g: cube, square, square root, cube root, log(z + 1e-3), exp; all
increase on z >= 0. With c > 0 every action keeps a positive probability; c = 0 allows exact zeros. The term
a y alone is l2, c log y alone negative entropy. Multiplying phi^{-1} by k divides the step size by k, so that
a search over these numbers chooses the step size as well, unless they are `normalized`.
"""

from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from objectives.potentials import Potential, expm1_ratio, log1p_ratio, slope, y_log_y

GROUPS = 6
LOG_SHIFT = 1e-3
RISE = float(np.log(2.0))
"""phi^{-1}(1) - phi^{-1}(1/2) of negative entropy, and of every normalized map."""
NODES = np.linspace(0.01, 1.0, 128) ** 4
"""Probabilities at which phi^{-1} is tabulated, for phi by cubic interpolation: close to zero they are so
dense that errors are of one size, 2e-9 for the logarithm. Less than the first, 1e-8, counts as zero."""


class MonotoneNetwork(NamedTuple):
    """The numbers of phi^{-1}, none negative: v, w and b of the units by group, and (a, c)."""

    w_out: Float[Array, "6 U"]
    w_in: Float[Array, "6 U"]
    bias: Float[Array, "6 U"]
    terms: Float[Array, "2"]


def check_units(units: int) -> None:
    """Raise a ValueError unless `units` is a positive multiple of 6."""
    if units < GROUPS or units % GROUPS:
        raise ValueError(f"units must be a positive multiple of {GROUPS}, one share a group, got {units}")


def random_numbers(key: PRNGKeyArray, units: int, anchored: bool) -> dict[str, Array]:
    """What is searched: 3 * units + 2 numbers, from which `monotone` makes a network.

    Uniform in (0, 1); when `anchored`, those of the output, of a and of c are zero, which is negative
    entropy. The units' inputs are random there too, for they must differ from one another.

    Raises:
        ValueError: unless `units` is a positive multiple of 6.
    """
    check_units(units)
    shape = (GROUPS, units // GROUPS)
    shapes = {"w_out": shape, "w_in": shape, "bias": shape, "terms": (2,)}
    keys = jax.random.split(key, len(shapes))
    drawn = {name: jax.random.uniform(k, shapes[name]) for k, name in zip(keys, shapes, strict=True)}
    zeros = {name: jnp.zeros(shapes[name]) for name in ("w_out", "terms") if anchored}
    return {**drawn, **zeros}


def monotone(numbers: Mapping[str, Array], anchored: bool, normalize: bool = False) -> MonotoneNetwork:
    """The network of `numbers` of any sign: each is cut off at zero; v is divided by the number of units.

    Cut off, because the maps one knows lie where numbers are exactly zero: a softplus never gets there, and
    a square is even, so that antithetic pairs around zero cancel. `jnp.maximum` has slope 1/2 at zero, so
    that gradients leave it. Non-negative units add up; divided, they weigh about as much as a and c, and one
    step size of a search suits all. When `anchored`, c is one more than its number. `normalize` it and it
    rises by `RISE` between 1/2 and 1, so that its shape alone is searched, and not a step size.
    """
    kept = {name: jnp.maximum(x, 0.0) for name, x in numbers.items()}
    kept["w_out"] = kept["w_out"] / kept["w_out"].size
    if anchored:
        kept["terms"] = jnp.maximum(numbers["terms"] + jnp.asarray([0.0, 1.0], numbers["terms"].dtype), 0.0)
    network = MonotoneNetwork(**kept)
    return normalized(network) if normalize else network


def normalized(network: MonotoneNetwork) -> MonotoneNetwork:
    """The network times a constant, with phi^{-1}(1) - phi^{-1}(1/2) = `RISE`; one of zeros stays."""
    half, one = _inverse(network, jnp.asarray([0.5, 1.0], network.terms.dtype))
    factor = RISE / jnp.maximum(one - half, jnp.finfo(half.dtype).tiny ** 0.5)
    return network._replace(w_out=factor * network.w_out, terms=factor * network.terms)


def _root(z: Array, n: int) -> Array:
    """The n-th root, with derivative zero at zero, where its own is infinite."""
    positive = z > 0
    return jnp.where(positive, jnp.exp(jnp.log(jnp.where(positive, z, 1.0)) / n), 0.0)


def _groups(z: Array) -> list[Array]:
    """The units of each of the six kinds."""
    return [z[..., k, :] for k in range(GROUPS)]


def _units(z: Array) -> Array:
    """g(z) of ``[..., 6, U]``."""
    cube, square, root2, root3, log, exp = _groups(z)
    values = [cube**3, square**2, _root(root2, 2), _root(root3, 3), jnp.log(log + LOG_SHIFT), jnp.exp(exp)]
    return jnp.stack(values, axis=-2)


def _unit_means(z: Array, end: Array) -> Array:
    """The mean of g between `z` and `end` >= z: (G(end) - G(z)) / (end - z), G the antiderivative of g.

    Written without that division, it is exact where z = end, as of a unit with w = 0.
    """
    cube, square, root2, root3, log, exp = zip(_groups(z), _groups(end), strict=True)
    s, t = (_root(x, 2) for x in root2)
    q, r = (_root(x, 3) for x in root3)
    first, last = (x + LOG_SHIFT for x in log)
    tiny = jnp.finfo(z.dtype).tiny
    means = [
        (cube[0] + cube[1]) * (cube[0] ** 2 + cube[1] ** 2) / 4,
        (square[0] ** 2 + square[0] * square[1] + square[1] ** 2) / 3,
        2 * (s**2 + s * t + t**2) / jnp.maximum(3 * (s + t), tiny),
        3 * (q + r) * (q**2 + r**2) / jnp.maximum(4 * (q**2 + q * r + r**2), tiny),
        jnp.log(first) + last / first * log1p_ratio((last - first) / first) - 1,
        jnp.exp(exp[0]) * expm1_ratio(exp[1] - exp[0]),
    ]
    return jnp.stack(means, axis=-2)


def _along(y: Array, weights: Array) -> Array:
    """Weights ``[6, U]`` as ``[..., 6, U]``, for y ``[...]``."""
    return jnp.expand_dims(weights, tuple(range(y.ndim)))


def _inverse(network: MonotoneNetwork, y: Array) -> Array:
    """phi^{-1}(y) = sum_j v_j g_j(w_j y + b_j) + a y + c log y, elementwise."""
    z = jnp.expand_dims(y, (-2, -1)) * _along(y, network.w_in) + _along(y, network.bias)
    linear, log = network.terms
    return (_along(y, network.w_out) * _units(z)).sum((-2, -1)) + linear * y + log * jnp.log(y)


def _integral(network: MonotoneNetwork, y: Array) -> Array:
    z = y[..., None, None] * network.w_in + network.bias
    units = (network.w_out * _unit_means(z, network.w_in + network.bias)).sum((-2, -1)) * (y - 1.0)
    linear, log = network.terms
    return units + linear * 0.5 * (jnp.square(y) - 1.0) + log * (y_log_y(y) - (y - 1.0))


class Table(NamedTuple):
    """phi and its derivative at ascending x."""

    x: Float[Array, " G"]
    y: Float[Array, " G"]
    slope: Float[Array, " G"]


def _tabulate(network: MonotoneNetwork) -> Table:
    """phi at phi^{-1}(NODES)."""
    y = jnp.asarray(NODES, network.terms.dtype)
    steepness = slope(learned, network, y)
    return Table(_inverse(network, y), y, 1.0 / jnp.maximum(steepness, jnp.finfo(y.dtype).eps))


def _interpolate(table: Table, x: Array) -> Array:
    """phi(x) by the table's cubic that has its value and slope at both nodes around x.

    Slopes of at most three times the chord's make it monotone (Fritsch & Carlson 1980).
    """
    left = jnp.clip(jnp.searchsorted(table.x, x, method="scan") - 1, 0, table.x.size - 2)
    x0, y0 = table.x[left], table.y[left]
    width = jnp.maximum(table.x[left + 1] - x0, jnp.finfo(x.dtype).eps ** 2)
    rise = table.y[left + 1] - y0
    t = jnp.clip((x - x0) / width, 0.0, 2.0)
    begin, end = (jnp.minimum(width * table.slope[k], 3.0 * rise) for k in (left, left + 1))
    y = y0 + t * (begin + t * (3.0 * rise - 2.0 * begin - end + t * (begin + end - 2.0 * rise)))
    return jnp.where(x < x0, 0.0, y)


learned = Potential(_inverse, _integral, _tabulate, _interpolate)
"""Its weights are a `MonotoneNetwork`."""
