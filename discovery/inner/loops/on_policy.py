"""Training on rollouts: act with the current policy, learn from the rollout, repeat.

    state = init(algorithm, setup, meta_params, key, lifetime)
    state, metrics = advance(algorithm, setup, meta_params, state, n_updates)
    outcome = report(setup, state)

All are pure and can be vmapped and scanned; jit them with `algorithm` and `setup` static, as
`discovery/inner/compile.py` does. `meta_params` here is complete: searched entries and plain numbers, see
`complete`. The state is one pytree of arrays: splitting a training at any update changes no bit.
"""

import functools
import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int, PRNGKeyArray

from discovery.core.jobs import Outcome
from discovery.inner.networks.network import Body, Network, make_network
from discovery.inner.record import (
    Metrics,
    Record,
    add_to_record,
    empty_record,
    finite,
    summarize,
    zero_metrics,
)
from discovery.inner.rollout import completed, rollout
from discovery.inner.update import sequences, update
from environments import vector
from environments.base import Environment
from environments.make import make
from environments.task import Setup
from objectives.base import Algorithm, MetaParams, Progress
from objectives.parts import LIMITS

METRICS = ("clip_fraction", "entropy", "grad_norm", "kl", "loss")
"""Metrics of this loop: means over an update's minibatch steps, see `Diagnostics`."""


class TrainingState(NamedTuple):
    """The state of an inner training: one serializable pytree.

    Attributes:
        params: the agent's parameters.
        opt_state: the optimizer's state.
        memory: the algorithm's memory.
        environments: E environments with their statistics.
        carry: the agent's recurrent state in each; no arrays without a recurrence.
        key: the training's key.
        update: n, rollouts learned from so far, int32.
        lifetime: N, rollouts in the whole training, int32.
        record: learning curve and diagnostics, of fixed size.
    """

    params: Any
    opt_state: Any
    memory: Any
    environments: vector.VectorState
    carry: Any
    key: PRNGKeyArray
    update: Int[Array, ""]
    lifetime: Int[Array, ""]
    record: Record


def check_numbers(algorithm: Algorithm, numbers: Mapping[str, float]) -> None:
    """Refuse a task's `numbers` that the algorithm does not read, or that are out of range.

    Raises:
        ValueError: the message has the numbers that it reads, or the range.
    """
    defaults = dict(algorithm.defaults)
    strange = sorted(set(numbers) - set(defaults))
    if strange:
        raise ValueError(
            f"algorithm {algorithm.name!r} does not read {', '.join(strange)}; "
            f"it reads: {', '.join(sorted(defaults))}"
        )
    limits = LIMITS | dict(algorithm.limits)
    for name, value in numbers.items():
        low, high = limits.get(name, (-math.inf, math.inf))
        if not low <= value <= high:
            raise ValueError(f"number {name} must be between {low:g} and {high:g}, got {value:g}")


def complete(
    algorithm: Algorithm, numbers: Mapping[str, Any], meta_params: Mapping[str, Any]
) -> dict[str, Any]:
    """Everything numeric the algorithm reads: its defaults, overridden by a task's `numbers`,
    overridden by the searched `meta_params`. Numbers become float32 arrays.
    """
    every = {**dict(algorithm.defaults), **numbers}
    return {**{name: jnp.asarray(value, jnp.float32) for name, value in every.items()}, **meta_params}


@functools.lru_cache(maxsize=256)
def parts(algorithm: Algorithm, setup: Setup) -> tuple[Environment, Network]:
    """The environment and the network of a training, made once per (algorithm, setup).

    Raises:
        ValueError: there is no such environment, or it does not support the setup.
    """
    environment = make(setup.environment, setup.options, setup.vary)
    vector.check(environment, setup)
    heads = algorithm.policy.heads(environment.n_actions, environment.continuous)
    body = Body(
        setup.hidden,
        setup.activation,
        setup.filters,
        setup.layer_norm,
        setup.experts,
        setup.recurrence,
        setup.matmul,
    )
    return environment, make_network(heads, environment.observation_shape, body, setup.shared_torso)


