"""A picture of a grid-world level, and of an agent's path through it."""

import functools
import math
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Int
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Circle, Rectangle
from matplotlib.ticker import MaxNLocator

from discovery.core.errors import BadInput
from discovery.display.plots import COLORS, STEPS, Picture
from discovery.inner.play import Episode
from environments.gridworld import Grid, Level, move
from environments.make import make
from environments.optimal import optimal_return

GOOD, BAD = COLORS[0], COLORS[1]
WALL, FLOOR, LINES, INK = "#3B4252", "#FBFBF9", "#E3E3DE", "#22262E"
RADII = (0.2, 0.4)
"""Radii in cells of objects with reward 0, and with 1 or more; in between, the area grows with the reward."""
WIDTHS = (6.0, 1.5)
"""Line widths of a path's first and last step, so that crossing parts of a path can be distinguished."""


def draw_environment(
    id: str, seed: int = 0, options: Mapping[str, Any] | None = None, title: str | None = None
) -> Figure:
    """A level of the grid-world called `id`, the one that `seed` draws.

    Raises:
        BadInput: for an environment that is not a grid-world.
    """
    try:
        environment = make(id, options)
    except ValueError as error:
        raise BadInput(str(error)) from error
    key_level, key_reset = jax.random.split(jax.random.key(seed))
    level = environment.sample_level(key_level)
    if not isinstance(level, Level):
        raise BadInput(
            f"environment {id!r} is not a grid-world, so there is no level to draw; "
            "`discovery envs` lists grid-worlds as grid/small, grid/mazes ..."
        )
    state, _ = environment.reset(key_reset, level)
    return draw_level(level, cell=state.cell, title=f"{id}, seed {seed}" if title is None else title)


def draw_level(
    level: Level, episode: Episode | None = None, cell: Int[Any, " K"] | None = None, title: str = ""
) -> Figure:
    """A level with walls, start, and objects; with an `episode` also the path of the agent.

    Objects with positive reward are blue, those with negative reward red; larger rewards have larger discs.
    The legend gives the probability that collecting an object ends the episode, and the probability per step
    that a collected object reappears. The path is colored by time and becomes thinner, so that a later visit
    is visible on an earlier one.

    Args:
        level: the grid-world.
        episode: from `discovery.play` on this level.
        cell: cells of the objects, for a level with random positions. By default the positions at the
            beginning of the episode, or the level's.
        title: first line of the title. Further lines give the steps, the return, and the optimal return if
            positions are fixed.
    """
    level = jax.tree.map(np.asarray, level)
    if cell is None:
        cell = level.cell if episode is None else episode.env_state.cell[0]
    cell = np.asarray(cell)
    fixed = np.array_equal(cell[level.present], level.cell[level.present])
    shown = _shown(np.asarray(level.walls))
    figure = Picture(layout="constrained")
    axes = figure.subplots()
    _draw_floor(axes, shown)
    handles = [_draw_start(axes, level), *_draw_objects(axes, level, cell, episode)]
    if episode is not None:
        handles.append(_draw_path(figure, axes, level, episode))
    titles = [*filter(None, (title,)), *_summary(level, fixed, episode)]
    # The layout ignores the height of an axes' title if the aspect is fixed, so the figure has the title.
    figure.suptitle("\n".join(titles), fontsize=11)
    figure.legend(handles=handles, loc="outside lower center", ncols=1, frameon=False, fontsize=9)
    rows, columns = shown.shape
    unit = max(0.4, 4.2 / columns)
    bar = 0.0 if episode is None else 0.9
    height = rows * unit + 0.22 * len(titles) + 0.2 * len(handles) + 0.35
    figure.set_size_inches(max(columns * unit + bar + 0.3, 4.8), height)
    return figure


def visited(level: Level, episode: Episode) -> Int[np.ndarray, " N"]:
    """The cells of an episode's path: its first cell, and the cell after each of its N - 1 steps."""
    length = int(np.sum(episode.running))
    before, action = (jnp.asarray(each)[:length] for each in (episode.env_state.agent, episode.action))
    return np.append(before, move(jnp.asarray(level.walls), before, action)[-1])


def collected(level: Level, episode: Episode) -> Int[np.ndarray, " K"]:
    """How many times each object was collected."""
    reached, length = visited(level, episode)[1:], int(np.sum(episode.running))
    exists, cell = (np.asarray(getattr(episode.env_state, name))[:length] for name in ("exists", "cell"))
    return (exists & (cell == reached[:, None])).sum(0)


def _shown(walls: Bool[np.ndarray, " cells"]) -> Bool[np.ndarray, "rows columns"]:
    """The walls of the used part of the square, without the unused rows and columns of a small level."""
    size = math.isqrt(walls.size)
    square = walls.reshape(size, size)
    rows, columns = np.flatnonzero(~square.all(1)), np.flatnonzero(~square.all(0))
    return square[: rows[-1] + 1, : columns[-1] + 1]


def _centers(level: Level, cells: Any) -> np.ndarray:
    """The centers (x, y) of cells, ``[..., 2]``."""
    row, column = np.divmod(np.asarray(cells), math.isqrt(level.walls.size))
    return np.stack([column, row], axis=-1) + 0.5


