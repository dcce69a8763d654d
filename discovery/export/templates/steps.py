"""What stands before and behind an exported rule: clipping, and the time of training."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from discovery.export.templates.cells import precision

MAX_GRAD_NORM = 0.5
CLIP_BY_NETWORK = 1.0
LEARNING_RATE = 3e-4
ANNEAL = 1.0


class Progress(NamedTuple):
    """How far a training is; a tuple of these four will do.

    Attributes:
        update: n, the number of rollouts learned from before this one, 0 <= n < N.
        n_updates: N, the number of rollouts of the whole training.
        epoch: which pass over this rollout it is, 0 <= e < E.
        n_epochs: E.
    """

    update: Any
    n_updates: Any
    epoch: Any
    n_epochs: Any


def progress_at(count, total_steps, n_epochs, n_minibatches):
    """The Progress of the optimizer's step number `count`; without `total_steps`, that of a first rollout."""
    epoch = count // n_minibatches % n_epochs
    if total_steps is None:
        return Progress(0, 1, epoch, n_epochs)
    per_rollout = n_epochs * n_minibatches
    return Progress(count // per_rollout, jnp.maximum(total_steps // per_rollout, 1), epoch, n_epochs)


def check_counts(total_steps, n_epochs, n_minibatches):
    """Raise a ValueError for numbers that no training has."""
    if n_epochs < 1 or n_minibatches < 1:
        raise ValueError(
            "n_epochs and n_minibatches must be at least 1, "
            f"got n_epochs={n_epochs}, n_minibatches={n_minibatches}"
        )
    if isinstance(total_steps, int) and total_steps < 1:
        raise ValueError(f"total_steps, the number of all updates, must be at least 1, got {total_steps}")


def networks(tree):
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


def clip_by_global_norm():
    """Scale gradients so that their norm is at most MAX_GRAD_NORM.

    CLIP_BY_NETWORK is 1 if it is each network's own norm, see `networks`, 0 if it is that of the whole tree;
    in between, factors are weighted means of both.
    """

    def factor(square):
        exceeds = square > MAX_GRAD_NORM**2
        return jnp.where(exceeds, MAX_GRAD_NORM / jnp.sqrt(jnp.where(exceeds, square, 1.0)), 1.0)

    def update(updates, state, params=None):
        leaves, treedef = jax.tree.flatten(updates)
        squares = [jnp.square(leaf.astype(precision(leaves))).sum() for leaf in leaves]
        members = networks(updates)
        together, scaled = factor(sum(squares)), []
        for leaf, network in zip(leaves, members, strict=True):
            own = factor(sum(s for s, other in zip(squares, members, strict=True) if other == network))
            scale = (1.0 - CLIP_BY_NETWORK) * together + CLIP_BY_NETWORK * own
            scaled.append((leaf * scale).astype(leaf.dtype))
        return jax.tree.unflatten(treedef, scaled), state

    return optax.GradientTransformation(lambda params: optax.EmptyState(), update)


def anneal():
    """Multiply by -LEARNING_RATE (1 - ANNEAL n / N)."""

    def update(updates, state, params=None, *, progress, **_):
        fraction = jnp.minimum(jnp.asarray(progress.update, jnp.float32) / progress.n_updates, 1.0)
        fraction = fraction.astype(precision(jax.tree.leaves(updates)))
        rate = -LEARNING_RATE * (1.0 - ANNEAL * fraction)
        return jax.tree.map(lambda u: (rate * u).astype(u.dtype), updates), state

    return optax.GradientTransformationExtraArgs(lambda params: optax.EmptyState(), update)
