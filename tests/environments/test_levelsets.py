"""The sets of levels against the numbers that LPG and GROOVE published, written out by hand.

Sizes, objects, steps and lifetimes are those of GROOVE's appendix. What it leaves open (cells of walls,
mazes, rand-small) was copied from the released source, EmptyJackson/groove at 0c091c03.
"""

import functools
import hashlib
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np
import pytest

from environments.gridworld import Grid
from environments.handmade import MAZES
from environments.levels import Lifetimes, solvable
from environments.levelsets import SETS, grid_task
from environments.make import make


class Random(NamedTuple):
    """A row of the table of distributions; every pair is smallest and largest."""

    side: tuple[int, int]
    objects: tuple[int, int]
    walls: int
    steps: tuple[int, int]


class Made(NamedTuple):
    """A row of the table of hand-made levels; each object as kind, reward, p_terminate, p_respawn.

    `walls`: whether there is one, by row and column.
    """

    size: int
    steps: int
    objects: tuple[tuple[int, float, float, float], ...]
    walls: Callable[[Any, Any], Any] = lambda row, column: row < 0
    random_places: bool = False


_ALL = Random((4, 10), (1, 5), 15, (20, 750))
RANDOM = {
    "small": Random((4, 6), (1, 3), 7, (20, 100)),
    "medium": Random((6, 8), (2, 4), 10, (100, 250)),
    "large": Random((8, 10), (2, 5), 15, (250, 750)),
    "all": _ALL,
}
SAME_AS_ALL = ("all-shortlife", "all-randlife", "all-vrandlife")

_DENSE = ((0, 1, 0, 0.05), (0, 1, 0, 0.05), (1, -1, 0.5, 0.1), (2, -1, 0, 0.5))
_LONG = ((0, 1, 0, 0.01), (0, 1, 0, 0.01), (1, -1, 0.5, 1), (1, -1, 0.5, 1))
_LONGER = ((0, 1, 0.1, 0.01), (0, 1, 0.1, 0.01), (1, -1, 0.8, 1), (1, -1, 0.8, 1), (1, -1, 0.8, 1))
_SMALL = ((0, 1, 0, 0.05), (0, 1, 0, 0.05), (1, -1, 0.5, 0.1), (1, -1, 0.5, 0.1))


def _two_gaps(row, column):
    return (column == 4) & (row != 1) & (row != 7)


def _cross(row, column):
    """Four gaps, in two walls that meet in row 4."""
    upright = (column == 5) & (row != 0) & (row != 7)
    return upright | (row == 4) & (column != 2) & (column != 8)


def _two_cells(row, column):
    return (row == 1) & (column == 2) | (row == 3) & (column == 4)


MADE = {
    "dense": Made(11, 500, _DENSE),
    "sparse": Made(13, 50, ((0, 1, 1, 0), (1, -1, 1, 0))),
    "long": Made(11, 1000, _LONG),
    "longer": Made(9, 2000, _LONGER, _two_gaps),  # the code's three traps
    "longer-paper": Made(9, 2000, (*_LONGER, (1, -1, 0.8, 1), (1, -1, 0.8, 1)), _two_gaps),
    "long-dense": Made(11, 2000, ((0, 1, 0, 0.005),) * 4, _cross),
    "rand-dense": Made(11, 500, _DENSE, random_places=True),
    "rand-long": Made(11, 1000, _LONG, random_places=True),
    "rand-small": Made(7, 500, _SMALL, _two_cells, True),
    "rand-sparse": Made(7, 50, ((0, 1, 1, 1), (1, -1, 1, 1), (1, -1, 1, 1)), random_places=True),
    "rand-very-dense": Made(11, 2000, ((0, 1, 0, 1),), random_places=True),
}

# Beginnings of the sha256 of the released source's cells, row by row, "1" for a wall and "0" for none.
MAZE_DIGESTS = {
    "sixteen-rooms": "c1fc81240baa5190",
    "sixteen-rooms-2": "d301ee48880de310",
    "labyrinth": "a23aa3b1ad4c1080",
    "labyrinth-flipped": "f6ea2ad32cc9aa8e",
    "labyrinth-2": "570d68a5c6ae23fc",
    "standard-maze": "e78692239ef616d8",
    "standard-maze-2": "92d4ae9be074cc23",
    "standard-maze-3": "d957ff984b6ae854",
    "small-corridor": "7eb893d01c649962",
}

LIFETIMES = {
    "small": (250, 250),
    "medium": (1000, 1000),
    "large": (2500, 2500),
    "all": (1000, 1000),
    "all-shortlife": (250, 250),
    "all-randlife": (50, 250),
    "all-vrandlife": (10, 250),
    **{name: (25_000, 25_000) if made.random_places else (2500, 2500) for name, made in MADE.items()},
    **dict.fromkeys((*MAZE_DIGESTS, "mazes"), (2500, 2500)),
}

all_solvable = jax.jit(jax.vmap(solvable))


