"""Grid-worlds of LPG and GROOVE (Oh et al. 2020; Jackson et al. 2023), where a level is data.

An agent walks on a grid and collects objects. Each object is worth a reward, ends the episode with one
probability, and, once collected, re-appears with another. A `Level` describes this in arrays of fixed size,
so thousands of different levels run in one compiled program.

One step, in this order:

1. The agent moves up, down, left, right, or stays; walls and the border block it.
2. An object in its new cell is collected: its reward is added, it vanishes, and the episode
   ends with the object's `p_terminate`.
3. Each object that was absent before the step re-appears with its `p_respawn`: in its own place, or, in a
   grid-world with random places, in a free cell drawn uniformly (no wall, no agent, no other object).

So a collected object cannot re-appear in the same step. Time runs out after the level's `max_steps`.

Observations: *tabular*, one-hot over (cell, which objects exist), ``S * S * 2**K`` numbers; or *planes*,
one for the agent and one per kind of object, ``S * S`` each. Both end in time / 1000.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from environments.base import Environment, Step, autoreset

MOVES = ((-1, 0), (1, 0), (0, -1), (0, 1), (0, 0))
"""Row and column steps of the actions: up, down, left, right, stay."""


class Grid(NamedTuple):
    """The sizes that a compiled program depends on, common to all levels of a distribution.

    Attributes:
        size: S, side of the square that holds all levels; cells are numbered ``row * S + column``.
        objects: K, maximal number of objects.
        kinds: number of kinds of objects, each with a plane.
        tabular: tabular observations, else planes.
        random_places: objects start, and re-appear, in random places, else in the level's.
    """

    size: int
    objects: int
    kinds: int
    tabular: bool = True
    random_places: bool = False

    @property
    def cells(self) -> int:
        """S * S."""
        return self.size * self.size

    @property
    def observation_size(self) -> int:
        """D."""
        features = 2**self.objects if self.tabular else 1 + self.kinds
        return self.cells * features + 1


class Level(NamedTuple):
    """One grid-world. Everything outside its own height and width is wall.

    Attributes:
        walls: cells that cannot be entered.
        start: cell in which every episode begins.
        present: the objects, among K, that this level has.
        cell: of each object; unused in a grid-world with random places.
        kind: the plane of each object.
        reward, p_terminate, p_respawn: of each object.
        max_steps: steps of an episode.
    """

    walls: Bool[Array, " cells"]
    start: Int[Array, ""]
    present: Bool[Array, " K"]
    cell: Int[Array, " K"]
    kind: Int[Array, " K"]
    reward: Float[Array, " K"]
    p_terminate: Float[Array, " K"]
    p_respawn: Float[Array, " K"]
    max_steps: Int[Array, ""]


class GridState(NamedTuple):
    """The agent's cell, the existing objects and their cells, and the time of the episode."""

    agent: Int[Array, ""]
    exists: Bool[Array, " K"]
    cell: Int[Array, " K"]
    time: Int[Array, ""]


def move(walls: Bool[Array, " cells"], agent: Array, action: Array) -> Int[Array, "*batch"]:
    """The cell that `action` leads to from the cell `agent`; elementwise over common shapes of both."""
    size = int(walls.shape[0] ** 0.5 + 0.5)
    step = jnp.asarray(MOVES, jnp.int32)[action]
    row, column = agent // size + step[..., 0], agent % size + step[..., 1]
    inside = (row >= 0) & (row < size) & (column >= 0) & (column < size)
    target = jnp.where(inside, row * size + column, agent)
    return jnp.where(walls[target], agent, target)


def reset(grid: Grid, key: PRNGKeyArray, level: Level) -> GridState:
    """A new episode: the agent at its start, all objects there."""
    cell = level.cell
    if grid.random_places:
        nothing = jnp.zeros(grid.objects, bool)
        cell = _draw_places(grid, key, level, level.start, nothing, level.cell, level.present)
    return GridState(jnp.asarray(level.start, jnp.int32), level.present, cell, jnp.int32(0))


