"""Rounded products, against numbers rounded by numpy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from discovery.inner.loops.on_policy import parts
from discovery.inner.networks.products import dense, product_of
from environments.task import Setup
from tests.inner.states import PPO

DROPPED = {"tensorfloat32": 13, "bfloat16": 16}  # bits of float32 that are rounded away


def rounded(x, matmul):
    """To nearest, ties to even, by adding to the bits."""
    bits, drop = np.asarray(x, np.float32).view(np.uint32), DROPPED[matmul]
    even = (bits >> drop) & 1
    return ((bits + (1 << (drop - 1)) - 1 + even) >> drop << drop).astype(np.uint32).view(np.float32)


@pytest.mark.parametrize("matmul", DROPPED)
def test_operands_are_rounded_forwards_and_backwards(matmul):
    """y = r(x) r(w); dL/dx = r(dL/dy) r(w)^T, dL/dw = r(x)^T r(dL/dy): neither gradient is rounded itself."""
    x, w, back = (np.random.default_rng(i).normal(size=s).astype(np.float32) for i, s in enumerate(
        [(5, 33), (33, 7), (5, 7)]
    ))  # fmt: skip
    y, pull = jax.vjp(lambda x, w: dense(product_of(matmul), x, w), jnp.asarray(x), jnp.asarray(w))
    by_x, by_w = pull(jnp.asarray(back))
    r = {name: rounded(value, matmul).astype(float) for name, value in {"x": x, "w": w, "b": back}.items()}
    np.testing.assert_allclose(y, r["x"] @ r["w"], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(by_x, r["b"] @ r["w"].T, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(by_w, r["x"].T @ r["b"], rtol=1e-5, atol=1e-5)
    assert np.abs(np.asarray(y) - x @ w).max() > 1e-4 * {"tensorfloat32": 1, "bfloat16": 8}[matmul]


@pytest.mark.parametrize("body", [{"experts": 2, "filters": (3,)}, {"recurrence": "linear"}], ids="".join)
def test_all_layers_of_an_agent_are_rounded(body):
    """No layer multiplies whole numbers any more, as told by the program."""
    products = {}
    for matmul in ("float32", "bfloat16"):
        _, network = parts(PPO, Setup("Breakout-MinAtar", hidden=(16, 16), matmul=matmul, **body))
        params = jax.eval_shape(network.init, jax.random.key(0))
        seen, start = jnp.zeros((3, 2, 400)), jnp.zeros((3, 2), bool)
        program = jax.make_jaxpr(network.unroll)(params, network.initial_carry(2), seen, start)
        products[matmul] = str(program).count("reduce_precision")
    assert products["float32"] == 0 and products["bfloat16"] >= 2 * (2 * 2 + 2)
