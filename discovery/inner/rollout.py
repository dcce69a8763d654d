"""Acting: T steps in E environments with the present policy."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from discovery.inner.networks import Network
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


def rollout(
    algorithm: Algorithm,
    environment: Environment,
    setup: Setup,
    network: Network,
    meta_params: MetaParams,
    params: Any,
    state: vector.VectorState,
    progress: Progress,
    key: PRNGKeyArray,
) -> tuple[vector.VectorState, Trajectory, Episodes]:
    """Collect one rollout.

    Actions are drawn from `algorithm.policy`. `outputs_next` is the network at the state each step
    reached, an episode's final observation included, computed in one batch after acting.

    Returns:
        the environments' state, the trajectory ``[T, E, ...]``, and the completed episodes.
    """
    gamma = meta_params.get("gamma", DEFAULTS["gamma"])  # an algorithm need not discount

    def act(state: vector.VectorState, key_t: PRNGKeyArray) -> tuple[vector.VectorState, tuple[Any, ...]]:
        key_action, key_step = jax.random.split(key_t)
        outputs, _ = network.apply(params, state.observation)
        distribution = algorithm.policy.distribution(meta_params, outputs, progress)
        action = distribution.sample(key_action)
        log_prob = distribution.log_prob(action)
        state_tp1, step = vector.step(environment, setup, gamma, key_step, state, action)
        return state_tp1, (state.observation, action, log_prob, outputs, step)

    # fold_in leaves the other keys what they are without it
    state = vector.refresh(environment, setup, jax.random.fold_in(key, setup.n_steps), state)
    keys = jax.random.split(key, setup.n_steps)
    state, (observation, action, log_prob, outputs, step) = jax.lax.scan(act, state, keys)
    outputs_next, _ = network.apply(params, step.final_observation)
    terminated = step.terminated | step.truncated if setup.legacy_truncation else step.terminated
    trajectory = Trajectory(
        observation=observation,
        action=action,
        log_prob=log_prob,
        reward=step.reward,
        terminated=terminated,
        truncated=step.truncated,
        outputs=outputs,
        outputs_next=outputs_next,
    )
    return state, trajectory, Episodes(step.finished, step.episode_return, step.episode_length)


def completed(episodes: Episodes) -> tuple[Array, Array, Array]:
    """Number, total return and total length of the completed episodes, scalars."""
    done = episodes.finished
    return (
        done.sum().astype(jnp.float32),
        jnp.where(done, episodes.episode_return, 0.0).sum(),
        jnp.where(done, episodes.episode_length, 0).sum().astype(jnp.float32),
    )
