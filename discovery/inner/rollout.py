"""Acting: T steps in E environments with the current policy."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from discovery.inner.networks.network import Network
from environments import vector
from environments.base import Environment
from environments.task import Setup
from objectives.base import Algorithm, MetaParams, Outputs, Progress, Trajectory
from objectives.parts import DEFAULTS


class Episodes(NamedTuple):
    """Episodes completed during a rollout: where, with which return and length, all ``[T, E]``."""

    finished: Bool[Array, "T E"]
    episode_return: Float[Array, "T E"]
    episode_length: Array


class Recall(NamedTuple):
    """The recurrent state with which a rollout was collected.

    Attributes:
        start: whether a step is the first of its episode, ``[T, E]``.
        carry: of the agent before each step, ``[T, E, ...]``; no arrays without a memory.
    """

    start: Bool[Array, "T E"]
    carry: Any


class Experience(NamedTuple):
    """The data of T steps in E environments."""

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

    Actions are drawn from `algorithm.policy`. A target network, if the algorithm's `memory` has one, gets the
    same states and the agent's carries.

    A step that does not end its episode reaches the state in which the next step acts, whose outputs are
    known. The other states are those after the last step and those in which an episode was truncated. If an
    environment can truncate only one episode per rollout, they are evaluated in a batch of 2 E states;
    otherwise, all T E states that the steps reached are evaluated.
    """
    gamma = meta_params.get("gamma", DEFAULTS["gamma"])  # algorithms without discounting lack it

    # Whether an environment can truncate at most one episode per rollout.
    once = setup.n_steps <= environment.shortest_truncation and not algorithm.reads_terminal_outputs

    def act(state: tuple[Any, Any, Any], key_t: PRNGKeyArray) -> tuple[tuple[Any, Any, Any], tuple[Any, ...]]:
        worlds, carry, where_cut = state
        key_action, key_step = jax.random.split(key_t)
        start = worlds.episode_length == 0
        carry_tp1, outputs, _ = network.unroll(params, carry, worlds.observation[None], start[None])
        outputs = jax.tree.map(lambda x: x[0], outputs)

        def decide(outputs: Any) -> tuple[Array, Array]:
            distribution = algorithm.policy.distribution(meta_params, outputs, progress)
            action = distribution.sample(key_action)
            return action, distribution.log_prob(action)

        action, log_prob = decide(outputs)
        worlds_tp1, step = vector.step(environment, setup, gamma, key_step, worlds, action)
        if not jax.tree.leaves(carry):
            outputs = of_torsos(network, read_by(decide, outputs), outputs)
        terminated = step.terminated | step.truncated if setup.legacy_truncation else step.terminated
        cut, reached = step.truncated & ~terminated, (step.final_observation, carry_tp1)
        if once:
            where_cut, reached = jax.tree.map(functools.partial(_where, cut), reached, where_cut), None
        seen = (worlds.observation, action, log_prob, outputs, step.reward, terminated, step.truncated)
        episodes = Episodes(step.finished, step.episode_return, step.episode_length)
        return (worlds_tp1, carry_tp1, where_cut), (seen, cut, reached, start, carry, episodes)

    worlds, carry = state
    # fold_in does not change the other keys
    worlds = vector.refresh(environment, setup, jax.random.fold_in(key, setup.n_steps), worlds)
    keys = jax.random.split(key, setup.n_steps)
    (worlds, carry, where_cut), (seen, cut, reached, start, carries, episodes) = jax.lax.scan(
        act, (worlds, carry, (worlds.observation, carry)), keys
    )
    observation, action, log_prob, outputs, reward, terminated, truncated = seen
    # Networks and minibatches read it as [T E, D]; without the barrier, XLA transposes it for each of them.
    observation = jax.lax.optimization_barrier(observation)
    if len(outputs) < len(network.torso_of):  # the others in one batch, which is cheaper
        outputs = {**_outputs_at(network, params, carries, observation, start), **outputs}

    def outputs_next(params: Any, outputs: Any) -> Any:
        """The network's outputs at the reached states ``[T, E, ...]``, given those at the states acted in."""
        if not once:
            return _outputs_at(network, params, reached[1], reached[0])
        ends, memories = jax.tree.map(lambda *x: jnp.stack(x), (worlds.observation, carry), where_cut)
        begins = jnp.stack([worlds.episode_length == 0, jnp.zeros_like(start[0])])
        beyond = _outputs_at(network, params, memories, ends, begins)
        return jax.tree.map(
            lambda x, end: _where(cut, end[1], jnp.concatenate([x[1:], end[:1]])), outputs, beyond
        )

    trajectory = Trajectory(
        observation=observation,
        action=action,
        log_prob=log_prob,
        reward=reward,
        terminated=terminated,
        truncated=truncated,
        outputs=outputs,
        outputs_next=outputs_next(params, outputs),
    )
    if algorithm.memory.target_params is not None:
        target = algorithm.memory.target_params(memory)
        target_outputs = _outputs_at(network, target, carries, observation, start)
        trajectory = trajectory._replace(
            target_outputs=target_outputs, target_outputs_next=outputs_next(target, target_outputs)
        )
    return (worlds, carry), Experience(trajectory, Recall(start, carries), episodes)


def read_by(function: Callable[[Any], Any], outputs: Outputs) -> list[str]:
    """Names of the outputs that a function uses."""
    jaxpr = jax.make_jaxpr(function)(outputs).jaxpr
    used = {id(x) for equation in jaxpr.eqns for x in equation.invars} | {id(x) for x in jaxpr.outvars}
    return [name for name, x in zip(sorted(outputs), jaxpr.invars, strict=True) if id(x) in used]


def of_torsos(network: Network, heads: list[str], outputs: Outputs) -> dict[str, Array]:
    """The outputs of the torsos that these heads sit on."""
    torsos = {network.torso_of[head] for head in heads}
    return {name: x for name, x in outputs.items() if network.torso_of[name] in torsos}


def _where(condition: Bool[Array, "*batch"], this: Array, that: Array) -> Array:
    """Rows of `this` where the condition holds, else of `that`; both ``[*batch, ...]``."""
    return jnp.where(condition.reshape(*condition.shape, *[1] * (that.ndim - condition.ndim)), this, that)


def _outputs_at(
    network: Network,
    params: Any,
    carry: Any,
    observation: Float[Array, "T E D"],
    start: Bool[Array, "T E"] | None = None,
) -> Any:
    """Outputs ``[T, E, ...]`` one step after T * E memories ``[T, E, ...]``: a batch of T * E sequences.

    Without `start`, none is reset.
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
