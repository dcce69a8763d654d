"""Layers that flax lacks, or whose form in flax is slow here."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from discovery.inner.networks.products import Product, dense
from objectives.recurrence import CELLS

KERNEL = 3
"""Side of a convolution's window."""


class Convolution(nn.Module):
    """A 3 x 3 convolution without padding, ``[..., H, W, C]`` to ``[..., H - 2, W - 2, filters]``.

    It multiplies the nine shifted images, side by side, by one matrix. For a vmapped population with a kernel
    per lane, XLA would make a grouped convolution, which is many times slower on a CPU than the batched
    product.
    """

    filters: int
    product: Product = jax.lax.dot_general

    @nn.compact
    def __call__(self, image: Float[Array, "... H W C"]) -> Float[Array, "... h w filters"]:
        height, width = image.shape[-3] - KERNEL + 1, image.shape[-2] - KERNEL + 1
        shifted = [
            image[..., row : row + height, column : column + width, :]
            for row in range(KERNEL)
            for column in range(KERNEL)
        ]
        patches = jnp.concatenate(shifted, axis=-1)
        kernel = self.param(
            "kernel", nn.initializers.orthogonal(2**0.5), (patches.shape[-1], self.filters), jnp.float32
        )
        bias = self.param("bias", nn.initializers.zeros, (self.filters,), jnp.float32)
        return dense(self.product, patches, kernel) + bias


class Experts(nn.Module):
    """The dense layers of a soft mixture, side by side: ``[..., F]`` to ``[..., experts, width]``.

    Each expert's matrix is initialized orthogonally by itself.
    """

    experts: int
    width: int
    product: Product = jax.lax.dot_general

    @nn.compact
    def __call__(self, x: Float[Array, "... F"]) -> Float[Array, "... experts width"]:
        def initial(key: Array, shape: tuple[int, ...], dtype: Any) -> Array:
            keys, one = jax.random.split(key, self.experts), nn.initializers.orthogonal(2**0.5)
            return jnp.concatenate([one(k, (shape[0], self.width), dtype) for k in keys], axis=1)

        size = self.experts * self.width
        kernel = self.param("kernel", initial, (x.shape[-1], size), jnp.float32)
        bias = self.param("bias", nn.initializers.zeros, (size,), jnp.float32)
        return (dense(self.product, x, kernel) + bias).reshape(*x.shape[:-1], self.experts, self.width)


class ActionModel(nn.Module):
    """The result of each of A actions: ``[N, F]`` to ``[N, A, H]``, one step of an LSTM for every action.

    c = W x + b, h = tanh(c); then a step from (h, c) whose input is the action, one-hot (DiscoRL, Oh et al.
    2025). As in `GRU`, gates have a separate middle axis, so the last axis runs over units.
    """

    actions: int
    width: int

    @nn.compact
    def __call__(self, c: Float[Array, "N H"]) -> Float[Array, "N A H"]:
        width, gates = self.width, CELLS["lstm"].gates
        shape = (self.actions, gates, width)
        kernel = self.param("kernel", side_by_side(nn.initializers.lecun_normal()), shape)
        bias = self.param("bias", nn.initializers.zeros, (gates, width))
        inner = self.param("inner", side_by_side(nn.initializers.orthogonal()), (width, gates, width))
        seen = (kernel + bias).reshape(self.actions, -1)
        weights = {"inner": inner.reshape(width, -1)}
        return CELLS["lstm"].step(weights, (jnp.tanh(c)[:, None], c[:, None]), seen)[0]


def side_by_side(initializer: nn.initializers.Initializer) -> nn.initializers.Initializer:
    """Initializes ``[F, G, H]`` as G matrices ``[F, H]``."""

    def initial(key: Array, shape: tuple[int, ...], dtype: Any = jnp.float32) -> Array:
        keys = jax.random.split(key, shape[1])
        return jnp.stack([initializer(k, (shape[0], shape[2]), dtype) for k in keys], axis=1)

    return initial
