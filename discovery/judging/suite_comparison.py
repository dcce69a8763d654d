"""A comparison on a suite: normalized scores, one number over all tasks, and what is significant.

    result = SuiteComparison(suite.name, comparison, entries)
    result.aggregates                      # IQM, mean, median, optimality gap over tasks, with intervals
    result.verdicts()                      # on how many tasks better, worse, not distinguishable

Scores are normalized by the suite's references: 0 as uniformly random actions, 1 as tuned PPO. A failed
training counts as the worst score that any subject reached on its task; those of a subject that has no score
there at all count as random actions, where that is worse.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from jaxtyping import Float

from discovery.core.errors import BadInput, unknown
from discovery.core.suites import SuiteTask
from discovery.display.tables import AggregateTable, SpeedTable, estimate_text
from discovery.judging.comparison import Cell, Comparison
from discovery.judging.suite_speed import Speed, speed
from discovery.judging.sweep import Robustness
from discovery.statistics import (
    Band,
    Interval,
    aggregate,
    aggregate_difference,
    area_under_curve,
    holm,
    paired_difference,
    paired_p_value,
    performance_profile,
    probability_of_improvement,
    seeds_needed,
    settle_failures,
)

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure
    from rich.console import Group

Relation = Literal["better", "worse", "not distinguishable"]

LEVEL = 0.05
"""Of all tests of one comparison together: the probability of one false claim or more."""

POWER = 0.8
MANY_SEEDS = 10_000
"""Numbers of seeds from here on are of no use to anyone."""


@dataclass(frozen=True)
class AggregateRow:
    """One subject over all tasks, in normalized scores with 95% intervals.

    Attributes:
        subject: label.
        iqm, mean, median: maximized; see `discovery.statistics.aggregate`.
        optimality_gap: what is missing to tuned PPO, minimized.
        difference: IQM minus the baseline's, over common seeds; None for the baseline.
        improvement: probability that a training is above one of the baseline's, whatever their seeds; the
            interval makes use of common seeds; None for the baseline.
    """

    subject: str
    iqm: Interval
    mean: Interval
    median: Interval
    optimality_gap: Interval
    difference: Interval | None
    improvement: Interval | None


@dataclass(frozen=True)
class Judgment:
    """A subject beside the baseline on one task.

    Attributes:
        subject, task: labels.
        difference: mean of the subject's scores minus the baseline's on the same seeds, not normalized.
        p_value: of the sign-flip test that it is 0.
        corrected: the p-value after Holm, for all (subject, task) pairs together.
        seeds_needed: how many seeds would show a difference as large, with power 0.8 at the level of the
            strictest of the tests; None where it is shown, or where they would be 10,000 or more.
    """

    subject: str
    task: str
    difference: Interval
    p_value: float
    corrected: float
    seeds_needed: int | None

    @property
    def relation(self) -> Relation:
        """What the test says at `LEVEL`."""
        if self.corrected > LEVEL:
            return "not distinguishable"
        return "better" if self.difference.estimate > 0 else "worse"


@dataclass(frozen=True, eq=False)
class SuiteComparison:
    """Subjects on the tasks of a suite. All were trained on all tasks with the same seeds.

    Attributes:
        suite: its name.
        comparison: the trainings, and what they say task by task.
        entries: the tasks with their references.
        robustness: sweeps, by parameter.
        notes: what else a reader must know, in sentences.
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
        """What others are judged against: PPO where it takes part, else the first subject."""
        return self.comparison.baseline

    @property
    def others(self) -> tuple[str, ...]:
        """All subjects but the baseline."""
        return tuple(subject for subject in self.comparison.subjects if subject != self.baseline)

    def settled(self, subject: str, task: str) -> Float[np.ndarray, " S"]:
        """Scores with failed trainings settled, by increasing seed; see the module's docstring."""
        scores = {other: self._cell(other, task).scores for other in self.comparison.subjects}
        return _settled(scores, subject, self._references[task].random.mean)

    def normalized(self, subject: str) -> dict[str, Float[np.ndarray, " S"]]:
        """A subject's normalized scores by task, failures settled."""
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
        """Every subject but the baseline on every task: subject by subject."""
        pairs = [(subject, task) for subject in self.others for task in self.comparison.tasks]
        if not pairs:
            return ()
        scores = [(self.settled(s, task), self.settled(self.baseline, task)) for s, task in pairs]
        p_values = [paired_p_value(own, base) for own, base in scores]
        level = LEVEL / len(pairs)
        return tuple(
            Judgment(
                *pair,
                paired_difference(own, base),
                p_value,
                float(corrected),
                None if corrected <= LEVEL else _seeds_needed(own - base, level),
            )
            for pair, (own, base), p_value, corrected in zip(
                pairs, scores, p_values, holm(p_values), strict=True
            )
        )

    def verdicts(self) -> list[str]:
        """What the numbers say, in sentences: each subject against the baseline, then cautions."""
        found = [sentence for subject in self.others for sentence in self._judged(subject)]
        return found + self._cautions()

    def table(self) -> "Group":
        """The rows for rich to print: a table for each task, one over all of them, how soon, the sweeps."""
        from rich.console import Group

        sweeps = (sweep.table() for sweep in self.robustness)
        return Group(self.comparison.table(), AggregateTable(self), SpeedTable(self), *sweeps)

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

    def plot(self) -> "dict[str, Figure]":
        """The pictures by name: intervals, profiles, learning curves, and one for each sweep."""
        from discovery.display.pictures.suites import pictures

        return pictures(self)

    def to_dict(self) -> dict[str, Any]:
        """Everything but the curves as plain data. Numbers may be infinite or NaN, which JSON has not."""
        rows = self.comparison.to_dict()["rows"]
        for row in rows:
            row["normalized"] = self.normalized(row["subject"])[row["task"]].tolist()
        references = {
            name: {"random": vars(entry.random), "ppo": vars(entry.ppo)}
            for name, entry in self._references.items()
            if name in self.comparison.tasks
        }
        return {
            "suite": self.suite,
            "baseline": self.baseline,
            "references": references,
            "rows": rows,
            "aggregates": [_facts(row) for row in self.aggregates],
            "speeds": [_facts(each) for each in self.speeds],
            "level": LEVEL,
            "judgments": [_facts(each) | {"relation": each.relation} for each in self.judgments],
            "robustness": [sweep.to_dict() for sweep in self.robustness],
            "verdicts": self.verdicts(),
        }

    def _cell(self, subject: str, task: str) -> Cell:
        cell = self.comparison.cell(subject, task)
        assert cell is not None  # checked when this was made
        return cell

    def _speeds(self, task: str) -> list[Speed]:
        curves = {}
        for subject in self.comparison.subjects:
            cell = self._cell(subject, task)
            whole = np.where(np.isfinite(cell.scores)[:, None], cell.curves, np.nan)  # a failure's is none
            curves[subject] = self._references[task].normalized(whole)
        areas = {subject: area_under_curve(own) for subject, own in curves.items()}
        return [
            speed(subject, task, own, self._cell(subject, task).steps, _settled(areas, subject, 0.0))
            for subject, own in curves.items()
        ]

    def _judged(self, subject: str) -> list[str]:
        """A subject against the baseline: task by task, over all, and the seeds that would tell."""
        own = [judgment for judgment in self.judgments if judgment.subject == subject]
        groups: dict[str, list[str]] = {"better": [], "worse": [], "not distinguishable": []}
        for judgment in own:
            groups[judgment.relation].append(judgment.task)
        told = [f"{name} on {len(g)}" + (f" ({', '.join(g)})" if g else "") for name, g in groups.items()]
        difference = next(row.difference for row in self.aggregates if row.subject == subject)
        assert difference is not None  # only the baseline has none
        tasks = f"{len(own)} task{'s' * (len(own) != 1)}"
        seeds = min(judgment.difference.n for judgment in own)
        sentences = [
            f"{subject} against {self.baseline} on {tasks}: {'; '.join(told)}.",
            f"{subject} over all tasks: {_over_all(difference, self.baseline, seeds)}.",
        ]
        needed = {j.task: j.seeds_needed for j in own if j.seeds_needed is not None}
        if needed:
            listed = ", ".join(f"{task} {count:,}" for task, count in needed.items())
            sentences.append(
                f"Seeds that would show {subject}'s observed differences, with probability {POWER:g}: "
                f"{listed}."
            )
        return sentences

    def _cautions(self) -> list[str]:
        cautions = []
        if self.judgments:
            cautions.append(
                f"Better and worse: paired sign-flip tests on common seeds at level {LEVEL:g}, corrected by "
                f"Holm for all {len(self.judgments)} pairs of subject and task. Intervals are not corrected."
            )
            least, seeds = fewest_seeds(len(self.judgments)), min(j.difference.n for j in self.judgments)
            if seeds < least:
                cautions.append(
                    f"With {seeds} seeds none of these tests can show a difference; "
                    f"{least} are the fewest that can."
                )
        return [*cautions, *self.comparison.cautions(), *self.notes]


