"""Recurrences of agents: a gated unit, and a linear recurrence that runs in parallel over time.

Both process ``x [T, E, F]``, starting from a carry ``[E, ...]``, and reset their state at a step that `start`
``[T, E]`` marks as the first of an episode: resets can happen inside a sequence.
"""

import math
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from discovery.inner.networks.layers import side_by_side
from objectives.recurrence import CELLS

TIMES = (2.0, 1000.0)
"""Shortest and longest initial memory of the linear recurrence, in steps."""
ANGLES = (1e-3, 0.3)
"""Smallest and largest initial phase, in radians per step."""
CHUNK = 128
"""Most steps that a linear recurrence takes one by one: more is slower on a GPU, fewer on a CPU. Shorter
sequences are one chunk, without an associative scan."""


class GRU(nn.Module):
    """The gated unit of `objectives.recurrence`; its products with x are computed for all times at once."""

    width: int

    @nn.compact
    def __call__(
        self, carry: Float[Array, "E H"], x: Float[Array, "T E F"], start: Bool[Array, "T E"]
    ) -> tuple[Float[Array, "E H"], Float[Array, "T E H"]]:
        width = self.width
        kernel = self.param("kernel", side_by_side(nn.initializers.lecun_normal()), (x.shape[-1], 3, width))
        bias = self.param("bias", nn.initializers.zeros, (3, width))
        inner = self.param("inner", side_by_side(nn.initializers.orthogonal()), (width, 3, width))
        inner_bias = self.param("inner_bias", nn.initializers.zeros, (width,))
        seen = (x @ kernel.reshape(-1, 3 * width)) + bias.reshape(-1)
        weights = {"inner": inner.reshape(-1, 3 * width), "inner_bias": inner_bias}

        def step(h: Array, inputs: tuple[Array, Array]) -> tuple[Array, Array]:
            seen_t, start_t = inputs
            (h,) = CELLS["gru"].step(weights, (jnp.where(start_t[:, None], 0.0, h),), seen_t)
            return h, h

        return jax.lax.scan(step, carry, (seen, start))

    @staticmethod
    def initial_carry(n: int, width: int) -> Float[Array, "n H"]:
        """The initial state of `n` environments."""
        return jnp.zeros((n, width))


class LinearRecurrence(nn.Module):
    """A diagonal linear recurrence with an input gate; its state decays at learned rates.

    h_t = lambda h_{t-1} + sigma(G x_t + g) B x_t, complex, with lambda = exp(-exp(nu) + i exp(theta)), whose
    modulus is always below 1 (S5, Smith et al. 2023; LRU, Orvieto et al. 2023, eq. 8; the gate as in FFM,
    Morad et al. 2023). Unlike in LRU, inputs are not scaled by the memory's length: the reader of h
    normalizes it. A complex number is a pair of real ones, in params and in the carry.
    """

    width: int

    @nn.compact
    def __call__(
        self, carry: Float[Array, "E 2 H"], x: Float[Array, "T E F"], start: Bool[Array, "T E"]
    ) -> tuple[Float[Array, "E 2 H"], Float[Array, "T E 2 H"]]:
        width = self.width
        decay = jnp.exp(self.param("nu", _log_uniform(1 / TIMES[1], 1 / TIMES[0]), (width,)))
        angle = jnp.exp(self.param("theta", _log_uniform(*ANGLES), (width,)))
        kernel = self.param("kernel", _initial_complex, (x.shape[-1], 2, width))
        gate = self.param("gate", nn.initializers.lecun_normal(), (x.shape[-1], width))
        gate_bias = self.param("gate_bias", nn.initializers.zeros, (width,))
        modulus = jnp.exp(-decay)
        eigenvalue = modulus * jnp.cos(angle), modulus * jnp.sin(angle)
        factor = jax.tree.map(lambda part: jnp.where(start[..., None], 0.0, part), eigenvalue)
        let_in = jax.nn.sigmoid(x @ gate + gate_bias)
        added = x @ kernel[:, 0] * let_in, x @ kernel[:, 1] * let_in
        parts = jnp.stack(linear_scan((carry[:, 0], carry[:, 1]), factor, added), axis=-2)
        return parts[-1], parts

    @staticmethod
    def initial_carry(n: int, width: int) -> Float[Array, "n 2 H"]:
        """The initial state of `n` environments."""
        return jnp.zeros((n, 2, width))


Complex = tuple[Array, Array]
"""Real and imaginary part: compilers vectorize products of such pairs, but not of complex numbers."""


def linear_scan(before: Complex, factor: Complex, added: Complex) -> Complex:
    """h_t = factor_t h_{t-1} + added_t for all t, starting from h_{-1} = `before` ``[...]``; ``[T, ...]``.

    The maps h -> a h + b are closed under composition, so T of them can be composed in parallel by an
    associative scan (Blelloch 1990); a factor of zero is a reset. To do less work than T log T, time is
    divided into chunks: each is composed step by step, all in parallel; an associative scan over the chunks
    gives the initial state of each; then the steps of each are computed from it.
    """
    steps = added[0].shape[0]
    size = max(d for d in range(1, CHUNK + 1) if steps % d == 0)

    def chunked(x: Array) -> Array:
        """``[T, ...]`` to ``[size, T / size, ...]``."""
        return jnp.moveaxis(x.reshape(-1, size, *x.shape[1:]), 1, 0)

    pieces = jax.tree.map(chunked, (factor, added))
    if steps == size:
        begin = jax.tree.map(lambda x: x[None], before)
    else:
        one = jnp.ones_like(pieces[0][0][0])
        zero = jnp.zeros_like(one)
        sums, _ = jax.lax.scan(lambda total, x: (_then(total, x), None), ((one, zero), (zero, zero)), pieces)
        through = jax.lax.associative_scan(_then, sums)
        ends = _apply(through, before)
        begin = jax.tree.map(lambda b, x: jnp.concatenate([b[None], x[:-1]]), before, ends)

    def step(h: Complex, x: tuple[Complex, Complex]) -> tuple[Complex, Complex]:
        h = _apply(x, h)
        return h, h

    _, h = jax.lax.scan(step, begin, pieces)
    return jax.tree.map(lambda x: jnp.moveaxis(x, 0, 1).reshape(steps, *x.shape[2:]), h)


def _times(a: Complex, b: Complex) -> Complex:
    return a[0] * b[0] - a[1] * b[1], a[0] * b[1] + a[1] * b[0]


def _apply(f: tuple[Complex, Complex], h: Complex) -> Complex:
    """a h + b, for f = (a, b)."""
    product = _times(f[0], h)
    return product[0] + f[1][0], product[1] + f[1][1]


def _then(first: tuple[Complex, Complex], second: tuple[Complex, Complex]) -> tuple[Complex, Complex]:
    """The composition of two maps."""
    return _times(second[0], first[0]), _apply(second, first[1])


def _log_uniform(low: float, high: float) -> nn.initializers.Initializer:
    """Initializes logarithms of numbers between `low` and `high`, uniformly."""

    def initial(key: Array, shape: tuple[int, ...], dtype: Any = jnp.float32) -> Array:
        return jax.random.uniform(key, shape, dtype, math.log(low), math.log(high))

    return initial


def _initial_complex(key: Array, shape: tuple[int, ...], dtype: Any = jnp.float32) -> Array:
    """Standard deviation sqrt(1 / 2F) in both parts, so that |B x|^2 is about |x|^2 / F."""
    return jax.random.normal(key, shape, dtype) * (0.5 / shape[0]) ** 0.5
