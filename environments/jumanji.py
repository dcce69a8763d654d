"""The adapter for jumanji 1.1: three of its games, whose observations fit one array.

What jumanji does -> what this adapter does instead:

* observations are structures with a clock and a mask of moves in them -> one image per game, see
  `GAMES`; the mask follows from the image, and the clock is left out, as in all other environments;
* a time limit has discount 0, as the end of the task has -> never reached; `episodes.py` truncates.
"""

import importlib
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from environments.base import Environment
from environments.episodes import Game, check_name, check_varied, with_episodes

NEVER = 2**31 - 1
"""A time limit that an int32 counter never exceeds."""

TILES = 18
"""Exponents on a board of 2048, 0 for an empty cell: no board of 16 cells holds more than 2 ** 17."""


class Kind(NamedTuple):
    """One of jumanji's games.

    Attributes:
        make: constructor that takes jumanji's module of environments, without a time limit.
        image: its observation ``[rows, columns, features]``.
        episode_length: steps after which an episode is truncated unless the user says otherwise.
    """

    make: Callable[[Any], Any]
    image: Callable[[Any], Array]
    episode_length: int


def _board(observation: Any) -> Float[Array, "4 4 18"]:
    return jax.nn.one_hot(observation.board, TILES)


def _maze(observation: Any) -> Float[Array, "10 10 3"]:
    """Walls, the agent, and its target."""
    walls = observation.walls.astype(jnp.float32)
    agent, target = (
        jnp.zeros_like(walls).at[position.row, position.col].set(1.0)
        for position in (observation.agent_position, observation.target_position)
    )
    return jnp.stack([walls, agent, target], axis=-1)


def _snake(observation: Any) -> Float[Array, "12 12 5"]:
    """Body, head, tail, fruit, and the order of the body's cells as numbers from 0 to 1."""
    return observation.grid


GAMES = {
    "Game2048-v1": Kind(lambda library: library.Game2048(), _board, 1000),
    "Maze-v0": Kind(lambda library: library.Maze(time_limit=NEVER), _maze, 100),
    "Snake-v1": Kind(lambda library: library.Snake(time_limit=NEVER), _snake, 4000),
}
"""Names as jumanji registers them. Lengths are jumanji's; its 2048 has none, and may never end."""


def from_jumanji(
    name: str,
    vary: Mapping[str, tuple[float, float]],
    episode_length: int | None = None,
    bank: int = 4,
) -> Environment:
    """Makes the jumanji environment `name`.

    Args:
        name: of `GAMES`, for example "Snake-v1".
        vary: must be empty.
        episode_length: steps after which an episode is truncated; by default as in `GAMES`.
        bank: prepared resets per instance, see `environments.episodes.with_episodes`. Without any (0),
            Maze is twenty times slower, as it builds a maze at every step, and Snake half as fast.

    Raises:
        ValueError: unknown names, or invalid numbers.
    """
    library = importlib.import_module("jumanji.environments")
    id = f"jumanji/{name}"
    check_name(id, name, GAMES)
    check_varied(id, vary)
    kind = GAMES[name]
    env = kind.make(library)

    def begin(key: Array, level: Any) -> tuple[Any, Array]:
        state, timestep = env.reset(key)
        return state, kind.image(timestep.observation)

    def move(key: Array, state: Any, action: Array, level: Any) -> tuple[Any, Array, Array, Array]:
        state, timestep = env.step(state, action)
        return state, kind.image(timestep.observation), timestep.reward, timestep.last()

    length = kind.episode_length if episode_length is None else episode_length
    return with_episodes(id, Game(begin, move, int(env.action_spec.num_values)), length, bank)
