"""OPEN (Goldie et al. 2024) as an optimizer of its own."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from discovery.export.templates.cells import flat, linear, normalized, precision, unflat
from discovery.export.templates.described import describe, dormancy, in_actor
from discovery.export.templates.steps import Progress, check_counts, clip_by_global_norm, progress_at

OPEN_SCALE = 1e-3
GRU_WIDTH = 0
FEATURES = tuple(range(19))
N_EPOCHS = 4
N_MINIBATCHES = 4
DECAYS = (0.1, 0.5, 0.9, 0.99, 0.999, 0.9999)
WEIGHTS = {}


class OpenState(NamedTuple):
    """Memory for n parameters: momenta [6, n] and the recurrent unit's state [GRU_WIDTH, n]."""

    momenta: Any
    hidden: Any


class OptimizerState(NamedTuple):
    """`count` is the number of updates made, int32; `rule` what the parts remember."""

    count: Any
    rule: Any


def proportions(progress):
    """Shares in [0, 1] of the training and of the passes that lie behind: n / (N - 1) and e / (E - 1)."""

    def share(index, n):
        return jnp.minimum(index / jnp.maximum(jnp.asarray(n, jnp.float32) - 1.0, 1.0), 1.0)

    return share(progress.update, progress.n_updates), share(progress.epoch, progress.n_epochs)


def scaled(x):
    """Features [F, size] of one array, each divided by the root of 1e-5 + its mean square."""
    return x * jax.lax.rsqrt(1e-5 + jnp.square(x).mean(1, keepdims=True))


def features(leaves, infos, gradients, momenta, progress, activations):
    """What the network may see of every parameter, [19, n]; it sees those in FEATURES.

    0: the parameter; 1-6 and 7-12: signs and logarithms of the momenta; 13 and 14: of the gradient; 15:
        share of the training; 16: share of the layers; 17: share of the passes over a rollout; 18:
        dormancy.
    """
    dtype, columns, start = momenta.dtype, [], 0
    training, batch = proportions(progress)
    for leaf, info, gradient in zip(leaves, infos, gradients, strict=True):
        moving = momenta[:, start : start + leaf.size]
        gradient = gradient.astype(dtype).reshape(1, -1)
        sign, size = jnp.sign(moving), jnp.log(jnp.abs(moving) + 1e-13)
        own = [leaf.astype(dtype).reshape(1, -1), sign, size]
        own += [jnp.sign(gradient), jnp.log(jnp.abs(gradient) + 1e-13)]
        context = [training, info.layer / max(info.n_layers - 1, 1), batch]
        context = [jnp.full((1, leaf.size), share, dtype) for share in context]
        active = dormancy(activations, info, leaf.shape).astype(dtype).reshape(1, -1)
        columns.append(jnp.concatenate([scaled(jnp.concatenate(own)), *context, active]))
        start += leaf.size
    return jnp.concatenate(columns, axis=1)


def actor_noise(key, leaves, infos, dtype):
    """Standard normal numbers for the actor's parameters, zeros for others, [n]."""
    sizes = [leaf.size if info.role == "actor" else 0 for leaf, info in zip(leaves, infos, strict=True)]
    drawn, start, pieces = jax.random.normal(key, (sum(sizes),), dtype), 0, []
    for leaf, size in zip(leaves, sizes, strict=True):
        pieces.append(drawn[start : start + size] if size else jnp.zeros(leaf.size, dtype))
        start += size
    return jnp.concatenate(pieces)


def network(weights, hidden, x):
    """(new state of the unit, o [O, n]) for features x [F, n]: two normalized layers and a linear one."""
    return hidden, linear(weights["out"], normalized(weights["second"], normalized(weights["first"], x)))


def step(o, key, leaves, infos):
    """Of all parameters [n], by the network's outputs [3, n]: c o_0 exp(c o_1) + c o_2 noise."""
    noise = actor_noise(key, leaves, infos, o.dtype)
    return OPEN_SCALE * o[0] * jnp.exp(OPEN_SCALE * o[1]) + OPEN_SCALE * o[2] * noise


