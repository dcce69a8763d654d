"""The learned potential: phi^{-1} is a monotone network, phi its table."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

NODES = np.linspace(0.01, 1.0, 128) ** 4
ANCHOR = 1.0
RISE = 0.0
NUMBERS = {}


class Network(NamedTuple):
    """The numbers of phi^{-1}, none negative: three arrays [6, U], and (a, c)."""

    w_out: Any
    w_in: Any
    bias: Any
    terms: Any


class Table(NamedTuple):
    """phi and its derivative at ascending x, each [G]."""

    x: Any
    y: Any
    slope: Any


def network_at(dtype):
    """The network: negative numbers count as zero, and c is ANCHOR more than its own."""
    numbers = {name: jnp.asarray(x, dtype) for name, x in NUMBERS.items()}
    terms = numbers["terms"] + jnp.asarray([0.0, ANCHOR], dtype)
    kept = {name: jnp.maximum(x, 0.0) for name, x in {**numbers, "terms": terms}.items()}
    return with_rise(Network(**{**kept, "w_out": kept["w_out"] / kept["w_out"].size}))


def with_rise(network):
    """The network times a constant, such that phi^{-1}(1) - phi^{-1}(1/2) is RISE, unless that is 0."""
    if RISE == 0:
        return network
    half, one = inverse(network, jnp.asarray([0.5, 1.0], network.terms.dtype))
    factor = RISE / jnp.maximum(one - half, jnp.finfo(half.dtype).tiny ** 0.5)
    return network._replace(w_out=factor * network.w_out, terms=factor * network.terms)


def root(z, n):
    """The n-th root, with derivative zero at zero."""
    positive = z > 0
    return jnp.where(positive, jnp.exp(jnp.log(jnp.where(positive, z, 1.0)) / n), 0.0)


def inverse(network, y):
    """phi^{-1}(y) = sum_j v_j g_j(w_j y + b_j) + a y + c log y, elementwise.

    The units are in six equal groups, by g: cube, square, square root, cube root, log(z + 1e-3), exp.
    """
    z = y[..., None, None] * network.w_in + network.bias
    cube, square, root2, root3, log, exp = (z[..., group, :] for group in range(6))
    units = [cube**3, square**2, root(root2, 2), root(root3, 3), jnp.log(log + 1e-3), jnp.exp(exp)]
    linear, logarithm = network.terms
    return (network.w_out * jnp.stack(units, axis=-2)).sum((-2, -1)) + linear * y + logarithm * jnp.log(y)


def tabulate(network):
    """phi at phi^{-1}(NODES)."""
    y = jnp.asarray(NODES, network.terms.dtype)
    x, slope = jax.jvp(lambda y: inverse(network, y), (y,), (jnp.ones_like(y),))
    return Table(x, y, 1.0 / jnp.maximum(slope, jnp.finfo(y.dtype).eps))


def phi(table, x):
    """By the monotone cubic between the table's nodes around x, elementwise; zero below them."""
    left = jnp.clip(jnp.searchsorted(table.x, x, method="scan") - 1, 0, table.x.size - 2)
    x0, y0 = table.x[left], table.y[left]
    width = jnp.maximum(table.x[left + 1] - x0, jnp.finfo(x.dtype).eps ** 2)
    rise = table.y[left + 1] - y0
    t = jnp.clip((x - x0) / width, 0.0, 2.0)
    begin, end = (jnp.minimum(width * table.slope[k], 3.0 * rise) for k in (left, left + 1))
    y = y0 + t * (begin + t * (3.0 * rise - 2.0 * begin - end + t * (begin + end - 2.0 * rise)))
    return jnp.where(x < x0, 0.0, y)
