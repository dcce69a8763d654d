"""The adapter for pgx 2.6: its MinAtar games, which have one player.

What pgx does -> what this adapter does instead:

* no game except Freeway has a time limit, and Freeway's looks like the end of the task -> all are truncated,
  after as many steps as gymnax's games of the same names;
* rewards are ``[1]``, one per player -> a scalar.

Unlike gymnax's, these games repeat the last action in one step of ten ("sticky actions").
"""

import importlib
from collections.abc import Mapping
from typing import Any

from jaxtyping import Array

from environments.base import Environment
from environments.episodes import Game, check_name, check_varied, with_episodes

LENGTHS = {
    "minatar-asterix": 1000,
    "minatar-breakout": 1000,
    "minatar-freeway": 2500,
    "minatar-seaquest": 1000,
    "minatar-space_invaders": 1000,
}
"""Names, and steps after which an episode is truncated unless the user says otherwise."""

FREEWAY_ENDS = 2500
"""Steps after which Freeway itself ends: longer episodes would end as if the task were over."""


def from_pgx(
    name: str,
    vary: Mapping[str, tuple[float, float]],
    episode_length: int | None = None,
    bank: int = 0,
) -> Environment:
    """Makes the pgx environment `name`.

    Args:
        name: of `LENGTHS`, for example "minatar-breakout".
        vary: must be empty.
        episode_length: steps after which an episode is truncated; by default as in `LENGTHS`.
        bank: prepared resets per instance, see `environments.episodes.with_episodes`.

    Raises:
        ValueError: unknown names, or invalid numbers.
    """
    library = importlib.import_module("pgx")
    id = f"pgx/{name}"
    check_name(id, name, LENGTHS)
    check_varied(id, vary)
    length = LENGTHS[name] if episode_length is None else episode_length
    if name == "minatar-freeway" and length > FREEWAY_ENDS:
        raise ValueError(
            f"episode_length of environment {id!r} must be at most {FREEWAY_ENDS}, "
            f"where the game itself ends, got {length}"
        )
    env = library.make(name)

    def begin(key: Array, level: Any) -> tuple[Any, Array]:
        state = env.init(key)
        return state, state.observation

    def move(key: Array, state: Any, action: Array, level: Any) -> tuple[Any, Array, Array, Array]:
        state = env.step(state, action, key)
        return state, state.observation, state.rewards[0], state.terminated

    return with_episodes(id, Game(begin, move, env.num_actions), length, bank)
