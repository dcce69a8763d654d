"""The adapter for xminigrid 0.9 (XLand-MiniGrid): MiniGrid's rooms seen by the agent, and XLand's rules.

What xminigrid does -> what this adapter does instead:

* observations are uint8 pairs (tile, color) of the cells before the agent -> one-hot, 25 numbers per cell;
* the end of the task and the time limit are one step type -> distinguished by the discount;
* XLand's rooms have no goal -> `rulesets`, one of which is the level of a training.
"""

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jaxtyping import Array

from environments.base import Environment
from environments.episodes import Game, check_name, check_varied, one_hot, with_episodes

SYMBOLS = (13, 12)
"""Numbers of tiles and colors."""

GOALLESS = "MiniGrid-Playground"
"""Registered, but nothing in it is ever rewarded."""


def from_xminigrid(
    name: str,
    vary: Mapping[str, tuple[float, float]],
    episode_length: int | None = None,
    bank: int = 0,
    rulesets: str = "",
) -> Environment:
    """Makes the xminigrid environment `name`.

    Args:
        name: as xminigrid registers it (except `GOALLESS`), for example "MiniGrid-Empty-5x5" or
            "XLand-MiniGrid-R4-9x9".
        vary: must be empty.
        episode_length: steps after which an episode is truncated; by default the library's limit. A
            reward is ``1 - 0.9 t / episode_length``.
        bank: prepared resets per instance, see `environments.episodes.with_episodes`.
        rulesets: a file of the library with goals and rules, required for XLand and only there: each training
            draws one, uniformly. `xminigrid.load_benchmark` downloads such files. They are pickled: use only
            files that you trust.

    Raises:
        ValueError: unknown names, invalid numbers, or rules that are missing or not allowed.
    """
    library = importlib.import_module("xminigrid")
    id = f"xminigrid/{name}"
    check_name(id, name, (known for known in library.registered_environments() if known != GOALLESS))
    check_varied(id, vary)
    benchmark = _rulesets(id, rulesets)
    env, params = library.make(name, **({} if episode_length is None else {"max_steps": episode_length}))

    def at(level: Any) -> Any:
        return params.replace(ruleset=level) if benchmark else params

    def begin(key: Array, level: Any) -> tuple[Any, Array]:
        timestep = env.reset(at(level), key)
        return timestep, one_hot(timestep.observation, SYMBOLS)

    def move(key: Array, timestep: Any, action: Array, level: Any) -> tuple[Any, Array, Array, Array]:
        timestep = env.step(at(level), timestep, action)
        return timestep, one_hot(timestep.observation, SYMBOLS), timestep.reward, timestep.discount == 0

    game = Game(begin, move, env.num_actions(params))
    length = int(params.max_steps or 0)
    return with_episodes(id, game, length, bank, benchmark.sample_ruleset if benchmark else None)


def _rulesets(id: str, path: str) -> Any:
    """The rulesets in a file; None for an environment with a goal."""
    is_xland = id.startswith("xminigrid/XLand")
    if is_xland and not path:
        raise ValueError(
            f"environment {id!r} has no goal; give a file of goals and rules as its option "
            "'rulesets' (`xminigrid.load_benchmark` downloads one)"
        )
    if path and not is_xland:
        raise ValueError(f"environment {id!r} has a goal; rulesets are for XLand only")
    if not path:
        return None
    if not Path(path).is_file():
        raise ValueError(f"rulesets of environment {id!r} must be a file, but {path!r} does not exist")
    return importlib.import_module("xminigrid.benchmarks").load_benchmark_from_path(path)
