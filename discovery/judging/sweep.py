"""Robustness: scores against a number of the recipe, the network's width, or how many environments there are.

    parameter, factors = parse_sweep("learning_rate=0.1,1,10")
    result = sweep(parameter, factors, who, tasks, comparisons(who, tasks, 30, executor))

Factors multiply what a subject is trained with on a task otherwise: its own number in brackets, else the
task's, else its default. All variants have the same seeds; factor 1 is the task as it is, and shares those
trainings. Subjects that have no such number are left out.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from discovery.core.errors import BadInput, unknown
from discovery.display.tables import RobustnessTable
from discovery.inner.compile import build_algorithm
from discovery.inner.loops.on_policy import check_numbers
from discovery.judging.comparison import Cell, Comparison
from discovery.judging.evaluate import AS_IT_IS, Variant
from discovery.results.subjects import Subject
from discovery.statistics import Interval, interval
from environments.task import Setup, Task

if TYPE_CHECKING:
    import pandas as pd

STRUCTURE = ("hidden", "n_envs")
"""What a sweep may vary beside numbers: widths of the hidden layers, and environments in parallel."""


class Level(NamedTuple):
    """A subject on a task at one factor: mean score with its 95% interval, which knows how many failed."""

    subject: str
    task: str
    factor: float
    score: Interval


@dataclass(frozen=True, eq=False)
class Robustness:
    """Scores at several factors of one parameter.

    Attributes:
        parameter: a number's name, "hidden" or "n_envs".
        factors: in increasing order.
        cells: factor -> the trainings.
        held_out: held-out tasks that no search saw.
        measures: task -> what its score is.
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
        return tuple(dict.fromkeys(cell.subject for cell in self.cells[self.factors[0]]))

    @property
    def tasks(self) -> tuple[str, ...]:
        """Tasks in their order."""
        return tuple(dict.fromkeys(cell.task for cell in self.cells[self.factors[0]]))

    @cached_property
    def levels(self) -> tuple[Level, ...]:
        """Every subject on every task at every factor.

        A failed training counts as the worst score that any subject reached on the task at any factor.
        """
        worst = {task: self._worst(task) for task in self.tasks}
        return tuple(
            Level(cell.subject, cell.task, factor, _score(cell, worst[cell.task]))
            for factor in self.factors
            for cell in self.cells[factor]
        )

    def scores(self, subject: str, task: str) -> list[Interval]:
        """A subject's score on a task at each factor, in their order."""
        return [level.score for level in self.levels if (level.subject, level.task) == (subject, task)]

    def table(self) -> RobustnessTable:
        """The levels for rich to print, a table for each task."""
        return RobustnessTable(self)

    def frame(self) -> "pd.DataFrame":
        """The levels as a data frame, but for those of factor 1: the tasks as they are."""
        import pandas as pd

        return pd.DataFrame(
            {"task": t, "subject": s, "variant": _variant(self.parameter, factor).name, "n": found.n,
             "failed": found.failed, "mean": found.estimate, "mean low": found.low, "mean high": found.high}
            for s, t, factor, found in self.levels
            if factor != 1
        )  # fmt: skip

    def to_dict(self) -> dict[str, Any]:
        """The levels as JSON can hold them, once its numbers are made finite."""
        rows = [
            {"subject": s, "task": t, "factor": f, "mean": found.estimate, "low": found.low,
             "high": found.high, "n": found.n, "failed": found.failed}
            for s, t, f, found in self.levels
        ]  # fmt: skip
        swept = {"parameter": self.parameter, "factors": list(self.factors), "left_out": list(self.left_out)}
        return swept | {"levels": rows}

    def _worst(self, task: str) -> float:
        found = [cell.scores for cells in self.cells.values() for cell in cells if cell.task == task]
        known = np.concatenate(found)
        known = known[np.isfinite(known)]
        return float(known.min()) if known.size else math.nan


def _score(cell: Cell, worst: float) -> Interval:
    return interval(cell.scores, failures="drop" if cell.failed_wholly else worst)


def parse_sweep(text: str) -> tuple[str, tuple[float, ...]]:
    """Parameter and factors of "NAME=F1,F2,..."; the factors in increasing order, each once.

    Raises:
        BadInput: it is something else, or a factor is not positive and finite.
    """
    name, _, listed = text.partition("=")
    try:
        factors = sorted({float(factor) for factor in listed.split(",")})
    except ValueError:
        factors = []
    if not name or not factors:
        raise BadInput(
            f"a sweep is given as NAME=FACTOR,FACTOR,... such as learning_rate=0.1,1,10, got {text!r}"
        )
    return name.strip().replace("-", "_"), check_factors(name, factors)


