"""Results of several subjects trained on the same seeds: passive data, with 95% intervals.

Failures count as `discovery.judging.failures` says. `discovery.judging.sentences` describes the results in
words.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from discovery.core.errors import BadInput, unknown
from discovery.core.jobs import MACHINE_FAILURES
from discovery.core.json import json_value
from discovery.judging.failures import interval_of, worst_score
from discovery.judging.verdict import Judgment, Pair, judge
from discovery.results.words import OF_NOISE, OF_OTHERS
from discovery.statistics import Interval, paired_difference
from environments.task import SCORES

if TYPE_CHECKING:
    import pandas as pd

INITIAL = OF_NOISE.initial
"""Label of the mean that a search began with; with several runs, it follows the run's name."""
BEGINNINGS = (INITIAL, OF_OTHERS.initial)
"""The same for searches by any method."""


class Training(NamedTuple):
    """One training: its score, its learning curve, and its error if it failed."""

    seed: int
    score: float
    curve: Float[np.ndarray, " K"] | None
    error: str | None
    detail: str


@dataclass(frozen=True, eq=False)
class Cell:
    """All trainings of one subject on one task, by increasing seed.

    Attributes:
        subject, task: labels.
        seeds: ``[n]`` seed indices, without those of missing trainings.
        scores: ``[n]``, NaN where a training failed.
        curves: ``[n, K]`` learning curves; NaN where no episode ended in a window.
        steps: ``[K]`` environment steps at the windows' ends (rollouts for a task of unknown setup).
        reason: why the first missing training, else the first failed one, has no score.
        missing: how many trainings failed because of the machine.
    """

    subject: str
    task: str
    seeds: Int[np.ndarray, " n"]
    scores: Float[np.ndarray, " n"]
    curves: Float[np.ndarray, "n K"]
    steps: Float[np.ndarray, " K"]
    reason: str = ""
    missing: int = 0

    @classmethod
    def of(cls, subject: str, task: str, trainings: Sequence[Training], steps: int = 1) -> "Cell":
        """The cell of some trainings, each of `steps` environment steps in total."""
        known = sorted(
            (one for one in trainings if one.error not in MACHINE_FAILURES), key=lambda one: one.seed
        )
        points = max((len(one.curve) for one in known if one.curve is not None), default=1)
        none = np.full(points, np.nan)
        curves = [none if one.curve is None else np.asarray(one.curve, np.float64) for one in known]
        lost = [one for one in trainings if one.error in MACHINE_FAILURES]
        errors = (f"{one.error}: {one.detail}".rstrip(": ") for one in lost or known if one.error)
        return cls(
            subject,
            task,
            np.array([one.seed for one in known], int),
            np.array([one.score for one in known], np.float64),
            np.array(curves).reshape(len(known), points),
            steps * (1 + np.arange(points)) / points,
            next(errors, ""),
            len(lost),
        )

    def on(self, seeds: Int[np.ndarray, " m"]) -> "Cell":
        """The same trainings on some of the seeds only."""
        kept = np.isin(self.seeds, seeds)
        return replace(self, seeds=self.seeds[kept], scores=self.scores[kept], curves=self.curves[kept])

    @property
    def all_failed(self) -> bool:
        """Whether no training has a score."""
        return not np.isfinite(self.scores).any()


