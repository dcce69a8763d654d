"""Sets of grid-world levels: the distributions and the hand-made levels of LPG and GROOVE.

A set is a `Grid` (sizes for the compiler), a sampler of levels, a horizon and a law of lifetimes.
`SETS` has them by name. Facts are those of GROOVE's appendix and source (Jackson et al. 2023); known
bugs of that source are not repeated: walls never seal anything off here (`solvable`), and objects
never appear in walls.
"""

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from environments.base import Environment
from environments.gridworld import Grid, Level, make_gridworld

Sampler = Callable[[PRNGKeyArray], Level]


class Lifetimes(NamedTuple):
    """How many rollouts agents live on a set: log-uniform whole numbers from `low` to `high`."""

    low: int
    high: int

    def sample(self, key: PRNGKeyArray) -> Int[Array, ""]:
        """One lifetime."""
        return log_uniform_int(key, self.low, self.high)


class LevelSet(NamedTuple):
    """Levels that share a compiled program.

    Attributes:
        grid: sizes.
        horizon: steps of the longest episode.
        lifetimes: of the agents that are trained on it, in rollouts of 20 steps in 64 workers.
        sample: ``key -> Level``.
        about: what it is, in a few words.
    """

    grid: Grid
    horizon: int
    lifetimes: Lifetimes
    sample: Sampler
    about: str


def log_uniform(key: PRNGKeyArray, shape: tuple[int, ...], low: float, high: float) -> Float[Array, "..."]:
    """Numbers whose logarithm is uniform between those of `low` and `high`."""
    return jnp.exp(jax.random.uniform(key, shape, minval=math.log(low), maxval=math.log(high)))


def log_uniform_int(key: PRNGKeyArray, low: int, high: int) -> Int[Array, ""]:
    """A log-uniform number, rounded to a whole one."""
    return jnp.round(log_uniform(key, (), float(low), float(high))).astype(jnp.int32)


# Random levels


class Law(NamedTuple):
    """The law of a distribution of random levels; every pair is smallest and largest.

    Attributes:
        side: of the square, uniform.
        objects: in use, uniform; each its own kind.
        walls: distinct cells of the largest square that are drawn as walls; those outside a level's own
            square vanish.
        steps: of an episode, log-uniform.
    """

    side: tuple[int, int]
    objects: tuple[int, int]
    walls: int
    steps: tuple[int, int]


P_TERMINATE, P_RESPAWN = (0.01, 1.0), (0.001, 0.1)
"""Log-uniform, for each object of a random level or a maze."""

TRIES = 16
"""Wall patterns that are drawn for a level; the first that seals nothing off counts, else none has walls."""


def random_level(key: PRNGKeyArray, grid: Grid, law: Law) -> Level:
    """A random level: square, walls, start and objects in distinct cells off the walls, all reachable.

    Rewards are uniform, of the first object in (0, 1), of the others in (-1, 1).
    """
    key_side, key_count, key_place, key_object, key_steps = jax.random.split(key, 5)
    side = jax.random.randint(key_side, (), law.side[0], law.side[1] + 1)
    present = jnp.arange(grid.objects) < jax.random.randint(key_count, (), law.objects[0], law.objects[1] + 1)
    walls, places = _solvable_layout(key_place, grid, law.walls, side, present)
    key_reward, key_terminate, key_respawn = jax.random.split(key_object, 3)
    low = jnp.where(jnp.arange(grid.objects) == 0, 0.0, -1.0)
    shape = (grid.objects,)
    return Level(
        walls=walls,
        start=places[0],
        present=present,
        cell=places[1:],
        kind=jnp.arange(grid.objects, dtype=jnp.int32),
        reward=jax.random.uniform(key_reward, shape, minval=low, maxval=1.0),
        p_terminate=log_uniform(key_terminate, shape, *P_TERMINATE),
        p_respawn=log_uniform(key_respawn, shape, *P_RESPAWN),
        max_steps=log_uniform_int(key_steps, *law.steps),
    )