@functools.cache
def sampled(name):
    """400 levels of a set, leaves ``[400, ...]``: one program and one draw for all tests of it."""
    drawn = jax.jit(jax.vmap(SETS[name].sample))(jax.random.split(jax.random.key(3), 400))
    return jax.tree.map(np.asarray, drawn)


def numbers_of(sample):
    """Levels without what takes long to draw: ``key -> Level``."""
    return lambda key: sample(key)._replace(walls=(), start=(), cell=())


@functools.cache
def numbers(name):
    """20,000 levels of a set without their places: enough to see both ends of every law."""
    drawn = jax.jit(jax.vmap(numbers_of(SETS[name].sample)))(jax.random.split(jax.random.key(4), 20_000))
    return jax.tree.map(np.asarray, drawn)


def is_uniform(x, low, high):
    """Whether numbers follow the law (Kolmogorov-Smirnov) and come near both its ends, but not beyond."""
    x = np.sort((np.asarray(x, np.float64).reshape(-1) - low) / (high - low))
    distance = np.abs(x - (np.arange(x.size) + 0.5) / x.size).max()
    near = 12 / x.size
    return -1e-5 <= x[0] < near and 1 - near < x[-1] <= 1 + 1e-5 and distance < 2 / x.size**0.5


def is_log_uniform(x, low, high):
    return is_uniform(np.log(x), np.log(low), np.log(high))


def is_log_uniform_int(x, low, high):
    """Of rounded numbers: a random number that rounds to each must follow the law."""
    if x.min() != low or x.max() > high:
        return False
    spread = np.random.default_rng(0).uniform(np.maximum(x - 0.5, low), np.minimum(x + 0.5, high))
    return is_log_uniform(spread, low, high)


def digest(walls):
    return hashlib.sha256("".join("01"[wall] for wall in walls.astype(int)).encode()).hexdigest()[:16]


# --- tables --------------------------------------------------------------------------------------


def test_every_set_is_in_a_table():
    assert SETS["all"].grid.observation_size == 3201  # as published
    assert set(SETS) == {*RANDOM, *SAME_AS_ALL, *MADE, *MAZE_DIGESTS, "mazes"}
    assert {name: one.lifetimes for name, one in SETS.items()} == {
        name: Lifetimes(*ends) for name, ends in LIFETIMES.items()
    }


# --- random levels -------------------------------------------------------------------------------


every_law = pytest.mark.parametrize(
    "name", ["small", *(pytest.param(n, marks=pytest.mark.slow) for n in ("medium", "large")), "all"]
)


@every_law
def test_sides_and_walls_of_random_levels(name):
    law, size, walls = RANDOM[name], SETS[name].grid.size, sampled(name).walls
    low, high = law.side
    assert SETS[name].grid == Grid(high, law.objects[1], law.objects[1])
    assert SETS[name].horizon == law.steps[1]

    # A level's side is that of the smallest square that holds what is not wall.
    reach = np.indices((size, size)).max(0).reshape(-1)
    side = np.where(walls, 0, reach + 1).max(1)
    counts = np.bincount(side, minlength=high + 1)
    assert len(counts) == high + 1
    assert counts[:low].sum() <= 4  # where walls close in all but a corner, the rest is wall too
    assert counts[low:] / 400 == pytest.approx(1 / (high - low + 1), abs=0.08)
    assert counts[low:].min() > 20

    outside = reach >= side[:, None]
    inside = walls & ~outside
    assert (walls | ~outside).all()
    largest = inside[side == size]
    assert (largest.sum(1) == law.walls).all()
    assert largest.any(0).mean() > 0.96 and not largest.all(0).any()
    share = law.walls / size**2
    assert largest.mean() == pytest.approx(share, rel=0.12)
    smaller = side < size  # what is outside vanishes
    assert inside[smaller].sum() / (~outside[smaller]).sum() == pytest.approx(share, rel=0.12)
    assert (~inside.any(1)).sum() <= 16  # bare after too many tries, or a small one by chance


@every_law
def test_numbers_of_random_levels(name):
    law, drawn = RANDOM[name], numbers(name)
    most = law.objects[1]
    count = drawn.present.sum(1)
    share = np.bincount(count, minlength=most + 1) / len(count)
    assert share[law.objects[0] :] == pytest.approx(1 / (most - law.objects[0] + 1), abs=0.015)
    assert share[: law.objects[0]].sum() == 0
    assert (drawn.present == (np.arange(most) < count[:, None])).all()
    assert (drawn.kind == np.arange(most)).all()  # each its own
    assert is_log_uniform_int(drawn.max_steps, *law.steps)
    assert is_uniform(drawn.reward[:, 0], 0, 1)
    for index in range(1, most):
        assert is_uniform(drawn.reward[:, index], -1, 1)
    assert is_log_uniform(drawn.p_terminate, 0.01, 1) and is_log_uniform(drawn.p_respawn, 0.001, 0.1)


