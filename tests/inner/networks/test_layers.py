"""Layers against other people's: a convolution, and a mixture of experts by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from discovery.inner.networks.layers import Convolution
from discovery.inner.networks.network import Body, make_network
from environments.task import Setup
from objectives.base import Head
from tests.inner.states import applied, initialized

HEADS = {"logits": Head(3), "value": Head(0, torso="critic")}


def test_convolution_is_xla_s():
    image = jax.random.normal(jax.random.key(1), (2, 5, 6, 7, 3))
    module = Convolution(4)
    params = initialized(module, 0, image)["params"]
    params = {**params, "bias": jnp.arange(4.0)}

    @jax.jit
    def both(params):
        images, kernel = image.reshape(10, 6, 7, 3), params["kernel"].reshape(3, 3, 3, 4)
        layout = ("NHWC", "HWIO", "NHWC")
        expected = jax.lax.conv_general_dilated(images, kernel, (1, 1), "VALID", dimension_numbers=layout)
        return expected, module.apply({"params": params}, image)

    expected, got = both(params)
    np.testing.assert_allclose(got, (expected + jnp.arange(4.0)).reshape(2, 5, 4, 5, 4), atol=1e-5)


def test_a_mixture_by_hand():
    network = make_network(HEADS, (5,), Body((6, 4), experts=3))
    params = initialized(network)
    x = jax.random.normal(jax.random.key(1), (7, 5))
    outputs, activations = applied(network, params, x)
    p = jax.tree.map(np.asarray, params["actor"])
    for kernel in np.split(p["experts"]["kernel"], 3, axis=1):
        np.testing.assert_allclose(kernel.T @ kernel, 2 * np.eye(4), atol=1e-5)  # each orthogonal
    h = np.tanh(x @ p["hidden_0"]["kernel"] + p["hidden_0"]["bias"])
    gate = np.exp(h @ p["gate"]["kernel"])
    gate /= gate.sum(-1, keepdims=True)
    each = np.tanh(h @ p["experts"]["kernel"] + p["experts"]["bias"]).reshape(7, 3, 4)
    mixed = np.einsum("be,beh->bh", gate, each)
    expected = mixed @ p["logits"]["kernel"] + p["logits"]["bias"]
    np.testing.assert_allclose(outputs["logits"], expected, atol=1e-5)
    np.testing.assert_allclose(activations["actor"]["gate"], gate, atol=1e-5)
    np.testing.assert_allclose(activations["actor"]["experts"], each.reshape(7, 12), atol=1e-5)


@pytest.mark.parametrize(
    ("activation", "formula"),
    [("relu", lambda y: np.maximum(y, 0)), ("swish", lambda y: y / (1 + np.exp(-y)))],
)
def test_layer_norm_comes_before_the_nonlinearity(activation, formula):
    network = make_network(HEADS, (5,), Body((6,), activation, layer_norm=True))
    params = initialized(network)
    x = jax.random.normal(jax.random.key(1), (7, 5))
    _, activations = applied(network, params, x)
    p = jax.tree.map(np.asarray, params["critic"])
    assert set(p["norm_0"]) == {"scale", "bias"}
    y = x @ p["hidden_0"]["kernel"] + p["hidden_0"]["bias"]
    y = (y - y.mean(-1, keepdims=True)) / np.sqrt(y.var(-1, keepdims=True) + 1e-6)
    np.testing.assert_allclose(activations["critic"]["hidden_0"], formula(y), atol=1e-5)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: make_network(HEADS, (4,), Body((8,), filters=(16,))), r"filters .*\(4,\)"),
        (lambda: make_network(HEADS, (4, 4, 2), Body((8,), filters=(16, 16))), r"filters .*\(4, 4, 2\)"),
        (lambda: make_network(HEADS, (4,), Body((), recurrence="gru")), "'gru' needs"),
        (lambda: make_network(HEADS, (4,), Body((), experts=2)), "experts 2 needs"),
        (lambda: make_network(HEADS, (4,), Body((8,), recurrence="lstm")), "'lstm'"),
        (lambda: make_network(HEADS, (4,), Body((8,), "sigmoid")), "'sigmoid'"),
        (lambda: make_network(HEADS, (4,), Body((8,), matmul="fp8")), "'fp8'"),
        (lambda: Setup(recurrence="gru", sequence_length=5), "sequence_length must divide .*, got 5"),
        (lambda: Setup(sequence_length=8), "sequence_length"),
        (lambda: Setup(recurrence="gru", n_minibatches=16), "sequences .*, got 16"),
        (lambda: Setup(experts=1), "experts .*, got 1"),
        (lambda: Setup(filters=(16, 0)), "filters"),
    ],
)
def test_agents_that_cannot_be_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
