"""Robustness: scores at several factors of one number of the recipe, of the network's width, or of n_envs."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

from discovery.core.json import json_value
from discovery.judging.comparison import Cell, Comparison, Training
from discovery.judging.evaluate import label_now
from discovery.judging.failures import interval_of, worst_score
from discovery.results.loaded import RunData
from discovery.statistics import Interval, paired_difference

if TYPE_CHECKING:
    import pandas as pd

_TIMES = " x "


def variant_name(parameter: str, factor: float) -> str:
    """What the ledger calls a recipe with a parameter times a factor; "" for the unchanged recipe."""
    return "" if factor == 1 else f"{parameter}{_TIMES}{factor:g}"


def parse_variant(name: str) -> tuple[str, float] | None:
    """Parameter and factor of a `variant_name`; None for the unchanged recipe."""
    parameter, times, factor = name.rpartition(_TIMES)
    return (parameter, float(factor)) if times else None


class Level(NamedTuple):
    """A subject on a task at one factor.

    Attributes:
        factor: of the parameter; 1 is the unchanged task.
        subject, task: labels.
        score: mean score, with the number of failed trainings.
        difference: from the baseline at the same factor, over common seeds; None for the baseline, and if all
            trainings of one failed.
    """

    factor: float
    subject: str
    task: str
    score: Interval
    difference: Interval | None


@dataclass(frozen=True, eq=False)
class Robustness:
    """Trainings at several factors of one parameter.

    A failed training counts as the worst score that any subject reached on the task at any factor.

    Attributes:
        parameter: a number's name, "hidden" or "n_envs".
        factors: in increasing order.
        cells: factor -> the trainings.
        held_out: held-out tasks that no search saw.
        measures: task -> the kind of its score.
        left_out: labels of subjects that have no such number.
    """

    parameter: str
    factors: tuple[float, ...]
    cells: Mapping[float, tuple[Cell, ...]]
    held_out: frozenset[str] = frozenset()
    measures: Mapping[str, str] = field(default_factory=dict)
    left_out: tuple[str, ...] = ()

    @property
    def subjects(self) -> tuple[str, ...]:
        """Labels in their order."""
        return tuple(dict.fromkeys(cell.subject for f in self.factors for cell in self.cells[f]))

    @property
    def tasks(self) -> tuple[str, ...]:
        """Tasks in their order."""
        return self._at(self.factors[0]).tasks

    @property
    def baseline(self) -> str:
        """The subject that differences are taken from: PPO if it takes part, else the first one."""
        return "ppo" if "ppo" in self.subjects else self.subjects[0]

    @cached_property
    def levels(self) -> tuple[Level, ...]:
        """Every subject on every task at every factor."""
        every = [cell for cells in self.cells.values() for cell in cells]
        worst = {t: worst_score(cell.scores for cell in every if cell.task == t) for t in self.tasks}
        return tuple(
            self._level(factor, cell, worst[cell.task])
            for factor in self.factors
            for cell in self.cells[factor]
        )

    def scores(self, subject: str, task: str) -> list[Interval]:
        """A subject's score on a task at each factor, in their order."""
        return [level.score for level in self.levels if (level.subject, level.task) == (subject, task)]

    def frame(self) -> "pd.DataFrame":
        """The levels as a data frame, except those of factor 1, the unchanged tasks."""
        import pandas as pd

        return pd.DataFrame(
            {"task": one.task, "subject": one.subject, "variant": variant_name(self.parameter, one.factor),
             "n": one.score.n, "failed": one.score.failed, "mean": one.score.estimate,
             "mean low": one.score.low, "mean high": one.score.high}
            for one in self.levels
            if one.factor != 1
        )  # fmt: skip

    def to_dict(self) -> dict[str, Any]:
        """The levels, JSON-serializable."""
        rows = [
            {"subject": one.subject, "task": one.task, "factor": one.factor, "mean": one.score.estimate,
             "low": one.score.low, "high": one.score.high, "n": one.score.n, "failed": one.score.failed}
            for one in self.levels
        ]  # fmt: skip
        swept = {"parameter": self.parameter, "factors": self.factors, "left_out": self.left_out}
        return json_value(swept | {"levels": rows})

    def _at(self, factor: float) -> Comparison:
        return Comparison(self.cells[factor], {}, self.held_out, self.measures)

    def _level(self, factor: float, cell: Cell, worst: float) -> Level:
        score = interval_of(cell.scores, worst)
        difference = None
        if cell.subject != self.baseline:
            pair = self._at(factor).pair(cell.subject, self.baseline, cell.task)
            difference = pair and paired_difference(pair.own, pair.others, failures=worst)
        return Level(factor, cell.subject, cell.task, score, difference)


def recorded_sweeps(run: RunData, reports: Comparison) -> tuple[Robustness, ...]:
    """Every sweep that was recorded in a run, one for each parameter and task, with the unchanged task.

    Args:
        run: which run.
        reports: what was recorded on its unchanged tasks.
    """
    groups: dict[tuple[str, str], dict[float, dict[str, dict[int, Training]]]] = {}
    for row in run.reports():
        if variant := parse_variant(row["variant"]):
            parameter, factor = variant
            subjects = groups.setdefault((parameter, row["task"]), {}).setdefault(factor, {})
            label = label_now(run, row["subject"], row["source"])
            training = Training(row["seed"], row["score"], None, row["error"], row["detail"])
            subjects.setdefault(label, {})[row["seed"]] = training
    found = []
    for (parameter, task), factors in sorted(groups.items()):
        cells = {
            factor: tuple(Cell.of(label, task, list(own.values())) for label, own in subjects.items())
            for factor, subjects in factors.items()
        }
        varied = {cell.subject for listed in cells.values() for cell in listed}
        own = tuple(cell for cell in reports.cells if cell.task == task and cell.subject in varied)
        cells |= {1.0: own} if own else {}
        found.append(Robustness(parameter, tuple(sorted(cells)), cells))
    return tuple(found)
