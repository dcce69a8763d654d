"""Networks: shapes, initialization, a forward pass by hand, and what they say about themselves."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from discovery.inner.loops.on_policy import parts
from discovery.inner.networks.network import ACTIVATIONS, Body, make_network
from environments.task import Setup
from objectives.base import Head, ParamInfo
from tests.inner.states import PPO, applied

LOGITS, VALUE = Head(3, scale=0.01), Head(0, torso="critic")
DISCRETE = {"logits": LOGITS, "value": VALUE}
CONTINUOUS = {"mean": Head(2, scale=0.01), "log_std": Head(2, free=True, initial=-0.5), "value": VALUE}


def layer(torso, index, n_layers, name, role=None):
    """The info of a kernel and a bias of one layer; heads keep their role on a shared torso."""
    path, role = (torso, name), role or torso
    return {
        "kernel": ParamInfo(role, index, n_layers, path, 1),
        "bias": ParamInfo(role, index, n_layers, path, 0),
    }


EXPECTED = {
    "shared": (
        make_network(DISCRETE, (5,), Body((16,), "relu"), shared_torso=True),
        {
            "shared": {
                "hidden_0": layer("shared", 0, 2, "hidden_0"),
                "logits": layer("shared", 1, 2, "logits", role="actor"),
                "value": layer("shared", 1, 2, "value", role="critic"),
            }
        },
    ),
    "free": (
        make_network(CONTINUOUS, (5,), Body((16, 8))),
        {
            "actor": {
                "hidden_0": layer("actor", 0, 4, "hidden_0"),
                "hidden_1": layer("actor", 1, 4, "hidden_1"),
                "mean": layer("actor", 2, 4, "mean"),
                "log_std": ParamInfo("actor", 3, 4, None, 0),
            },
            "critic": {
                "hidden_0": layer("critic", 0, 3, "hidden_0"),
                "hidden_1": layer("critic", 1, 3, "hidden_1"),
                "value": layer("critic", 2, 3, "value"),
            },
        },
    ),
}


@pytest.mark.parametrize("kind", EXPECTED)
def test_param_info_is_complete_and_right(kind):
    network, expected = EXPECTED[kind]
    params = network.init(jax.random.key(0))
    assert network.param_info == expected
    # One for every tensor, in a tree that follows the parameters': what a learned optimizer maps over.
    infos = jax.tree.structure(params).flatten_up_to(network.param_info)
    assert all(isinstance(info, ParamInfo) for info in infos)


def test_forward_pass_by_hand():
    network, _ = EXPECTED["free"]
    params = network.init(jax.random.key(0))
    params = jax.tree.map(lambda p: p + 0.1, params)  # biases that are not zero
    x = np.random.default_rng(0).normal(0, 1, (2, 3, 5)).astype(np.float32)
    outputs, activations = applied(network, params, jnp.asarray(x))
    dense = lambda x, p: x @ np.asarray(p["kernel"]) + np.asarray(p["bias"])  # noqa: E731
    for torso, head in (("actor", "mean"), ("critic", "value")):
        h0 = np.tanh(dense(x, params[torso]["hidden_0"]))
        h1 = np.tanh(dense(h0, params[torso]["hidden_1"]))
        y = dense(h1, params[torso][head])
        np.testing.assert_allclose(activations[torso]["hidden_0"], h0, atol=1e-5)
        np.testing.assert_allclose(activations[torso]["hidden_1"], h1, atol=1e-5)
        np.testing.assert_allclose(activations[torso][head], y, atol=1e-5)
        np.testing.assert_allclose(outputs[head], y[..., 0] if head == "value" else y, atol=1e-5)
    assert outputs["value"].shape == (2, 3) and outputs["mean"].shape == (2, 3, 2)
    np.testing.assert_allclose(outputs["log_std"], np.full((2, 3, 2), -0.4), rtol=1e-6)


def test_orthogonal_gains_and_zero_biases():
    """Rows or columns, whichever are fewer, are orthogonal and of length sqrt 2, or the head's scale."""
    network = make_network({**DISCRETE, "wide": Head(3, scale=1.7)}, (5,), Body((16, 8)))
    params = network.init(jax.random.key(3))
    actor, critic = (np.asarray(params[torso]["hidden_0"]["kernel"]) for torso in ("actor", "critic"))
    assert not np.array_equal(actor, critic)
    gains = {"hidden_0": 2**0.5, "hidden_1": 2**0.5, "logits": 0.01, "value": 1.0, "wide": 1.7}
    for layers in params.values():
        for name, tensors in layers.items():
            kernel = np.asarray(tensors["kernel"])
            kernel = kernel if kernel.shape[0] >= kernel.shape[1] else kernel.T
            np.testing.assert_allclose(
                kernel.T @ kernel, gains[name] ** 2 * np.eye(kernel.shape[1]), atol=1e-5 * gains[name] ** 2
            )
            assert not tensors["bias"].any()


def test_heads_with_a_deviation_are_normal_and_cut_off_at_two():
    """Such a distribution has 0.88 of the deviation; other layers begin as without it."""
    heads = {"logits": LOGITS, "wide": Head(500, torso="critic", scale=1.7)}
    normal = {**heads, "wide": heads["wide"]._replace(deviation=0.1)}
    networks = (make_network(each, (5,), Body((8,))) for each in (heads, normal))
    plain, params = (jax.device_get(network.init(jax.random.key(3))) for network in networks)
    wide = params["critic"].pop("wide")
    assert np.std(wide["kernel"]) == pytest.approx(0.088, rel=0.05) and not wide["bias"].any()
    assert 0.19 < np.abs(wide["kernel"]).max() <= 0.2
    del plain["critic"]["wide"]
    jax.tree.map(np.testing.assert_array_equal, params, plain)


def test_relu_and_swish_are_what_they_say():
    x = jnp.array([-2.0, 0.5])
    np.testing.assert_allclose(ACTIVATIONS["relu"](x), [0.0, 0.5])
    np.testing.assert_allclose(
        ACTIVATIONS["swish"](x), np.asarray(x) / (1 + np.exp(-np.asarray(x))), rtol=1e-6
    )
    with pytest.raises(ValueError, match="relu"):
        make_network(DISCRETE, (5,), Body((16,), "sigmoid"))


@pytest.mark.parametrize(
    ("inputs", "options"),
    [
        (6 * 6 * 8, {"filters": (16, 8), "shared_torso": True}),
        (8 * 8 * 16, {"filters": (16,), "layer_norm": True, "experts": 3, "recurrence": "gru"}),
    ],
)
def test_convolutions_fit_the_images_of_minatar(inputs, options):
    environment, network = parts(PPO, Setup("Breakout-MinAtar", **options))
    assert environment.observation_shape == (10, 10, 4)
    params = jax.eval_shape(network.init, jax.random.key(0))
    for layers in params.values():
        assert layers["conv_0"]["kernel"].shape == (3 * 3 * 4, 16)
        assert layers["hidden_0"]["kernel"].shape == (inputs, 64)
    observation = jax.ShapeDtypeStruct((5, 2, environment.observation_size), jnp.float32)
    start = jax.ShapeDtypeStruct((5, 2), jnp.bool_)
    carry = network.initial_carry(2)
    _, outputs, activations = jax.eval_shape(network.unroll, params, carry, observation, start)
    assert jax.tree.map(jnp.shape, outputs) == {"logits": (5, 2, 3), "value": (5, 2)}
    assert all(layers["conv_0"].shape == (5, 2, 16) for layers in activations.values())
