"""Pictures of a search over programs: its family tree, complexity against score, first against later scores,
and the search beside a control.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from discovery.display import plots
from discovery.results.lineage import FamilyTree, Relative, fallen, pareto_front
from discovery.results.loaded import RunData
from discovery.statistics import Interval

SCORE = "search score, mean over tasks and seeds"
LEFT_OUT = 0.1
"""The share of the worst programs that may lie below a picture."""
PALE, DARK = "0.75", "0.45"
FOUND, CHANGED = plots.COLORS[1], plots.COLORS[0]


class Drawn(NamedTuple):
    """A picture with a description for readers who cannot see it, and what to look for."""

    figure: Figure
    alt: str
    caption: str


def search_pictures(run: RunData) -> dict[str, Drawn]:
    """The pictures of a search over programs by name, without those that there are no data for."""
    tree, drawn = run.family_tree, dict[str, Drawn]()
    known = [one for one in tree.programs.values() if np.isfinite(one.score)]
    found = tree.answer_after(run.choice.generation).program if tree.answers and run.selection else ""
    if known:
        drawn["family-tree"] = Drawn(
            tree_picture(tree, found),
            "Scores of all programs over the generations that made them, with lines from parents to children "
            "for the ancestors of each answer. The table of answers has the numbers.",
            "The family tree: lines lead from parents to children. The worst programs lie below the picture.",
        )
        drawn["complexity"] = Drawn(
            complexity_picture(known, pareto_front(known), tree.programs.get(found)),
            "Scores of all programs over their complexity, and the Pareto front, which is in the table.",
            "Complexity against score. Of programs that were scored once, the best ones are partly lucky.",
        )
    if again := fallen(known):
        drawn["falls"] = Drawn(
            fall_picture(again),
            "First scores of programs against their mean scores when scored again, as in the table.",
            "Below the line, scores fell.",
        )
    return drawn


def tree_picture(tree: FamilyTree, found: str) -> Figure:
    """Programs by the generation that scored them first and by their mean score, with lines from parents to
    children: the ancestors of every answer, and in color those of the program `found`.
    """
    figure = plots.Picture(figsize=(7.5, 5), layout="constrained")
    axes = figure.subplots()
    programs = list(tree.programs.values())
    improvements = list(dict.fromkeys(one.program for one in tree.answers if one.program))
    shown = {one.id: one for name in improvements for one in tree.ancestry(name)}
    own = {one.id for one in tree.ancestry(found)} if found else set[str]()
    _dots(axes, programs, "all programs")
    for relatives, color, width in ((set(shown) - own, DARK, 0.8), (own, FOUND, 2.0)):
        lines = [
            [_place(tree.programs[parent]), _place(tree.programs[child])]
            for child in sorted(relatives)
            for parent in tree.programs[child].parents
        ]
        axes.add_collection(LineCollection(lines, colors=color, linewidths=width, zorder=2))
    others = [one for name, one in shown.items() if name not in improvements and name not in own]
    line_of_found = [tree.programs[name] for name in own if name not in improvements]
    _marks(axes, others, DARK, "o", 16, "ancestors of answers")
    _marks(axes, line_of_found, FOUND, "o", 20, "ancestors of what was found")
    _marks(axes, [tree.programs[n] for n in improvements if n != found], CHANGED, "D", 34, "other answers")
    if found:
        _marks(axes, [tree.programs[found]], FOUND, "*", 170, "what was found")
    _limit(axes, programs, list(shown.values()))
    _name(axes, [tree.programs[name] for name in improvements])
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, steps=plots.STEPS, min_n_ticks=1))
    axes.set_xlabel("generation that scored the program first")
    plots.tidy(axes, ylabel=SCORE)
    plots.add_legend(figure)
    return figure


def complexity_picture(
    programs: Sequence[Relative], front: Sequence[Relative], found: Relative | None
) -> Figure:
    """Programs by complexity and mean score, those that were scored once paler; and the Pareto front."""
    figure = plots.Picture(figsize=(7.5, 4.5), layout="constrained")
    axes = figure.subplots()
    once = [one for one in programs if one.again is None]
    more = [one for one in programs if one.again is not None]
    for few, color, label in ((once, PALE, "scored once"), (more, DARK, "scored again")):
        places = [(one.complexity, one.score) for one in few if np.isfinite(one.score)]
        if places:
            axes.scatter(*np.array(places).T, s=14, color=color, label=label, linewidths=0)
    if front:
        x, y = np.array([(one.complexity, one.score) for one in front]).T
        axes.step(x, y, where="post", color=CHANGED, marker="o", markersize=5, label="Pareto front")
    if found is not None:
        _at(axes, [(found.complexity, found.score)], FOUND, "*", 170, "what was found")
    _limit(axes, programs, front)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, steps=plots.STEPS, min_n_ticks=1))
    axes.set_xlabel("complexity: primitives, constants and inputs")
    plots.tidy(axes, ylabel=SCORE)
    plots.add_legend(figure)
    return figure


def fall_picture(programs: Sequence[Relative]) -> Figure:
    """First scores of programs against their mean scores when they were scored again."""
    figure = plots.Picture(figsize=(4.6, 4.6), layout="constrained")
    axes = figure.subplots()
    places = np.array([(one.scores[0], one.again) for one in programs], np.float64)
    low, high = places.min(), places.max()
    margin = 0.05 * (high - low) or 0.5
    axes.plot([low - margin, high + margin], [low - margin, high + margin], color=DARK, linewidth=0.8)
    axes.scatter(*places.T, s=18, color=CHANGED, linewidths=0)
    axes.set_xlim(low - margin, high + margin)
    axes.set_ylim(low - margin, high + margin)
    axes.set_aspect("equal")
    plots.tidy(axes, ylabel="mean score when scored again")
    axes.set_xlabel("first score")
    return figure


def control_picture(
    steps: Mapping[str, Sequence[tuple[int, Interval]]], budget: int, title: str = ""
) -> Figure:
    """The best selection score so far of searches against the trainings that they used.

    Args:
        steps: by name of the search: a new best answer after so many trainings, and its score.
        budget: the largest number of trainings that all used, where the picture ends.
        title: of the picture.
    """
    figure = plots.Picture(figsize=(7.5, 4.2), layout="constrained")
    axes = figure.subplots()
    for (name, found), color in zip(steps.items(), (FOUND, CHANGED, *plots.COLORS[2:]), strict=False):
        within = [step for step in found if step[0] <= budget]
        x = [*(trainings for trainings, _ in within), budget]
        every = np.array([one[:3] for _, one in [*within, *within[-1:]]], np.float64).reshape(-1, 3)
        axes.step(x[-len(every) :], every[:, 0], where="post", color=color, label=plots.in_lines(name))
        low, high = every[:, 1], every[:, 2]
        axes.fill_between(x[-len(every) :], low, high, step="post", color=color, alpha=0.15, linewidth=0)
    plots.tidy(axes, ylabel="best selection score so far, 95%", title=title)
    axes.set_xlabel("trainings of proposals")
    plots.add_legend(figure)
    return figure


def _place(one: Relative) -> tuple[float, float]:
    return one.generation, one.score


def _dots(axes: Axes, programs: Sequence[Relative], label: str) -> None:
    if places := [_place(one) for one in programs if np.isfinite(one.score)]:
        axes.scatter(
            *np.array(places).T, s=9, color=PALE, label=label, linewidths=0, zorder=1, rasterized=True
        )


def _marks(
    axes: Axes, programs: Sequence[Relative], color: str, marker: str, size: float, label: str
) -> None:
    _at(axes, [_place(one) for one in programs], color, marker, size, label)


def _at(
    axes: Axes, places: Sequence[tuple[float, float]], color: str, marker: str, size: float, label: str
) -> None:
    if places:
        axes.scatter(
            *np.array(places).T, s=size, color=color, marker=marker, label=label, linewidths=0, zorder=3
        )


def _name(axes: Axes, programs: Sequence[Relative]) -> None:
    """Write names above programs, or below where another name would be near, or not if it would be twice."""
    (left, right), (low, high) = axes.get_xlim(), axes.get_ylim()
    taken: list[tuple[float, float]] = []
    for one in sorted(programs, key=lambda one: -one.score):
        x, y = (one.generation - left) / (right - left), (one.score - low) / (high - low)
        for sign, side in ((1, "bottom"), (-1, "top")):
            at = x, y + 0.04 * sign
            if all(abs(at[0] - other) > 0.08 or abs(at[1] - height) > 0.04 for other, height in taken):
                look = {"textcoords": "offset points", "ha": "center", "va": side, "fontsize": 8}
                axes.annotate(one.id, _place(one), xytext=(0, 8 * sign), zorder=4, **look)
                taken.append(at)
                break


def _limit(axes: Axes, programs: Sequence[Relative], shown: Sequence[Relative]) -> None:
    """Let the worst programs lie below the picture, but none of those that are `shown`."""
    scores = np.array([one.score for one in programs], np.float64)
    scores = scores[np.isfinite(scores)]
    if scores.size:
        low = min([np.quantile(scores, LEFT_OUT), *(one.score for one in shown if np.isfinite(one.score))])
        margin = 0.08 * (scores.max() - low) or 0.5
        axes.set_ylim(low - margin, scores.max() + 1.5 * margin)
