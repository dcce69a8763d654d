"""Every set of grid-world levels by name, and the environments made of them."""

from collections.abc import Mapping
from functools import partial

from environments.base import Environment
from environments.explicit import explicit
from environments.gridworld import make_gridworld
from environments.handmade import hand_made_sets, maze_sets
from environments.levels import Law, LevelSet, Lifetimes, random_set
from environments.task import Setup, Task

_ALL = Law((4, 10), (1, 5), 15, (20, 750))


def level_sets() -> dict[str, LevelSet]:
    """Every set by name."""
    return {
        "small": random_set(
            "random levels, sides 4 to 6", Law((4, 6), (1, 3), 7, (20, 100)), Lifetimes(250, 250)
        ),
        "medium": random_set(
            "random levels, sides 6 to 8", Law((6, 8), (2, 4), 10, (100, 250)), Lifetimes(1000, 1000)
        ),
        "large": random_set(
            "random levels, sides 8 to 10", Law((8, 10), (2, 5), 15, (250, 750)), Lifetimes(2500, 2500)
        ),
        "all": random_set("random levels, sides 4 to 10", _ALL, Lifetimes(1000, 1000)),
        "all-shortlife": random_set("all, with short lives", _ALL, Lifetimes(250, 250)),
        "all-randlife": random_set("all, with lives of 50 to 250 rollouts", _ALL, Lifetimes(50, 250)),
        "all-vrandlife": random_set("all, with lives of 10 to 250 rollouts", _ALL, Lifetimes(10, 250)),
        **hand_made_sets(),
        **maze_sets(),
    }


SETS: Mapping[str, LevelSet] = level_sets()
"""Every set by name, as made by "grid/NAME"."""


def from_grid(
    name: str,
    vary: Mapping[str, tuple[float, float]],
    tabular: bool | None = None,
    random_places: bool | None = None,
) -> Environment:
    """Makes the grid-world whose levels come from the set `name`.

    Args:
        name: a name in `SETS`.
        vary: must be empty: only levels differ.
        tabular: observations as one-hot states, else as planes. By default as published.
        random_places: objects start and re-appear anywhere. By default as published: only with planes.

    Raises:
        ValueError: unknown names.
    """
    if name not in SETS:
        raise ValueError(f"no environment is called 'grid/{name}'; there are: {', '.join(SETS)}")
    if vary:
        raise ValueError(f"environment 'grid/{name}' varies by its levels only, got {list(vary)}")
    chosen = SETS[name]
    tabular = chosen.grid.tabular if tabular is None else tabular
    random_places = not tabular if random_places is None else random_places
    grid = chosen.grid._replace(tabular=tabular, random_places=random_places)
    environment = make_gridworld(f"grid/{name}", grid, chosen.horizon, chosen.sample)
    return environment if grid.random_places else environment._replace(process=partial(explicit, grid))


def grid_task(name: str, tabular: bool | None = None) -> Task:
    """The task of LPG and GROOVE on a set: 64 instances, rollouts of 20 steps with one epoch, agents that are
    linear in tabular observations (one layer of 32 units for planes), and the set's lifetimes.

    A search draws lifetimes log-uniformly up to the longest (`Task.shortest_life`). The numbers are the
    agent's: `objectives.known.TABULAR_A2C` are those of the published tabular one.

    Args:
        name: a name in `SETS`.
        tabular: as for `from_grid`.

    Raises:
        ValueError: unknown names.
    """
    environment = from_grid(name, {}, tabular)
    chosen = SETS[name]
    linear = chosen.grid.tabular if tabular is None else tabular
    setup = Setup(
        environment.id,
        n_envs=64,
        n_steps=20,
        n_epochs=1,
        n_minibatches=1,
        hidden=() if linear else (32,),
        options={} if tabular is None else {"tabular": tabular},
    )
    low, high = chosen.lifetimes
    return Task(environment.id, setup, setup.steps_per_update * high, shortest_life=low / high)
