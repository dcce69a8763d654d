"""The agent's network: one body per torso (or a shared one), with heads on it.

A body consists of convolutions, hidden layers (the last may be a mixture of experts) and a recurrence; each
is optional. Action-conditional heads are on an action model, which is on the body. Parameters are ``{torso:
{layer: {tensor: array}, free head: vector}}``, and every tensor's last axis runs over its layer's neurons.
Learned optimizers need no list of layers: `Network.param_info` describes each tensor.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from discovery.inner.networks.layers import KERNEL, ActionModel, Convolution, Experts
from discovery.inner.networks.products import Product, product_of
from discovery.inner.networks.recurrence import GRU, LinearRecurrence
from objectives.base import Head, ParamInfo

ACTIVATIONS: dict[str, Callable[[Array], Array]] = {"tanh": jnp.tanh, "relu": nn.relu, "swish": nn.swish}

RECURRENCES: dict[str, Any] = {"gru": GRU, "linear": LinearRecurrence}


class Body(NamedTuple):
    """The layers of a torso, below its heads.

    Attributes:
        hidden: widths of the hidden layers.
        activation: a name in `ACTIVATIONS`.
        filters: number of each convolution, on observations of three axes; empty for no convolutions.
        layer_norm: normalize each layer before its nonlinearity, convolutions over their filters.
        experts: number in a soft mixture that replaces the last hidden layer; 0 for no mixture.
        recurrence: a name in `RECURRENCES`, as wide as the last hidden layer, or "none".
        matmul: precision of products in layers (`products.py`); recurrences and action models use float32.
    """

    hidden: tuple[int, ...]
    activation: str = "tanh"
    filters: tuple[int, ...] = ()
    layer_norm: bool = False
    experts: int = 0
    recurrence: str = "none"
    matmul: str = "float32"

    @property
    def layers(self) -> list[tuple[str, ...]]:
        """Names of the layers in order; layers of one entry are at the same depth."""
        convolutions = [(f"conv_{i}", f"conv_norm_{i}") for i in range(len(self.filters))]
        hidden: list[tuple[str, ...]] = [(f"hidden_{i}", f"norm_{i}") for i in range(len(self.hidden))]
        if self.experts:
            hidden[-1] = ("gate", "experts")
        recurrent = {"none": [], "gru": [("gru",)], "linear": [("linear",), ("readout",)]}[self.recurrence]
        return convolutions + hidden + recurrent


class _Torso(nn.Module):
    """A body and its heads; returns (carry, outputs, activations by layer).

    Layers get one flat batch: with two leading axes, vmapped agents are up to 20% slower.
    """

    body: Body
    shape: tuple[int, ...]
    heads: tuple[tuple[str, Head], ...]

    @nn.compact
    def __call__(
        self, carry: Any, x: Float[Array, "... D"], start: Bool[Array, "..."]
    ) -> tuple[Any, dict[str, Array], dict[str, Array]]:
        act, product = ACTIVATIONS[self.body.activation], product_of(self.body.matmul)
        outputs: dict[str, Array] = {}
        activations: dict[str, Array] = {}
        lead = x.shape[:-1]
        x = x.reshape(-1, x.shape[-1])
        if self.body.filters:
            x = self._convolved(x, activations)
        for index, width in enumerate(self.body.hidden):
            mixed = self.body.experts and index == len(self.body.hidden) - 1
            layer = f"hidden_{index}"
            if mixed:
                y = Experts(self.body.experts, width, product, name="experts")(x)
            else:
                y = _dense(width, layer, product)(x)
            if self.body.layer_norm:  # experts and gates have enough scales already
                y = nn.LayerNorm(use_bias=not mixed, use_scale=not mixed, name=f"norm_{index}")(y)
            y = act(y)
            if mixed:
                weight = nn.softmax(
                    nn.Dense(self.body.experts, use_bias=False, dot_general=product, name="gate")(x)
                )
                activations["gate"], activations["experts"] = weight, y.reshape(*x.shape[:-1], -1)
                y = (weight[..., None] * y).sum(-2)
            else:
                activations[layer] = y
            x = y
        if self.body.recurrence != "none":
            carry, x = self._remembered(carry, x.reshape(*lead, -1), start, activations)
        after = self._after_each_action(x, activations)
        for name, head in self.heads:
            if head.free:
                vector = self.param(name, nn.initializers.constant(head.initial), (head.size,))
                outputs[name] = jnp.broadcast_to(vector, (*x.shape[:-1], head.size))
                continue
            below = x
            if head.actions:
                below = act(_dense(head.units, f"{name}_hidden", product)(after))
                activations[f"{name}_hidden"] = below.mean(-2)
            y = nn.Dense(max(head.size, 1), kernel_init=_initial(head), dot_general=product, name=name)(below)
            activations[name] = y.mean(-2) if head.actions else y
            outputs[name] = y if head.size else y[..., 0]
        return carry, *jax.tree.map(lambda y: y.reshape(*lead, *y.shape[1:]), (outputs, activations))

    def _after_each_action(
        self, x: Float[Array, "TE F"], activations: dict[str, Array]
    ) -> Float[Array, "TE A H"] | None:
        """The input of action-conditional heads, if there are any; activations are means over actions."""
        models = {(head.actions, head.units) for _, head in self.heads if head.actions}
        if not models:
            return None
        ((actions, units),) = models
        start = nn.Dense(units, dot_general=product_of(self.body.matmul), name="action_start")(x)
        after = ActionModel(actions, units, name="action_model")(start)
        activations["action_start"], activations["action_model"] = start, after.mean(-2)
        return after

    def _convolved(self, x: Float[Array, "TE D"], activations: dict[str, Array]) -> Float[Array, "TE F"]:
        """The convolutions of a flat observation, flat again; a filter's activation is its mean."""
        x = x.reshape(-1, *self.shape)
        for index, filters in enumerate(self.body.filters):
            convolution = Convolution(filters, product_of(self.body.matmul), name=f"conv_{index}")
            y = convolution(x)
            if self.body.layer_norm:
                y = nn.LayerNorm(name=f"conv_norm_{index}")(y)
            x = ACTIVATIONS[self.body.activation](y)
            activations[f"conv_{index}"] = x.mean((-3, -2))
        return x.reshape(len(x), -1)

    def _remembered(
        self,
        carry: Any,
        x: Float[Array, "T E H"],
        start: Bool[Array, "T E"],
        activations: dict[str, Array],
    ) -> tuple[Any, Float[Array, "TE H"]]:
        """The recurrence; a linear one's output passes a nonlinearity and is combined with its input."""
        width = self.body.hidden[-1]
        if self.body.recurrence == "gru":
            carry, y = GRU(width, name="gru")(carry, x, start)
            activations["gru"] = y.reshape(-1, width)
            return carry, activations["gru"]
        carry, parts = LinearRecurrence(width, name="linear")(carry, x, start)
        parts = parts.reshape(-1, 2, width)
        activations["linear"] = jnp.sqrt((parts**2).sum(-2) + 1e-12)
        normal = nn.LayerNorm(use_bias=False, use_scale=False)(parts.reshape(-1, 2 * width))
        both = jnp.concatenate([normal, x.reshape(-1, width)], axis=-1)
        x = ACTIVATIONS[self.body.activation](_dense(width, "readout", product_of(self.body.matmul))(both))
        activations["readout"] = x
        return carry, x


