"""Advantages and value targets whose lambda a program chooses, step by step."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from objectives.base import MetaParams, Policy, Progress, Trajectory
from objectives.parts import gae
from objectives.programs.interpreter import interpret


class Estimates(NamedTuple):
    """Targets of a rollout, ``[T, E]`` (``[B]`` in a minibatch).

    Attributes:
        advantage, value: as in `AdvantageTargets`.
        delta_size: abs(delta) / sd(delta).
    """

    advantage: Array
    value: Array
    delta_size: Array


def deltas(meta_params: MetaParams, trajectory: Trajectory) -> Float[Array, "T E"]:
    """TD errors r + gamma (1 - terminated) V(s') - V(s)."""
    following = jnp.where(trajectory.terminated, 0.0, trajectory.outputs_next["value"])
    return trajectory.reward + meta_params["gamma"] * following - trajectory.outputs["value"]


def traced(delta: Float[Array, "T E"], decay: Float[Array, "T E"], ended: Array) -> Float[Array, "T E"]:
    """A_t = delta_t + decay_t (1 - ended_t) A_{t+1}, with decay = gamma lambda."""
    continues = jnp.where(ended, 0.0, decay)

    def backward(following: Array, at: tuple[Array, Array]) -> tuple[Array, Array]:
        advantage = at[0] + at[1] * following
        return advantage, advantage

    return jax.lax.scan(backward, jnp.zeros_like(delta[-1]), (delta, continues), reverse=True)[1]


def estimates(meta_params: MetaParams, memory: Any, trajectory: Trajectory, progress: Progress) -> Estimates:
    """GAE, with sizes of TD errors beside it."""
    found = gae(meta_params, memory, trajectory, progress)
    return Estimates(found.advantage, found.value, _size(deltas(meta_params, trajectory)))


def with_traces(policy: Policy) -> Any:
    """Targets by the program ``meta_params["trace"]``: a lambda of the advantages, and one of the values."""

    def targets(
        meta_params: MetaParams, memory: Any, trajectory: Trajectory, progress: Progress
    ) -> Estimates:
        delta, value = deltas(meta_params, trajectory), trajectory.outputs["value"]
        ended = trajectory.terminated | trajectory.truncated
        usual = gae(meta_params, memory, trajectory, progress).value
        given = (
            _size(delta),
            jnp.sign(delta),
            progress.fraction,
            explained_variance(value, usual),
            relative_entropy(policy, meta_params, trajectory, progress),
            ended.astype(delta.dtype),
        )
        lambdas = [jnp.clip(found, 0.0, 1.0) for found in interpret(meta_params["trace"], given)]
        advantage, of_value = (traced(delta, meta_params["gamma"] * each, ended) for each in lambdas)
        return Estimates(advantage, of_value + value, given[0])

    return targets


def explained_variance(value: Float[Array, "T E"], target: Float[Array, "T E"]) -> Float[Array, ""]:
    """1 - var(R - V) / var(R), at least -1; 0 where R is constant."""
    variance = target.var()
    share = (target - value).var() / jnp.where(variance > 0, variance, 1.0)
    return jnp.where(variance > 0, jnp.maximum(1.0 - share, -1.0), 0.0)


def relative_entropy(
    policy: Policy, meta_params: MetaParams, trajectory: Trajectory, progress: Progress
) -> Float[Array, "T E"]:
    """The policy's entropy: as a share of log A for A discrete actions, per dimension for continuous ones."""
    outputs = trajectory.outputs
    entropy = policy.distribution(meta_params, outputs, progress).entropy()
    if "logits" in outputs:
        return entropy / jnp.log(float(max(outputs["logits"].shape[-1], 2)))
    return entropy / outputs["mean"].shape[-1]


def _size(delta: Float[Array, "T E"]) -> Float[Array, "T E"]:
    spread = delta.std()
    return jnp.abs(delta) / jnp.where(spread > 0, spread, 1.0)
