"""What a run's trainings on fresh seeds say: comparisons, the verdict, the winner's curse.

*Fresh seeds* are those of `discovery evaluate`; no search and no choice has seen them. *Held out* is a
task that the run held out when it began, or a suite did by whose `--test` it was looked at.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from jaxtyping import Float
from scipy import stats

from discovery.core.errors import RunError
from discovery.judging.comparison import LEAST_SEEDS, Cell, Comparison, Row
from discovery.results.loaded import LoadedRun
from discovery.statistics import Interval, band, holm, interval, paired_p_value, settle_failures

LEVEL = 0.05
"""Of the test behind the verdict."""

Decision = Literal["above", "below", "undecided", "too few seeds"]
Status = Literal["confirmed", "not confirmed", "inconclusive", "not yet judged"]
Standing = Literal["held out", "seen", "not part of the search"]


@dataclass(frozen=True)
class TaskTable:
    """Everything that was trained on a task with fresh seeds.

    Attributes:
        task: its name.
        standing: towards the search; see `standings`.
        measure: what a score is, in words.
        baseline: what differences are taken from.
        rows: the subjects, in numbers.
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
class TaskVerdict:
    """What was found against the best known algorithm on a held-out task.

    Attributes:
        task: its name.
        baseline: the known algorithm with the highest mean there.
        difference: what was found minus the baseline, seed by seed, with its 95% interval.
        p: of the sign-flip test that there is none.
        adjusted: the same after Holm's correction over the held-out tasks.
        decision: by `Verdict`'s rule.
    """

    task: str
    baseline: str
    difference: Interval
    p: float
    adjusted: float
    decision: Decision


@dataclass(frozen=True)
class Verdict:
    """Whether what was found is better than what is known.

    A task is decided where there are at least 16 common seeds, the 95% interval of the paired difference
    leaves out 0, and the p-value of the sign-flip test is at most 0.05 after Holm's correction over the
    held-out tasks. Confirmed: above on at least one task and below on none. Not confirmed: below on at
    least one. Inconclusive: no task is decided.

    Attributes:
        status: of the three, or "not yet judged" where no held-out task was reported.
        tasks: the held-out tasks, one by one.
        above, below: on how many of them.
        least_seeds: how many common seeds a decision takes.
    """

    status: Status
    tasks: tuple[TaskVerdict, ...]
    above: int
    below: int
    least_seeds: int = LEAST_SEEDS


@dataclass(frozen=True)
class Decline:
    """How a score fell from where it was chosen to where it was not: the winner's curse, on one task.

    Attributes:
        task: its name.
        generation: the chosen one.
        proposal: the single proposal with the best search score, "" before any; no search answers with it.
        proposal_search, proposal_report: its mean score on the search's seeds, where it was trained on the
            task, and with its interval on fresh ones.
        selection, report: interval of the chosen mean's score on the selection seeds, where the task is
            selected on, and on fresh ones.
        decline: selection minus report, estimate.
        ranked: how many means have both scores.
        correlation: Spearman's, between both scores over these; None for fewer than 3.
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


def standings(
    run: LoadedRun, tasks: Iterable[str], tests: Iterable[Mapping[str, Any]]
) -> dict[str, Standing]:
    """How tasks stand towards the search.

    "seen": it trained or selected on them. "held out": the run held them out when it began, or a look at
    them was on record before anything was trained there. All others are "not part of the search": nobody
    counts how many of them were tried, so no verdict may rest on them.

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


def tables(run: LoadedRun, reports: Comparison, tests: Iterable[Mapping[str, Any]]) -> tuple[TaskTable, ...]:
    """Everything that was reported, task by task; for `tests` see `standings`."""
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
    """The verdict on the subject `found`, on those tasks of `held_out` that were reported."""
    pairs = {task: best_known(reports, task) for task in held_out if reports.cell(found, task)}
    compared = [(task, *_paired(reports, found, known, task)) for task, known in pairs.items() if known]
    compared = [(task, a, b) for task, a, b in compared if a.size]
    if not compared:
        return Verdict("not yet judged", (), 0, 0)
    p_values = [paired_p_value(a, b) for _, a, b in compared]
    adjusted = holm(p_values)
    rows = []
    for (task, a, b), p, corrected in zip(compared, p_values, adjusted, strict=True):
        known = pairs[task] or ""
        difference = reports.difference(found, known, task) or interval(a - b)
        decision = _decision(difference, float(corrected))
        rows.append(TaskVerdict(task, known, difference, p, float(corrected), decision))
    above, below = (sum(row.decision == word for row in rows) for word in ("above", "below"))
    status: Status = "not confirmed" if below else "confirmed" if above else "inconclusive"
    return Verdict(status, tuple(rows), above, below)


def best_known(reports: Comparison, task: str) -> str | None:
    """The known algorithm with the highest mean on a task; None where none has a score."""
    known = [
        row
        for row in reports.rows
        if row.task == task and not reports.sources[row.subject] and math.isfinite(row.mean.estimate)
    ]
    return max(known, key=lambda row: row.mean.estimate).subject if known else None


def declines(run: LoadedRun, reports: Comparison) -> tuple[Decline, ...]:
    """The winner's curse on each task that the search has seen."""
    if not run.selection:
        return ()
    return tuple(_decline(run, reports, task.name) for task in run.config.seen)


def _curve(cell: Cell) -> Curve:
    middle = band(cell.curves)
    return Curve(*(tuple(map(float, line)) for line in (cell.steps, middle.mean, middle.low, middle.high)))


def _decision(difference: Interval, adjusted: float) -> Decision:
    if difference.n < LEAST_SEEDS:
        return "too few seeds"
    if adjusted > LEVEL or difference.low <= 0 <= difference.high:
        return "undecided"
    return "above" if difference.low > 0 else "below"


def _paired(reports: Comparison, found: str, known: str, task: str) -> tuple[np.ndarray, np.ndarray]:
    """Scores of both on the seeds they share, failures settled as in every table; empty where all failed."""
    a, b = reports.cell(found, task), reports.cell(known, task)
    if a is None or b is None or a.failed_wholly or b.failed_wholly:
        return np.zeros(0), np.zeros(0)
    _, of_a, of_b = np.intersect1d(a.seeds, b.seeds, return_indices=True)
    scores = np.concatenate([cell.scores for cell in reports.cells if cell.task == task])
    worst = float(scores[np.isfinite(scores)].min())
    return settle_failures(a.scores[of_a], worst)[0], settle_failures(b.scores[of_b], worst)[0]


def _decline(run: LoadedRun, reports: Comparison, task: str) -> Decline:
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


def _best_proposal(
    run: LoadedRun, reports: Comparison, task: str
) -> tuple[str, float | None, Interval | None]:
    """Its id, its score on the search's seeds, and that on fresh ones."""
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
    """Spearman's: Pearson's of the ranks, ties averaged; NaN where all of a column are equal."""
    ranks = stats.rankdata(pairs, axis=0)
    ranks -= ranks.mean(axis=0)
    scale = np.sqrt((ranks**2).sum(axis=0).prod())
    return float(ranks.prod(axis=1).sum() / scale) if scale else math.nan
