"""OPEN: a learned optimizer for reinforcement learning (Goldie et al. 2024, arXiv 2407.07082).

One small network, ``meta_params["optimizer"]``, runs once for every scalar parameter of the agent. It reads
19 features (`objectives/learned_optimizers/features.py`), has a recurrent state, and gives three numbers o:

    u_hat = c o_0 exp(c o_1) + c o_2 noise     noise ~ N(0, 1), for the actor's parameters only
    p    <- p - (u_hat - mean(u_hat))          one mean, over all parameters of the agent together

with c = 1e-3, "open_scale". There is no learning rate and no schedule: changes over time come only from the
features. All-zero weights do not change the agent.

Without features ("raw"), it reads 8 plain numbers (`raw_features`) and gives only o_0 and o_1: there is no
noise.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, PRNGKeyArray

from objectives.base import Algorithm, MetaParams, Optimizer, ParamInfo, Progress
from objectives.family import Family
from objectives.known import ppo
from objectives.learned_optimizers.features import (
    DECAYS,
    RAW,
    chosen,
    next_momenta,
    parameter_features,
    raw_features,
)
from objectives.optimizers import adam, clip_by_global_norm
from objectives.parts import DEFAULTS, LearnedOptimizer
from objectives.per_parameter import (
    Weights,
    flat,
    gru,
    initial_gru,
    initial_normalized_layer,
    layer,
    normalized_layer,
    precision,
    unflat,
)

STARTS = ("zeros", "random")
"""Initial weights of a search."""


class OpenState(NamedTuple):
    """What OPEN remembers of an agent with n parameters.

    Attributes:
        momenta: ``[6, n]``.
        hidden: of the recurrent unit, ``[G, n]``.
    """

    momenta: Float[Array, "6 n"]
    hidden: Float[Array, "G n"]


def initial_open(
    key: PRNGKeyArray, n_features: int, gru_width: int, width: int, n_outputs: int = 3
) -> dict[str, Any]:
    """Random weights of OPEN's network, the output layer's zero. A `gru_width` of 0 means no recurrence."""
    key_gru, key_first, key_second = jax.random.split(key, 3)
    weights: dict[str, Any] = {"gru": initial_gru(key_gru, n_features, gru_width)} if gru_width else {}
    return {
        **weights,
        "first": initial_normalized_layer(key_first, gru_width or n_features, width),
        "second": initial_normalized_layer(key_second, width, width),
        "out": {"kernel": jnp.zeros((n_outputs, width)), "bias": jnp.zeros(n_outputs)},
    }


def open_network(
    weights: Weights, hidden: Float[Array, "G n"], x: Float[Array, "F n"]
) -> tuple[Float[Array, "G n"], Float[Array, "outputs n"]]:
    """(new hidden state, o): a GRU where there is one, two normalized relu layers, a linear one."""
    own = jax.tree.map(lambda w: w.astype(x.dtype), weights)
    if "gru" in weights:
        x = hidden = gru(own["gru"], hidden, x)
    return hidden, layer(own["out"], normalized_layer(own["second"], normalized_layer(own["first"], x)))


def actor_noise(
    key: PRNGKeyArray, leaves: list[Array], infos: list[ParamInfo], dtype: Any
) -> Float[Array, " n"]:
    """Standard normal numbers for the actor's parameters, zeros for all others (a shared body's included)."""
    sizes = [leaf.size if info.role == "actor" else 0 for leaf, info in zip(leaves, infos, strict=True)]
    drawn = jax.random.normal(key, (sum(sizes),), dtype)
    pieces, start = [], 0
    for leaf, size in zip(leaves, sizes, strict=True):
        pieces.append(drawn[start : start + size] if size else jnp.zeros(leaf.size, dtype))
        start += size
    return jnp.concatenate(pieces)


def scale_by_open(
    weights: Weights, scale: Array | float, features: tuple[int, ...] | None = tuple(range(19))
) -> optax.GradientTransformationExtraArgs:
    """OPEN's step -(u - mean(u)), u = c o_0 exp(c o_1) + c o_2 noise: a network gives o for each parameter.

    All parameters go through the network as one array. States have at least single precision, updates the
    parameters' types. The update needs `params`, `key`, `progress`, `activations` and `param_info`.

    Args:
        weights: of the network; see `initial_open`. Without a third output there is no noise.
        scale: c.
        features: indices of those that the network sees; None for those of `raw_features`.
    """
    gru_width = len(weights["gru"]["inner_bias"]) if "gru" in weights else 0

    def init(params: Any) -> OpenState:
        leaves = jax.tree.leaves(params)
        dtype, n = precision(leaves), sum(leaf.size for leaf in leaves)
        return OpenState(jnp.zeros((len(DECAYS), n), dtype), jnp.zeros((gru_width, n), dtype))

    def update(
        updates: Any,
        state: OpenState,
        params: Any = None,
        *,
        key: PRNGKeyArray,
        progress: Progress,
        activations: Any,
        param_info: Any,
        **_: Any,
    ) -> tuple[Any, OpenState]:
        if params is None:
            raise ValueError("OPEN sees the parameters: pass params to update, got None")
        leaves, treedef = jax.tree.flatten(params)
        dtype = state.momenta.dtype
        gradient = flat(treedef.flatten_up_to(updates), dtype)
        momenta = next_momenta(state.momenta, gradient)
        if features is None:
            x = raw_features(leaves, gradient, momenta)
        else:
            infos = treedef.flatten_up_to(param_info)
            x = parameter_features(leaves, infos, gradient, momenta, progress, activations)
            x = x if len(features) == len(x) else jnp.stack([x[index] for index in features])
        c = jnp.asarray(scale, dtype)
        hidden, o = open_network(weights, state.hidden, x)
        u = c * o[0] * jnp.exp(c * o[1])
        if len(weights["out"]["bias"]) > 2:
            u = u + c * o[2] * actor_noise(key, leaves, treedef.flatten_up_to(param_info), dtype)
        return unflat(u.mean() - u, leaves, treedef), OpenState(momenta, hidden)

    return optax.GradientTransformationExtraArgs(init, update)  # type: ignore[arg-type]


def added(
    first: optax.GradientTransformationExtraArgs, second: optax.GradientTransformationExtraArgs
) -> optax.GradientTransformationExtraArgs:
    """A transformation whose step is the sum of two others' on the same gradients."""

    def init(params: Any) -> Any:
        return first.init(params), second.init(params)

    def update(updates: Any, state: Any, params: Any = None, **extra: Any) -> tuple[Any, Any]:
        one, first_state = first.update(updates, state[0], params, **extra)
        other, second_state = second.update(updates, state[1], params, **extra)
        return jax.tree.map(jnp.add, one, other), (first_state, second_state)

    return optax.GradientTransformationExtraArgs(init, update)  # type: ignore[arg-type]


