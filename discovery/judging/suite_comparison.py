"""A comparison on a suite: normalized scores, one number over all tasks, and what is significant.

    result = SuiteComparison(suite.name, comparison, entries)
    result.aggregates                      # IQM, mean, median, optimality gap over tasks, with intervals
    result.judgments                       # on which tasks better, worse, not distinguishable

Scores are normalized by the suite's references: 0 for uniformly random actions, 1 for tuned PPO. Failures
count as `discovery.judging.failures` says. A seed that any subject lacks on a task is excluded for all of
them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, reduce
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from discovery.core.errors import BadInput, unknown
from discovery.core.json import json_value
from discovery.core.suites import SuiteTask
from discovery.judging.comparison import Cell, Comparison
from discovery.judging.failures import settled, worst_score
from discovery.judging.robustness import Robustness
from discovery.judging.suite_speed import Speed, speed
from discovery.judging.verdict import LEVEL, Judgment, Pair, judge
from discovery.statistics import (
    Band,
    Interval,
    aggregate,
    aggregate_difference,
    area_under_curve,
    performance_profile,
    probability_of_improvement,
)

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class AggregateRow:
    """One subject over all tasks, in normalized scores with 95% intervals.

    Attributes:
        subject: label.
        iqm, mean, median: maximized; see `discovery.statistics.aggregate`.
        optimality_gap: mean shortfall below tuned PPO, minimized.
        difference: IQM minus the baseline's, over common seeds; None for the baseline.
        improvement: probability that a training is above one of the baseline's, for any pair of seeds; the
            interval uses common seeds; None for the baseline.
    """

    subject: str
    iqm: Interval
    mean: Interval
    median: Interval
    optimality_gap: Interval
    difference: Interval | None
    improvement: Interval | None


@dataclass(frozen=True, eq=False)
class SuiteComparison:
    """Subjects on the tasks of a suite, all trained on all tasks.

    Attributes:
        suite: its name.
        comparison: the trainings, and their results task by task.
        entries: the tasks with their references.
        robustness: sweeps, by parameter.
        notes: further notes for the reader, in sentences.
    """

    suite: str
    comparison: Comparison
    entries: Sequence[SuiteTask]
    robustness: tuple[Robustness, ...] = ()
    notes: tuple[str, ...] = ()
    _references: Mapping[str, SuiteTask] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        references = {entry.task.name: entry for entry in self.entries}
        for task in self.comparison.tasks:
            if task not in references:
                raise unknown(f"task of suite {self.suite}", task, references)
            for subject in self.comparison.subjects:
                if self.comparison.cell(subject, task) is None:
                    raise BadInput(f"{subject} was not trained on {task}; a suite is judged as a whole")
        object.__setattr__(self, "_references", references)

    @property
    def baseline(self) -> str:
        """The subject that others are judged against: PPO if it takes part, else the first one."""
        return self.comparison.baseline

    @property
    def others(self) -> tuple[str, ...]:
        """All subjects except the baseline."""
        return tuple(subject for subject in self.comparison.subjects if subject != self.baseline)

    def settled(self, subject: str, task: str) -> Float[np.ndarray, " S"]:
        """Scores with a number for every failure, by increasing seed."""
        scores = {other: self._cell(other, task).scores for other in self.comparison.subjects}
        worst = worst_score(scores.values())
        return settled(scores[subject], worst, self._references[task].random.mean)

    def normalized(self, subject: str) -> dict[str, Float[np.ndarray, " S"]]:
        """A subject's normalized scores by task, with numbers for failures."""
        return {
            task: self._references[task].normalized(self.settled(subject, task))
            for task in self.comparison.tasks
        }

    @cached_property
    def aggregates(self) -> tuple[AggregateRow, ...]:
        """Every subject over all tasks, in their order."""
        scores = {subject: self.normalized(subject) for subject in self.comparison.subjects}
        base = scores[self.baseline]
        return tuple(
            AggregateRow(
                subject,
                aggregate(own, "iqm"),
                aggregate(own, "mean"),
                aggregate(own, "median"),
                aggregate(own, "optimality_gap"),
                None if subject == self.baseline else aggregate_difference(own, base, "iqm"),
                None if subject == self.baseline else probability_of_improvement(own, base, paired=True),
            )
            for subject, own in scores.items()
        )

    @cached_property
    def speeds(self) -> tuple[Speed, ...]:
        """How soon each subject learns each task: task by task, subjects in their order."""
        return tuple(each for task in self.comparison.tasks for each in self._speeds(task))

    def profile(self, subject: str, thresholds: Float[np.ndarray, " K"]) -> Band:
        """Share of a subject's trainings with a normalized score above each threshold ``[K]``."""
        return performance_profile(self.normalized(subject), thresholds)

    @cached_property
    def judgments(self) -> tuple[Judgment, ...]:
        """Every subject except the baseline on every task, judged together: subject by subject."""
        return judge(
            Pair(s, self.baseline, task, self.settled(s, task), self.settled(self.baseline, task))
            for s in self.others
            for task in self.comparison.tasks
        )

    def frame(self) -> "pd.DataFrame":
        """One row for each task and subject: scores, normalized mean, how soon, and the judgment."""
        frame = self.comparison.frame()
        rows = list(zip(frame["subject"], frame["task"], strict=True))
        frame["normalized mean"] = [float(self.normalized(s)[t].mean()) for s, t in rows]
        learned = {(each.subject, each.task): each.columns() for each in self.speeds}
        for column in next(iter(learned.values())):
            frame[column] = [learned[row][column] for row in rows]
        judged = {(j.subject, j.task): j for j in self.judgments}
        for column, read in (
            ("p", lambda j: j.p_value),
            ("p corrected", lambda j: j.corrected),
            ("verdict", lambda j: j.relation),
            ("seeds needed", lambda j: j.seeds_needed),
        ):
            frame[column] = [read(judged[row]) if row in judged else None for row in rows]
        return frame

    def to_dict(self) -> dict[str, Any]:
        """Everything except the curves, JSON-serializable."""
        rows = self.comparison.to_dict()["rows"]
        for row in rows:
            row["normalized"] = self.normalized(row["subject"])[row["task"]]
        references = {
            name: {"random": vars(entry.random), "ppo": vars(entry.ppo)}
            for name, entry in self._references.items()
            if name in self.comparison.tasks
        }
        facts = {
            "suite": self.suite,
            "baseline": self.baseline,
            "references": references,
            "rows": rows,
            "aggregates": self.aggregates,
            "speeds": self.speeds,
            "level": LEVEL,
            "judgments": self.judgments,
            "robustness": [sweep.to_dict() for sweep in self.robustness],
        }
        return json_value(facts)

    def _cell(self, subject: str, task: str) -> Cell:
        """The trainings of a subject on a task, on the seeds that all subjects have there."""
        return self._cells[subject, task]

    @cached_property
    def _cells(self) -> dict[tuple[str, str], Cell]:
        found = {(cell.subject, cell.task): cell for cell in self.comparison.cells}
        common = {
            task: reduce(np.intersect1d, (cell.seeds for (_, t), cell in found.items() if t == task))
            for task in self.comparison.tasks
        }
        return {place: cell.on(common[cell.task]) for place, cell in found.items()}

    def _speeds(self, task: str) -> list[Speed]:
        curves = {}
        for subject in self.comparison.subjects:
            cell = self._cell(subject, task)
            whole = np.where(np.isfinite(cell.scores)[:, None], cell.curves, np.nan)  # failures have no curve
            curves[subject] = self._references[task].normalized(whole)
        areas = {subject: area_under_curve(own) for subject, own in curves.items()}
        worst = worst_score(areas.values())
        return [
            speed(subject, task, own, self._cell(subject, task).steps, settled(areas[subject], worst, 0.0))
            for subject, own in curves.items()
        ]
