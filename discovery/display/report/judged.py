"""Results of a run's trainings on fresh seeds: comparisons, the verdict, the winner's curse.

*Fresh seeds* are those of `discovery evaluate`: no search and no choice has used them. A task is *held out*
if the run held it out when it began, or if a suite holds it out and a look was recorded before it was
trained.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from jaxtyping import Float

from discovery.core.errors import RunError
from discovery.judging.comparison import Cell, Comparison, Row
from discovery.judging.robustness import Level, Robustness
from discovery.judging.verdict import Verdict, judge
from discovery.results.loaded import RunData
from discovery.statistics import Interval, band, interval

Standing = Literal["held out", "seen", "not part of the search"]


@dataclass(frozen=True)
class TaskTable:
    """Everything that was trained on a task with fresh seeds.

    Attributes:
        task: its name.
        standing: whether the search has seen the task; see `standings`.
        measure: a description of the score.
        baseline: the subject that is subtracted in differences.
        rows: one per subject.
        curves: subject -> its mean learning curve.
    """

    task: str
    standing: Standing
    measure: str
    baseline: str
    rows: tuple[Row, ...]
    curves: Mapping[str, "Curve"]


@dataclass(frozen=True)
class Curve:
    """Mean over seeds at the ends of K windows, with a pointwise 95% interval; each ``[K]``."""

    steps: tuple[float, ...]
    mean: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]


@dataclass(frozen=True)
class Sweep:
    """One parameter, varied on one task."""

    parameter: str
    task: str
    baseline: str
    levels: tuple[Level, ...]


@dataclass(frozen=True)
class Decline:
    """The winner's curse on one task: how far scores fall from the seeds of the choice to fresh seeds.

    Attributes:
        task: its name.
        generation: the chosen one.
        proposal: the single proposal with the best search score; "" if there is none.
        proposal_search, proposal_report: its mean score on the search's seeds and on fresh seeds.
        selection, report: the chosen mean's score on the selection seeds and on fresh seeds.
        decline: selection minus report.
        ranked: how many means have both scores.
        correlation: Spearman's rank correlation of both scores over these means; None for fewer than 3.
    """

    task: str
    generation: int
    proposal: str
    proposal_search: float | None
    proposal_report: Interval | None
    selection: Interval | None
    report: Interval | None
    decline: float | None
    ranked: int
    correlation: float | None


def standings(run: RunData, tasks: Iterable[str], tests: Iterable[Mapping[str, Any]]) -> dict[str, Standing]:
    """Whether the search has seen each of some tasks.

    "seen": it trained or selected on the task. "held out": the run held it out when it began, or a look at it
    was recorded before anything was trained on it. All others are "not part of the search". It is unknown how
    many such tasks were tried, so they do not count for the verdict.

    Args:
        run: the search.
        tasks: names.
        tests: rows of the run's ledger, as `Ledger.tests` gives them.
    """
    first: dict[str, str] = {}
    for row in run.reports():
        first[row["task"]] = min(row["recorded_at"], first.get(row["task"], row["recorded_at"]))
    seen = {task.name for task in run.config.seen}
    held_out = {task.name for task in run.config.held_out}
    for row in tests:
        held_out |= {task for task in row["tasks"] if row["recorded_at"] <= first.get(task, "")}
    return {
        task: "seen" if task in seen else "held out" if task in held_out else "not part of the search"
        for task in tasks
    }


def tables(run: RunData, reports: Comparison, tests: Iterable[Mapping[str, Any]]) -> tuple[TaskTable, ...]:
    """Everything that was trained on fresh seeds, by task; for `tests` see `standings`."""
    standing, cells = standings(run, reports.tasks, tests), reports.curves()
    return tuple(
        TaskTable(
            task,
            standing[task],
            reports.measure(task),
            reports.baseline,
            tuple(row for row in reports.rows if row.task == task),
            {subject: _curve(cell) for subject, cell in cells[task].items()},
        )
        for task in reports.tasks
    )


def verdict(found: str, held_out: Sequence[str], reports: Comparison) -> Verdict:
    """The verdict on the subject `found` against the best known algorithm on each of the tasks `held_out`."""
    against = ((task, best_known(reports, task)) for task in held_out)
    pairs = (reports.pair(found, known, task) for task, known in against if known)
    return Verdict.of(judge(pair for pair in pairs if pair is not None))


def best_known(reports: Comparison, task: str) -> str | None:
    """The known algorithm with the highest mean on a task; None if none has a score."""
    known = [
        row
        for row in reports.rows
        if row.task == task and not reports.sources[row.subject] and math.isfinite(row.mean.estimate)
    ]
    return max(known, key=lambda row: row.mean.estimate).subject if known else None


def declines(run: RunData, reports: Comparison) -> tuple[Decline, ...]:
    """The winner's curse on each task that the search has seen."""
    if not run.selection:
        return ()
    return tuple(_decline(run, reports, task.name) for task in run.config.seen)


def sweeps(swept: Iterable[Robustness]) -> tuple[Sweep, ...]:
    """The recorded sweeps, by task."""
    return tuple(Sweep(one.parameter, one.tasks[0], one.baseline, one.levels) for one in swept)


def _curve(cell: Cell) -> Curve:
    middle = band(cell.curves)
    return Curve(*(tuple(map(float, line)) for line in (cell.steps, middle.mean, middle.low, middle.high)))


def _decline(run: RunData, reports: Comparison, task: str) -> Decline:
    number, tested = run.choice.generation, task in run.selection[run.choice.generation]
    selection = interval(run.selection[number][task], failures="drop") if tested else None
    row = reports.row(run.label(number), task)
    report = None if row is None else row.mean
    decline = selection.estimate - report.estimate if selection and report else None
    pairs = [
        (run.selection[g][task].mean(), other.mean.estimate)
        for g in sorted(run.selection)
        if tested and (other := reports.row(run.label(g), task))
    ]
    pairs = [pair for pair in pairs if np.isfinite(pair).all()]
    correlation = _rank_correlation(np.array(pairs)) if len(pairs) > 2 else None
    best = _best_proposal(run, reports, task)
    return Decline(task, number, *best, selection, report, decline, len(pairs), correlation)


def _best_proposal(run: RunData, reports: Comparison, task: str) -> tuple[str, float | None, Interval | None]:
    """Its id, its score on the search's seeds, and its score on fresh seeds."""
    try:
        proposal = run.best_proposal()
    except RunError:
        return "", None, None
    generation, index = run.proposal_number(proposal)
    names, score = [each.name for each in run.config.tasks], None
    if task in names:
        score = float(run.task_scores[generation, index, names.index(task)].mean())
    places = (f"{run.name}@{proposal}", f"{run.meta.get('run')}@{proposal}")
    rows = (reports.row(subject, task) for subject, source in reports.sources.items() if source in places)
    row = next(filter(None, rows), None)
    return proposal, score, row.mean if row else None


def _rank_correlation(pairs: Float[np.ndarray, "n 2"]) -> float:
    """Spearman's rank correlation, with ties averaged; NaN if all entries of a column are equal."""
    from scipy import stats  # takes a second to import, and every search imports this file

    ranks = stats.rankdata(pairs, axis=0)
    ranks -= ranks.mean(axis=0)
    scale = np.sqrt((ranks**2).sum(axis=0).prod())
    return float(ranks.prod(axis=1).sum() / scale) if scale else math.nan