def check_factors(name: str, factors: Sequence[float]) -> tuple[float, ...]:
    """The factors in increasing order, each once.

    Raises:
        BadInput: there is none, or one is not positive and finite.
    """
    if not factors or not all(math.isfinite(factor) and factor > 0 for factor in factors):
        raise BadInput(f"factors of {name} must be positive and finite, got {', '.join(map(str, factors))}")
    return tuple(sorted({float(factor) for factor in factors}))


def varied(subject: Subject, task: Task, parameter: str, factor: float) -> Task:
    """The task as a subject is trained on it with a parameter times `factor`.

    Widths and environments are rounded, to 1 at least. The budget in steps stays.

    Raises:
        BadInput: the subject does not read that number; a factor of it changes nothing; or what comes out
            makes no sense.
    """
    own = subject.task(task)
    where = f"{parameter} x {factor:g} of {subject.label} on {task.name}"
    if parameter in STRUCTURE:
        try:
            return replace(own, setup=_resized(own.setup, parameter, factor))
        except ValueError as error:
            raise BadInput(f"{where}: {error}") from error
    algorithm = build_algorithm(subject.spec)
    defaults = dict(algorithm.defaults)
    if parameter not in defaults:
        error = unknown("parameter", parameter, [*defaults, *STRUCTURE])
        raise BadInput(f"{subject.label} cannot be swept over it: {error}")
    value = own.numbers.get(parameter, defaults[parameter])
    if factor != 1 and (value == 0 or math.isinf(value)):
        raise BadInput(f"{where}: it is {value:g}, of which every factor is the same; give the task another")
    changed = replace(own, numbers={**own.numbers, parameter: value * factor}) if factor != 1 else own
    try:
        check_numbers(algorithm, changed.numbers)
    except ValueError as error:
        raise BadInput(f"{where}: {error}") from error
    return changed


def _resized(setup: Setup, parameter: str, factor: float) -> Setup:
    if parameter == "n_envs":
        return replace(setup, n_envs=max(1, round(setup.n_envs * factor)))
    if not setup.hidden:
        raise ValueError("there are no hidden layers to widen")
    return replace(setup, hidden=tuple(max(1, round(width * factor)) for width in setup.hidden))


def sweep(
    parameter: str,
    factors: Sequence[float],
    subjects: Sequence[Subject],
    tasks: Sequence[Task],
    compared: Callable[[Variant], Comparison],
) -> Robustness:
    """Train every subject that has the parameter on every task at every factor.

    Args:
        parameter: see `varied`.
        factors: likewise.
        subjects: who is trained.
        tasks: on which.
        compared: their comparison on a variant of the tasks, all else being equal; see `comparisons`.

    Raises:
        BadInput: before anything is trained, if a variant makes no sense, or nobody has the parameter; see
            `varied`.
    """
    factors = check_factors(parameter, factors)
    without = check_sweep(parameter, factors, subjects, tasks)
    found = {factor: compared(_variant(parameter, factor, without)) for factor in factors}
    first = found[factors[0]]
    cells = {
        factor: tuple(cell for cell in result.cells if cell.subject not in without)
        for factor, result in found.items()
    }
    return Robustness(parameter, factors, cells, first.held_out, first.measures, without)


def check_sweep(
    parameter: str, factors: Sequence[float], subjects: Sequence[Subject], tasks: Sequence[Task]
) -> tuple[str, ...]:
    """Make every variant of a sweep, train none, and return the labels of those that are left out of it.

    Raises:
        BadInput: one makes no sense, or nobody has the parameter; see `varied`.
    """
    able = [subject for subject in subjects if _has(subject, parameter)]
    for subject in able or subjects:
        for task in tasks:
            for factor in factors:
                varied(subject, task, parameter, factor)
    return tuple(subject.label for subject in subjects if subject not in able)


def _has(subject: Subject, parameter: str) -> bool:
    return parameter in STRUCTURE or parameter in dict(build_algorithm(subject.spec).defaults)


def _variant(parameter: str, factor: float, without: Sequence[str] = ()) -> Variant:
    if factor == 1:
        return AS_IT_IS
    return Variant(
        f"{parameter} x {factor:g}",
        lambda subject, task: varied(subject, task, parameter, factor),
        frozenset(without),
    )
