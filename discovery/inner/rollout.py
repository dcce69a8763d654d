"""Acting: T steps in E environments with the present policy."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from discovery.inner.networks.network import Network
from environments import vector
from environments.base import Environment
from environments.task import Setup
from objectives.base import Algorithm, MetaParams, Progress, Trajectory
from objectives.parts import DEFAULTS


class Episodes(NamedTuple):
    """Episodes completed during a rollout: where, with which return and length, all ``[T, E]``."""

    finished: Bool[Array, "T E"]
    episode_return: Float[Array, "T E"]
    episode_length: Array


class Recall(NamedTuple):
    """What a recurrent agent needs to learn from a rollout as it lived it.

    Attributes:
        start: whether a step is the first of its episode, ``[T, E]``.
        carry: what the agent remembered before each step, ``[T, E, ...]``; no arrays without a memory.
    """

    start: Bool[Array, "T E"]
    carry: Any


class Experience(NamedTuple):
    """All that came of acting for T steps in E environments."""

    trajectory: Trajectory
    recall: Recall
    episodes: Episodes


def rollout(
    algorithm: Algorithm,
    environment: Environment,
    setup: Setup,
    network: Network,
    meta_params: MetaParams,
    params: Any,
    state: tuple[vector.VectorState, Any],
    progress: Progress,
    key: PRNGKeyArray,
    memory: Any = (),
) -> tuple[tuple[vector.VectorState, Any], Experience]:
    """Collect one rollout; `state` is the environments' and the agent's carry.

    Actions are drawn from `algorithm.policy`. `outputs_next` is the network at the state each step
    reached, an episode's final observation included, computed in one batch after acting; and so are the
    outputs of a target network, if the algorithm's `memory` keeps one. Its carries are the agent's own.
    """
    gamma = meta_params.get("gamma", DEFAULTS["gamma"])  # an algorithm need not discount

    def act(state: tuple[vector.VectorState, Any], key_t: PRNGKeyArray) -> tuple[Any, tuple[Any, ...]]:
        worlds, carry = state
        key_action, key_step = jax.random.split(key_t)
        start = worlds.episode_length == 0
        carry_tp1, outputs, _ = network.unroll(params, carry, worlds.observation[None], start[None])
        outputs = jax.tree.map(lambda x: x[0], outputs)
        distribution = algorithm.policy.distribution(meta_params, outputs, progress)
        action = distribution.sample(key_action)
        log_prob = distribution.log_prob(action)
        worlds_tp1, step = vector.step(environment, setup, gamma, key_step, worlds, action)
        seen = (worlds.observation, action, log_prob, outputs, step, start, carry_tp1)
        return (worlds_tp1, carry_tp1), seen

    worlds, carry_0 = state
    # fold_in leaves the other keys what they are without it
    worlds = vector.refresh(environment, setup, jax.random.fold_in(key, setup.n_steps), worlds)
    keys = jax.random.split(key, setup.n_steps)
    state, seen = jax.lax.scan(act, (worlds, carry_0), keys)
    observation, action, log_prob, outputs, step, start, carry_tp1 = seen
    carry = jax.tree.map(lambda first, then: jnp.concatenate([first[None], then[:-1]]), carry_0, carry_tp1)
    terminated = step.terminated | step.truncated if setup.legacy_truncation else step.terminated
    trajectory = Trajectory(
        observation=observation,
        action=action,
        log_prob=log_prob,
        reward=step.reward,
        terminated=terminated,
        truncated=step.truncated,
        outputs=outputs,
        outputs_next=_outputs_at(network, params, carry_tp1, step.final_observation),
    )
    if algorithm.memory.target_params is not None:
        target = algorithm.memory.target_params(memory)
        trajectory = trajectory._replace(
            target_outputs=_outputs_at(network, target, carry, observation, start),
            target_outputs_next=_outputs_at(network, target, carry_tp1, step.final_observation),
        )
    episodes = Episodes(step.finished, step.episode_return, step.episode_length)
    return state, Experience(trajectory, Recall(start, carry), episodes)


def _outputs_at(
    network: Network,
    params: Any,
    carry: Any,
    observation: Float[Array, "T E D"],
    start: Bool[Array, "T E"] | None = None,
) -> Any:
    """Outputs ``[T, E, ...]`` one step on from T * E memories ``[T, E, ...]``: a batch of T * E sequences.

    Without `start`, all of them go on.
    """
    memories, seen = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), (carry, observation))
    begins = jnp.zeros((1, len(seen)), bool) if start is None else start.reshape(1, -1)
    _, outputs, _ = network.unroll(params, memories, seen[None], begins)
    return jax.tree.map(lambda x: x.reshape(*observation.shape[:2], *x.shape[2:]), outputs)


def completed(episodes: Episodes) -> tuple[Array, Array, Array]:
    """Number, total return and total length of the completed episodes, scalars."""
    done = episodes.finished
    return (
        done.sum().astype(jnp.float32),
        jnp.where(done, episodes.episode_return, 0.0).sum(),
        jnp.where(done, episodes.episode_length, 0).sum().astype(jnp.float32),
    )
