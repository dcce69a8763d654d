"""A search beside its control, such as the best of N random programs, at equal budgets.

A budget is a number of trainings of proposals, in whole ones: a training that was stopped early counts as the
share of it that ran. The score at a budget is that of the best answer so far, on the selection seeds.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from discovery.core.errors import BadInput
from discovery.display.report.searched import summary
from discovery.results.loaded import RunData
from discovery.statistics import Interval, interval
from environments.task import Task

SHARES = (0.0, 0.125, 0.25, 0.5, 0.75, 1.0)
"""Of the largest budget that both have spent, at which they are compared."""


@dataclass(frozen=True)
class Step:
    """The best answer so far of a run.

    Attributes:
        trainings: of proposals, before it was the answer.
        generation: whose answer it is.
        scores: task -> mean on the selection seeds.
    """

    trainings: int
    generation: int
    scores: Mapping[str, Interval]


@dataclass(frozen=True)
class Compared:
    """Both at one budget, on one task.

    Attributes:
        task: its name.
        trainings: the budget.
        search, control: scores of their best answers so far; None before an answer was scored.
        difference: search minus control.
    """

    task: str
    trainings: int
    search: Interval | None
    control: Interval | None
    difference: float | None


@dataclass(frozen=True)
class Control:
    """A search and its control.

    Attributes:
        name: of the control.
        line: what it did, in words.
        trainings: the largest budget that both have spent.
        search, control: their best answers so far, in order of the budget.
        table: both at some budgets.
    """

    name: str
    line: str
    trainings: int
    search: tuple[Step, ...]
    control: tuple[Step, ...]
    table: tuple[Compared, ...]


def control_of(run: RunData, other: RunData) -> Control:
    """A run beside a control.

    Raises:
        BadInput: they are the same run, their tasks differ, or one of them has no score on selection seeds.
    """
    if run.folder.resolve() == other.folder.resolve():
        raise BadInput(f"{run.name} cannot be its own control; name another run of the same tasks")
    for what, mine, theirs in (
        ("", run.config.tasks, other.config.tasks),
        ("selection ", run.config.selecting, other.config.selecting),
    ):
        if differing := _differing(mine, theirs):
            raise BadInput(
                f"{other.name} is no control for {run.name}, since their {what}tasks differ: "
                f"{', '.join(differing)}; search with the same tasks, setups and numbers"
            )
    for one in (run, other):
        if not one.selection:
            raise BadInput(f"run {one.name} has no scores on selection seeds yet, which a control compares")
    mine, theirs = best_so_far(run), best_so_far(other)
    budget = min(trainings_before(one, one.n_generations) for one in (run, other))
    return Control(
        name=other.name,
        line=summary(other),
        trainings=budget,
        search=mine,
        control=theirs,
        table=tuple(
            _compared(task.name, round(share * budget), mine, theirs)
            for task in run.config.selecting
            for share in SHARES
        ),
    )


def best_so_far(run: RunData) -> tuple[Step, ...]:
    """The answers of a run with a higher selection score than all earlier ones.

    With several tasks, scores are divided by their spread over the answers, and averaged.
    """
    table = {g: [run.selection[g][task.name] for task in run.config.selecting] for g in sorted(run.selection)}
    means = np.array([[values.mean() for values in scores] for scores in table.values()])
    finite = means[np.isfinite(means).all(axis=1)]
    spread = finite.std(axis=0) if len(finite) else np.ones(means.shape[1])
    merit = np.nan_to_num((means / np.where(spread > 0, spread, 1.0)).mean(axis=1), nan=-np.inf)
    best, found = -np.inf, []
    for generation, value in zip(table, merit, strict=True):
        if value > best or not found:
            best = value
            scores = run.selection[generation].items()
            intervals = {task: interval(values, failures="drop") for task, values in scores}
            found.append(Step(trainings_before(run, generation), generation, intervals))
    return tuple(found)


def trainings_before(run: RunData, generation: int) -> int:
    """Trainings of proposals before a generation, in whole ones."""
    rows = (
        row for row in run.evaluations() if row["split"] != "selection" and row["generation"] < generation
    )
    return round(sum((row["until"] - row["begun"]) / row["lifetime"] for row in rows))


def at(steps: tuple[Step, ...], trainings: int) -> Step | None:
    """The best answer at a budget."""
    return next((step for step in reversed(steps) if step.trainings <= trainings), None)


def _compared(task: str, trainings: int, search: tuple[Step, ...], control: tuple[Step, ...]) -> Compared:
    both = [step and step.scores[task] for step in (at(search, trainings), at(control, trainings))]
    mine, theirs = both
    difference = mine.estimate - theirs.estimate if mine and theirs else None
    return Compared(task, trainings, mine, theirs, difference)


def _differing(mine: tuple[Task, ...], theirs: tuple[Task, ...]) -> list[str]:
    """Names of tasks that only one has, or that differ in what is trained or how it is scored."""
    a, b = ({task.name: replace(task, reference=None) for task in tasks} for tasks in (mine, theirs))
    return [name for name in {**a, **b} if a.get(name) != b.get(name)]