@pytest.mark.parametrize("name", SAME_AS_ALL)
def test_sets_that_differ_from_all_by_their_lifetimes_only(name):
    key = jax.random.key(0)
    assert SETS[name].grid == SETS["all"].grid and SETS[name].horizon == SETS["all"].horizon
    assert str(jax.make_jaxpr(SETS[name].sample)(key)) == str(jax.make_jaxpr(SETS["all"].sample)(key))


# --- hand-made levels ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", MADE)
def test_hand_made_levels(name):
    made, levels = MADE[name], sampled(name)
    kind, reward, p_terminate, p_respawn = np.array(made.objects).T
    count, planes = len(made.objects), len(set(kind))
    assert SETS[name].grid == Grid(made.size, count, planes, not made.random_places, made.random_places)
    assert SETS[name].horizon == made.steps and (levels.max_steps == made.steps).all()
    assert levels.present.shape == (400, count) and levels.present.all()
    for published, ours in [
        (kind, levels.kind),
        (reward.astype(np.float32), levels.reward),
        (p_terminate.astype(np.float32), levels.p_terminate),
        (p_respawn.astype(np.float32), levels.p_respawn),
    ]:
        np.testing.assert_array_equal(ours, np.broadcast_to(published, (400, count)))
    walls = made.walls(*np.indices((made.size, made.size))).reshape(-1)
    np.testing.assert_array_equal(levels.walls, np.broadcast_to(walls, (400, made.size**2)))
    places = np.concatenate([levels.start[:, None], levels.cell], axis=1)  # other ones in every level
    assert (np.diff(np.sort(places, axis=1)) > 0).all()
    assert set(places.reshape(-1)) == set(np.flatnonzero(~walls))


# --- mazes ---------------------------------------------------------------------------------------


def test_the_mazes_are_the_published_ones():
    assert list(MAZES) == list(MAZE_DIGESTS)
    all_walls = jax.jit(lambda key: {name: SETS[name].sample(key).walls for name in MAZE_DIGESTS})
    drawn = jax.tree.map(np.asarray, all_walls(jax.random.key(5)))
    assert {name: digest(walls) for name, walls in drawn.items()} == MAZE_DIGESTS


def test_any_maze_is_drawn_equally_often():
    names = {shape: name for name, shape in MAZE_DIGESTS.items()}
    drawn = [names[digest(walls)] for walls in sampled("mazes").walls]
    assert [drawn.count(name) / 400 for name in MAZE_DIGESTS] == pytest.approx([1 / 9] * 9, abs=0.06)


def test_numbers_of_mazes():
    """One law, whether a maze is alone or any of the nine."""
    drawn = numbers("mazes")
    for name in (*MAZE_DIGESTS, "mazes"):
        assert SETS[name].grid == Grid(13, 3, 3) and SETS[name].horizon == 50
    assert drawn.present.all() and (drawn.kind == np.arange(3)).all()
    assert is_log_uniform_int(drawn.max_steps, 25, 50)
    assert is_uniform(drawn.reward, 0, 1)
    assert is_log_uniform(drawn.p_terminate, 0.01, 1) and is_log_uniform(drawn.p_respawn, 0.001, 0.1)


# --- all of them ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["small", "all", "mazes", "long-dense", "sparse", "rand-small"])
def test_every_level_can_be_solved(name):
    """GROOVE's walls can seal objects off; here every free cell can be reached."""
    levels, grid = sampled(name), SETS[name].grid
    assert all_solvable(levels.walls, levels.start).all()
    if grid.random_places:
        return
    places = np.concatenate([np.asarray(levels.start)[:, None], np.asarray(levels.cell)], axis=1)
    for row, walls, present in zip(places, levels.walls, np.asarray(levels.present), strict=True):
        used = row[np.append(True, present)]
        assert len(set(used)) == len(used) and not walls[used].any()


def test_places_are_new_in_every_episode_where_observations_are_planes():
    """As published; tabular ones are the level's own, unless something else is asked for."""
    for options, anew in [
        ({}, False),
        ({"tabular": False}, True),
        ({"tabular": False, "random_places": False}, False),
        ({"random_places": True}, True),
    ]:
        environment = make("grid/dense", options)
        one = environment.sample_level(jax.random.key(3))
        reset = jax.jit(environment.reset)
        cells = np.stack([reset(jax.random.key(seed), one)[0].cell for seed in range(8)])
        assert (len(np.unique(cells[:, 0])) > 1) == anew
        assert not np.asarray(one.walls)[cells].any()


def test_the_task_of_a_set_has_its_lives():
    random = grid_task("all-randlife")
    assert random.n_updates == 250 and random.shortest_life * random.n_updates == pytest.approx(50)
    assert (random.setup.n_envs, random.setup.n_steps, random.setup.hidden) == (64, 20, ())
    tabular, planes = grid_task("large"), grid_task("rand-dense")
    assert tabular.total_steps == 2500 * 1280 and tabular.shortest_life == 1.0
    assert planes.n_updates == 25_000 and planes.setup.hidden == (32,)
    assert grid_task("all", tabular=False).setup.options == {"tabular": False}
