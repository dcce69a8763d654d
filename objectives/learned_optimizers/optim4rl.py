"""Optim4RL (Lan et al. 2024, arXiv 2302.01470): a learned optimizer with the form of an adaptive one.

Two recurrent units, ``meta_params["optimizer"]``, run once for every scalar parameter of the agent:

    m = sign(g) exp(o_1(g)),   v = exp(o_2(g^2)),   p <- p - rate (1 - anneal n/N) m / sqrt(v + 1e-8)

with g clipped to +-1, elementwise, and o_1, o_2 linear in the units' states. All-zero weights are sign
descent.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, PRNGKeyArray

from objectives.base import Algorithm, MetaParams
from objectives.family import Family
from objectives.learned_optimizers.open import STARTS, ppo_with
from objectives.optimizers import anneal_by_progress
from objectives.per_parameter import (
    Weights,
    flat,
    gru,
    initial_gru,
    initial_layer,
    layer,
    precision,
    unflat,
)


class Optim4RLState(NamedTuple):
    """Hidden states of both units, ``[G, n]``."""

    first: Float[Array, "G n"]
    second: Float[Array, "G n"]


def scale_by_optim4rl(weights: Weights, max_gradient: Array | float) -> optax.GradientTransformation:
    """The step m / sqrt(v + 1e-8) with m = sign(g) exp(o_1(g)) and v = exp(o_2(g^2)).

    Gradients g are cut to +- `max_gradient`.

    Args:
        weights: {"first", "second"}, each {"gru", "out"} as of `objectives.per_parameter`.
        max_gradient: the elementwise clip.
    """
    width = len(weights["first"]["gru"]["inner_bias"])

    def init(params: Any) -> Optim4RLState:
        leaves = jax.tree.leaves(params)
        hidden = jnp.zeros((width, sum(leaf.size for leaf in leaves)), precision(leaves))
        return Optim4RLState(hidden, hidden)

    def update(updates: Any, state: Optim4RLState, params: Any = None) -> tuple[Any, Optim4RLState]:
        leaves, treedef = jax.tree.flatten(updates)
        dtype = state.first.dtype
        limit = jnp.asarray(max_gradient, dtype)
        gradient = jnp.clip(flat(leaves, dtype), -limit, limit)[None]
        own = jax.tree.map(lambda w: w.astype(dtype), weights)
        first, o_1 = _run(own["first"], state.first, gradient)
        second, o_2 = _run(own["second"], state.second, jnp.square(gradient))
        step = jnp.sign(gradient) * jnp.exp(o_1) * jax.lax.rsqrt(jnp.exp(o_2) + 1e-8)
        return unflat(step[0], leaves, treedef), Optim4RLState(first, second)

    return optax.GradientTransformation(init, update)  # type: ignore[arg-type]


def _run(weights: Weights, h: Array, x: Array) -> tuple[Array, Array]:
    """(new state of a unit, what it says)."""
    h = gru(weights["gru"], h, x)
    return h, layer(weights["out"], h)


def optim4rl(width: int = 8, start: str = "zeros") -> Algorithm:
    """PPO whose optimizer is Optim4RL's; see the module docstring.

    It accepts the numbers of PPO's recipes and reads, of Adam's, "learning_rate" and "anneal"; a sign has
    size 1 as Adam's steps have, so Adam's rates suit it. Its own number is "max_gradient", the elementwise
    clip.

    Args:
        width: of both recurrent units.
        start: "zeros", which is sign descent, or "random" weights.

    Raises:
        ValueError: for a width below 1, or an unknown start.
    """
    if width < 1:
        raise ValueError(f"width must be at least 1, got {width}")
    if start not in STARTS:
        raise ValueError(f"start must be one of {', '.join(STARTS)}, got {start!r}")

    def init(key: PRNGKeyArray) -> dict[str, Any]:
        keys = jax.random.split(key, (2, 2))
        weights = {
            name: {"gru": initial_gru(unit[0], 1, width), "out": initial_layer(unit[1], width, 1)}
            for name, unit in zip(("first", "second"), keys, strict=True)
        }
        return {"optimizer": jax.tree.map(jnp.zeros_like, weights) if start == "zeros" else weights}

    def optimizer(meta_params: MetaParams) -> optax.GradientTransformationExtraArgs:
        """Optim4RL's step times an annealed learning rate."""
        return optax.chain(
            scale_by_optim4rl(meta_params["optimizer"], meta_params["max_gradient"]),
            anneal_by_progress(meta_params["learning_rate"], meta_params["anneal"]),
        )

    return ppo_with("optim4rl", optimizer, init, {"max_gradient": 1.0})


OPTIM4RL = Family(
    optim4rl,
    baselines=("ppo",),
    optimizer=True,
    starts=("start",),
    picture="objectives.learned_optimizers.picture:PICTURE",
    lesson="objectives.learned_optimizers.lesson:LESSON",
    export="objectives.learned_optimizers.export:OPTIM4RL",
)
