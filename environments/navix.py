"""The adapter for navix 0.7: MiniGrid's rooms, seen from above.

What navix does -> what this adapter does instead:

* observations are uint8 triples (thing, color, state) per cell -> one-hot, 21 numbers per cell;
* it resets one step late, on the step after the last -> at the last step, with `final_observation`;
* its state carries sprites for drawing -> left out of the state that is carried.

The agent sees the whole room, with itself in it. Rooms without "Random" in their name begin in the same way
in every episode, as far as their layout allows.
"""

import importlib
from collections.abc import Mapping
from typing import Any

from jaxtyping import Array

from environments.base import Environment
from environments.episodes import Game, check_name, check_varied, one_hot, with_episodes

SYMBOLS = (11, 6, 4)
"""Numbers of things, colors and states (of a door, or the direction of the player)."""

LEFT_OUT = ("Navix-GoToDoor", "Navix-KeyCorridor")
"""Registered, but not solvable: no observation has the color of the right door, and the corridor rewards
reaching a goal although it has only a ball."""


def from_navix(
    name: str, vary: Mapping[str, tuple[float, float]], episode_length: int = 100, bank: int = 0
) -> Environment:
    """Makes the navix environment `name`.

    Args:
        name: as navix registers it (except `LEFT_OUT`), for example "Navix-Empty-5x5-v0".
        vary: must be empty.
        episode_length: steps after which an episode is truncated.
        bank: prepared resets per instance, see `environments.episodes.with_episodes`.

    Raises:
        ValueError: unknown names, or invalid numbers.
    """
    library = importlib.import_module("navix")
    id = f"navix/{name}"
    check_name(id, name, (known for known in library.registry() if not known.startswith(LEFT_OUT)))
    check_varied(id, vary)
    env = library.make(name, max_steps=episode_length)

    def begin(key: Array, level: Any) -> tuple[Any, Array]:
        timestep = env.reset(key)
        return timestep.state.replace(cache=None), one_hot(timestep.observation, SYMBOLS)

    # The part of navix's step between its reset of the last episode and its time limit.
    def move(key: Array, state: Any, action: Array, level: Any) -> tuple[Any, Array, Array, Array]:
        reached = env.transitions_fn(state, action, env.action_set)
        observation = one_hot(env.observation_fn(reached), SYMBOLS)
        reward = env.reward_fn(state, action, reached)
        return reached, observation, reward, env.termination_fn(state, action, reached)

    return with_episodes(id, Game(begin, move, len(env.action_set)), episode_length, bank)
