"""What recurrent agents remember with: a gated unit, and a linear recurrence run in parallel over time.

Both read ``x [T, E, F]`` from a carry ``[E, ...]`` on, and forget everything before a step that `start`
``[T, E]`` marks as the first of an episode: resets happen inside a sequence.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

RADIUS = (0.9, 0.999)
"""Initial moduli of the linear recurrence's eigenvalues: memories of 10 to 1,000 steps."""
ANGLE = 0.3
"""Largest initial phase, radians per step."""


class GRU(nn.Module):
    """Gated recurrent unit (Cho et al. 2014), in the form of flax and cuDNN.

    r = sigma(W_r x + U_r h + b_r), z = sigma(W_z x + U_z h + b_z), n = tanh(W_n x + b_n + r (U_n h + c)),
    h' = (1 - z) n + z h. The products with x are taken for all times at once.
    """

    width: int

    @nn.compact
    def __call__(
        self, carry: Float[Array, "E H"], x: Float[Array, "T E F"], start: Bool[Array, "T E"]
    ) -> tuple[Float[Array, "E H"], Float[Array, "T E H"]]:
        width = self.width
        kernel = self.param("kernel", _side_by_side(nn.initializers.lecun_normal()), (x.shape[-1], 3, width))
        bias = self.param("bias", nn.initializers.zeros, (3, width))
        inner = self.param("inner", _side_by_side(nn.initializers.orthogonal()), (width, 3, width))
        inner_bias = self.param("inner_bias", nn.initializers.zeros, (width,))
        seen = (x @ kernel.reshape(-1, 3 * width)) + bias.reshape(-1)

        def step(h: Array, inputs: tuple[Array, Array]) -> tuple[Array, Array]:
            seen_t, start_t = inputs
            h = jnp.where(start_t[:, None], 0.0, h)
            x_r, x_z, x_n = jnp.split(seen_t, 3, axis=-1)
            h_r, h_z, h_n = jnp.split(h @ inner.reshape(-1, 3 * width), 3, axis=-1)
            z = jax.nn.sigmoid(x_z + h_z)
            n = jnp.tanh(x_n + jax.nn.sigmoid(x_r + h_r) * (h_n + inner_bias))
            h = (1.0 - z) * n + z * h
            return h, h

        return jax.lax.scan(step, carry, (seen, start))

    @staticmethod
    def initial_carry(n: int, width: int) -> Float[Array, "n H"]:
        """The state of `n` environments in which nothing has happened."""
        return jnp.zeros((n, width))


def _side_by_side(initializer: nn.initializers.Initializer) -> nn.initializers.Initializer:
    """Initializes ``[F, 3, H]`` as three matrices ``[F, H]``."""

    def initial(key: Array, shape: tuple[int, ...], dtype: Any = jnp.float32) -> Array:
        keys = jax.random.split(key, shape[1])
        return jnp.stack([initializer(k, (shape[0], shape[2]), dtype) for k in keys], axis=1)

    return initial


class LinearRecurrence(nn.Module):
    """A diagonal linear recurrence, as in S5 (Smith et al. 2023) and LRU (Orvieto et al. 2023, eq. 5 to 8).

    h_t = lambda h_{t-1} + sqrt(1 - |lambda|^2) B x_t, complex, with lambda = exp(-exp(nu) + i theta), so that
    |lambda| < 1 whatever is learned. A complex number is a pair of real ones, in params and in the carry.
    """

    width: int

    @nn.compact
    def __call__(
        self, carry: Float[Array, "E 2 H"], x: Float[Array, "T E F"], start: Bool[Array, "T E"]
    ) -> tuple[Float[Array, "E 2 H"], Float[Array, "T E 2 H"]]:
        width = self.width
        nu = self.param("nu", _initial_nu, (width,))
        theta = self.param("theta", _initial_theta, (width,))
        kernel = self.param("kernel", _initial_complex, (x.shape[-1], 2, width))
        modulus = jnp.exp(-jnp.exp(nu))
        seen = (x @ kernel.reshape(-1, 2 * width)) * jnp.tile(jnp.sqrt(1.0 - modulus**2), 2)
        factor = jax.lax.complex(modulus * jnp.cos(theta), modulus * jnp.sin(theta))
        added = jax.lax.complex(*jnp.split(seen, 2, axis=-1))
        before = jax.lax.complex(carry[:, 0], carry[:, 1])
        h = linear_scan(before, jnp.where(start[..., None], 0.0, factor), added)
        parts = jnp.stack([h.real, h.imag], axis=-2)
        return parts[-1], parts

    @staticmethod
    def initial_carry(n: int, width: int) -> Float[Array, "n 2 H"]:
        """The state of `n` environments in which nothing has happened."""
        return jnp.zeros((n, 2, width))


def linear_scan(before: Array, factor: Array, added: Array) -> Array:
    """h_t = factor_t h_{t-1} + added_t for all t, from h_{-1} = `before` ``[...]`` on; ``[T, ...]``.

    By an associative scan (Blelloch 1990) over the maps h -> a h + b, of depth log T: one after the other
    they are h -> a' (a h + b) + b'. A factor of zero is a reset.
    """
    added = added.at[0].add(factor[0] * before)
    if added.shape[0] == 1:
        return added

    def then(first: tuple[Array, Array], second: tuple[Array, Array]) -> tuple[Array, Array]:
        return first[0] * second[0], second[0] * first[1] + second[1]

    return jax.lax.associative_scan(then, (factor, added))[1]


def _initial_nu(key: Array, shape: tuple[int, ...], dtype: Any = jnp.float32) -> Array:
    """log(-log |lambda|) for |lambda|^2 uniform: eigenvalues uniform on a ring."""
    low, high = RADIUS
    squared = jax.random.uniform(key, shape, dtype, low**2, high**2)
    return jnp.log(-0.5 * jnp.log(squared))


def _initial_theta(key: Array, shape: tuple[int, ...], dtype: Any = jnp.float32) -> Array:
    return jax.random.uniform(key, shape, dtype, 0.0, ANGLE)


def _initial_complex(key: Array, shape: tuple[int, ...], dtype: Any = jnp.float32) -> Array:
    """Standard deviation sqrt(1 / 2F) in both parts, so that |B x|^2 is about |x|^2 / F."""
    return jax.random.normal(key, shape, dtype) * (0.5 / shape[0]) ** 0.5
