"""Memories: against flax's cell, against a loop in Python, and with episodes that begin inside a sequence."""

import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from discovery.inner.networks.recurrence import ANGLES, GRU, TIMES, LinearRecurrence, linear_scan
from tests.inner.states import initialized

T, E, F, H = 7, 3, 4, 5
X = jax.random.normal(jax.random.key(0), (T, E, F))
START = jnp.zeros((T, E), bool).at[jnp.array([0, 3, 4, 6]), jnp.array([0, 1, 1, 2])].set(True)


def test_gru_is_flax_s_cell_with_resets():
    module = GRU(H)
    carry = jax.random.normal(jax.random.key(1), (E, H))
    params = initialized(module, 0, carry, X, START)["params"]
    params = jax.tree.map(lambda p: p + 0.1, params)  # biases that are not zero
    theirs: Any = {}
    for i, gate in enumerate("rzn"):
        theirs[f"i{gate}"] = {"kernel": params["kernel"][:, i], "bias": params["bias"][i]}
        theirs[f"h{gate}"] = {"kernel": params["inner"][:, i]}
    theirs["hn"]["bias"] = params["inner_bias"]
    result: Any = jax.jit(module.apply)({"params": params}, carry, X, START)
    (last, h), expected = result, carry
    step = jax.jit(functools.partial(nn.GRUCell(H).apply, {"params": theirs}))
    for t in range(T):
        expected = np.where(np.asarray(START)[t][:, None], 0.0, expected)
        expected: Any = step(expected, X[t])[0]
        np.testing.assert_allclose(h[t], expected, atol=1e-6)
    np.testing.assert_array_equal(last, h[-1])


def test_linear_recurrence_is_its_formula():
    module = LinearRecurrence(H)
    carry = jax.random.normal(jax.random.key(1), (E, 2, H))
    params = initialized(module, 0, carry, X, START)["params"]
    params = {**params, "gate_bias": jnp.full(H, 0.3)}
    result: Any = jax.jit(module.apply)({"params": params}, carry, X, START)
    last, parts = result
    p = jax.tree.map(np.asarray, params)
    eigenvalue = np.exp(-np.exp(p["nu"]) + 1j * np.exp(p["theta"]))
    h = np.asarray(carry[:, 0]) + 1j * np.asarray(carry[:, 1])
    for t in range(T):
        h = np.where(np.asarray(START)[t][:, None], 0.0, h)
        x = np.asarray(X[t])
        gate = 1 / (1 + np.exp(-(x @ p["gate"] + p["gate_bias"])))
        h = eigenvalue * h + gate * (x @ (p["kernel"][:, 0] + 1j * p["kernel"][:, 1]))
        np.testing.assert_allclose(parts[t, :, 0], h.real, atol=1e-5)
        np.testing.assert_allclose(parts[t, :, 1], h.imag, atol=1e-5)
    np.testing.assert_array_equal(last, parts[-1])


def test_memories_and_angles_start_log_uniform():
    module = LinearRecurrence(400)
    arguments = (jnp.zeros((1, 2, 400)), jnp.zeros((1, 1, 3)), jnp.zeros((1, 1), bool))
    params = initialized(module, 0, *arguments)["params"]
    modulus = np.exp(-np.exp(np.asarray(params["nu"])))
    times, angles = -1 / np.log(modulus), np.exp(np.asarray(params["theta"]))
    for values, (low, high) in ((times, TIMES), (angles, ANGLES)):
        share = (np.log(values) - np.log(low)) / (np.log(high) - np.log(low))
        assert share.min() > -0.01 and share.max() < 1.01
        assert abs(share.mean() - 0.5) < 0.05 and abs(share.var() - 1 / 12) < 0.02


@pytest.mark.parametrize("length", [1, 37, 300])
def test_the_parallel_scan_is_the_loop(length):
    generator = np.random.default_rng(length)

    def normal(*shape):
        return generator.normal(size=shape) + 1j * generator.normal(size=shape)

    factor, added, before = 0.7 * normal(length, 2), normal(length, 2), normal(2)
    factor[generator.random((length, 2)) < 0.2] = 0.0
    h, expected = before, []
    for t in range(length):
        h = factor[t] * h + added[t]
        expected.append(h)
    pairs = [
        (jnp.asarray(x.real, jnp.float32), jnp.asarray(x.imag, jnp.float32)) for x in (before, factor, added)
    ]
    real, imaginary = jax.jit(linear_scan)(*pairs)
    np.testing.assert_allclose(real + 1j * imaginary, np.array(expected), rtol=2e-4, atol=2e-4)
