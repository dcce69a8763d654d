"""Programs as losses: of the policy, or the whole of it; and the shape of the advantage."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from objectives.base import Batch, Loss, MetaParams, Outputs, Policy, PolicyLoss, Progress
from objectives.known import LOG_RATIO_LIMIT
from objectives.parts import actor_critic_loss, standardize
from objectives.programs.interpreter import interpret

DRIFT_LIMIT = 15.0
"""log r is clipped to +- this in (r - 1)^2, which would swamp float32 beyond."""

Shape = Callable[[MetaParams, Batch, Progress], Float[Array, " B"]]
"""``(meta_params, batch, progress) -> [B]``, the advantage that a loss uses."""


def policy_loss(condition: str, normalize_advantage: bool, reductions: int) -> PolicyLoss:
    """The policy loss of the program ``meta_params["policy_loss"]``.

    Under the condition "drift", the loss is f - r A with f = relu(program) (r - 1)^2. So f is a drift for
    every program: not negative, zero at r = 1, and flat there. PPO's drift is the program
    relu((r - clip(r)) A) / (r - 1)^2.
    """

    def per_sample(
        meta_params: MetaParams, log_prob: Array, old_log_prob: Array, advantage: Array, progress: Progress
    ) -> Array:
        log_ratio = jnp.clip(log_prob - old_log_prob, -LOG_RATIO_LIMIT, LOG_RATIO_LIMIT)
        given = (log_ratio, advantage, progress.fraction)
        (result,) = interpret(meta_params["policy_loss"], given, reductions)
        if condition != "drift":
            return result
        near = jnp.clip(log_ratio, -DRIFT_LIMIT, DRIFT_LIMIT)
        drift = jax.nn.relu(result) * jnp.square(jnp.expm1(near))
        return drift - jnp.exp(log_ratio) * advantage

    return PolicyLoss(per_sample, normalize_advantage)


def gae_as_it_is(meta_params: MetaParams, batch: Batch, progress: Progress) -> Float[Array, " B"]:
    """The estimated advantage."""
    return batch.targets.advantage


def shaped(reductions: int) -> Shape:
    """The advantage of the program ``meta_params["advantage"]``."""

    def shape(meta_params: MetaParams, batch: Batch, progress: Progress) -> Float[Array, " B"]:
        targets = batch.targets
        given = (
            targets.advantage,
            progress.fraction,
            targets.delta_size,
            batch.outputs["value"],
            targets.value,
        )
        return interpret(meta_params["advantage"], given, reductions)[0]

    return shape


def of_policy_loss(policy: Policy, loss: PolicyLoss, shape: Shape) -> Loss:
    """The usual total around a policy loss, with advantages of another shape."""
    usual = actor_critic_loss(policy, loss)

    def per_sample(
        meta_params: MetaParams, batch: Batch, outputs: Outputs, progress: Progress, key: PRNGKeyArray
    ) -> Float[Array, " B"]:
        targets = batch.targets._replace(advantage=shape(meta_params, batch, progress))
        return usual.per_sample(meta_params, batch._replace(targets=targets), outputs, progress, key)

    return Loss(per_sample, couples_batch=True)


def whole_loss(policy: Policy, shape: Shape, normalize_advantage: bool, reductions: int) -> Loss:
    """The loss of the program ``meta_params["loss"]``, all of it."""

    def per_sample(
        meta_params: MetaParams, batch: Batch, outputs: Outputs, progress: Progress, key: PRNGKeyArray
    ) -> Float[Array, " B"]:
        distribution = policy.distribution(meta_params, outputs, progress)
        advantage = shape(meta_params, batch, progress)
        log_prob = distribution.log_prob(batch.action)
        given = (
            jnp.clip(log_prob - batch.log_prob, -LOG_RATIO_LIMIT, LOG_RATIO_LIMIT),
            standardize(advantage) if normalize_advantage else advantage,
            progress.fraction,
            outputs["value"],
            batch.outputs["value"],
            batch.targets.value,
            distribution.entropy(),
            log_prob,
            batch.log_prob,
        )
        return interpret(meta_params["loss"], given, reductions)[0]

    return Loss(per_sample, couples_batch=True)
