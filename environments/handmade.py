"""The hand-made levels of LPG and GROOVE, and GROOVE's mazes."""

from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, PRNGKeyArray

from environments.gridworld import Grid, Level
from environments.levels import (
    P_RESPAWN,
    P_TERMINATE,
    LevelSet,
    Lifetimes,
    Sampler,
    draw_places,
    log_uniform,
    log_uniform_int,
    reachable,
)  # fmt: skip

Kind = tuple[int, float, float, float]
"""The number of objects, and their reward, p_terminate and p_respawn."""


def _hand_made(
    about: str,
    side: int,
    kinds: Sequence[Kind],
    steps: int,
    walls: Sequence[tuple[int, int]] = (),
    random_places: bool = False,
) -> LevelSet:
    """Levels that differ only in places, which are drawn once per level, or at every episode."""
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


def hand_made_sets() -> dict[str, LevelSet]:
    """LPG's hand-made levels and GROOVE's, by name."""
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
    """A maze with three objects of random reward, in reachable places, and 25 to 50 steps."""
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


def maze_sets() -> dict[str, LevelSet]:
    """Each maze alone, and all of them together."""
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
