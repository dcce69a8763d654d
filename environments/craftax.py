"""The adapter for craftax 1.6: survival in a generated world, with symbolic observations.

What craftax does -> what this adapter does instead:

* `done` covers the time limit -> the library's limit is never reached; `episodes.py` truncates;
* a world is generated at every reset; at every step, this would be 17 times slower -> a bank;
* importing it may print, about textures that symbols do not need -> quiet.

Observations are float32 already: a map of one-hot symbols around the player, and the inventory.
"""

import contextlib
import importlib
import io
from collections.abc import Mapping
from typing import Any

from jaxtyping import Array

from environments.base import Environment, uniform_levels
from environments.episodes import Game, check_name, check_varied, with_episodes

CLASSES = {
    "Craftax-Classic-Symbolic-v1": (
        "craftax.craftax_classic.envs.craftax_symbolic_env",
        "CraftaxClassicSymbolicEnvNoAutoReset",
    ),
    "Craftax-Symbolic-v1": ("craftax.craftax.envs.craftax_symbolic_env", "CraftaxSymbolicEnvNoAutoReset"),
}
"""Names -> module and class. Pixels are left out: too many for flat networks."""

NEVER = 2**31 - 1
"""A time limit that an int32 counter never exceeds."""


def from_craftax(
    name: str,
    vary: Mapping[str, tuple[float, float]],
    episode_length: int | None = None,
    bank: int = 1,
) -> Environment:
    """Makes the craftax environment `name`.

    Args:
        name: of `CLASSES`, for example "Craftax-Classic-Symbolic-v1".
        vary: numbers among the library's parameters, lowest and highest; a level draws each uniformly:
            "day_length", and in Classic the chances that creatures appear ("spawn_zombie_base_chance").
        episode_length: steps after which an episode is truncated; by default the library's limit (10,000 in
            Classic, else 100,000).
        bank: B, worlds that each instance keeps prepared. They are generated once per rollout and used in
            turn: with 1, two deaths within a rollout lead to the same world. With 0, a world is generated at
            every step, and is mostly unused.

    Raises:
        ValueError: unknown names, or invalid numbers.
    """
    id = f"craftax/{name}"
    check_name(id, name, CLASSES)
    module, wanted = CLASSES[name]
    with contextlib.redirect_stdout(io.StringIO()):
        env = getattr(importlib.import_module(module), wanted)()
    theirs = env.default_params
    check_varied(id, vary, _numbers(theirs))
    params = theirs.replace(max_timesteps=NEVER)

    def at(level: Any) -> Any:
        return params.replace(**level) if vary else params

    def begin(key: Array, level: Any) -> tuple[Any, Array]:
        observation, state = env.reset(key, at(level))
        return state, observation

    def move(key: Array, state: Any, action: Array, level: Any) -> tuple[Any, Array, Array, Array]:
        observation, state, reward, done, _ = env.step(key, state, action, at(level))
        return state, observation, reward, done

    length = theirs.max_timesteps if episode_length is None else episode_length
    return with_episodes(id, Game(begin, move, env.num_actions), length, bank, uniform_levels(vary))


def _numbers(params: Any) -> list[str]:
    """Parameters that a traced number can replace."""
    return ["day_length", *(name for name, value in vars(params).items() if isinstance(value, float))]
