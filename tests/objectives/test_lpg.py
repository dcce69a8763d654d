"""Learned targets: sizes by hand, the network against loops in numpy, signs."""

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from objectives import build
from objectives.base import Progress, Trajectory
from objectives.lpg.algorithm import REGULARIZERS, recommended, regularizer
from objectives.lpg.learned_targets import LpgTargets, step_inputs
from tests.objectives.by_hand import batch_of, random_rollout, sigmoid, softmax

T, E, A = 7, 3, 4
NOW = Progress(3, 12)
SMALL = {"width": 16, "embedding": 12, "targets": 3}
PUBLISHED_LPG = {"recurrence": "lstm", "targets": 30, "discount_input": True}


def n_weights(**options: Any) -> int:
    shapes = jax.eval_shape(build("lpg", options).init, jax.random.key(0))
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(shapes))


def meta_params_of(algorithm: Any) -> dict[str, Any]:
    """Complete, with random weights of gain 2, biases too."""
    rng = np.random.default_rng(0)

    def drawn(leaf: Any) -> Any:
        scale = 2 * leaf.shape[0] ** -0.5 if leaf.ndim == 2 else 0.2
        return jnp.asarray(rng.normal(0, scale, leaf.shape), jnp.float32)

    searched = jax.tree.map(drawn, jax.eval_shape(algorithm.init, jax.random.key(0)))
    return {**dict(algorithm.defaults), **searched}


def trajectory_of(size: int) -> Trajectory:
    """Random steps. Environment 0 terminates at 2, 1 runs out of time at 4, 2 does both at 1."""
    ends: Any = {"terminated": [(2, 0), (1, 2)], "truncated": [(4, 1), (1, 2)]}
    return random_rollout(T, E, {"logits": (A,), "bootstrap": (size,)}, **ends, n_actions=A)


def test_numbers_of_weights_at_the_published_sizes():
    """5 inputs, GRU 256, embedding 16, m = 8: GROOVE; and LPG's own, with an LSTM, gamma and m = 30."""
    phi = (8 * 16 + 16) + (16 + 1)
    gru = 3 * 5 * 256 + 3 * 256 * 256 + 3 * 256 + 256  # the candidate has a second bias
    heads = (256 + 1) + (256 * 8 + 8)
    assert n_weights() == phi + gru + heads == 203_946
    assert n_weights(temporal=True) == 203_946 + 2 * 3 * 256
    assert n_weights(temporal=True, raw_time=True, discount_input=True) == 203_946 + 3 * 3 * 256
    phi = (30 * 16 + 16) + (16 + 1)
    lstm = 4 * 6 * 256 + 4 * 256 * 256 + 4 * 256
    heads = (256 + 1) + (256 * 30 + 30)
    assert n_weights(**PUBLISHED_LPG) == phi + lstm + heads == 277_792


def test_random_weights_are_of_unit_gain_and_orthogonal_gate_by_gate():
    weights = jax.jit(build("lpg", {"initial": "random", "width": 64}).init)(jax.random.key(0))["lpg"]
    inner = np.asarray(weights["recurrence"]["inner"])
    for gate in np.split(inner, 3, axis=1):
        np.testing.assert_allclose(gate.T @ gate, np.eye(64), atol=1e-5)
    assert np.abs(inner[:, :64] - inner[:, 64:128]).max() > 0.1
    assert np.std(weights["recurrence"]["kernel"]) == pytest.approx(5**-0.5, rel=0.1)
    assert np.std(weights["y_hat"]["kernel"]) == pytest.approx(64**-0.5, rel=0.1)
    for path, leaf in jax.tree.leaves_with_path(weights):
        assert np.any(leaf) != ("bias" in jax.tree_util.keystr(path)), path