def scale_by_open():
    """The learned step, minus its mean over all parameters."""

    def init(params):
        leaves = jax.tree.leaves(params)
        dtype, n = precision(leaves), sum(leaf.size for leaf in leaves)
        return OpenState(jnp.zeros((len(DECAYS), n), dtype), jnp.zeros((GRU_WIDTH, n), dtype))

    def update(updates, state, params=None, *, key, progress, activations, param_info, **_):
        leaves, treedef = jax.tree.flatten(params)
        infos, gradients = treedef.flatten_up_to(param_info), treedef.flatten_up_to(updates)
        dtype = state.momenta.dtype
        decay = jnp.asarray(DECAYS, dtype)[:, None]
        momenta = decay * state.momenta + (1.0 - decay) * flat(gradients, dtype)
        x = features(leaves, infos, gradients, momenta, progress, activations)
        weights = jax.tree.map(lambda w: jnp.asarray(w, dtype), WEIGHTS)
        hidden, o = network(weights, state.hidden, jnp.stack([x[index] for index in FEATURES]))
        u = step(o, key, leaves, infos)
        return unflat(u.mean() - u, leaves, treedef), OpenState(momenta, hidden)

    return optax.GradientTransformationExtraArgs(init, update)


def rule():
    """Clipping, then the learned step. There is no learning rate."""
    return optax.chain(clip_by_global_norm(), scale_by_open())


def optimizer(
    total_steps=None,
    n_epochs=N_EPOCHS,
    n_minibatches=N_MINIBATCHES,
    *,
    actor=in_actor,
    param_info=None,
    seed=0,
):
    """The learned optimizer, clipping included, as an optax.GradientTransformationExtraArgs.

    Its update needs `params`. Features that need more take it from these extra arguments, or else from the
    defaults:

        key            for this step's noise; else made of `seed` and the number of updates made
        progress       (n, N, e, E), see `Progress`; else from that number and the arguments below
        activations    a tree like the parameters', with one array [..., H] in place of each layer: what its
                       neurons say in this minibatch, after the nonlinearity; else, and for layers that it
                       leaves out, every neuron counts as equally active (dormancy 1)
        param_info     a tree like the parameters', of `ParamInfo`; else the argument below

    Args:
        total_steps: number of updates of the whole training: rollouts * n_epochs * n_minibatches. None: every
            update counts as one of a first rollout.
        n_epochs: passes over each rollout; 1 where there are no rollouts.
        n_minibatches: updates in one pass; 1 where there are no rollouts.
        actor: which parameters get noise, by their path in the tree as text; see `in_actor`.
        param_info: of the parameters; None: what `describe` says, with `actor`.
        seed: of the noise; an int, or a traced one where agents are trained side by side.

    Raises:
        ValueError: numbers that no training has; from update: params missing, or activations that do not fit.
    """
    check_counts(total_steps, n_epochs, n_minibatches)
    parts, described = rule(), param_info

    def init(params):
        return OptimizerState(jnp.zeros((), jnp.int32), parts.init(params))

    def update(
        updates, state, params=None, *, key=None, progress=None, activations=None, param_info=None, **_
    ):
        if params is None:
            raise ValueError("the learned optimizer sees the parameters: pass params to update, got None")
        if key is None:
            key = jax.random.fold_in(jax.random.key(seed), state.count)
        if progress is None:
            progress = progress_at(state.count, total_steps, n_epochs, n_minibatches)
        if param_info is None:
            param_info = describe(params, actor) if described is None else described
        updates, following = parts.update(
            updates,
            state.rule,
            params,
            key=key,
            progress=Progress(*progress),
            activations=activations,
            param_info=param_info,
        )
        return updates, OptimizerState(state.count + 1, following)

    return optax.GradientTransformationExtraArgs(init, update)