def check(algorithm: Algorithm, setup: Setup) -> None:
    """Refuse an algorithm and a setup that cannot be trained.

    Raises:
        ValueError: there is no such environment, it does not support the setup, or minibatches have one
            sample, whose standardized advantage is always zero.
    """
    parts(algorithm, setup)
    size = setup.n_envs * setup.n_steps // setup.n_minibatches
    if size == 1 and algorithm.loss.couples_batch:
        raise ValueError(
            f"{algorithm.name} standardizes advantages over each minibatch, and minibatches of one sample "
            f"give no gradient: n_envs * n_steps / n_minibatches = {setup.n_envs} * {setup.n_steps} / "
            f"{setup.n_minibatches}; lower n_minibatches"
        )


def init(
    algorithm: Algorithm,
    setup: Setup,
    meta_params: MetaParams,
    key: PRNGKeyArray,
    lifetime: Array | int,
    level: Any = None,
) -> TrainingState:
    """A new agent in freshly reset environments, for a training of `lifetime` updates.

    All environments are on `level`; by default, the key draws one from the environment's distribution.
    """
    environment, network = parts(algorithm, setup)
    key_network, key_environment, key_memory, key = jax.random.split(key, 4)
    params = network.init(key_network)
    return TrainingState(
        params=params,
        opt_state=algorithm.optimizer(meta_params).init(params),
        memory=algorithm.memory.init(meta_params, params, key_memory),
        environments=vector.reset(environment, setup, key_environment, level),
        carry=network.initial_carry(setup.n_envs),
        key=key,
        update=jnp.int32(0),
        lifetime=jnp.asarray(lifetime, jnp.int32),
        record=empty_record(METRICS, setup.curve_points),
    )


def advance_once(
    algorithm: Algorithm, setup: Setup, meta_params: MetaParams, state: TrainingState
) -> tuple[TrainingState, Metrics]:
    """One rollout, and one update on it."""
    environment, network = parts(algorithm, setup)
    key, key_rollout, key_update = jax.random.split(state.key, 3)
    progress = Progress(state.update, state.lifetime, jnp.int32(0), setup.n_epochs)
    (environments, carry), (trajectory, recall, episodes) = rollout(
        algorithm,
        environment,
        setup,
        network,
        meta_params,
        state.params,
        (state.environments, state.carry),
        progress,
        key_rollout,
        state.memory,
    )
    targets = algorithm.targets(meta_params, state.memory, trajectory, progress)
    (params, opt_state), seen = update(
        algorithm,
        setup,
        network,
        meta_params,
        (state.params, state.opt_state),
        sequences(trajectory, recall, targets, setup.steps_per_sequence),
        progress,
        key_update,
        state.memory,
    )
    n_episodes, total_return, total_length = completed(episodes)
    metrics = Metrics(
        updates=jnp.float32(1),
        episodes=n_episodes,
        episode_return=total_return,
        episode_length=total_length,
        named={name: getattr(seen, name) for name in METRICS},
    )
    memory = algorithm.memory.update(meta_params, state.memory, trajectory, params, metrics, progress)
    healthy = seen.finite & finite(params)  # the last step of an update may make them non-finite
    record = add_to_record(state.record, state.update, state.lifetime, metrics, healthy)
    state = TrainingState(
        params, opt_state, memory, environments, carry, key, state.update + 1, state.lifetime, record
    )
    return state, metrics


def advance(
    algorithm: Algorithm, setup: Setup, meta_params: MetaParams, state: TrainingState, n_updates: Array | int
) -> tuple[TrainingState, Metrics]:
    """`n_updates` rollouts and updates; returns the state and the metrics summed over them.

    A traced `n_updates` gives a loop with that trip count (the cost is proportional to it); a Python
    int gives one that can be differentiated.
    """

    def body(_: Array, carry: tuple[TrainingState, Metrics]) -> tuple[TrainingState, Metrics]:
        state, total = carry
        state, metrics = advance_once(algorithm, setup, meta_params, state)
        return state, jax.tree.map(jnp.add, total, metrics)

    return jax.lax.fori_loop(0, n_updates, body, (state, zero_metrics(METRICS)))


def report(setup: Setup, state: TrainingState) -> Outcome:
    """The outcome of the training so far."""
    return summarize(state.record, setup.steps_per_update)
