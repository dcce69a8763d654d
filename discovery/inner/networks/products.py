"""Matrix products of the agent's layers, at the precision that a setup asks for.

A CPU has no reduced precision, so it emulates an accelerator, up to the order of sums: operands are rounded
before each product, forward and backward, and products are summed in float32.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
from jaxtyping import Array, Float

Product = Callable[..., Array]
"""``(x [..., K], kernel [K, N], dimension numbers, ...) -> [..., N]``: what flax calls `dot_general`."""

_MANTISSA = {"tensorfloat32": 10, "bfloat16": 7}
_ON_DEVICE = {"tensorfloat32": "tensorfloat32", "bfloat16": "BF16_BF16_F32"}
"""jax's name for the accelerator's precision. A CPU multiplies rounded numbers in float32."""


def product_of(matmul: str) -> Product:
    """How layers multiply: as jax does ("float32"), or with rounded operands ("tensorfloat32", "bfloat16").

    Raises:
        ValueError: there is no such precision.
    """
    if matmul == "float32":
        return jax.lax.dot_general
    if matmul not in _MANTISSA:
        raise ValueError(f"matmul must be one of float32, {', '.join(_MANTISSA)}, got {matmul!r}")
    return functools.partial(_rounded_product, matmul)


def dense(product: Product, x: Float[Array, "... K"], kernel: Float[Array, "K N"]) -> Float[Array, "... N"]:
    """``x @ kernel``."""
    return product(x, kernel, (((x.ndim - 1,), (0,)), ((), ())))


def _rounded_product(
    matmul: str, x: Float[Array, "..."], kernel: Float[Array, "..."], dimensions: Any, *_: Any, **__: Any
) -> Float[Array, "..."]:
    rounded = functools.partial(_rounded, _MANTISSA[matmul])
    precision: Any = None if jax.default_backend() == "cpu" else _ON_DEVICE[matmul]
    y = jax.lax.dot_general(rounded(x), rounded(kernel), dimensions, precision=precision)
    return _rounding_back(_MANTISSA[matmul], y)


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def _rounded(mantissa: int, x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """The nearest number with so many bits of mantissa and 8 of exponent; its derivative is that of x."""
    return jax.lax.reduce_precision(x, exponent_bits=8, mantissa_bits=mantissa)


@_rounded.defjvp
def _(mantissa: int, primals: Any, tangents: Any) -> tuple[Array, Array]:
    return _rounded(mantissa, *primals), tangents[0]


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def _rounding_back(mantissa: int, y: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """y; its gradient, an operand of the products in the backward pass, is rounded."""
    return y


@_rounding_back.defjvp
def _(mantissa: int, primals: Any, tangents: Any) -> tuple[Array, Array]:
    rounded = jax.lax.reduce_precision(tangents[0], exponent_bits=8, mantissa_bits=mantissa)
    return _rounding_back(mantissa, *primals), rounded
