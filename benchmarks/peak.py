"""Count the FLOPs of a function's matrix products, and find the peak FLOP/s of a device."""

import re
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

PEAKS = {
    "H200": (67.0, 494.7, 989.4),
    "H100 PCIe": (51.2, 378.0, 756.0),
    "H100": (66.9, 494.7, 989.4),
    "A100": (19.5, 156.0, 312.0),
    "L40S": (91.6, 183.0, 362.0),
    "A40": (37.4, 74.8, 149.7),
    "RTX 4090": (82.6, 82.6, 165.2),
}
"""TFLOP/s of a device, by a part of its name: float32 without tensor cores, tensorfloat32 and bfloat16 with
them, accumulated in float32, without sparsity. From NVIDIA's data sheets (H200, H100 SXM and PCIe, A100,
L40S, A40), some of which give twice as much, with sparsity; for the RTX 4090 from the white paper on the Ada
architecture."""

PRECISIONS = ("float32", "tensorfloat32", "bfloat16")


def peak(device: Any, matmul: str) -> tuple[float, str]:
    """FLOP/s of a device at a precision, and their source: a data sheet, or a measured product."""
    for name, figures in PEAKS.items():
        if re.search(rf"\b{name}\b", device.device_kind):
            return figures[PRECISIONS.index(matmul)] * 1e12, f"data sheet of the {name}"
    return measured_peak(1024 if device.platform == "cpu" else 8192), "measured on one large product"


def measured_peak(size: int) -> float:
    """FLOP/s of the best of five float32 products ``[size, size]``."""
    x = jnp.ones((size, size))
    with jax.default_matmul_precision("float32"):
        product = jax.jit(jnp.matmul).lower(x, x).compile()
    product(x, x).block_until_ready()
    best = np.inf
    for _ in range(5):
        began = time.perf_counter()
        product(x, x).block_until_ready()
        best = min(best, time.perf_counter() - began)
    return 2 * size**3 / best


def product_flops(function: Callable[..., Any], *arguments: Any) -> float:
    """Multiplications and additions in the matrix products of ``function(*arguments)``, which is only traced.

    Unlike XLA's own analysis, all iterations of a scan are counted. Of a `while`, one iteration is counted;
    of branches, the most expensive one. Only products are counted, so the total number of FLOPs is larger.
    """
    return _products(jax.make_jaxpr(function)(*arguments).jaxpr)


def _products(jaxpr: Any) -> float:
    return sum(_equation(equation) for equation in jaxpr.eqns)


def _equation(equation: Any) -> float:
    name, params = equation.primitive.name, equation.params
    if name == "dot_general":
        ((contracted, _), _), left = params["dimension_numbers"], equation.invars[0].aval.shape
        return 2.0 * np.prod(equation.outvars[0].aval.shape) * np.prod([left[i] for i in contracted])
    if name == "scan":
        return params["length"] * _products(params["jaxpr"].jaxpr)
    if name == "cond":
        return max(_products(branch.jaxpr) for branch in params["branches"])
    inner = [getattr(value, "jaxpr", value) for value in params.values()]
    return sum(_products(each) for each in inner if hasattr(each, "eqns"))