def _initial(head: Head) -> nn.initializers.Initializer:
    """The initializer of a head's kernel."""
    if head.deviation > 0:
        return nn.initializers.truncated_normal(head.deviation)
    return nn.initializers.orthogonal(head.scale)


def _dense(width: int, name: str, product: Product) -> nn.Dense:
    return nn.Dense(width, kernel_init=nn.initializers.orthogonal(2**0.5), dot_general=product, name=name)


class Network(NamedTuple):
    """The agent's network as pure functions.

    Attributes:
        init: ``key -> params``.
        initial_carry: ``n -> carry [n, ...]``, the initial recurrent state; no arrays without memory, and
            then `unroll` takes any leading axes.
        unroll: ``(params, carry [E, ...], observation [T, E, D], start [T, E]) -> (carry, outputs
            [T, E, ...], activations {torso: {layer: [T, E, H]}})``; `start` marks the first step of an
            episode, at which the carry is reset.
        param_info: a tree like the parameters', of `ParamInfo`.
        torso_of: the torso of each head.
    """

    init: Callable[[PRNGKeyArray], Any]
    initial_carry: Callable[[int], Any]
    unroll: Callable[
        [Any, Any, Float[Array, "... D"], Bool[Array, "..."]],
        tuple[Any, dict[str, Array], dict[str, dict[str, Array]]],
    ]
    param_info: Any
    torso_of: Mapping[str, str]


