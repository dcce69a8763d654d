"""Optim4RL (Lan et al. 2024) as an optimizer of its own."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from discovery.export.templates.cells import flat, gru, linear, precision, unflat
from discovery.export.templates.steps import Progress, anneal, check_counts, progress_at

MAX_GRADIENT = 1.0
N_EPOCHS = 4
N_MINIBATCHES = 4
WEIGHTS = {}


class Optim4RLState(NamedTuple):
    """States of both recurrent units for n parameters, each [G, n]."""

    first: Any
    second: Any


class OptimizerState(NamedTuple):
    """`count` is the number of updates made, int32; `rule` what the parts remember."""

    count: Any
    rule: Any


def scale_by_optim4rl():
    """m / sqrt(v + 1e-8), m = sign(g) exp(o_1(g)), v = exp(o_2(g^2)), with g cut to +-MAX_GRADIENT."""

    def init(params):
        leaves = jax.tree.leaves(params)
        width, n = len(WEIGHTS["first"]["gru"]["inner_bias"]), sum(leaf.size for leaf in leaves)
        hidden = jnp.zeros((width, n), precision(leaves))
        return Optim4RLState(hidden, hidden)

    def update(updates, state, params=None):
        leaves, treedef = jax.tree.flatten(updates)
        dtype = state.first.dtype
        gradient = jnp.clip(flat(leaves, dtype), -MAX_GRADIENT, MAX_GRADIENT)[None]
        weights = jax.tree.map(lambda w: jnp.asarray(w, dtype), WEIGHTS)
        first = gru(weights["first"]["gru"], state.first, gradient)
        second = gru(weights["second"]["gru"], state.second, jnp.square(gradient))
        m = jnp.sign(gradient) * jnp.exp(linear(weights["first"]["out"], first))
        v = jnp.exp(linear(weights["second"]["out"], second))
        step = m * jax.lax.rsqrt(v + 1e-8)
        return unflat(step[0], leaves, treedef), Optim4RLState(first, second)

    return optax.GradientTransformation(init, update)


def optimizer(total_steps=None, n_epochs=N_EPOCHS, n_minibatches=N_MINIBATCHES):
    """The learned optimizer, learning rate included, as an optax.GradientTransformationExtraArgs.

    The rate falls by the share ANNEAL over the training. Its update takes one extra argument, `progress`,
    which is (n, N, e, E), see `Progress`; without it, the number of updates made tells the time.

    Args:
        total_steps: number of updates of the whole training: rollouts * n_epochs * n_minibatches. None: every
            update counts as one of a first rollout, and the rate stays.
        n_epochs: passes over each rollout; 1 where there are no rollouts.
        n_minibatches: updates in one pass; 1 where there are no rollouts.

    Raises:
        ValueError: numbers that no training has.
    """
    check_counts(total_steps, n_epochs, n_minibatches)
    parts = optax.chain(scale_by_optim4rl(), anneal())

    def init(params):
        return OptimizerState(jnp.zeros((), jnp.int32), parts.init(params))

    def update(updates, state, params=None, *, progress=None, **_):
        if progress is None:
            progress = progress_at(state.count, total_steps, n_epochs, n_minibatches)
        updates, following = parts.update(updates, state.rule, params, progress=Progress(*progress))
        return updates, OptimizerState(state.count + 1, following)

    return optax.GradientTransformationExtraArgs(init, update)
