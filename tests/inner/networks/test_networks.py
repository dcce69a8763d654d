"""Networks: shapes, initialization, a forward pass by hand, and what they say about themselves."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from discovery.inner.networks.network import Body, make_network
from objectives.base import Head, ParamInfo
from tests.inner.states import applied, initialized

LOGITS, VALUE = Head(3, scale=0.01), Head(0, torso="critic")
DISCRETE = {"logits": LOGITS, "value": VALUE}
MEAN, LOG_STD = Head(2, scale=0.01), Head(2, free=True, initial=-0.5)
CONTINUOUS = make_network({"mean": MEAN, "log_std": LOG_STD, "value": VALUE}, (5,), Body((16, 8)))


def layer(torso, name, index, n_layers, role=None):
    """The info of a kernel and a bias of one layer."""
    common = role or torso, index, n_layers, (torso, name)
    return {"kernel": ParamInfo(*common, 1), "bias": ParamInfo(*common, 0)}


def test_parameters_are_told_apart_by_role_and_depth():
    """What a learned optimizer sees: heads keep their role on a shared torso, and a free one is a layer."""
    network = make_network(DISCRETE, (5,), Body((16,)), shared_torso=True)
    assert network.param_info["shared"] == {
        "hidden_0": layer("shared", "hidden_0", 0, 2),
        "logits": layer("shared", "logits", 1, 2, "actor"),
        "value": layer("shared", "value", 1, 2, "critic"),
    }
    assert CONTINUOUS.param_info["actor"] == {
        "hidden_0": layer("actor", "hidden_0", 0, 4),
        "hidden_1": layer("actor", "hidden_1", 1, 4),
        "mean": layer("actor", "mean", 2, 4),
        "log_std": ParamInfo("actor", 3, 4, None, 0),
    }


def test_forward_pass_by_hand():
    params = initialized(CONTINUOUS)
    params = jax.tree.map(lambda p: p + 0.1, params)  # biases that are not zero
    x = np.random.default_rng(0).normal(0, 1, (2, 3, 5)).astype(np.float32)
    outputs, activations = applied(CONTINUOUS, params, jnp.asarray(x))
    for torso, head in (("actor", "mean"), ("critic", "value")):
        y = x
        for name in ("hidden_0", "hidden_1", head):
            p = jax.tree.map(np.asarray, params[torso][name])
            y = y @ p["kernel"] + p["bias"]
            y = y if name == head else np.tanh(y)
            np.testing.assert_allclose(activations[torso][name], y, atol=1e-5)
        np.testing.assert_allclose(outputs[head], y[..., 0] if head == "value" else y, atol=1e-5)
    assert outputs["value"].shape == (2, 3) and outputs["mean"].shape == (2, 3, 2)
    np.testing.assert_allclose(outputs["log_std"], np.full((2, 3, 2), -0.4), rtol=1e-6)


def test_orthogonal_gains_and_zero_biases():
    """Rows or columns, whichever are fewer, are orthogonal and of length sqrt 2, or the head's scale."""
    network = make_network({**DISCRETE, "wide": Head(3, scale=1.7)}, (5,), Body((16, 8)))
    params = initialized(network, 3)
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
    """Such a distribution has 0.88 of the deviation."""
    network = make_network({"logits": LOGITS, "wide": Head(500, deviation=0.1)}, (5,), Body((8,)))
    wide = initialized(network, 3)["actor"]["wide"]
    assert np.std(wide["kernel"]) == pytest.approx(0.088, rel=0.05) and not wide["bias"].any()
    assert 0.19 < np.abs(wide["kernel"]).max() <= 0.2