def transition(
    grid: Grid, key: PRNGKeyArray, state: GridState, action: Array, level: Level
) -> tuple[GridState, Float[Array, ""], Bool[Array, ""], Bool[Array, ""]]:
    """One step without a reset; see the module's docstring.

    Returns:
        the state reached, the reward, and whether the episode was terminated and was truncated.
    """
    key_end, key_respawn, key_place = jax.random.split(key, 3)
    agent = move(level.walls, state.agent, action)
    collected = state.exists & (state.cell == agent)
    reward = jnp.where(collected, level.reward, 0.0).sum()
    ends = collected & jax.random.bernoulli(key_end, level.p_terminate)
    left = state.exists & ~collected
    appears = level.present & ~state.exists & jax.random.bernoulli(key_respawn, level.p_respawn)
    cell = state.cell
    if grid.random_places:
        cell = _draw_places(grid, key_place, level, agent, left, cell, appears)
    time = state.time + 1
    return GridState(agent, left | appears, cell, time), reward, ends.any(), time >= level.max_steps


def observe(grid: Grid, state: GridState, level: Level) -> Float[Array, " D"]:
    """The observation of a state."""
    cells = jnp.arange(grid.cells)
    time = state.time.astype(jnp.float32)[None] / 1000.0
    if grid.tabular:
        combination = (state.exists * 2 ** jnp.arange(grid.objects)).sum()
        place = combination * grid.cells + state.agent
        seen = jnp.arange(grid.cells * 2**grid.objects) == place
    else:
        there = state.exists[:, None] & (state.cell[:, None] == cells)
        of_kind = level.kind[:, None] == jnp.arange(grid.kinds)
        planes = (there[:, None, :] & of_kind[:, :, None]).any(0)
        seen = jnp.concatenate([(cells == state.agent)[None], planes]).reshape(-1)
    return jnp.concatenate([seen.astype(jnp.float32), time])


def make_gridworld(
    id: str, grid: Grid, horizon: int, sample_level: Callable[[PRNGKeyArray], Level]
) -> Environment:
    """An environment whose levels come from `sample_level`, none with more than `horizon` steps."""

    def begin(key: PRNGKeyArray, level: Level) -> tuple[GridState, Array]:
        state = reset(grid, key, level)
        return state, observe(grid, state, level)

    def step(key: PRNGKeyArray, state: GridState, action: Array, level: Level) -> tuple[GridState, Step]:
        key_step, key_reset = jax.random.split(key)
        state, reward, terminated, truncated = transition(grid, key_step, state, action, level)
        reached = state, observe(grid, state, level)
        return autoreset(begin(key_reset, level), reached, reward, terminated, truncated)

    return Environment(
        id=id,
        observation_size=grid.observation_size,
        observation_shape=(grid.observation_size,),
        n_actions=len(MOVES),
        horizon=horizon,
        sample_level=sample_level,
        reset=begin,
        step=step,
    )


def _draw_places(
    grid: Grid,
    key: PRNGKeyArray,
    level: Level,
    agent: Array,
    exists: Bool[Array, " K"],
    cell: Int[Array, " K"],
    appears: Bool[Array, " K"],
) -> Int[Array, " K"]:
    """Cells of the objects, those that appear now in distinct free cells.

    A uniform number per cell puts the free cells in a random order: the k-th object to appear takes the k-th.
    """
    cells = jnp.arange(grid.cells)
    taken = (exists[:, None] & (cell[:, None] == cells)).any(0)
    free = ~level.walls & ~taken & (cells != agent)
    order = jax.lax.top_k(jnp.where(free, jax.random.uniform(key, (grid.cells,)), -1.0), grid.objects)[1]
    return jnp.where(appears, order[jnp.cumsum(appears) - 1].astype(jnp.int32), cell)
