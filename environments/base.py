"""The contract of environments.

An `Environment` is a NamedTuple of pure functions with one `Step` type. Adapters hide quirks of the libraries
(int rewards, scalar observations, dropped final observations).
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, PRNGKeyArray


class Step(NamedTuple):
    """The result of one step.

    If an episode ended, `observation` and the returned state already belong to the next episode, and
    `final_observation` is the last one of the episode; otherwise the two are equal. `terminated` (the task
    ended) and `truncated` (time ran out) may both be true.
    """

    observation: Float[Array, " D"]
    reward: Float[Array, ""]
    terminated: Bool[Array, ""]
    truncated: Bool[Array, ""]
    final_observation: Float[Array, " D"]


class Environment(NamedTuple):
    """One task's dynamics, for a single instance; vmap over instances.

    A *level* holds what differs between trainings of the same task (a maze, a mass, a gravity): a pytree
    sampled once per training. Environments without levels use the empty tuple.

    Attributes:
        id: the id it was made from.
        observation_size: D, after flattening.
        observation_shape: shape before flattening, for networks that use the image.
        n_actions: the number of discrete actions, or the dimension of a continuous action.
        horizon: steps after which an episode is truncated.
        sample_level: ``key -> level``.
        reset: ``(key, level) -> (state, observation [D])``.
        step: ``(key, state, action, level) -> (state, Step)``; resets by itself when an episode ends.
        refresh: ``(key, state, level) -> state``, called once before each rollout, for environments that
            prepare costly resets; None for others.
        shortest_truncation: no episode is truncated before this many steps, on any level. A large value saves
            work: states after a truncation are evaluated separately, see `discovery.inner.rollout`.
        process: ``level -> `environments.explicit.Explicit` ``, the environment as a Markov decision process
            in arrays, for methods that need exact values; None if not available.
        continuous: whether actions are float vectors ``[A]`` (else an int32 scalar).
        action_low, action_high: bounds ``[A]`` of a continuous action; `step` clips to them.
    """

    id: str
    observation_size: int
    observation_shape: tuple[int, ...]
    n_actions: int
    horizon: int
    sample_level: Callable[[PRNGKeyArray], Any]
    reset: Callable[[PRNGKeyArray, Any], tuple[Any, Array]]
    step: Callable[[PRNGKeyArray, Any, Array, Any], tuple[Any, Step]]
    refresh: Callable[[PRNGKeyArray, Any, Any], Any] | None = None
    process: Callable[[Any], Any] | None = None
    continuous: bool = False
    action_low: np.ndarray | None = None
    action_high: np.ndarray | None = None
    shortest_truncation: int = 1


def autoreset(
    first: tuple[Any, Array],
    reached: tuple[Any, Array],
    reward: Array,
    terminated: Array,
    truncated: Array | bool = False,
) -> tuple[Any, Step]:
    """The result of `step`: the reached state or, if the episode is over, the first one of the next episode.

    Args:
        first: state and observation ``[D]`` that the next episode begins with.
        reached: state and observation ``[D]`` after the action.
        reward: of the step.
        terminated: whether the task ended.
        truncated: whether time ran out.
    """

    def where_over(new: Array, old: Array) -> Array:
        return jnp.where(terminated | truncated, new, old)

    state, observation = jax.tree.map(where_over, first, reached)
    return state, Step(observation, reward, terminated, jnp.bool_(truncated), reached[1])


def uniform_levels(vary: Mapping[str, tuple[float, float]]) -> Callable[[PRNGKeyArray], Any]:
    """A `sample_level` that draws each parameter uniformly from (lowest, highest): a dict, or ()."""

    def sample_level(key: PRNGKeyArray) -> Any:
        if not vary:
            return ()
        keys = jax.random.split(key, len(vary))
        drawn: dict[str, Array] = {}
        for key_of, (name, (low, high)) in zip(keys, sorted(vary.items()), strict=True):
            drawn[name] = jax.random.uniform(key_of, (), minval=low, maxval=high)
        return drawn

    return sample_level
