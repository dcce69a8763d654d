"""The usual parts: what PPO is made of, and what most learned algorithms leave fixed.

`actor_critic` puts them together around a `PolicyLoss`, so that a drift family, a program or an
export has to define nothing but an elementwise loss of (log_prob, old_log_prob, advantage).
"""

from collections.abc import Callable
from math import inf
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, PRNGKeyArray

from objectives.base import (
    NO_MEMORY,
    Algorithm,
    Batch,
    Distribution,
    Head,
    Loss,
    MetaParams,
    Optimizer,
    Outputs,
    ParamInfo,
    Policy,
    PolicyLoss,
    Progress,
    Trajectory,
)
from objectives.distributions import Categorical, Gaussian

ADAM_DEFAULTS: dict[str, float] = {
    "learning_rate": 3e-4,
    "anneal": 1.0,
    "adam_b1": 0.9,
    "adam_b2": 0.999,
    "adam_eps": 1e-5,
    "max_grad_norm": 0.5,
    "clip_by_torso": 0.0,
}
"""What `adam` reads: the head of `DEFAULTS`."""

DEFAULTS: dict[str, float] = ADAM_DEFAULTS | {
    "gamma": 0.99,
    "gae_lambda": 0.95,
    "clip": 0.2,
    "value_clip": 0.2,
    "value_coef": 0.5,
    "entropy_coef": 0.0,
}
"""Numbers that the parts of this file read, with PureJaxRL's values. `value_clip = inf` means an
unclipped value loss; `anneal` is the share of the learning rate that is gone at the end of life;
`clip_by_torso = 1` clips the gradients of actor and critic apart."""

SGD_DEFAULTS: dict[str, float] = {"critic_rate": 1.0, "bias_rate": 1.0, "clip_by_torso": 1.0}
"""Where `sgd` differs: learning rates of the critic and of biases, as shares of the others', and its clip."""

LIMITS: dict[str, tuple[float, float]] = {
    **dict.fromkeys(("anneal", "adam_b1", "adam_b2", "gamma", "gae_lambda", "clip_by_torso"), (0.0, 1.0)),
    **dict.fromkeys(("learning_rate", "adam_eps", "max_grad_norm", "clip", "value_clip"), (0.0, inf)),
    **dict.fromkeys(("critic_rate", "bias_rate"), (0.0, inf)),
    **dict.fromkeys(("eta", "tsallis_q"), (1e-2, inf)),
}
"""Smallest and largest sensible values of some of them."""


def _heads(n_actions: int, continuous: bool) -> dict[str, Head]:
    value = {"value": Head(0, torso="critic", scale=1.0)}
    if continuous:
        return {"mean": Head(n_actions, scale=0.01), "log_std": Head(n_actions, free=True), **value}
    return {"logits": Head(n_actions, scale=0.01), **value}


def _distribution(meta_params: MetaParams, outputs: Outputs, progress: Progress) -> Distribution:
    if "logits" in outputs:
        return Categorical(outputs["logits"])
    return Gaussian(outputs["mean"], outputs["log_std"])


actor_critic_policy = Policy(heads=_heads, distribution=_distribution)
"""Categorical on "logits", or diagonal Gaussian on "mean" with a free "log_std"; plus a "value"."""


class AdvantageTargets(NamedTuple):
    """Advantages and value targets, ``[T, E]`` (``[B]`` in a minibatch)."""

    advantage: Array
    value: Array


def gae(meta_params: MetaParams, memory: Any, trajectory: Trajectory, progress: Progress) -> AdvantageTargets:
    """Generalized advantage estimation (Schulman et al. 2016, eq. 16), time limits handled.

    delta_t = r_t + gamma (1 - terminated_t) V(s'_t) - V(s_t), where s'_t is the state reached,
    an episode's final observation included; A_t = delta_t + gamma lambda (1 - ended_t) A_{t+1},
    where ended = terminated or truncated. Value targets are A + V.

    Reads "gamma" and "gae_lambda". Returns arrays ``[T, E]``.
    """
    gamma, decay = meta_params["gamma"], meta_params["gamma"] * meta_params["gae_lambda"]
    value, value_next = trajectory.outputs["value"], trajectory.outputs_next["value"]
    delta = trajectory.reward + gamma * jnp.where(trajectory.terminated, 0.0, value_next) - value
    continues = jnp.where(trajectory.terminated | trajectory.truncated, 0.0, decay)

    def backward(advantage_tp1: Array, inputs: tuple[Array, Array]) -> tuple[Array, Array]:
        delta_t, continue_t = inputs
        advantage_t = delta_t + continue_t * advantage_tp1
        return advantage_t, advantage_t

    _, advantage = jax.lax.scan(backward, jnp.zeros_like(delta[-1]), (delta, continues), reverse=True)
    return AdvantageTargets(advantage, advantage + value)


def value_loss(
    value: Float[Array, " B"], old_value: Float[Array, " B"], target: Float[Array, " B"], clip: Array | float
) -> Float[Array, " B"]:
    """0.5 max((V - R)^2, (V_old + clip(V - V_old, -c, c) - R)^2) per sample (PPO's clipped value loss)."""
    clipped = old_value + jnp.clip(value - old_value, -clip, clip)
    return 0.5 * jnp.maximum(jnp.square(value - target), jnp.square(clipped - target))