def _solvable_layout(
    key: PRNGKeyArray, grid: Grid, n_walls: int, side: Array, present: Bool[Array, " K"]
) -> tuple[Bool[Array, " cells"], Int[Array, " places"]]:
    """Walls, and distinct cells for the start and the objects, of which every one can be reached."""
    outside = _outside(grid.size, side)

    def draw(key: PRNGKeyArray) -> tuple[Array, Array, Array]:
        key_walls, key_places = jax.random.split(key)
        drawn = jax.lax.top_k(jax.random.uniform(key_walls, (grid.cells,)), n_walls)[1]
        walls = outside | jnp.zeros(grid.cells, bool).at[drawn].set(True)
        places = draw_places(key_places, walls, grid.objects + 1)
        return walls, places, solvable(walls, places[0], places[1:], present)

    def again(tries: Array, drawn: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        found = draw(jax.random.fold_in(key, tries))
        return jax.tree.map(lambda former, new: jnp.where(drawn[2], former, new), drawn, found)

    walls, places, fine = jax.lax.fori_loop(1, TRIES, again, draw(key))
    bare = draw_places(key, outside, grid.objects + 1)
    return jnp.where(fine, walls, outside), jnp.where(fine, places, bare)


def _outside(size: int, side: Array | int) -> Bool[Array, " cells"]:
    """Cells of the size x size square that are not in its upper left side x side corner."""
    row, column = jnp.divmod(jnp.arange(size * size), size)
    return (row >= side) | (column >= side)


def draw_places(key: PRNGKeyArray, walls: Bool[Array, " cells"], n: int) -> Int[Array, " n"]:
    """n distinct cells off the walls, uniformly; there must be so many."""
    weight = jnp.where(walls, -1.0, jax.random.uniform(key, walls.shape))
    return jax.lax.top_k(weight, n)[1].astype(jnp.int32)


def solvable(
    walls: Bool[Array, " cells"], start: Array, cell: Int[Array, " K"], present: Bool[Array, " K"]
) -> Bool[Array, ""]:
    """Whether every present object can be reached from the start, and none is in a wall."""
    reached = reachable(walls, start)
    return ~walls[start] & jnp.all(reached[cell] | ~present)


def reachable(walls: Bool[Array, " cells"], start: Array) -> Bool[Array, " cells"]:
    """The cells that a walk from `start` can lead to: a flood fill, in as many rounds as it needs."""
    size = math.isqrt(walls.shape[0])
    free = ~walls.reshape(size, size)
    begun = (jnp.arange(walls.shape[0]) == start).reshape(size, size) & free

    def spread(carry: tuple[Array, Array]) -> tuple[Array, Array]:
        reached, _ = carry
        wide = jnp.pad(reached, 1)
        near = wide[:-2, 1:-1] | wide[2:, 1:-1] | wide[1:-1, :-2] | wide[1:-1, 2:]
        further = (reached | near) & free
        return further, jnp.any(further != reached)

    return jax.lax.while_loop(lambda carry: carry[1], spread, (begun, jnp.bool_(True)))[0].reshape(-1)


# Hand-made levels

Kind = tuple[int, float, float, float]
"""How many objects, with which reward, p_terminate and p_respawn."""


def _hand_made(
    about: str,
    side: int,
    kinds: Sequence[Kind],
    steps: int,
    walls: Sequence[tuple[int, int]] = (),
    random_places: bool = False,
) -> LevelSet:
    """Levels that differ in their places only, which are drawn once per level, or at every episode."""
    count = sum(kind[0] for kind in kinds)
    grid = Grid(side, count, len(kinds), tabular=not random_places, random_places=random_places)
    blocked = np.zeros((side, side), bool)
    for row, column in walls:
        blocked[row, column] = True
    each = [(index, *kind[1:]) for index, kind in enumerate(kinds) for _ in range(kind[0])]
    kind, reward, p_terminate, p_respawn = zip(*each, strict=True)

    def sample(key: PRNGKeyArray) -> Level:
        places = draw_places(key, jnp.asarray(blocked.reshape(-1)), count + 1)
        return Level(
            walls=jnp.asarray(blocked.reshape(-1)),
            start=places[0],
            present=jnp.ones(count, bool),
            cell=places[1:],
            kind=jnp.asarray(kind, jnp.int32),
            reward=jnp.asarray(reward, jnp.float32),
            p_terminate=jnp.asarray(p_terminate, jnp.float32),
            p_respawn=jnp.asarray(p_respawn, jnp.float32),
            max_steps=jnp.int32(steps),
        )

    lifetimes = Lifetimes(25_000, 25_000) if random_places else Lifetimes(2500, 2500)
    return LevelSet(grid, steps, lifetimes, sample, about)


_CENTER_WALL = [(row, 4) for row in range(9) if row not in (1, 7)]
_CROSS = [(row, 5) for row in range(11) if row not in (0, 7)] + [
    (4, column) for column in range(11) if column not in (2, 8)
]


def _hand_made_sets() -> dict[str, LevelSet]:
    dense: list[Kind] = [(2, 1.0, 0.0, 0.05), (1, -1.0, 0.5, 0.1), (1, -1.0, 0.0, 0.5)]
    long: list[Kind] = [(2, 1.0, 0.0, 0.01), (2, -1.0, 0.5, 1.0)]
    return {
        "dense": _hand_made("11 x 11, four objects, no walls", 11, dense, 500),
        "sparse": _hand_made(
            "13 x 13, one good and one bad end", 13, [(1, 1.0, 1.0, 0.0), (1, -1.0, 1.0, 0.0)], 50
        ),
        "long": _hand_made("11 x 11, rare rewards, traps that come back", 11, long, 1000),
        "longer": _hand_made(
            "9 x 9, a wall with two gaps, three traps",
            9, [(2, 1.0, 0.1, 0.01), (3, -1.0, 0.8, 1.0)], 2000, _CENTER_WALL,
        ),
        "longer-paper": _hand_made(
            "the same with five traps, as published",
            9, [(2, 1.0, 0.1, 0.01), (5, -1.0, 0.8, 1.0)], 2000, _CENTER_WALL,
        ),
        "long-dense": _hand_made(
            "11 x 11, a cross of walls with gaps", 11, [(4, 1.0, 0.0, 0.005)], 2000, _CROSS
        ),
        "rand-dense": _hand_made("dense, in new places each episode", 11, dense, 500, random_places=True),
        "rand-long": _hand_made("long, in new places each episode", 11, long, 1000, random_places=True),
        "rand-small": _hand_made(
            "7 x 7, in new places each episode",
            7, [(2, 1.0, 0.0, 0.05), (2, -1.0, 0.5, 0.1)], 500, [(1, 2), (3, 4)], random_places=True,
        ),
        "rand-sparse": _hand_made(
            "7 x 7, one good and two bad ends",
            7, [(1, 1.0, 1.0, 1.0), (2, -1.0, 1.0, 1.0)], 50, random_places=True,
        ),
        "rand-very-dense": _hand_made(
            "11 x 11, one reward that moves on at once", 11, [(1, 1.0, 0.0, 1.0)], 2000, random_places=True
        ),
    }  # fmt: skip


# Mazes

MAZES: Mapping[str, str] = {
    "sixteen-rooms": """
        ...#..#..#...
        .........#...
        ...#..#......
        #.###.##.###.
        ...#.........
        ......#..#...
        ##.#.##.###.#
        ...#.....#...
        ...#..#......
        .####.##.#.##
        ...#..#..#...
        ......#......
        ...#.....#...
    """,
    "sixteen-rooms-2": """
        ...#.....#...
        ......#..#...
        ...#..#..#...
        ####.##.###.#
        ...#..#......
        ......#..#...
        #.#####.#####
        ...#..#..#...
        ...#.........
        ##.##.##.####
        ...#..#..#...
        ......#......
        ...#..#..#...
    """,
    "labyrinth": """
        .............
        .###########.
        .#.........#.
        .#.#######.#.
        .#.#.....#.#.
        .#.#.###.#.#.
        .#.#.#.#.#.#.
        .#.#.#.#.#.#.
        .#...#...#.#.
        .#########.#.
        .....#.....#.
        ####.#.#####.
        .....#.......
    """,
    "labyrinth-flipped": """
        .............
        .###########.
        .#.........#.
        .#.#######.#.
        .#.#.....#.#.
        .#.#.###.#.#.
        .#.#.#.#.#.#.
        .#.#.#.#.#.#.
        .#.#...#...#.
        .#.#########.
        .#.....#.....
        .#####.#.####
        .......#.....
    """,
    "labyrinth-2": """
        .#...........
        .#.#########.
        .#.#.......#.
        .#.#.#####.#.
        .#.#.#...#.#.
        ...#.#.#.#.#.
        ####.#.#.#.#.
        ...#.###.#.#.
        .#.#.....#.#.
        .#.#######.#.
        .#.........#.
        .###########.
        .............
    """,
    "standard-maze": """
        .....#....#..
        .###.####.##.
        .#...........
        .########.###
        ........#....
        ######.#####.
        ....#..#.....
        .##...##.####
        ..#.#..#...#.
        #.#.##.###.#.
        #.#..#...#...
        #.##.###.###.
        ...#...#.#...
    """,
    "standard-maze-2": """
        ...#.#....#..
        .#.#.####...#
        .#........#..
        .########.###
        ...#..#.#.#..
        ##.#.##.#.#..
        .#.#....#.##.
        .#.##.###..#.
        .#..#..###.#.
        .##.##.#.#.#.
        .#...#.#.#.#.
        .#.#.#.#.#.#.
        ...#...#.....
    """,
    "standard-maze-3": """
        ....#.#......
        .####.#.####.
        .#....#.#....
        ...####.#.#.#
        ##.#....#.#..
        ...#.##.#.##.
        .#.#.#..#..#.
        .#.#.#.###.##
        .#...#.#.#...
        .###.#.#.###.
        .#...#.#...#.
        .#.###.#.#.#.
        .#...#...#...
    """,
    "small-corridor": """
        .............
        .#.#.#.#.#.#.
        .#.#.#.#.#.#.
        .#.#.#.#.#.#.
        .#.#.#.#.#.#.
        .#.#.#.#.#.#.
        .###########.
        .#.#.#.#.#.#.
        .#.#.#.#.#.#.
        .#.#.#.#.#.#.
        .#.#.#.#.#.#.
        .#.#.#.#.#.#.
        .............
    """,
}
"""The nine layouts of GROOVE, from MiniMax: 13 x 13, "#" is wall."""


def walls_of(picture: str) -> Bool[np.ndarray, " cells"]:
    """A layout's walls, from its picture."""
    return np.array([[sign == "#" for sign in line.strip()] for line in picture.split()]).reshape(-1)


def maze_level(key: PRNGKeyArray, grid: Grid, walls: Bool[Array, " cells"]) -> Level:
    """A maze with three objects of random worth, in places that can be reached, and 25 to 50 steps."""
    key_start, key_place, key_object, key_steps = jax.random.split(key, 4)
    start = draw_places(key_start, walls, 1)[0]
    closed = ~reachable(walls, start) | (jnp.arange(grid.cells) == start)
    key_reward, key_terminate, key_respawn = jax.random.split(key_object, 3)
    shape = (grid.objects,)
    return Level(
        walls=walls,
        start=start,
        present=jnp.ones(shape, bool),
        cell=draw_places(key_place, closed, grid.objects),
        kind=jnp.arange(grid.objects, dtype=jnp.int32),
        reward=jax.random.uniform(key_reward, shape),
        p_terminate=log_uniform(key_terminate, shape, *P_TERMINATE),
        p_respawn=log_uniform(key_respawn, shape, *P_RESPAWN),
        max_steps=log_uniform_int(key_steps, 25, 50),
    )


def _maze_sets() -> dict[str, LevelSet]:
    grid = Grid(13, 3, 3)
    layouts = np.stack([walls_of(picture) for picture in MAZES.values()])
    lifetimes = Lifetimes(2500, 2500)

    def one(walls: Bool[np.ndarray, " cells"]) -> Sampler:
        return lambda key: maze_level(key, grid, jnp.asarray(walls))

    def any_of_them(key: PRNGKeyArray) -> Level:
        key_which, key_level = jax.random.split(key)
        which = jax.random.randint(key_which, (), 0, len(layouts))
        return maze_level(key_level, grid, jnp.asarray(layouts)[which])

    sets = {
        name: LevelSet(grid, 50, lifetimes, one(walls), "a 13 x 13 maze, three rewards")
        for name, walls in zip(MAZES, layouts, strict=True)
    }
    return sets | {"mazes": LevelSet(grid, 50, lifetimes, any_of_them, "any of the nine mazes")}


# All of them

_ALL = Law((4, 10), (1, 5), 15, (20, 750))


def _random_set(about: str, law: Law, lifetimes: Lifetimes) -> LevelSet:
    grid = Grid(law.side[1], law.objects[1], law.objects[1])
    return LevelSet(grid, law.steps[1], lifetimes, functools.partial(random_level, grid=grid, law=law), about)


def level_sets() -> dict[str, LevelSet]:
    """Every set by name."""
    return {
        "small": _random_set(
            "random levels, sides 4 to 6", Law((4, 6), (1, 3), 7, (20, 100)), Lifetimes(250, 250)
        ),
        "medium": _random_set(
            "random levels, sides 6 to 8", Law((6, 8), (2, 4), 10, (100, 250)), Lifetimes(1000, 1000)
        ),
        "large": _random_set(
            "random levels, sides 8 to 10", Law((8, 10), (2, 5), 15, (250, 750)), Lifetimes(2500, 2500)
        ),
        "all": _random_set("random levels, sides 4 to 10", _ALL, Lifetimes(1000, 1000)),
        "all-shortlife": _random_set("all, with short lives", _ALL, Lifetimes(250, 250)),
        "all-randlife": _random_set("all, with lives of 50 to 250 rollouts", _ALL, Lifetimes(50, 250)),
        "all-vrandlife": _random_set("all, with lives of 10 to 250 rollouts", _ALL, Lifetimes(10, 250)),
        **_hand_made_sets(),
        **_maze_sets(),
    }


SETS: Mapping[str, LevelSet] = level_sets()
"""Every set by name: what "grid/NAME" makes."""


def from_grid(
    name: str,
    vary: Mapping[str, tuple[float, float]],
    tabular: bool | None = None,
    random_places: bool | None = None,
) -> Environment:
    """Makes the grid-world whose levels come from the set `name`.

    Args:
        name: a name in `SETS`.
        vary: nothing can be varied: levels are what differs.
        tabular: observations as one-hot states, else as planes. By default as published.
        random_places: objects start and re-appear anywhere. By default as published.

    Raises:
        ValueError: unknown names.
    """
    if name not in SETS:
        raise ValueError(f"no environment is called 'grid/{name}'; there are: {', '.join(SETS)}")
    if vary:
        raise ValueError(f"environment 'grid/{name}' varies by its levels only, got {list(vary)}")
    chosen = SETS[name]
    grid = chosen.grid._replace(
        tabular=chosen.grid.tabular if tabular is None else tabular,
        random_places=chosen.grid.random_places if random_places is None else random_places,
    )
    return make_gridworld(f"grid/{name}", grid, chosen.horizon, chosen.sample)