def _draw_floor(axes: Axes, walls: Bool[np.ndarray, "rows columns"]) -> None:
    rows, columns = walls.shape
    axes.set(xlim=(-0.06, columns + 0.06), ylim=(rows + 0.06, -0.06), aspect="equal")
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
    axes.add_patch(Rectangle((0, 0), columns, rows, facecolor=FLOOR, zorder=0, gid="floor"))
    axes.hlines(range(1, rows), 0, columns, color=LINES, linewidth=0.8, zorder=1)
    axes.vlines(range(1, columns), 0, rows, color=LINES, linewidth=0.8, zorder=1)
    for row, column in np.argwhere(walls):
        axes.add_patch(
            Rectangle(
                (column, row), 1, 1, facecolor=WALL, edgecolor=WALL, linewidth=0.6, zorder=2, gid="wall"
            )
        )
    frame = {"fill": False, "edgecolor": WALL, "linewidth": 2.5, "joinstyle": "round", "zorder": 3}
    axes.add_patch(Rectangle((0, 0), columns, rows, gid="frame", **frame))


def _draw_start(axes: Axes, level: Level) -> Line2D:
    look: dict[str, Any] = {
        "marker": "D",
        "markerfacecolor": "white",
        "markeredgecolor": INK,
        "color": "none",
    }
    axes.plot(*_centers(level, level.start), markersize=9, markeredgewidth=1.5, zorder=6, gid="start", **look)
    return Line2D([], [], markersize=7, markeredgewidth=1.3, label="start", **look)


def _draw_objects(axes: Axes, level: Level, cell: np.ndarray, episode: Episode | None) -> list[Line2D]:
    """Draw a disc for each object, with the letter of its kind; returns a legend entry for each kind."""
    counts = None if episode is None else collected(level, episode)
    kinds: dict[tuple[float, ...], list[int]] = {}
    for k in np.flatnonzero(level.present):
        kind = (level.kind[k], level.reward[k], level.p_terminate[k], level.p_respawn[k])
        kinds.setdefault(tuple(map(float, kind)), []).append(int(k))
    handles = []
    for letter, ((_, reward, ends, back), members) in zip(
        "ABCDEFGHIJKLMNOPQRSTUVWXYZ", kinds.items(), strict=False
    ):
        color = GOOD if reward >= 0 else BAD
        low, high = (radius**2 for radius in RADII)
        radius = math.sqrt(low + (high - low) * min(abs(reward), 1.0))
        for k in members:
            center = _centers(level, cell[k])
            look: dict[str, Any] = {"facecolor": color, "edgecolor": "white", "zorder": 6, "gid": "object"}
            axes.add_patch(Circle((center[0], center[1]), radius, **look))
            text: dict[str, Any] = {"ha": "center", "va": "center", "color": "white", "weight": "bold"}
            axes.text(center[0], center[1], letter, fontsize=8 + 8 * (radius - RADII[0]), zorder=8, **text)
        facts = [_signed(reward), _ending(ends), _coming_back(back)]
        if counts is not None:
            facts.append(f"collected {counts[members].sum()}\N{MULTIPLICATION SIGN}")
        several = f" ({len(members)}\N{MULTIPLICATION SIGN})" if len(members) > 1 else ""
        label = f"{letter}{several}:  {',  '.join(facts)}"
        look: dict[str, Any] = {
            "marker": "o",
            "markersize": 8,
            "markerfacecolor": color,
            "markeredgecolor": "none",
        }
        handles.append(Line2D([], [], color="none", label=label, **look))
    return handles


def _draw_path(figure: Figure, axes: Axes, level: Level, episode: Episode) -> Line2D:
    """Draw the path, one segment per step; returns the legend entry of its end."""
    points = _centers(level, visited(level, episode))
    segments = np.stack([points[:-1], points[1:]], axis=1)
    steps = np.arange(1, len(points))
    path = LineCollection(
        list(segments),
        array=steps,
        cmap="viridis",
        clim=(1, max(len(steps), 2)),
        linewidths=np.linspace(*WIDTHS, len(steps)),
        capstyle="round",
        zorder=5,
        gid="path",
    )
    axes.add_collection(path)
    bar = figure.colorbar(path, ax=axes, shrink=0.75, aspect=25, pad=0.02, label="step")
    bar.ax.yaxis.set_major_locator(MaxNLocator(5, integer=True, steps=STEPS))
    bar.outline.set_visible(False)
    corner = tuple(points[-1] - 0.46)
    axes.add_patch(Rectangle(corner, 0.92, 0.92, fill=False, ec=INK, lw=2, zorder=7, gid="end"))
    how = "terminated" if episode.terminated else "time ran out" if episode.truncated else "not over yet"
    look: dict[str, Any] = {"marker": "s", "markerfacecolor": "none", "markeredgecolor": INK, "color": "none"}
    return Line2D([], [], markersize=8, markeredgewidth=1.5, label=f"end of the path: {how}", **look)


def _summary(level: Level, fixed: bool, episode: Episode | None) -> list[str]:
    """Steps and return, and the optimal expected return if positions are fixed."""
    limit = f"at most {int(level.max_steps)} steps"
    played = limit
    if episode is not None:
        total, length = float(np.sum(episode.reward)), int(np.sum(episode.running))
        played = f"return {_signed(total)} in {length} of {limit}"
    if not fixed:
        return [played, "objects are somewhere else in each episode"]
    grid = Grid(math.isqrt(level.walls.size), len(level.cell), len(level.cell))
    optimum = float(jax.jit(functools.partial(optimal_return, grid))(level))
    return [played, f"best expected return {_signed(optimum)}"]


def _signed(number: float) -> str:
    return f"{number:+.2f}".replace("-", "\N{MINUS SIGN}")


def _ending(p: float) -> str:
    return f"ends {_percent(p)}" if p else "never ends"


def _coming_back(p: float) -> str:
    if p in (0, 1):
        return "comes back at once" if p else "never comes back"
    return f"comes back {_percent(p)} a step"


def _percent(p: float) -> str:
    return f"{100 * p:.2g}%" if p < 1 else "100%"
