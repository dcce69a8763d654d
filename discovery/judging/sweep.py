"""Sweeps: training subjects at several factors of a number, of the network's width, or of n_envs.

    parameter, factors = parse_sweep("learning_rate=0.1,1,10")
    result = sweep(parameter, factors, who, tasks, comparisons(who, tasks, 30, executor))

Factors multiply the value that a subject is usually trained with on a task: its number in brackets, else the
task's, else its default. All variants have the same seeds; factor 1 is the unchanged task, whose trainings it
shares. Subjects that have no such number are left out.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

from discovery.core.errors import BadInput, unknown
from discovery.inner.compile import build_algorithm
from discovery.inner.loops.on_policy import check_numbers
from discovery.judging.comparison import Comparison
from discovery.judging.evaluate import AS_IT_IS, Variant
from discovery.judging.robustness import Robustness, variant_name
from discovery.results.subjects import Subject
from environments.task import Setup, Task

STRUCTURE = ("hidden", "n_envs")
"""What a sweep may vary besides numbers: widths of the hidden layers, and environments in parallel."""


def parse_sweep(text: str) -> tuple[str, tuple[float, ...]]:
    """Parameter and factors of "NAME=F1,F2,..."; the factors in increasing order, each once.

    Raises:
        BadInput: the text has another form, or a factor is not positive and finite.
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
        BadInput: there is no factor, or one is not positive and finite.
    """
    if not factors or not all(math.isfinite(factor) and factor > 0 for factor in factors):
        raise BadInput(f"factors of {name} must be positive and finite, got {', '.join(map(str, factors))}")
    return tuple(sorted({float(factor) for factor in factors}))


def varied(subject: Subject, task: Task, parameter: str, factor: float) -> Task:
    """The task as a subject is trained on it with a parameter times `factor`.

    Widths and environments are rounded, to at least 1. The budget in steps is unchanged.

    Raises:
        BadInput: the subject does not read that number; a factor of it changes nothing; or the result is
            invalid.
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
        subjects: to train.
        tasks: to train on.
        compared: returns their comparison on a variant of the tasks; see `comparisons`.

    Raises:
        BadInput: before anything is trained, if a variant is invalid, or no subject has the parameter; see
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
    """Check every variant of a sweep without training, and return the labels of the subjects left out.

    Raises:
        BadInput: a variant is invalid, or no subject has the parameter; see `varied`.
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
        variant_name(parameter, factor),
        lambda subject, task: varied(subject, task, parameter, factor),
        frozenset(without),
    )
