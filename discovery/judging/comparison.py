"""What trainings of several subjects on the same held-out seeds say: rows, a table, plain sentences.

Every number comes with its 95% interval, from `discovery.statistics`. A training that failed counts
as the worst score that anything reached on its task, so that failing never helps; the table says
how many failed.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, Int

from discovery.core.errors import BadInput, unknown
from discovery.display.tables import SCORES, ComparisonTable, estimate_text
from discovery.statistics import Failures, Interval, apart, interval, paired_difference

if TYPE_CHECKING:
    import pandas as pd

INITIAL = "initial mean"
"""What the mean that a search began with is called; with several runs, behind the run's name."""

FEW_SEEDS = 30
"""Below this many seeds there is a warning: 95% intervals are shown to cover in 93 to 97% from here on."""

LEAST_SEEDS = 16
"""Below this many seeds nothing is decided: the bootstrap is not tried there; see `discovery.statistics`."""


@dataclass(frozen=True, eq=False)
class Cell:
    """All trainings of one subject on one task, by increasing seed.

    Attributes:
        subject, task: labels.
        seeds: ``[n]`` seed indices.
        scores: ``[n]``, NaN where a training failed.
        curves: ``[n, K]`` learning curves; NaN where no episode ended in a window.
        steps: ``[K]`` environment steps at the windows' ends (rollouts for a task of unknown setup).
        reason: why trainings failed, of the first that did.
    """

    subject: str
    task: str
    seeds: Int[np.ndarray, " n"]
    scores: Float[np.ndarray, " n"]
    curves: Float[np.ndarray, "n K"]
    steps: Float[np.ndarray, " K"]
    reason: str = ""

    @property
    def failed_wholly(self) -> bool:
        """Whether no training has a score."""
        return not np.isfinite(self.scores).any()


@dataclass(frozen=True)
class Row:
    """One subject on one task, in numbers.

    Attributes:
        task, subject: labels.
        n: trainings.
        failed: how many of them failed.
        mean, iqm: of the scores, with 95% intervals.
        difference: mean of the scores minus the baseline's on the same seeds; None for the baseline.
    """

    task: str
    subject: str
    n: int
    failed: int
    mean: Interval
    iqm: Interval
    difference: Interval | None