def standardize(x: Float[Array, " B"]) -> Float[Array, " B"]:
    """(x - mean) / (std + 1e-8) over the minibatch; equal values give zeros, with derivative zero.

    The square root's own derivative is infinite there, and would make meta-gradients NaN.
    """
    variance = x.var()
    spread = variance > 0
    return jnp.where(spread, (x - x.mean()) / (jnp.sqrt(jnp.where(spread, variance, 1.0)) + 1e-8), 0.0)


def actor_critic_loss(policy: Policy, policy_loss: PolicyLoss) -> Loss:
    """The usual total: policy loss + value_coef * clipped value loss - entropy_coef * entropy."""

    def per_sample(
        meta_params: MetaParams, batch: Batch, outputs: Outputs, progress: Progress, key: PRNGKeyArray
    ) -> Float[Array, " B"]:
        distribution = policy.distribution(meta_params, outputs, progress)
        advantage = batch.targets.advantage
        if policy_loss.normalize_advantage:
            advantage = standardize(advantage)
        actor = policy_loss.per_sample(
            meta_params, distribution.log_prob(batch.action), batch.log_prob, advantage, progress
        )
        critic = value_loss(
            outputs["value"], batch.outputs["value"], batch.targets.value, meta_params["value_clip"]
        )
        entropy = distribution.entropy()
        return actor + meta_params["value_coef"] * critic - meta_params["entropy_coef"] * entropy

    return Loss(per_sample, couples_batch=policy_loss.normalize_advantage)


def clip_by_global_norm(
    max_norm: Array | float, by_torso: Array | float = 0.0
) -> optax.GradientTransformation:
    """Scale gradients ``{torso: tree}`` so that their global norm is at most `max_norm`.

    With `by_torso = 1` that is the norm of each torso's gradient, on its own: actor and critic then do not
    take each other's share. In between, factors are weighted means of both. Both numbers are traced.

    Unlike optax's, its derivative is finite (zero) where all gradients are zero, which
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
            return jax.tree.map(lambda g: g * factor, part)

        return {torso: scaled(part) for torso, part in updates.items()}, state

    return optax.GradientTransformation(lambda params: optax.EmptyState(), update)


def anneal_by_progress(
    learning_rate: Array | float, anneal: Array | float
) -> optax.GradientTransformationExtraArgs:
    """Multiply by -learning_rate (1 - anneal * n/N): constant within a rollout, as PureJaxRL's schedule."""

    def update(
        updates: Any, state: Any, params: Any = None, *, progress: Progress, **_: Any
    ) -> tuple[Any, Any]:
        step_size = -learning_rate * (1.0 - anneal * progress.fraction)
        return jax.tree.map(lambda u: step_size * u, updates), state

    return optax.GradientTransformationExtraArgs(lambda params: optax.EmptyState(), update)  # type: ignore[arg-type]


def adam(meta_params: MetaParams) -> optax.GradientTransformationExtraArgs:
    """Adam behind a global-norm clip, its learning rate annealed over the life.

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


def sgd(meta_params: MetaParams) -> optax.GradientTransformationExtraArgs:
    """Stochastic gradient descent behind a norm clip, each torso's own by default, as GROOVE's agents.

    theta <- theta - learning_rate (1 - anneal n/N) c clip(b g), with c "critic_rate" for the critic's
    parameters and b "bias_rate" for biases, else 1. Biases begin at zero, so that ``bias_rate = 0`` means a
    network without any. Learning rates that suit a table (tens, for a state is seen once in tens of samples)
    are far too large for a bias, which every sample moves.

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


OPTIMIZERS: dict[str, tuple[Optimizer, dict[str, float]]] = {
    "adam": (adam, DEFAULTS),
    "sgd": (sgd, {n: value for n, value in DEFAULTS.items() if not n.startswith("adam_")} | SGD_DEFAULTS),
}
"""Optimizers by name, each with the defaults of an algorithm that is made with it."""


def nothing_to_search(key: PRNGKeyArray) -> dict[str, Any]:
    """`Algorithm.init` of an algorithm with no searched entries."""
    return {}


def actor_critic(
    name: str,
    policy_loss: PolicyLoss,
    init: Callable[[PRNGKeyArray], dict[str, Any]] = nothing_to_search,
    optimizer: str = "adam",
    **numbers: float,
) -> Algorithm:
    """An actor-critic `Algorithm` around `policy_loss`: GAE, clipped value loss, entropy bonus, Adam.

    Args:
        name: for people and records.
        policy_loss: the elementwise policy loss.
        init: makes the entries of `meta_params` that `policy_loss` reads and a search proposes.
        optimizer: a name in `OPTIMIZERS`.
        **numbers: defaults that differ from, or add to, those in `OPTIMIZERS`.

    Raises:
        ValueError: for an unknown optimizer.
    """
    if optimizer not in OPTIMIZERS:
        raise ValueError(f"optimizer must be one of {', '.join(OPTIMIZERS)}, got {optimizer!r}")
    steps, defaults = OPTIMIZERS[optimizer]
    return Algorithm(
        name=name,
        policy=actor_critic_policy,
        targets=gae,
        loss=actor_critic_loss(actor_critic_policy, policy_loss),
        optimizer=steps,
        memory=NO_MEMORY,
        init=init,
        defaults=tuple(sorted({**defaults, **numbers}.items())),
        policy_loss=policy_loss,
    )