def _settled(
    scores: Mapping[str, Float[np.ndarray, " S"]], subject: str, random: float
) -> Float[np.ndarray, " S"]:
    """A subject's scores: a failure is worth the worst of anyone's; if it has no other, `random` at most."""
    every, own = np.concatenate(list(scores.values())), scores[subject]
    known = every[np.isfinite(every)]
    worst = float(known.min()) if known.size else random
    return settle_failures(own, worst if np.isfinite(own).any() else min(worst, random))[0]


def fewest_seeds(tests: int) -> int:
    """Fewest pairs at which the strictest of so many sign-flip tests, corrected for all, can pass."""
    return _fewest(LEVEL / tests)


def _seeds_needed(difference: Float[np.ndarray, " S"], level: float) -> int | None:
    if difference.size < 2 or not difference.mean() or not difference.std():
        return None
    try:
        found = seeds_needed(float(difference.mean()), float(difference.std(ddof=1)), POWER, level)
    except BadInput:  # more than anyone could train
        return None
    return max(found, difference.size + 1, _fewest(level)) if found < MANY_SEEDS else None


def _fewest(level: float) -> int:
    """Fewest pairs n at which a sign-flip test can pass: 2^(1 - n) <= level."""
    return math.ceil(1 + math.log2(1 / level))


def _over_all(difference: Interval, baseline: str, seeds: int) -> str:
    """How an IQM over tasks stands, where every task has so many `seeds` or more.

    With a handful of them the interval of a bootstrap is too narrow to tell a side by.
    """
    if seeds < _fewest(LEVEL):
        return (
            f"IQM differs from {baseline}'s by {estimate_text(difference)} in normalized scores; "
            f"{seeds} seeds are too few to tell a side"
        )
    side = "above" if difference.low > 0 else "below" if difference.high < 0 else "not distinguishable from"
    return f"IQM {side} {baseline}'s, difference {estimate_text(difference)} in normalized scores"


def _facts(row: AggregateRow | Judgment | Speed) -> dict[str, Any]:
    return {
        name: value._asdict() if isinstance(value, Interval) else value for name, value in vars(row).items()
    }
