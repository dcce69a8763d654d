"""Robustness: what was reported under changed recipes, by parameter and factor."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from discovery.judging.comparison import Cell, Comparison
from discovery.judging.sweep import Robustness
from discovery.results.loaded import LoadedRun, Rows
from discovery.statistics import Interval

BETWEEN = " x "
"""What stands between parameter and factor in the name of a variant."""


@dataclass(frozen=True)
class Level:
    """A subject at one factor.

    Attributes:
        factor: of the parameter; 1 is the task as it is.
        subject: its label.
        score: mean with its 95% interval. A failed training counts as the worst score at any factor.
        difference: from the baseline at the same factor; None for the baseline.
    """

    factor: float
    subject: str
    score: Interval
    difference: Interval | None


@dataclass(frozen=True)
class Sweep:
    """One parameter, varied on one task; levels by factor."""

    parameter: str
    task: str
    baseline: str
    levels: tuple[Level, ...]


def sweeps(run: LoadedRun, reports: Comparison) -> tuple[Sweep, ...]:
    """Every sweep that was recorded, beside the task as it is.

    Args:
        run: which run.
        reports: what was recorded on its tasks as they are.
    """
    groups: dict[tuple[str, str], dict[float, Rows]] = {}
    for row in run.reports():
        parameter, between, factor = row["variant"].rpartition(BETWEEN)
        if between:
            groups.setdefault((parameter, row["task"]), {}).setdefault(float(factor), []).append(row)
    return tuple(_sweep(run, reports, *place, by_factor) for place, by_factor in sorted(groups.items()))


def _sweep(
    run: LoadedRun, reports: Comparison, parameter: str, task: str, by_factor: Mapping[float, Rows]
) -> Sweep:
    cells = {factor: _cells(run, rows) for factor, rows in by_factor.items()}
    varied = {cell.subject for found in cells.values() for cell in found}
    cells[1.0] = tuple(cell for cell in reports.cells if cell.task == task and cell.subject in varied)
    swept = Robustness(parameter, tuple(sorted(f for f in cells if cells[f])), cells)
    compared = {factor: Comparison(cells[factor]) for factor in swept.factors}
    baseline = "ppo" if "ppo" in varied else min(varied)
    levels = []
    for factor, subject, score in ((one.factor, one.subject, one.score) for one in swept.levels):
        other = None if subject == baseline else compared[factor].difference(subject, baseline, task)
        levels.append(Level(factor, subject, score, other))
    return Sweep(parameter, task, baseline, tuple(levels))


def _cells(run: LoadedRun, rows: Rows) -> tuple[Cell, ...]:
    """Trainings under one recipe, by the scores in their rows; without curves."""
    groups: dict[tuple[str, str], dict[int, float]] = {}
    for row in rows:
        groups.setdefault((_label(run, row), row["task"]), {})[row["seed"]] = row["score"]
    cells = []
    for (label, task), scores in groups.items():
        seeds = np.array(sorted(scores))
        values = np.array([scores[seed] for seed in seeds], np.float64)
        cells.append(Cell(label, task, seeds, values, np.full((seeds.size, 1), np.nan), np.ones(1)))
    return tuple(cells)


def _label(run: LoadedRun, row: Mapping[str, str]) -> str:
    """What the subject of a report is called now: a mean of this run by what the run makes of it."""
    name, _, generation = row["source"].rpartition("@")
    own = generation.isdigit() and name in (run.name, run.meta.get("run"))
    return run.label(int(generation)) if own else row["subject"]