def in_loops(recurrence: str, weights: Any, trajectory: Any, context: list[float]) -> Any:
    """pi_hat and y_hat once more: numpy, float64, one step of one environment at a time."""
    w, tr = (jax.tree.map(lambda x: np.asarray(x, np.float64), tree) for tree in (weights, trajectory))
    cell, width = w["recurrence"], w["recurrence"]["inner"].shape[0]
    of_gate = lambda matrix, i: matrix[..., i * width : (i + 1) * width]  # noqa: E731

    def phi(logits: Any) -> float:
        hidden = np.maximum(
            softmax(logits) @ w["embedding"]["in"]["kernel"] + w["embedding"]["in"]["bias"], 0
        )
        return (hidden @ w["embedding"]["out"]["kernel"] + w["embedding"]["out"]["bias"]).item()

    steps, n_envs = tr.reward.shape
    pi_hat, y_hat = np.zeros((steps, n_envs)), np.zeros((steps, n_envs, w["y_hat"]["bias"].size))
    for e in range(n_envs):
        h, c = np.zeros(width), np.zeros(width)
        for t in reversed(range(steps)):
            if tr.terminated[t, e] or tr.truncated[t, e]:
                h, c = np.zeros(width), np.zeros(width)
            done = tr.terminated[t, e]
            following = 0.0 if done else phi(tr.outputs_next["bootstrap"][t, e])
            step = [tr.reward[t, e], done, np.exp(tr.log_prob[t, e]), phi(tr.outputs["bootstrap"][t, e])]
            x = np.array([*step, following, *context])
            seen = [x @ of_gate(cell["kernel"], i) + of_gate(cell["bias"], i) for i in range(4)]
            past = [h @ of_gate(cell["inner"], i) for i in range(4)]
            if recurrence == "gru":
                r, z = sigmoid(seen[0] + past[0]), sigmoid(seen[1] + past[1])
                n = np.tanh(seen[2] + r * (past[2] + cell["inner_bias"]))
                h = (1 - z) * n + z * h
            else:
                i, f, g, o = (a + b for a, b in zip(seen, past, strict=True))
                c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
                h = sigmoid(o) * np.tanh(c)
            out = np.maximum(h, 0)
            pi_hat[t, e] = (out @ w["pi_hat"]["kernel"] + w["pi_hat"]["bias"]).item()
            y_hat[t, e] = softmax(out @ w["y_hat"]["kernel"] + w["y_hat"]["bias"])
    return pi_hat, y_hat


@pytest.mark.parametrize(
    ("options", "context"),
    [
        ({}, []),
        ({**SMALL, "temporal": True, "raw_time": True}, [3, 12]),
        ({**PUBLISHED_LPG, "temporal": True}, [0.99, 0.25, math.log(12)]),
    ],
    ids=["published gru", "raw time", "published lstm, temporal"],
)
def test_targets_are_those_of_loops_in_numpy(options, context):
    algorithm = build("lpg", options)
    meta_params, trajectory = meta_params_of(algorithm), trajectory_of(options.get("targets", 8))
    got = jax.jit(algorithm.targets)(meta_params, (), trajectory, NOW)
    assert got.pi_hat.shape == (T, E) and got.y_hat.shape == (T, E, options.get("targets", 8))
    recurrence = options.get("recurrence", "gru")
    pi_hat, y_hat = in_loops(recurrence, meta_params["lpg"], trajectory, context)
    assert np.ptp(pi_hat) > 0.1 and np.ptp(y_hat) > 0.05
    np.testing.assert_allclose(got.pi_hat, pi_hat, rtol=1e-4, atol=2e-5)
    np.testing.assert_allclose(got.y_hat, y_hat, rtol=1e-4, atol=2e-5)


def test_continuous_actions_show_a_bounded_probability():
    """p / (1 + p), p the geometric mean of the densities of the actions' A components."""
    trajectory = trajectory_of(3)
    outputs = {"mean": jnp.zeros((T, E, 2)), "bootstrap": trajectory.outputs["bootstrap"]}
    action, log_prob = jnp.zeros((T, E, 2)), jnp.log(jnp.full((T, E), 16.0))
    continuous = trajectory._replace(outputs=outputs, action=action, log_prob=log_prob)
    embedding = meta_params_of(build("lpg", SMALL))["lpg"]["embedding"]
    np.testing.assert_allclose(step_inputs(embedding, continuous)[..., 2], 4 / 5, rtol=1e-6)
    dense = continuous._replace(log_prob=jnp.full((T, E), 500.0))
    assert np.isfinite(step_inputs(embedding, dense)).all()


