"""Levels of grid-worlds, and random ones, as LPG and GROOVE draw them.

Facts are those of GROOVE's appendix and source (Jackson et al. 2023); known bugs of that source are fixed:
here, walls never enclose anything (`solvable`), and objects never appear in walls.
"""

import functools
import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from environments.gridworld import Grid, Level

Sampler = Callable[[PRNGKeyArray], Level]


class Lifetimes(NamedTuple):
    """Rollouts per training on a set: log-uniform whole numbers from `low` to `high`."""

    low: int
    high: int


class LevelSet(NamedTuple):
    """Levels that share a compiled program, as made by "grid/NAME".

    Attributes:
        grid: sizes.
        horizon: steps of the longest episode.
        lifetimes: of the agents that are trained on it, in rollouts of 20 steps in 64 workers.
        sample: ``key -> Level``.
        about: a short description.
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


class Law(NamedTuple):
    """The distribution of random levels; every pair is (smallest, largest).

    Attributes:
        side: of the square, uniform.
        objects: in use, uniform; each its own kind.
        walls: distinct cells of the largest square that are drawn as walls; those outside a level's square
            are ignored.
        steps: of an episode, log-uniform.
    """

    side: tuple[int, int]
    objects: tuple[int, int]
    walls: int
    steps: tuple[int, int]


P_TERMINATE, P_RESPAWN = (0.01, 1.0), (0.001, 0.1)
"""Log-uniform, for each object of a random level or a maze."""

TRIES = 16
"""Wall patterns that are drawn for a level; the first that encloses nothing is used, else there are no
walls."""


def random_level(key: PRNGKeyArray, grid: Grid, law: Law) -> Level:
    """A random level: square, walls, start and objects in distinct cells off the walls, all reachable.

    Rewards are uniform: in (0, 1) for the first object, in (-1, 1) for the others.
    """
    key_side, key_count, key_place, key_object, key_steps = jax.random.split(key, 5)
    side = jax.random.randint(key_side, (), law.side[0], law.side[1] + 1)
    present = jnp.arange(grid.objects) < jax.random.randint(key_count, (), law.objects[0], law.objects[1] + 1)
    walls, places = _solvable_layout(key_place, grid, law.walls, side)
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
    key: PRNGKeyArray, grid: Grid, n_walls: int, side: Array
) -> tuple[Bool[Array, " cells"], Int[Array, " places"]]:
    """Walls that enclose nothing, and distinct cells for the start and the objects."""
    outside = _outside(grid.size, side)

    def draw(key: PRNGKeyArray) -> tuple[Array, Array, Array]:
        key_walls, key_places = jax.random.split(key)
        drawn = jax.lax.top_k(jax.random.uniform(key_walls, (grid.cells,)), n_walls)[1]
        walls = outside | jnp.zeros(grid.cells, bool).at[drawn].set(True)
        places = draw_places(key_places, walls, grid.objects + 1)
        return walls, places, solvable(walls, places[0])

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
    """n distinct cells off the walls, uniformly; at least n must exist."""
    weight = jnp.where(walls, -1.0, jax.random.uniform(key, walls.shape))
    return jax.lax.top_k(weight, n)[1].astype(jnp.int32)


def solvable(walls: Bool[Array, " cells"], start: Array) -> Bool[Array, ""]:
    """Whether every cell off the walls can be reached from the start, so that objects may be anywhere."""
    return ~walls[start] & jnp.all(reachable(walls, start) | walls)


def reachable(walls: Bool[Array, " cells"], start: Array) -> Bool[Array, " cells"]:
    """The cells that a walk from `start` can lead to: a flood fill."""
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


def random_set(about: str, law: Law, lifetimes: Lifetimes) -> LevelSet:
    """The level set of a law."""
    grid = Grid(law.side[1], law.objects[1], law.objects[1])
    return LevelSet(grid, law.steps[1], lifetimes, functools.partial(random_level, grid=grid, law=law), about)