def open_optimizer(
    gru_width: int = 8,
    width: int = 16,
    features: str = "all",
    anchored: bool = False,
    start: str = "zeros",
) -> Algorithm:
    """PPO whose optimizer is OPEN, ``meta_params["optimizer"]``; before it, gradients are clipped by each
    torso's norm.

    With all features it has 1,211 weights by default, 3,571 with widths 16 and 32, 707 without recurrence.
    The paper's "No Features" is ``features = "raw", gru_width = 0``: 514 weights, two outputs and no noise.

    It accepts the numbers of PPO's recipes, so both can be compared on a task; unless it is anchored, it
    reads only the clip's of Adam's.

    Args:
        gru_width: of the recurrent unit; 0 for a feed-forward rule.
        width: of the two layers after it.
        features: "all", or names in `features.GROUPS` with commas between; or "raw": parameter, six
            momenta and gradient, not as signs and logarithms, and no noise.
        anchored: add the learned step to Adam's, so that zero weights are PPO with the task's tuned Adam, and
            a search need not learn to descend first.
        start: "zeros", as in the paper; or "random", with only the output layer zero. Neither changes the
            agent. But around all zeros a step is of second order in the weights, so the gradient is zero;
            around random ones it is linear in the output layer.

    Raises:
        ValueError: for invalid sizes, unknown features, or an unknown start.
    """
    if gru_width < 0 or width < 1:
        raise ValueError(
            f"gru_width must be at least 0 and width at least 1, got gru_width={gru_width}, width={width}"
        )
    if start not in STARTS:
        raise ValueError(f"start must be one of {', '.join(STARTS)}, got {start!r}")
    seen = None if features == RAW else chosen(features)
    n_features, n_outputs = (len(DECAYS) + 2, 2) if seen is None else (len(seen), 3)

    def init(key: PRNGKeyArray) -> dict[str, Any]:
        weights = initial_open(key, n_features, gru_width, width, n_outputs)
        return {"optimizer": jax.tree.map(jnp.zeros_like, weights) if start == "zeros" else weights}

    def optimizer(meta_params: MetaParams) -> optax.GradientTransformationExtraArgs:
        """A norm clip, then the learned step, without a learning rate; added to Adam's step if anchored."""
        learned = optax.chain(
            clip_by_global_norm(meta_params["max_grad_norm"], meta_params["clip_by_torso"]),
            scale_by_open(meta_params["optimizer"], meta_params["open_scale"], seen),
        )
        return added(adam(meta_params), learned) if anchored else learned

    numbers = {"open_scale": 1e-3} | ({} if anchored else {"clip_by_torso": 1.0})
    return ppo_with("open_anchored" if anchored else "open", optimizer, init, numbers)


def ppo_with(
    name: str, optimizer: Optimizer, init: Callable[[PRNGKeyArray], dict[str, Any]], numbers: dict[str, float]
) -> Algorithm:
    """PPO with a `LearnedOptimizer`, its searched entries and its `numbers`.

    It sets no `policy_loss`: that is PPO's, so a picture or an export of it would not show what was learned.
    """
    return ppo()._replace(
        name=name,
        optimizer=LearnedOptimizer(optimizer, tuple(sorted(numbers.items()))),
        init=init,
        defaults=tuple(sorted({**DEFAULTS, **numbers}.items())),
        policy_loss=None,
    )


OPEN = Family(
    open_optimizer,
    baselines=("ppo",),
    optimizer=True,
    starts=("start",),
    picture="objectives.learned_optimizers.picture:PICTURE",
    lesson="objectives.learned_optimizers.lesson:LESSON",
    export="objectives.learned_optimizers.export:OPEN",
)
