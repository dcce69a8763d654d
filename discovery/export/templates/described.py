"""What an exported optimizer finds out about parameters that nobody describes to it."""

import re
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from discovery.export.templates.steps import networks


class ParamInfo(NamedTuple):
    """What one array of parameters is.

    Attributes:
        role: "actor" for parameters that get noise; anything else for others.
        layer: index of its layer in its network, from the input.
        n_layers: how many layers that network has.
        path: where in `activations` those of its layer are, keys from the outside; None for nowhere.
        neuron_axis: which axis of the array runs over the layer's neurons.
    """

    role: str
    layer: int
    n_layers: int
    path: Any
    neuron_axis: int


def in_actor(path):
    """Whether the array at a path, "['actor']['layer']['kernel']", is the actor's: whether it says so."""
    return "actor" in path


def describe(params, actor=in_actor):
    """A tree of ParamInfo like `params`, as far as the tree itself tells.

    A layer is what holds arrays next to one another, as {"kernel": ..., "bias": ...}; an array beside
    layers is a layer of its own, after them and without activations. The layers of a network, see
    `networks`, have the order of their names, numbers in names counting as numbers. Neurons are along the
    last axis.

    Args:
        params: any tree of arrays.
        actor: from an array's path, as text, to whether it is the actor's.
    """
    leaves, treedef = jax.tree.flatten(params)
    paths = [path for path, _ in jax.tree_util.tree_leaves_with_path(params)]
    holders = {path[:-1] for path in paths}
    members, layers = networks(params), []
    for path in paths:
        free = any(len(other) >= len(path) and other[: len(path) - 1] == path[:-1] for other in holders)
        names = tuple(name_of(key) for key in (path if free else path[:-1]))
        layers.append((free, [natural(name) for name in names], names))
    infos = []
    for leaf, path, network, layer in zip(leaves, paths, members, layers, strict=True):
        order = []
        for other, number in sorted(zip(layers, members, strict=True), key=lambda pair: pair[0][:2]):
            if number == network and other not in order:
                order.append(other)
        role = "actor" if actor(jax.tree_util.keystr(path)) else "other"
        where = None if layer[0] or leaf.ndim == 0 else layer[2]
        infos.append(ParamInfo(role, order.index(layer), len(order), where, leaf.ndim - 1))
    return jax.tree.unflatten(treedef, infos)


def name_of(key):
    """The name or index in one key of a path."""
    return next(getattr(key, kind) for kind in ("key", "idx", "name") if hasattr(key, kind))


def natural(name):
    """A key that sorts "layer_10" behind "layer_9"."""
    pieces = re.split(r"(\d+)", str(name))
    return [int(piece) if index % 2 else piece for index, piece in enumerate(pieces)]


def dormancy(activations, info, shape):
    """How active the neurons are that an array's elements feed, relative to their layer: [shape], mean 1.

    1 where there are no activations.
    """
    active = activations
    for name in () if info.path is None else info.path:
        try:
            active = active[name]
        except (KeyError, IndexError, TypeError):
            active = None
    if info.path is None or active is None:
        return jnp.ones(shape)
    width = shape[info.neuron_axis]
    if jnp.shape(active)[-1:] != (width,):
        raise ValueError(
            f"activations of layer {info.path} must have {width} neurons along their last axis, "
            f"got shape {jnp.shape(active)}"
        )
    active = jnp.abs(active).reshape(-1, width).mean(0) + 1e-11
    along = [1] * len(shape)
    along[info.neuron_axis] = -1
    return jnp.broadcast_to((active / active.mean()).reshape(along), shape)