def make_network(
    heads: Mapping[str, Head], observation_shape: tuple[int, ...], body: Body, shared_torso: bool = False
) -> Network:
    """Build the network that carries `heads`.

    Args:
        heads: name to `Head`, from the policy.
        observation_shape: of an observation before it is flattened to D numbers.
        body: the layers of every torso.
        shared_torso: put all heads on one torso called "shared".

    Raises:
        ValueError: for an unknown name, convolutions of observations that are not images, or
            action-conditional heads of one torso that cannot share a model.
    """
    _check(body, observation_shape)
    by_torso: dict[str, list[tuple[str, Head]]] = {}
    for name, head in heads.items():
        by_torso.setdefault("shared" if shared_torso else head.torso, []).append((name, head))
    for torso, members in by_torso.items():
        _check_action_models(torso, [head for _, head in members])
    torsos = {torso: _Torso(body, observation_shape, tuple(members)) for torso, members in by_torso.items()}
    recurrence = RECURRENCES.get(body.recurrence)
    size = math.prod(observation_shape)

    def initial_carry(n: int) -> Any:
        if recurrence is None:
            return {}
        return {torso: recurrence.initial_carry(n, body.hidden[-1]) for torso in torsos}

    def init(key: PRNGKeyArray) -> Any:
        keys = jax.random.split(key, len(torsos))
        carry, x, start = initial_carry(1), jnp.zeros((1, 1, size)), jnp.zeros((1, 1), bool)
        return {
            torso: module.init(key_torso, carry.get(torso), x, start)["params"]
            for (torso, module), key_torso in zip(torsos.items(), keys, strict=True)
        }

    def unroll(params: Any, carry: Any, observation: Array, start: Array) -> tuple[Any, Any, Any]:
        outputs: dict[str, Array] = {}
        activations: dict[str, dict[str, Array]] = {}
        following: dict[str, Array] = {}
        for torso, module in torsos.items():
            result: Any = module.apply({"params": params[torso]}, carry.get(torso), observation, start)
            left, torso_outputs, activations[torso] = result
            outputs.update(torso_outputs)
            if recurrence is not None:
                following[torso] = left
        return following, outputs, activations

    shapes = jax.eval_shape(init, jax.random.key(0))
    info = {torso: _describe(torso, shapes[torso], body, dict(by_torso[torso])) for torso in torsos}
    torso_of = {name: torso for torso, members in by_torso.items() for name, _ in members}
    return Network(init, initial_carry, unroll, info, torso_of)


def _check(body: Body, observation_shape: tuple[int, ...]) -> None:
    """Raise unless such a body is possible."""
    if body.activation not in ACTIVATIONS:
        raise ValueError(f"activation must be one of {', '.join(ACTIVATIONS)}, got {body.activation!r}")
    if body.recurrence not in ("none", *RECURRENCES):
        names = ", ".join(("none", *RECURRENCES))
        raise ValueError(f"recurrence must be one of {names}, got {body.recurrence!r}")
    if not body.hidden and (body.experts or body.recurrence != "none"):
        what = f"experts {body.experts}" if body.experts else f"recurrence {body.recurrence!r}"
        raise ValueError(f"{what} needs at least one hidden layer, whose width it has; hidden is empty")
    product_of(body.matmul)
    smallest = 1 + len(body.filters) * (KERNEL - 1)
    if body.filters and (len(observation_shape) != 3 or min(observation_shape[:2]) < smallest):
        raise ValueError(
            f"filters {body.filters} need an observation of shape (height, width, channels), each side at "
            f"least {smallest}, got shape {observation_shape}; leave filters empty"
        )


def _check_action_models(torso: str, heads: list[Head]) -> None:
    """Raise unless action-conditional heads can share a model."""
    models = sorted({(head.actions, head.units) for head in heads if head.actions})
    if len(models) > 1:
        raise ValueError(
            f"action-conditional heads of torso {torso!r} share one model and must agree on "
            f"(actions, units), got {models}"
        )


def _describe(torso: str, shapes: Any, body: Body, heads: dict[str, Head]) -> Any:
    """`ParamInfo` for every tensor of one torso.

    Heads share the layer index after the body's and an action model's, and keep their own role on a shared
    torso. A layer's normalization counts as part of it.
    """
    hidden = tuple(f"{name}_hidden" for name, head in heads.items() if head.actions)
    layers = body.layers + ([("action_start",), ("action_model",), hidden] if hidden else [])
    depth = {name: index for index, names in enumerate(layers) for name in names}
    free = any(head.free for head in heads.values())
    n_layers = len(layers) + 1 + free
    info: dict[str, Any] = {}
    for layer, tensors in shapes.items():
        if layer in heads and heads[layer].free:
            info[layer] = ParamInfo(heads[layer].torso, n_layers - 1, n_layers, None, 0)
            continue
        role = heads[layer].torso if layer in heads else torso
        index = depth.get(layer, len(layers))
        path = (torso, layer.replace("conv_norm_", "conv_").replace("norm_", "hidden_"))
        info[layer] = {
            name: ParamInfo(role, index, n_layers, path, len(tensor.shape) - 1)
            for name, tensor in tensors.items()
        }
    return info
