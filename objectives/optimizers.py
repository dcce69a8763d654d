"""Optimizers by name: fixed ones for algorithms, and baselines for learned ones.

Each is ``meta_params -> transformation`` over one tree ``{torso: tree}`` of all agent parameters, and
includes clipping and learning rate.
"""

from math import inf
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array

from objectives.base import MetaParams, Optimizer, ParamInfo, Progress
from objectives.per_parameter import precision

CLIP_DEFAULTS: dict[str, float] = {"max_grad_norm": 0.5, "clip_by_torso": 0.0}
RATE_DEFAULTS: dict[str, float] = {"learning_rate": 3e-4, "anneal": 1.0, **CLIP_DEFAULTS}

ADAM_DEFAULTS: dict[str, float] = {**RATE_DEFAULTS, "adam_b1": 0.9, "adam_b2": 0.999, "adam_eps": 1e-5}
"""Numbers of `adam`, with PureJaxRL's values."""

SGD_DEFAULTS: dict[str, float] = {**RATE_DEFAULTS, "critic_rate": 1.0, "bias_rate": 1.0, "clip_by_torso": 1.0}
"""Numbers of `sgd`: also learning rates of the critic and of biases, as shares of the others'."""

RMSPROP_DEFAULTS: dict[str, float] = {
    **RATE_DEFAULTS,
    "learning_rate": 7e-4,
    "rmsprop_decay": 0.99,
    "rmsprop_eps": 1e-5,
}
"""Numbers of `rmsprop`, with the usual values for A2C."""

LION_DEFAULTS: dict[str, float] = {**RATE_DEFAULTS, "learning_rate": 1e-4, "lion_b1": 0.9, "lion_b2": 0.99}
"""Numbers of `lion`: the paper's decays, and a third of Adam's rate (the paper advises 3 to 10 times
less)."""

CAPPED_ADAM_DEFAULTS: dict[str, float] = {
    **ADAM_DEFAULTS,
    "anneal": 0.0,
    "max_grad_norm": inf,
    "adam_eps": 1e-8,
    "max_update": 1.0,
}
"""Numbers of `capped_adam`, with DiscoRL's values: a constant rate, and no clip of the gradient's norm."""

RADAM_DEFAULTS: dict[str, float] = {**ADAM_DEFAULTS, "adam_eps": 1e-8}
"""Numbers of `radam`, with optax's values."""

LIMITS: dict[str, tuple[float, float]] = {
    **dict.fromkeys(("anneal", "clip_by_torso"), (0.0, 1.0)),
    **dict.fromkeys(("adam_b1", "adam_b2"), (0.0, 0.999999)),  # at 1, Adam divides by 1 - b^t = 0
    **dict.fromkeys(("rmsprop_decay", "lion_b1", "lion_b2"), (0.0, 1.0)),
    **dict.fromkeys(("learning_rate", "adam_eps", "rmsprop_eps", "max_grad_norm"), (0.0, inf)),
    **dict.fromkeys(("critic_rate", "bias_rate", "max_update"), (0.0, inf)),
}
"""Smallest and largest sensible values."""

TUNED_ADAM: dict[str, dict[str, float]] = {
    "Asterix-MinAtar": {"learning_rate": 3e-3, "adam_b1": 0.9, "adam_b2": 0.999},
    "Freeway-MinAtar": {"learning_rate": 1e-3, "adam_b1": 0.9, "adam_b2": 0.99},
    "Breakout-MinAtar": {"learning_rate": 1e-2, "adam_b1": 0.9, "adam_b2": 0.99},
    "SpaceInvaders-MinAtar": {"learning_rate": 7e-3, "adam_b1": 0.9, "adam_b2": 0.99},
    "brax/ant": {"learning_rate": 3e-4, "adam_b1": 0.99, "adam_b2": 0.99},
    "grid/all": {"learning_rate": 1e-4, "adam_b1": 0.99, "adam_b2": 0.99},
}
"""Environment to the numbers that OPEN's authors (Goldie et al. 2024) tuned for Adam on it, with anneal = 1
and adam_eps = 1e-5. They swept RMSprop and Lion too, but published no values."""

TUNED_SGD: dict[str, dict[str, float]] = {
    "Asterix-MinAtar": {"learning_rate": 0.52},
    "Freeway-MinAtar": {"learning_rate": 0.56},
    "Breakout-MinAtar": {"learning_rate": 1.017},
    "SpaceInvaders-MinAtar": {"learning_rate": 1.17},
    "brax/ant": {"learning_rate": 0.17},
    "brax/walker2d": {"learning_rate": 0.52},
    "brax/hopper": {"learning_rate": 0.27},
    "brax/humanoid": {"learning_rate": 0.053},
    "grid/all": {"learning_rate": 1.33},
    "CartPole-v1": {"learning_rate": 2.5e-4},
}
"""The same for SGD, with anneal = 1, by Goldie et al. 2025 (arXiv 2507.17668). CartPole's is the published
value, though it is a rate for Adam."""


