r"""An environment of your own: a corridor of six cells, to be crossed within twelve steps.

Run these at the root of the repository; without --dry-run, the last one searches:

    PYTHONPATH=docs/examples discovery envs my_environment:corridor
    PYTHONPATH=docs/examples discovery search lpo-catch --tasks.0.name corridor \
        --tasks.0.setup.environment my_environment:corridor --dry-run
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, PRNGKeyArray

from environments.base import Environment, Step, autoreset

LENGTH, HORIZON = 6, 12


class State(NamedTuple):
    """Cell of the agent and steps so far; types must stay the same from step to step."""

    position: Array
    time: Array


def corridor() -> Environment:
    """Action 1 moves right, 0 left. The last cell gives 1 and ends the episode; so does the horizon."""
    return Environment(
        id="my_environment:corridor",
        observation_size=LENGTH,
        observation_shape=(LENGTH,),
        n_actions=2,
        continuous=False,
        action_low=None,
        action_high=None,
        horizon=HORIZON,
        sample_level=lambda key: (),  # all trainings have the same corridor
        reset=reset,
        step=step,
    )


def reset(key: PRNGKeyArray, level: Any) -> tuple[State, Array]:
    """An episode begins in the first cell."""
    state = State(jnp.int32(0), jnp.int32(0))
    return state, observe(state)


def step(key: PRNGKeyArray, state: State, action: Array, level: Any) -> tuple[State, Step]:
    """One move; if it ends the episode, `autoreset` returns the first state of the next one."""
    position = jnp.clip(state.position + 2 * action - 1, 0, LENGTH - 1)
    reached = State(position, state.time + 1)
    terminated, truncated = position == LENGTH - 1, reached.time == HORIZON
    reward = terminated.astype(jnp.float32)
    return autoreset(reset(key, level), (reached, observe(reached)), reward, terminated, truncated)


def observe(state: State) -> Array:
    """The cell, one-hot, as float32 of shape (LENGTH,)."""
    return jax.nn.one_hot(state.position, LENGTH, dtype=jnp.float32)
