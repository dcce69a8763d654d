"""Adapts a learned optimizer to any loop that uses optax: the code around it in an exported file.

The inner loop passes to an optimizer, at every update, the training progress, a description of each
parameter, and the activations. Other loops pass nothing. `optimizer` wraps the objective's `rule` in a
transformation that infers what it can. `source.Source` writes it into files; it runs nowhere else.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from objectives.base import ParamInfo, Progress

N_EPOCHS, N_MINIBATCHES = 1, 1
"""In files, replaced by the recipe's."""

Rule = Callable[[Mapping[str, Any]], optax.GradientTransformationExtraArgs]


class OptimizerState(NamedTuple):
    """`count` is the number of updates made, int32; `rule` what the parts remember."""

    count: Any
    rule: Any


def in_actor(path: str) -> bool:
    """Whether the array at a path, "['actor']['layer']['kernel']", is the actor's: whether it says so."""
    return "actor" in path


def optimizer(
    rule: Rule,
    meta_params: Mapping[str, Any],
    needs_progress: bool,
    needs_context: bool,
    total_steps: int | None = None,
    n_epochs: int = N_EPOCHS,
    n_minibatches: int = N_MINIBATCHES,
    *,
    actor: Any = in_actor,
    param_info: Any = None,
    seed: Any = 0,
) -> Any:
    """The optimizer, clipping and step size included, as an optax.GradientTransformationExtraArgs.

    Args:
        rule: the objective's own.
        meta_params: everything numeric that it reads.
        needs_progress: whether it needs to know how far the training is.
        needs_context: whether it needs the parameters, what each is, activations and a key.
        total_steps: number of updates of the whole training: rollouts * n_epochs * n_minibatches. None: every
            update counts as one of a first rollout.
        n_epochs: passes over each rollout; 1 where there are no rollouts.
        n_minibatches: updates in one pass; 1 where there are no rollouts.
        actor: which parameters get noise, by their path in the tree as text; see `in_actor`.
        param_info: of the parameters; None: what `describe` says, with `actor`.
        seed: of the noise; an int, or a traced one where agents are trained side by side.
    """
    if needs_progress:
        check_counts(total_steps, n_epochs, n_minibatches)
    parts = rule(meta_params)
    if needs_context:
        described = param_info

    def init(params):
        return OptimizerState(jnp.zeros((), jnp.int32), parts.init(by_network(params, params)))

    def update(
        updates, state, params=None, *, key=None, progress=None, activations=None, param_info=None, **_
    ):
        if needs_context and params is None:
            raise ValueError("the learned optimizer sees the parameters: pass params to update, got None")
        extra = {}
        if needs_progress:
            if progress is None:
                progress = progress_at(state.count, total_steps, n_epochs, n_minibatches)
            extra["progress"] = Progress(*progress)
        if needs_context:
            extra["key"] = jax.random.fold_in(jax.random.key(seed), state.count) if key is None else key
            if param_info is None:
                param_info = describe(params, actor) if described is None else described
            infos, extra["activations"] = with_activations(params, param_info, activations)
            extra["param_info"] = by_network(infos, params)
            params = by_network(params, params)
        moved, following = parts.update(by_network(updates, updates), state.rule, params, **extra)
        moved = jax.tree.unflatten(jax.tree.structure(updates), jax.tree.leaves(moved))
        return moved, OptimizerState(state.count + 1, following)

    return optax.GradientTransformationExtraArgs(init, update)


def by_network(tree: Any, params: Any) -> dict[int, list[Any]]:
    """The leaves of a tree like `params`, in their order, by the number of their network."""
    leaves, members = jax.tree.structure(params).flatten_up_to(tree), networks(params)
    return {n: [x for x, m in zip(leaves, members, strict=True) if m == n] for n in sorted(set(members))}


def networks(tree: Any) -> list[int]:
    """Which network each array of a tree belongs to, as a number, in the order of its leaves.

    The outermost branches are networks if every one of them has branches itself, as in {"actor": {"layer":
    {...}, ...}, "critic": {...}}; else the tree is one network. A single branch, {"params": {...}}, is
    looked through.
    """
    paths = [path for path, _ in jax.tree_util.tree_leaves_with_path(tree)]
    depth = 0
    while all(len(path) > depth + 1 and path[depth] == paths[0][depth] for path in paths):
        depth += 1
    depths = {}
    for path in paths:
        branch = path[depth] if len(path) > depth else None
        depths[branch] = max(len(path), depths.get(branch, 0))
    if any(longest < depth + 3 for longest in depths.values()):
        return [0] * len(paths)
    return [list(depths).index(path[depth]) for path in paths]


def check_counts(total_steps: Any, n_epochs: int, n_minibatches: int) -> None:
    """Raise a ValueError for numbers that no training has."""
    if n_epochs < 1 or n_minibatches < 1:
        counts = f"n_epochs={n_epochs}, n_minibatches={n_minibatches}"
        raise ValueError(f"n_epochs and n_minibatches must be at least 1, got {counts}")
    if isinstance(total_steps, int) and total_steps < 1:
        raise ValueError(f"total_steps, the number of all updates, must be at least 1, got {total_steps}")


def progress_at(count: Any, total_steps: Any, n_epochs: int, n_minibatches: int) -> Progress:
    """The Progress of the optimizer's step number `count`; without `total_steps`, that of a first rollout."""
    epoch = count // n_minibatches % n_epochs
    if total_steps is None:
        return Progress(0, 1, epoch, n_epochs)
    per_rollout = n_epochs * n_minibatches
    return Progress(count // per_rollout, jnp.maximum(total_steps // per_rollout, 1), epoch, n_epochs)


def describe(params: Any, actor: Any = in_actor) -> Any:
    """A tree of ParamInfo like `params`, as far as the tree itself tells.

    A layer is what holds arrays next to one another, as {"kernel": ..., "bias": ...}; an array next to layers
    is a separate layer, after them and without activations. The layers of a network, see `networks`, have the
    order of their names, numbers in names counting as numbers. Neurons are along the last axis.

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


def name_of(key: Any) -> Any:
    """The name or index in one key of a path."""
    return next(getattr(key, kind) for kind in ("key", "idx", "name") if hasattr(key, kind))


def natural(name: Any) -> list[Any]:
    """A key that sorts "layer_10" behind "layer_9"."""
    pieces = re.split(r"(\d+)", str(name))
    return [int(piece) if index % 2 else piece for index, piece in enumerate(pieces)]


def with_activations(params: Any, param_info: Any, activations: Any) -> tuple[Any, Any]:
    """(tree of ParamInfo, activations by layer): of layers without activations, the path is None."""
    treedef, infos, active = jax.tree.structure(params), [], {}
    leaves = zip(jax.tree.leaves(params), treedef.flatten_up_to(param_info), strict=True)
    for index, (leaf, info) in enumerate(leaves):
        found = looked_up(activations, info.path)
        if found is None:
            infos.append(info._replace(path=None))
            continue
        width = leaf.shape[info.neuron_axis]
        if jnp.shape(found)[-1:] != (width,):
            raise ValueError(f"layer {info.path} has {width} neurons, got activations {jnp.shape(found)}")
        active[str(index)] = jnp.reshape(found, (-1, width))
        infos.append(info._replace(path=("layers", str(index))))
    return jax.tree.unflatten(treedef, infos), {"layers": active}


def looked_up(tree: Any, path: Any) -> Any:
    """What is at a path of keys; None for nothing."""
    for name in () if path is None else path:
        try:
            tree = tree[name]
        except (KeyError, IndexError, TypeError):
            return None
    return None if path is None else tree