@dataclass(frozen=True, eq=False)
class Comparison:
    """Subjects side by side.

    Attributes:
        cells: the trainings, by subject and task; a subject need not have been trained on every task.
        sources: subject -> where it came from: "RUN@GENERATION", or "" for a known algorithm.
        held_out: held-out tasks that no search saw.
        measures: task -> what its score is, "final" or "auc", where that is known.
    """

    cells: tuple[Cell, ...]
    sources: Mapping[str, str] = field(default_factory=dict)
    held_out: frozenset[str] = frozenset()
    measures: Mapping[str, str] = field(default_factory=dict)

    @property
    def subjects(self) -> tuple[str, ...]:
        """Labels in their order."""
        return tuple(dict.fromkeys(cell.subject for cell in self.cells))

    @property
    def tasks(self) -> tuple[str, ...]:
        """Tasks in their order."""
        return tuple(dict.fromkeys(cell.task for cell in self.cells))

    @property
    def baseline(self) -> str:
        """What differences are taken from: PPO where it takes part, else the first subject."""
        if not self.cells:
            raise BadInput("there is nothing to compare; `discovery evaluate` trains what you name")
        return "ppo" if "ppo" in self.subjects else self.subjects[0]

    def measure(self, task: str) -> str:
        """What a task's score is, in words; "" where that is not known."""
        return SCORES.get(self.measures.get(task, ""), "")

    def cell(self, subject: str, task: str) -> Cell | None:
        """The trainings of a subject on a task, or None."""
        return next((c for c in self.cells if (c.subject, c.task) == (subject, task)), None)

    @cached_property
    def rows(self) -> tuple[Row, ...]:
        """Every subject on every task it was trained on: task by task, subjects in their order."""
        return tuple(
            self._row(cell)
            for task in self.tasks
            for subject in self.subjects
            if (cell := self.cell(subject, task)) is not None
        )

    def row(self, subject: str, task: str) -> Row | None:
        """A subject's row on a task, or None."""
        return next((r for r in self.rows if (r.subject, r.task) == (subject, task)), None)

    def difference(self, subject: str, other: str, task: str) -> Interval | None:
        """Mean of subject minus other over the seeds they share on `task`; None where they share none, or
        where all trainings of one failed.
        """
        a, b = self.cell(subject, task), self.cell(other, task)
        if a is None or b is None:
            return None
        if a.failed_wholly or b.failed_wholly:
            return None
        shared, of_a, of_b = np.intersect1d(a.seeds, b.seeds, return_indices=True)
        if shared.size == 0:
            return None
        return paired_difference(a.scores[of_a], b.scores[of_b], failures=self._failures(task))

    def curves(self) -> dict[str, dict[str, Cell]]:
        """Task -> subject -> its cell, whose `steps` and `curves` are what `plots.learning_curves` draws."""
        found: dict[str, dict[str, Cell]] = {task: {} for task in self.tasks}
        for cell in self.cells:
            found[cell.task][cell.subject] = cell
        return found

    def verdicts(self) -> list[str]:
        """What the numbers say, in sentences; see `_relation` for the words."""
        return [self._sentence(*pair) for pair in self._pairs()] + self.cautions()

    def table(self) -> ComparisonTable:
        """The rows for rich to print, a table for each task."""
        return ComparisonTable(self)

    def frame(self) -> "pd.DataFrame":
        """The rows as a data frame; limits of intervals in columns of their own."""
        import pandas as pd

        found = []
        for row in self.rows:
            numbers = {"mean": row.mean, "iqm": row.iqm, f"minus {self.baseline}": row.difference}
            known = {name: value for name, value in numbers.items() if value is not None}
            limits = {
                f"{name}{end}": getattr(value, field)
                for name, value in known.items()
                for end, field in (("", "estimate"), (" low", "low"), (" high", "high"))
            }
            found.append(
                {"task": row.task, "subject": row.subject, "n": row.n, "failed": row.failed, **limits}
            )
        return pd.DataFrame(found)

    def to_dict(self) -> dict[str, Any]:
        """Everything but the curves as JSON can hold it; what is not finite is null."""
        rows = [
            {
                "task": row.task,
                "held_out": row.task in self.held_out,
                "subject": row.subject,
                "source": self.sources.get(row.subject, ""),
                "n": row.n,
                "failed": row.failed,
                **{name: _plain(getattr(row, name)) for name in ("mean", "iqm", "difference")},
                "seeds": self._of(row).seeds.tolist(),
                "scores": [_finite(score) for score in self._of(row).scores.tolist()],
            }
            for row in self.rows
        ]
        return {"baseline": self.baseline, "rows": rows, "verdicts": self.verdicts()}

    def to_json(self) -> str:
        """`to_dict` as text."""
        return json.dumps(self.to_dict(), indent=2, allow_nan=False)

    def _of(self, row: Row) -> Cell:
        cell = self.cell(row.subject, row.task)
        if cell is None:
            raise unknown("subject", row.subject, self.subjects)
        return cell

    def _row(self, cell: Cell) -> Row:
        failures = "drop" if cell.failed_wholly else self._failures(cell.task)
        mean, iqm = (interval(cell.scores, statistic, failures=failures) for statistic in ("mean", "iqm"))
        difference = None
        if cell.subject != self.baseline:
            difference = self.difference(cell.subject, self.baseline, cell.task)
        return Row(cell.task, cell.subject, cell.scores.size, mean.failed, mean, iqm, difference)

    def _failures(self, task: str) -> Failures:
        """How failures on a task count: as the worst score there is, if there is one."""
        scores = np.concatenate([cell.scores for cell in self.cells if cell.task == task])
        known = scores[np.isfinite(scores)]
        return float(known.min()) if known.size else "drop"

    def _kind(self, subject: str) -> str:
        source = self.sources.get(subject, "")
        if not source:
            return "known"
        run, _, place = source.rpartition("@")
        return "proposal" if run and "/" in place else "initial" if subject.endswith(INITIAL) else "found"

    def _pairs(self) -> list[tuple[str, str]]:
        """Who is judged against whom: what was found against its own initial mean, single proposals of its
        run and all known algorithms; without anything found, each subject against the baseline.
        """
        found = [subject for subject in self.subjects if self._kind(subject) in ("found", "proposal")]
        if not found:
            return [(subject, self.baseline) for subject in self.subjects if subject != self.baseline]
        pairs = []
        for subject in found:
            run = self.sources[subject].rpartition("@")[0]
            beside = ("initial",) if self._kind(subject) == "proposal" else ("initial", "proposal")
            others = [
                o
                for o in self.subjects
                if self._kind(o) in beside and self.sources[o].rpartition("@")[0] == run
            ]
            others += [o for o in self.subjects if self._kind(o) == "known"]
            pairs += [(subject, other) for other in others]
        return pairs or [(subject, found[0]) for subject in found[1:]]

    def _sentence(self, subject: str, other: str) -> str:
        relations = [self._relation(subject, other, task) for task in self.tasks]
        known = [relation for relation in relations if relation]
        return f"{subject} is {'; '.join(known) or f'on no task together with {other}'}."

    def _relation(self, subject: str, other: str, task: str) -> str:
        """How two subjects stand on a task, of three degrees.

        "above" or "below (intervals apart)": the 95% intervals of the two means do not overlap.
        "(paired difference)": they do, but the interval of the differences seed by seed leaves out 0.
        "not distinguishable": neither. "Not comparable": all trainings of one failed.
        """
        a, b, difference = (
            self.row(subject, task),
            self.row(other, task),
            self.difference(subject, other, task),
        )
        if a is None or b is None:
            return ""
        name = f"the {other}" if other == INITIAL else other
        place = f"{name} on {task}" + (" (held out)" if task in self.held_out else "")
        if not (math.isfinite(a.mean.estimate) and math.isfinite(b.mean.estimate)):
            return f"not comparable with {place}"
        if apart(a.mean, b.mean):
            side = "above" if a.mean.estimate > b.mean.estimate else "below"
            return f"{side} {place} (intervals apart)"
        if difference is not None and (difference.low > 0 or difference.high < 0):
            side = "above" if difference.low > 0 else "below"
            by = estimate_text(difference)
            return f"{side} {place} (intervals overlap, but the paired difference is {by})"
        return f"not distinguishable from {place}"

    def cautions(self) -> list[str]:
        """What to beware of: few seeds, failed trainings."""
        cautions = []
        fewest = min((row.n for row in self.rows), default=0)
        if 0 < fewest < FEW_SEEDS:
            cautions.append(f"Only {fewest} seeds: below {FEW_SEEDS}, trust no interval much.")
        for cell in self.cells:
            if cell.failed_wholly:
                what = f"All {len(cell.seeds)} trainings of {cell.subject} on {cell.task} failed"
                cautions.append(f"{what} ({cell.reason})." if cell.reason else f"{what}.")
        if any(row.failed and row.mean.n for row in self.rows):
            cautions.append(
                "A failed training counts as the worst score that any subject reached on its task."
            )
        return cautions


def _plain(value: Interval | None) -> dict[str, float | None] | None:
    if value is None:
        return None
    return {name: _finite(getattr(value, name)) for name in ("estimate", "low", "high", "level", "n")}


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