def clip_by_global_norm(
    max_norm: Array | float, by_torso: Array | float = 0.0
) -> optax.GradientTransformation:
    """Scale gradients ``{torso: tree}`` such that their norm is at most `max_norm`.

    If `by_torso` is 1, this applies to the norm of each torso's gradient, so actor and critic do not affect
    each other. If it is 0, to the norm of all; in between, factors are weighted means of both.

    Unlike that of optax's function, its derivative is finite (zero) where all gradients are zero, as
    meta-gradients through an update need.
    """

    def scale(gradient: Any) -> Array:
        square = optax.tree.norm(gradient, squared=True)
        exceeds = square > max_norm**2
        norm = jnp.sqrt(jnp.where(exceeds, square, 1.0))
        return jnp.where(exceeds, max_norm / norm, 1.0)

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        together = scale(updates)

        def scaled(part: Any) -> Any:
            factor = (1.0 - by_torso) * together + by_torso * scale(part)
            return jax.tree.map(lambda g: (g * factor).astype(g.dtype), part)

        return {torso: scaled(part) for torso, part in updates.items()}, state

    return optax.GradientTransformation(_stateless, update)


def anneal_by_progress(
    learning_rate: Array | float, anneal: Array | float
) -> optax.GradientTransformationExtraArgs:
    """Multiply by -learning_rate (1 - anneal * n/N): constant within a rollout, as PureJaxRL's schedule."""

    def update(
        updates: Any, state: Any, params: Any = None, *, progress: Progress, **_: Any
    ) -> tuple[Any, Any]:
        passed = jnp.asarray(progress.fraction, precision(jax.tree.leaves(updates)))
        step_size = -learning_rate * (1.0 - anneal * passed)
        return jax.tree.map(lambda u: (step_size * u).astype(u.dtype), updates), state

    return optax.GradientTransformationExtraArgs(_stateless, update)  # type: ignore[arg-type]


def _stateless(params: Any) -> optax.EmptyState:
    """The state of a stateless transformation."""
    return optax.EmptyState()


def adam(meta_params: MetaParams) -> optax.GradientTransformationExtraArgs:
    """Adam after a global-norm clip, with its learning rate annealed over the training.

    `eps_root` is tiny instead of zero, which keeps the derivative of the square root finite where a
    gradient is exactly zero and changes no step (ADR 3).
    """
    return optax.chain(
        clip_by_global_norm(meta_params["max_grad_norm"], meta_params["clip_by_torso"]),
        optax.scale_by_adam(
            b1=meta_params["adam_b1"], b2=meta_params["adam_b2"], eps=meta_params["adam_eps"], eps_root=1e-30
        ),
        anneal_by_progress(meta_params["learning_rate"], meta_params["anneal"]),
    )


def radam(meta_params: MetaParams) -> optax.GradientTransformationExtraArgs:
    """Rectified Adam (Liu et al. 2020, Algorithm 2) after a norm clip: only momentum while the variance of
    Adam's denominator is too large, then Adam with a rectified step.

    Reads what `adam` does. `eps_root` is tiny as in `adam`.
    """
    return optax.chain(
        clip_by_global_norm(meta_params["max_grad_norm"], meta_params["clip_by_torso"]),
        optax.scale_by_radam(
            b1=meta_params["adam_b1"], b2=meta_params["adam_b2"], eps=meta_params["adam_eps"], eps_root=1e-30
        ),
        anneal_by_progress(meta_params["learning_rate"], meta_params["anneal"]),
    )


def capped_adam(meta_params: MetaParams) -> optax.GradientTransformationExtraArgs:
    """Adam whose denominator passes no meta-gradient, with each element of its direction clipped to +-
    "max_update" (DiscoRL, Oh et al. 2025).

    Its steps are Adam's. Its meta-gradients are not exact: they ignore how the second moment depends on
    earlier gradients, a term that makes Adam's meta-gradients huge where second moments are tiny (ADR 3).

    Reads what `adam` does, and "max_update".
    """
    b1, b2, eps = meta_params["adam_b1"], meta_params["adam_b2"], meta_params["adam_eps"]
    cap = meta_params["max_update"]

    def init(params: Any) -> optax.ScaleByAdamState:
        zeros = optax.tree.zeros_like(params)
        return optax.ScaleByAdamState(jnp.int32(0), zeros, zeros)

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        count = state.count + 1
        mu = optax.tree.update_moment(updates, state.mu, b1, 1)
        nu = optax.tree.update_moment(jax.lax.stop_gradient(updates), state.nu, b2, 2)
        direction = jax.tree.map(
            lambda m, v: jnp.clip(m / (jnp.sqrt(v + 1e-30) + eps), -cap, cap),
            optax.tree.bias_correction(mu, b1, count),
            optax.tree.bias_correction(nu, b2, count),
        )
        return direction, optax.ScaleByAdamState(count, mu, nu)

    return optax.chain(
        clip_by_global_norm(meta_params["max_grad_norm"], meta_params["clip_by_torso"]),
        optax.GradientTransformation(init, update),  # type: ignore[arg-type]
        anneal_by_progress(meta_params["learning_rate"], meta_params["anneal"]),
    )


