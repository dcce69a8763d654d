"""A training without rollouts: exact policy mirror descent on a level, for mirror maps.

One update is one step of `objectives.tabular`, with exact values, in every state of the level. The score is
the value of the policy where episodes begin, discounted by "gamma", without a time limit.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray

from discovery.core.jobs import Outcome
from discovery.inner.record import (
    Metrics,
    Record,
    add_to_record,
    empty_record,
    finite,
    summarize,
    zero_metrics,
)
from environments.base import Environment
from environments.explicit import Explicit
from environments.make import make
from environments.task import Setup
from objectives.base import Algorithm, MetaParams, Progress
from objectives.mirror_map.algorithm import Projected
from objectives.tabular import evaluate, mirror_descent_step

METRICS = ("entropy", "kl")
"""Metrics of this loop: means over states, of the new policy and of KL(old || new), in nats."""


class ExactState(NamedTuple):
    """The state of such a training.

    Attributes:
        policy: in every state of the process.
        action_value: its action values, which the next step ascends.
        level: of the process.
        update: n, steps so far, int32.
        lifetime: N, int32.
        record: learning curve, of fixed size.
    """

    policy: Float[Array, "S A"]
    action_value: Float[Array, "S A"]
    level: Any
    update: Int[Array, ""]
    lifetime: Int[Array, ""]
    record: Record


@functools.lru_cache(maxsize=256)
def parts(algorithm: Algorithm, setup: Setup) -> tuple[Environment, Projected]:
    """The environment, and the mirror map.

    Raises:
        ValueError: the environment has no process in arrays, or the algorithm has no mirror map.
    """
    environment = make(setup.environment, setup.options, setup.vary)
    if environment.process is None:
        raise ValueError(
            f"exact values need an environment whose process fits into arrays, such as grid/small; "
            f"{setup.environment!r} with options {dict(setup.options)} has none"
        )
    if not isinstance(algorithm.policy.distribution, Projected):
        raise ValueError(f"exact training is for mirror maps (ampo), which {algorithm.name!r} is not")
    return environment, algorithm.policy.distribution


def check(algorithm: Algorithm, setup: Setup) -> None:
    """Raises a ValueError unless the setup asks for exact values and `parts` finds what they need."""
    if not setup.exact:
        raise ValueError(f"{algorithm.name!r} is trained with exact values: set exact = true in the setup")
    parts(algorithm, setup)


def init(
    algorithm: Algorithm,
    setup: Setup,
    meta_params: MetaParams,
    key: PRNGKeyArray,
    lifetime: Array | int,
    level: Any = None,
) -> ExactState:
    """The uniform policy on `level`; None: one that the key draws."""
    environment, _ = parts(algorithm, setup)
    level = environment.sample_level(key) if level is None else level
    process = _process(environment, level)
    policy = jnp.full_like(process.reward, 1.0 / process.reward.shape[-1])
    _, action_value = evaluate(process.transition, process.reward, meta_params["gamma"], policy)
    return ExactState(
        policy,
        action_value,
        level,
        jnp.int32(0),
        jnp.asarray(lifetime, jnp.int32),
        empty_record(METRICS, setup.curve_points),
    )


def advance(
    algorithm: Algorithm, setup: Setup, meta_params: MetaParams, state: ExactState, n_updates: Array | int
) -> tuple[ExactState, Metrics]:
    """`n_updates` steps of policy mirror descent, with the map at that point of training; returns the state
    and the metrics summed over them.

    Reads "eta" (step size) and "gamma".
    """
    environment, mirror = parts(algorithm, setup)
    process = _process(environment, state.level)

    def step(_: Array, carry: tuple[ExactState, Metrics]) -> tuple[ExactState, Metrics]:
        state, total = carry
        fraction = Progress(state.update, state.lifetime).fraction
        weights = mirror.weights(meta_params, fraction, state.policy.dtype)
        policy = mirror_descent_step(
            mirror.potential, weights, state.policy, state.action_value, meta_params["eta"]
        )
        value, action_value = evaluate(process.transition, process.reward, meta_params["gamma"], policy)
        metrics = _metrics(state.policy, policy, value[process.start])
        healthy = finite(policy, value)
        record = add_to_record(state.record, state.update, state.lifetime, metrics, healthy)
        state = ExactState(policy, action_value, state.level, state.update + 1, state.lifetime, record)
        return state, jax.tree.map(jnp.add, total, metrics)

    return jax.lax.fori_loop(0, n_updates, step, (state, zero_metrics(METRICS)))


def report(setup: Setup, state: ExactState) -> Outcome:
    """The outcome of the training so far."""
    return summarize(state.record, setup.steps_per_update)


def _process(environment: Environment, level: Any) -> Explicit:
    assert environment.process is not None
    return environment.process(level)


def _metrics(old: Float[Array, "S A"], new: Float[Array, "S A"], value: Float[Array, ""]) -> Metrics:
    """One update: the value counts as the return of one episode, which has no length."""
    entropy = -jnp.where(new > 0, new * jnp.log(jnp.where(new > 0, new, 1.0)), 0.0).sum(-1)
    kl = (old * (jnp.log(jnp.maximum(old, 1e-8)) - jnp.log(jnp.maximum(new, 1e-8)))).sum(-1)
    one = jnp.float32(1)
    return Metrics(
        updates=one,
        episodes=one,
        episode_return=value,
        episode_length=jnp.float32(0),
        named={"entropy": entropy.mean(), "kl": kl.mean()},
    )