@dataclass(frozen=True)
class Row:
    """One subject on one task, in numbers.

    Attributes:
        task, subject: labels.
        n: trainings.
        failed: how many of them failed.
        missing: how many more failed because of the machine.
        mean, iqm: of the scores.
        difference: mean of the scores minus the baseline's on the same seeds; None for the baseline.
    """

    task: str
    subject: str
    n: int
    failed: int
    missing: int
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
        measures: task -> the kind of its score, "final" or "auc", if known.
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
        """The subject that differences are taken from: PPO if it takes part, else the first one."""
        if not self.cells:
            raise BadInput("there is nothing to compare; train something with `discovery evaluate` first")
        return "ppo" if "ppo" in self.subjects else self.subjects[0]

    def measure(self, task: str) -> str:
        """The kind of a task's score, in words; "" if not known."""
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

    def worst(self, task: str) -> float:
        """The worst score on a task, which a failed training counts as; NaN without any score."""
        return worst_score(cell.scores for cell in self.cells if cell.task == task)

    def pair(self, subject: str, other: str, task: str) -> Pair | None:
        """Two subjects on the seeds that they share on a task; None if they share none, or if all trainings
        of one failed.
        """
        a, b = self.cell(subject, task), self.cell(other, task)
        if a is None or b is None or a.all_failed or b.all_failed:
            return None
        shared, of_a, of_b = np.intersect1d(a.seeds, b.seeds, return_indices=True)
        if shared.size == 0:
            return None
        return Pair(subject, other, task, a.scores[of_a], b.scores[of_b], self.worst(task))

    def difference(self, subject: str, other: str, task: str) -> Interval | None:
        """Mean of subject minus other over the seeds of `pair`; None without a pair."""
        pair = self.pair(subject, other, task)
        return None if pair is None else paired_difference(pair.own, pair.others, failures=pair.worst)

    def curves(self) -> dict[str, dict[str, Cell]]:
        """Task -> subject -> its cell, for learning curves."""
        found: dict[str, dict[str, Cell]] = {task: {} for task in self.tasks}
        for cell in self.cells:
            found[cell.task][cell.subject] = cell
        return found

    @property
    def opponents(self) -> list[tuple[str, str]]:
        """Pairs of subjects to judge. What a search found is judged against its initial mean, single
        proposals of its run and all known algorithms; if nothing was found, each subject against the
        baseline.
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

    @cached_property
    def judgments(self) -> tuple[Judgment, ...]:
        """All `opponents` on all tasks, judged together."""
        pairs = (self.pair(*pair, task) for pair in self.opponents for task in self.tasks)
        return judge(pair for pair in pairs if pair is not None)

    def frame(self) -> "pd.DataFrame":
        """The rows as a data frame; limits of intervals are separate columns."""
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
            counts = {"n": row.n, "failed": row.failed, "missing": row.missing}
            found.append({"task": row.task, "subject": row.subject, **counts, **limits})
        return pd.DataFrame(found)

    def to_dict(self) -> dict[str, Any]:
        """Everything except the curves, JSON-serializable."""
        rows = [
            {
                "task": row.task,
                "held_out": row.task in self.held_out,
                "subject": row.subject,
                "source": self.sources.get(row.subject, ""),
                "n": row.n,
                "failed": row.failed,
                "missing": row.missing,
                **{name: _facts(getattr(row, name)) for name in ("mean", "iqm", "difference")},
                "seeds": self._of(row).seeds,
                "scores": self._of(row).scores,
            }
            for row in self.rows
        ]
        return json_value({"baseline": self.baseline, "rows": rows})

    def _of(self, row: Row) -> Cell:
        cell = self.cell(row.subject, row.task)
        if cell is None:
            raise unknown("subject", row.subject, self.subjects)
        return cell

    def _row(self, cell: Cell) -> Row:
        worst = self.worst(cell.task)
        mean, iqm = (interval_of(cell.scores, worst, statistic) for statistic in ("mean", "iqm"))
        difference = None
        if cell.subject != self.baseline:
            difference = self.difference(cell.subject, self.baseline, cell.task)
        return Row(
            cell.task, cell.subject, cell.scores.size, mean.failed, cell.missing, mean, iqm, difference
        )

    def _kind(self, subject: str) -> str:
        source = self.sources.get(subject, "")
        if not source:
            return "known"
        run, _, place = source.rpartition("@")
        return "proposal" if run and "/" in place else "initial" if subject.endswith(BEGINNINGS) else "found"


def _facts(found: Interval | None) -> dict[str, float] | None:
    return None if found is None else {name: getattr(found, name) for name in Interval._fields[:5]}
