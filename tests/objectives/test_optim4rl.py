"""Optim4RL against numpy."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from objectives import build
from objectives.base import Progress
from tests.objectives.open_by_hand import gru


def unit(weights, h, x):
    """One unit for parameters ``[7]``: hidden states ``[7, 8]`` and outputs ``[7]``."""
    h = gru(weights["gru"], h, x[:, None])
    return h, h @ weights["out"]["kernel"][0] + weights["out"]["bias"][0]


def test_steps_are_those_of_a_loop_over_parameters():
    algorithm = build("optim4rl", {"start": "random"})
    weights = jax.jit(algorithm.init)(jax.random.key(0))["optimizer"]
    assert sum(w.size for w in jax.tree.leaves(weights)) == 2 * 257
    weights = jax.tree.map(lambda w: w + 0.1, weights)  # no bias zero
    optimizer = algorithm.optimizer(
        {**dict(algorithm.defaults), "optimizer": weights, "learning_rate": 0.1, "anneal": 0.5}
    )
    double = jax.tree.map(lambda w: np.asarray(w, np.float64), weights)
    rng = np.random.default_rng(0)
    params = {"actor": jnp.zeros((2, 3)), "critic": jnp.zeros(1)}
    state, update = optimizer.init(params), jax.jit(optimizer.update)
    first, second = np.zeros((2, 7, 8))
    for n in range(3):
        g = rng.normal(0, 1, 7)
        g[3] = 0.0
        gradients = {"actor": jnp.asarray(g[:6].reshape(2, 3), jnp.float32), "critic": jnp.float32(g[6:])}
        updates, state = update(gradients, state, params, progress=Progress(n, 4))
        x = g.clip(-1, 1)
        first, o_1 = unit(double["first"], first, x)
        second, o_2 = unit(double["second"], second, x * x)
        expected = -0.1 * (1 - 0.5 * n / 4) * np.sign(x) * np.exp(o_1) / np.sqrt(np.exp(o_2) + 1e-8)
        got = np.concatenate([np.ravel(updates["actor"]), updates["critic"]])
        np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-7)
        assert np.abs(g).max() > 1 and got[3] == 0


def test_zero_weights_are_sign_descent():
    algorithm = build("optim4rl")
    params = {"actor": jnp.array([3.0, -1e-6, 0.0])}

    @jax.jit
    def first_step(key):
        optimizer = algorithm.optimizer({**dict(algorithm.defaults), **algorithm.init(key)})
        return optimizer.update(params, optimizer.init(params), params, progress=Progress(0, 4))[0]

    step: Any = first_step(jax.random.key(0))
    np.testing.assert_allclose(step["actor"], [-3e-4, 3e-4, 0.0], rtol=1e-6)