def sgd(meta_params: MetaParams) -> optax.GradientTransformationExtraArgs:
    """Stochastic gradient descent after a norm clip, by default of each torso, as in GROOVE's agents.

    theta <- theta - learning_rate (1 - anneal n/N) c clip(b g), with c "critic_rate" for the critic's
    parameters and b "bias_rate" for biases, else 1. Biases are initialized to zero, so ``bias_rate = 0``
    means a network without biases. Learning rates that suit a table (tens, since a state occurs once in tens
    of samples) are far too large for a bias, which every sample updates.

    Reads "learning_rate", "anneal", "max_grad_norm", "clip_by_torso", "critic_rate" and "bias_rate".
    """
    clip = clip_by_global_norm(meta_params["max_grad_norm"], meta_params["clip_by_torso"])
    descend = anneal_by_progress(meta_params["learning_rate"], meta_params["anneal"])
    critic_rate, bias_rate = meta_params["critic_rate"], meta_params["bias_rate"]

    def slow_bias(gradient: Array, info: ParamInfo) -> Array:
        is_bias = info.path is not None and gradient.ndim == 1  # a free head has no path
        return gradient * bias_rate if is_bias else gradient

    def slow_critic(gradient: Array, info: ParamInfo) -> Array:
        return gradient * critic_rate if info.role == "critic" else gradient

    def update(
        updates: Any, state: Any, params: Any = None, *, param_info: Any, **extra: Any
    ) -> tuple[Any, Any]:
        updates, _ = clip.update(jax.tree.map(slow_bias, updates, param_info), optax.EmptyState())
        return descend.update(jax.tree.map(slow_critic, updates, param_info), state, params, **extra)

    return optax.GradientTransformationExtraArgs(descend.init, update)  # type: ignore[arg-type]


def rmsprop(meta_params: MetaParams) -> optax.GradientTransformationExtraArgs:
    """RMSprop (Tieleman & Hinton 2012) after a norm clip: g / sqrt(v + eps), with v an average of g^2,
    starting at zero.

    Epsilon is inside the root, so its derivative is finite where a gradient is zero.
    Reads "learning_rate", "anneal", "max_grad_norm", "clip_by_torso", "rmsprop_decay" and "rmsprop_eps".
    """
    return optax.chain(
        clip_by_global_norm(meta_params["max_grad_norm"], meta_params["clip_by_torso"]),
        optax.scale_by_rms(decay=meta_params["rmsprop_decay"], eps=meta_params["rmsprop_eps"]),
        anneal_by_progress(meta_params["learning_rate"], meta_params["anneal"]),
    )


def lion(meta_params: MetaParams) -> optax.GradientTransformationExtraArgs:
    """Lion (Chen et al. 2023) after a norm clip, without weight decay: sign(b1 m + (1 - b1) g), then
    m = b2 m + (1 - b2) g.

    Reads "learning_rate", "anneal", "max_grad_norm", "clip_by_torso", "lion_b1" and "lion_b2".
    """
    return optax.chain(
        clip_by_global_norm(meta_params["max_grad_norm"], meta_params["clip_by_torso"]),
        optax.scale_by_lion(b1=meta_params["lion_b1"], b2=meta_params["lion_b2"]),
        anneal_by_progress(meta_params["learning_rate"], meta_params["anneal"]),
    )


OPTIMIZERS: dict[str, tuple[Optimizer, dict[str, float]]] = {
    "adam": (adam, ADAM_DEFAULTS),
    "capped_adam": (capped_adam, CAPPED_ADAM_DEFAULTS),
    "lion": (lion, LION_DEFAULTS),
    "radam": (radam, RADAM_DEFAULTS),
    "rmsprop": (rmsprop, RMSPROP_DEFAULTS),
    "sgd": (sgd, SGD_DEFAULTS),
}
"""Optimizers by name, each with the numbers that it reads."""