def test_loss_and_its_slopes_by_hand():
    """- log pi pi_hat + alpha_y sum y (log y - log y_hat); its slopes in logits are softmax algebra."""
    algorithm = build("lpg", SMALL)
    rng = np.random.default_rng(0)
    n, m = 6, 3
    logits, bootstrap = rng.normal(0, 1, (n, A)), rng.normal(0, 1, (n, m))
    pi_hat, action = rng.normal(0, 2, n), rng.integers(0, A, n)
    y_hat = rng.dirichlet(np.ones(m), n)
    targets = LpgTargets(jnp.asarray(pi_hat, jnp.float32), jnp.asarray(np.log(y_hat), jnp.float32))
    batch = batch_of(action, targets)

    def loss(outputs):
        each = algorithm.loss.per_sample({"alpha_y": 0.3}, batch, outputs, NOW, jax.random.key(0))
        return each.sum(), each

    outputs = {"logits": jnp.asarray(logits, jnp.float32), "bootstrap": jnp.asarray(bootstrap, jnp.float32)}
    slopes, each = jax.jit(jax.grad(loss, has_aux=True))(outputs)
    pi, y = softmax(logits), softmax(bootstrap)
    divergence = (y * np.log(y / y_hat)).sum(1)
    np.testing.assert_allclose(each, -np.log(pi[np.arange(n), action]) * pi_hat + 0.3 * divergence, rtol=1e-5)
    np.testing.assert_allclose(slopes["logits"], -pi_hat[:, None] * (np.eye(A)[action] - pi), atol=1e-5)
    expected = 0.3 * y * (np.log(y / y_hat) - divergence[:, None])
    np.testing.assert_allclose(slopes["bootstrap"], expected, atol=1e-5)


def test_regularizer_by_hand():
    """Two steps, two actions, two corners; coefficients of four sizes, so that none takes another's place."""
    outputs = {"logits": jnp.log(jnp.array([[[0.5, 0.5]], [[0.9, 0.1]]]))}
    outputs["bootstrap"] = jnp.log(jnp.array([[[0.25, 0.75]], [[0.5, 0.5]]]))
    targets = LpgTargets(jnp.array([[1.0], [-3.0]]), jnp.log(jnp.array([[[0.6, 0.4]], [[0.8, 0.2]]])))
    entropy = (math.log(2) - 0.9 * math.log(0.9) - 0.1 * math.log(0.1)) / 2
    bootstrap = (-0.25 * math.log(0.25) - 0.75 * math.log(0.75) + math.log(2)) / 2
    squares = (1 + 9) / 2, (0.6**2 + 0.4**2 + 0.8**2 + 0.2**2) / 2
    sizes = (1.0, 0.1, 0.01, 0.001)
    got = regularizer(dict(zip(REGULARIZERS, sizes, strict=True)), outputs, targets)
    expected = -1.0 * entropy - 0.1 * bootstrap + 0.01 * squares[0] + 0.001 * squares[1]
    assert got.shape == () and float(got) == pytest.approx(expected, rel=1e-5)
    assert list(REGULARIZERS.values()) == [0.05, 0.001, 0.005, 0.001], "as published"


def test_a_zero_network_recommends_nothing():
    algorithm = build("lpg")
    searched = algorithm.init(jax.random.key(0))
    targets = jax.jit(functools.partial(recommended, algorithm))(searched, trajectory_of(8), NOW)
    assert not np.any(targets.pi_hat)
    np.testing.assert_allclose(targets.y_hat, 1 / 8, rtol=1e-6)
