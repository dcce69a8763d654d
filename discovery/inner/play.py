"""Playing one episode with an agent's current policy, with a record of every step."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from discovery.inner.loops.on_policy import TrainingState, parts
from discovery.inner.networks.network import Network
from environments import vector
from environments.task import Setup
from objectives.base import Algorithm, MetaParams, Outputs, Progress


class Episode(NamedTuple):
    """One episode, or its first T steps.

    Attributes:
        level: on which it was played.
        env_state: the environment's states, ``[T, ...]``, each before its step.
        action: ``[T]``, or ``[T, A]`` for continuous ones.
        reward: ``[T]``, as the environment gives it; 0 after the end.
        running: which steps belong to the episode; later states and actions have no meaning.
        terminated, truncated: how it ended; both false if T steps were too few.
    """

    level: Any
    env_state: Any
    action: Array
    reward: Float[Array, " T"]
    running: Bool[Array, " T"]
    terminated: Bool[Array, ""]
    truncated: Bool[Array, ""]


def play(
    algorithm: Algorithm,
    setup: Setup,
    meta_params: MetaParams,
    state: TrainingState,
    key: PRNGKeyArray,
    n_steps: int,
    greedy: bool = False,
) -> Episode:
    """One episode of the current policy on the training's level, from its beginning.

    The training is not changed: observations are normalized by its statistics, which are not updated here.

    Args:
        algorithm: of the agent; its policy acts.
        setup: the training's.
        meta_params: complete, see `discovery.inner.loops.on_policy.complete`.
        state: of the training, at any point.
        key: of the policy's and the environment's randomness.
        n_steps: T, at most; the environment's horizon is enough for every episode.
        greedy: take the most probable action instead of a random one.
    """
    environment, network = parts(algorithm, setup)
    progress = Progress(state.update, state.lifetime, jnp.int32(0), setup.n_epochs)
    level, stats = state.environments.level, state.environments.obs_stats
    key_reset, key_steps = jax.random.split(key)
    env_state, observation = environment.reset(key_reset, level)

    def act(carry: tuple[Any, Array, Any, Array], key_t: PRNGKeyArray) -> tuple[Any, tuple[Any, ...]]:
        env_state, observation, memory, running = carry
        key_action, key_step = jax.random.split(key_t)
        seen = vector.as_seen(stats, observation[None])
        memory, outputs = _look(network, state.params, memory, seen)
        distribution = algorithm.policy.distribution(meta_params, outputs, progress)
        action = (distribution.mode() if greedy else distribution.sample(key_action))[0]
        reached, step = environment.step(
            key_step, env_state, vector.bounded(environment, setup, action), level
        )
        over = step.terminated | step.truncated
        recorded = env_state, action, step.reward, running, step.terminated, step.truncated
        return (reached, step.observation, memory, running & ~over), recorded

    start = (env_state, observation, network.initial_carry(1), jnp.bool_(True))
    keys = jax.random.split(key_steps, n_steps)
    _, (env_states, action, reward, running, terminated, truncated) = jax.lax.scan(act, start, keys)
    return Episode(
        level=level,
        env_state=env_states,
        action=action,
        reward=jnp.where(running, reward, 0.0),
        running=running,
        terminated=(terminated & running).any(),
        truncated=(truncated & running).any(),
    )


def _look(
    network: Network, params: Any, memory: Any, observation: Float[Array, "1 D"]
) -> tuple[Any, Outputs]:
    """The agent's carry after this observation, and the network's heads ``[1, ...]``."""
    goes_on = jnp.zeros((1, 1), bool)
    memory, outputs, _ = network.unroll(params, memory, observation[None], goes_on)
    return memory, jax.tree.map(lambda head: head[0], outputs)
