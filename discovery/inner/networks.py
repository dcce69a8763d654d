"""The agent's network: one multilayer perceptron per torso (or one shared), with the policy's heads on it.

Parameters are ``{torso: {layer: {"kernel", "bias"}, free head: vector}}``. A network describes itself,
so that learned optimizers need no list of layers: `Network.param_info` says what each tensor is.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from objectives.base import Head, ParamInfo

ACTIVATIONS: dict[str, Callable[[Array], Array]] = {"tanh": jnp.tanh, "relu": nn.relu, "swish": nn.swish}


class _Torso(nn.Module):
    """Hidden layers and the heads that sit on them; returns (outputs, activations by layer)."""

    hidden: tuple[int, ...]
    activation: str
    heads: tuple[tuple[str, Head], ...]

    @nn.compact
    def __call__(self, x: Float[Array, "... D"]) -> tuple[dict[str, Array], dict[str, Array]]:
        act = ACTIVATIONS[self.activation]
        outputs: dict[str, Array] = {}
        activations: dict[str, Array] = {}
        for index, width in enumerate(self.hidden):
            layer = f"hidden_{index}"
            x = act(nn.Dense(width, kernel_init=nn.initializers.orthogonal(2**0.5), name=layer)(x))
            activations[layer] = x
        for name, head in self.heads:
            if head.free:
                vector = self.param(name, nn.initializers.constant(head.initial), (head.size,))
                outputs[name] = jnp.broadcast_to(vector, (*x.shape[:-1], head.size))
                continue
            kernel_init = nn.initializers.orthogonal(head.scale)
            y = nn.Dense(max(head.size, 1), kernel_init=kernel_init, name=name)(x)
            activations[name] = y
            outputs[name] = y if head.size else y[..., 0]
        return outputs, activations


class Network(NamedTuple):
    """The agent's network as pure functions.

    Attributes:
        init: ``key -> params``.
        apply: ``(params, observation [..., D]) -> (outputs, activations {torso: {layer: [..., H]}})``.
        param_info: a tree like the parameters', of `ParamInfo`.
    """

    init: Callable[[PRNGKeyArray], Any]
    apply: Callable[[Any, Array], tuple[dict[str, Array], dict[str, dict[str, Array]]]]
    param_info: Any


def make_network(
    heads: Mapping[str, Head],
    observation_size: int,
    hidden: tuple[int, ...],
    activation: str,
    shared_torso: bool = False,
) -> Network:
    """Build the network that carries `heads`.

    Args:
        heads: name to `Head`, from the policy.
        observation_size: D.
        hidden: widths of the hidden layers of every torso.
        activation: a name in `ACTIVATIONS`.
        shared_torso: put all heads on one torso called "shared".

    Raises:
        ValueError: for an unknown activation.
    """
    if activation not in ACTIVATIONS:
        raise ValueError(f"activation must be one of {', '.join(ACTIVATIONS)}, got {activation!r}")
    by_torso: dict[str, list[tuple[str, Head]]] = {}
    for name, head in heads.items():
        by_torso.setdefault("shared" if shared_torso else head.torso, []).append((name, head))
    torsos = {torso: _Torso(hidden, activation, tuple(members)) for torso, members in by_torso.items()}

    def init(key: PRNGKeyArray) -> Any:
        keys = jax.random.split(key, len(torsos))
        x = jnp.zeros((1, observation_size))
        return {
            torso: module.init(key_torso, x)["params"]
            for (torso, module), key_torso in zip(torsos.items(), keys, strict=True)
        }

    def apply(params: Any, observation: Array) -> tuple[dict[str, Array], dict[str, dict[str, Array]]]:
        outputs: dict[str, Array] = {}
        activations: dict[str, dict[str, Array]] = {}
        for torso, module in torsos.items():
            result: Any = module.apply({"params": params[torso]}, observation)
            torso_outputs, activations[torso] = result
            outputs.update(torso_outputs)
        return outputs, activations

    shapes = jax.eval_shape(init, jax.random.key(0))
    info = {torso: _describe(torso, shapes[torso], hidden, dict(by_torso[torso])) for torso in torsos}
    return Network(init, apply, info)


def _describe(torso: str, shapes: Any, hidden: tuple[int, ...], heads: dict[str, Head]) -> Any:
    """`ParamInfo` for every tensor of one torso.

    Heads share the layer index after the hidden ones, and keep their own role on a shared torso.
    """
    free = any(head.free for head in heads.values())
    n_layers = len(hidden) + 1 + free
    info: dict[str, Any] = {}
    for layer, tensors in shapes.items():
        if layer in heads and heads[layer].free:
            info[layer] = ParamInfo(heads[layer].torso, len(hidden) + 1, n_layers, None, 0)
            continue
        index = len(hidden) if layer in heads else int(layer.removeprefix("hidden_"))
        role = heads[layer].torso if layer in heads else torso
        info[layer] = {
            name: ParamInfo(role, index, n_layers, (torso, layer), len(tensor.shape) - 1)
            for name, tensor in tensors.items()
        }
    return info
