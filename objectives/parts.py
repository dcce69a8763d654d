"""The standard parts: those of PPO, which most learned algorithms keep fixed.

`actor_critic` combines them with a `PolicyLoss`, so a drift family, a program or an export only defines an
elementwise loss of (log_prob, old_log_prob, advantage).
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
    Policy,
    PolicyLoss,
    Progress,
    Trajectory,
)
from objectives.distributions import Categorical, Gaussian
from objectives.optimizers import ADAM_DEFAULTS, OPTIMIZERS
from objectives.optimizers import LIMITS as OPTIMIZER_LIMITS

LOSS_DEFAULTS: dict[str, float] = {
    "gamma": 0.99,
    "gae_lambda": 0.95,
    "clip": 0.2,
    "value_clip": 0.2,
    "value_coef": 0.5,
    "entropy_coef": 0.0,
}
"""Numbers that targets and loss read, with PureJaxRL's values."""

DEFAULTS: dict[str, float] = ADAM_DEFAULTS | LOSS_DEFAULTS
"""Numbers of PPO. `value_clip = inf` means an unclipped value loss; `anneal` is the share by which the
learning rate falls until the end of training; `clip_by_torso = 1` clips the gradients of actor and critic
separately."""

LIMITS: dict[str, tuple[float, float]] = {
    **OPTIMIZER_LIMITS,
    **dict.fromkeys(("gamma", "gae_lambda"), (0.0, 1.0)),
    **dict.fromkeys(("clip", "value_clip"), (0.0, inf)),
}
"""Smallest and largest sensible values of numbers that many families read."""


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
    """Generalized advantage estimation (Schulman et al. 2016, eq. 16), with time limits handled.

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

    Without this, the square root's derivative is infinite there, and meta-gradients are NaN.
    """
    variance = x.var()
    spread = variance > 0
    return jnp.where(spread, (x - x.mean()) / (jnp.sqrt(jnp.where(spread, variance, 1.0)) + 1e-8), 0.0)


def actor_critic_loss(policy: Policy, policy_loss: PolicyLoss) -> Loss:
    """The usual total: policy loss + value_coef * clipped value loss - entropy_coef * entropy.

    Its `per_sample` raises a ValueError while tracing if the policy loss is not one real number per sample;
    anything else would broadcast silently.
    """

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
        if jnp.shape(actor) != advantage.shape or not jnp.issubdtype(jnp.result_type(actor), jnp.floating):
            raise ValueError(
                f"the policy loss must be {advantage.shape[0]} real numbers, one per sample, got "
                f"{jnp.result_type(actor)} of shape {jnp.shape(actor)}"
            )
        critic = value_loss(
            outputs["value"], batch.outputs["value"], batch.targets.value, meta_params["value_clip"]
        )
        entropy = distribution.entropy()
        return actor + meta_params["value_coef"] * critic - meta_params["entropy_coef"] * entropy

    return Loss(per_sample, couples_batch=policy_loss.normalize_advantage)


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
        name: for messages and records.
        policy_loss: the elementwise policy loss.
        init: makes the entries of `meta_params` that `policy_loss` reads and a search proposes.
        optimizer: a name in `OPTIMIZERS`.
        **numbers: defaults that differ from, or add to, those of the loss and the optimizer.

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
        defaults=tuple(sorted({**LOSS_DEFAULTS, **defaults, **numbers}.items())),
        policy_loss=policy_loss,
    )


class LearnedOptimizer(NamedTuple):
    """An `Optimizer` that other algorithms can use, with the numbers that it always needs.

    Attributes:
        steps: ``meta_params -> transformation``, the optimizer itself.
        numbers: names and values. OPEN always clips actor and critic separately.
    """

    steps: Optimizer
    numbers: tuple[tuple[str, float], ...]

    def __call__(self, meta_params: MetaParams) -> optax.GradientTransformationExtraArgs:
        return self.steps(meta_params)


def with_optimizer(algorithm: Algorithm, other: Algorithm) -> Algorithm:
    """`algorithm` with the optimizer of `other`; the searched entries of both are searched.

    The numbers of `other`'s `LearnedOptimizer` go with it. All others, such as the learning rate, are those
    of `algorithm`, or of `other` if `algorithm` lacks them.

    Raises:
        ValueError: `other` has no `LearnedOptimizer`; both search an entry of the same name; or `other` has a
            memory, which would be left out.
    """
    optimizer = other.optimizer
    if not isinstance(optimizer, LearnedOptimizer):
        raise ValueError(
            f"the optimizer of {other.name} is not an objectives.parts.LearnedOptimizer, which declares the "
            "numbers it needs; make it with objectives.learned_optimizers.open.ppo_with"
        )
    key = jax.eval_shape(lambda: jax.random.key(0))
    mine, others = (set(jax.eval_shape(each.init, key)) for each in (algorithm, other))
    if mine & others:
        both = ", ".join(sorted(mine & others))
        raise ValueError(f"{algorithm.name} and {other.name} both search {both}; take another part")
    if other.memory is not NO_MEMORY:
        raise ValueError(f"{other.name} has a memory, which its optimizer alone would not have")

    def init(key: PRNGKeyArray) -> dict[str, Any]:
        first, second = jax.random.split(key)
        return {**algorithm.init(first), **other.init(second)}

    lacking = {name: value for name, value in other.defaults if name not in LOSS_DEFAULTS}
    numbers = {**lacking, **dict(algorithm.defaults), **dict(optimizer.numbers)}
    return algorithm._replace(
        name=f"{algorithm.name}+{other.name}",
        optimizer=optimizer,
        init=init,
        defaults=tuple(sorted(numbers.items())),
    )
