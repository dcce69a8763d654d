"""Potentials, and the mirror maps they induce on the simplex (Alfano et al. 2023).

A potential is an increasing phi. A policy is pi(a) = relu(phi(z_a + lambda)) of scores z, with lambda such
that it sums to 1 (`objectives/simplex.py`). The mirror map it induces is h(p) = sum_a H(p_a), with H(y) the
integral of phi^{-1} from 1 to y, so that h' = phi^{-1} in each coordinate. Known ones:

    negative entropy   phi^{-1}(y) = 1 + log y                           softmax policies
    l2                 phi^{-1}(y) = y                                   Euclidean projection: sparse policies
    Tsallis            phi^{-1}(y) = 1 + q (y^(q - 1) - 1) / (q - 1)     sparse policies for q > 1

A constant added to phi^{-1} moves lambda and no policy. That of Tsallis is chosen such that q = 1 is negative
entropy, with finite derivatives by q; elsewhere one reads q y^(q - 1) / (q - 1).

The learned one is in `objectives/learned_potential.py`.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


class Potential(NamedTuple):
    """A potential as pure functions, elementwise in y and x; `weights` is any pytree of arrays.

    Attributes:
        inverse: ``(weights, y) -> phi^{-1}(y)``, for y in (0, 1].
        integral: ``(weights, y) -> H(y)``, for y in [0, 1]; H(1) = 0.
        prepare: ``weights -> prepared``, what `phi` needs, made once for any number of x.
        phi: ``(prepared, x) -> y``, for x up to phi^{-1}(1); zero below phi^{-1}(0).
    """

    inverse: Callable[[Any, Array], Array]
    integral: Callable[[Any, Array], Array]
    prepare: Callable[[Any], Any]
    phi: Callable[[Any, Array], Array]


def slope(potential: Potential, weights: Any, y: Float[Array, "..."]) -> Float[Array, "..."]:
    """The derivative of phi^{-1} at y, elementwise; not negative."""
    return jax.jvp(lambda y: potential.inverse(weights, y), (y,), (jnp.ones_like(y),))[1]


def bregman(
    potential: Potential, weights: Any, p: Float[Array, "... A"], q: Float[Array, "... A"]
) -> Float[Array, "..."]:
    """D(p, q) = sum_a H(p_a) - H(q_a) - phi^{-1}(q_a) (p_a - q_a) >= 0, for positive q."""
    gap = potential.integral(weights, p) - potential.integral(weights, q)
    return (gap - potential.inverse(weights, q) * (p - q)).sum(-1)


def y_log_y(y: Float[Array, "..."]) -> Float[Array, "..."]:
    """The integral of 1 + log y, which is 0 at y = 0."""
    positive = y > 0
    return jnp.where(positive, y * jnp.log(jnp.where(positive, y, 1.0)), 0.0)


def expm1_ratio(u: Float[Array, "..."]) -> Float[Array, "..."]:
    """(e^u - 1) / u, which is 1 at u = 0; smooth there, in float32 too."""
    small = jnp.abs(u) < 1e-3
    safe = jnp.where(small, 1.0, u)
    return jnp.where(small, 1.0 + u * (1 / 2 + u * (1 / 6 + u / 24)), jnp.expm1(safe) / safe)


def log1p_ratio(u: Float[Array, "..."]) -> Float[Array, "..."]:
    """log(1 + u) / u for u > -1, which is 1 at u = 0; smooth there, in float32 too."""
    small = jnp.abs(u) < 1e-3
    safe = jnp.where(small, 1.0, u)
    return jnp.where(small, 1.0 - u * (1 / 2 - u * (1 / 3 - u / 4)), jnp.log1p(safe) / safe)


def _as_they_are(weights: Any) -> Any:
    """The weights."""
    return weights


def _entropy_inverse(weights: Any, y: Array) -> Array:
    """phi^{-1}(y) = 1 + log y: negative entropy, softmax policies."""
    return 1.0 + jnp.log(y)


def _entropy_phi(weights: Any, x: Array) -> Array:
    """exp(x - 1)."""
    return jnp.exp(x - 1.0)


negative_entropy = Potential(
    inverse=_entropy_inverse,
    integral=lambda weights, y: y_log_y(y),
    prepare=_as_they_are,
    phi=_entropy_phi,
)
"""Softmax policies: natural policy gradient. Its weights are ``()``."""


def _l2_inverse(weights: Any, y: Array) -> Array:
    """phi^{-1}(y) = y: Euclidean projection, sparse policies."""
    return y


def _l2_phi(weights: Any, x: Array) -> Array:
    """max(x, 0)."""
    return jnp.maximum(x, 0.0)


l2 = Potential(
    inverse=_l2_inverse,
    integral=lambda weights, y: 0.5 * (jnp.square(y) - 1.0),
    prepare=_as_they_are,
    phi=_l2_phi,
)
"""Policies by Euclidean projection. Its weights are ``()``."""


def _tsallis_inverse(q: Array | float, y: Array) -> Array:
    """phi^{-1}(y) = 1 + q (y^(q - 1) - 1) / (q - 1): a Tsallis entropy, 1 + log y where q = 1."""
    log_y = jnp.log(y)
    return 1.0 + q * log_y * expm1_ratio((q - 1.0) * log_y)


def _tsallis_integral(q: Array | float, y: Array) -> Array:
    """(y^q - y) / (q - 1)."""
    positive = y > 0
    return y_log_y(y) * expm1_ratio((q - 1.0) * jnp.log(jnp.where(positive, y, 1.0)))


def _tsallis_phi(q: Array | float, x: Array) -> Array:
    """(1 + (q - 1) (x - 1) / q)_+^(1 / (q - 1)), exp(x - 1) where q = 1."""
    scaled = (x - 1.0) / q
    positive = (q - 1.0) * scaled > -1.0
    safe = jnp.where(positive, (q - 1.0) * scaled, 0.0)
    return jnp.where(positive, jnp.exp(scaled * log1p_ratio(safe)), 0.0)


tsallis = Potential(_tsallis_inverse, _tsallis_integral, _as_they_are, _tsallis_phi)
"""Tsallis entropies. Its weights are q > 0, traced: 1 is negative entropy, 2 is l2 with twice the slope."""
