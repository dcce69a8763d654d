"""What a run searched, and how, from its config and its ledger."""

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal

import numpy as np

from discovery.core.plain import plain
from discovery.results.loaded import RunData
from discovery.results.words import words_of
from discovery.search.selection import Contest
from discovery.statistics import Interval, interval
from discovery.store.start import origins_of
from environments.task import Setup, Task
from objectives import factory

Scalar = bool | int | float | str | None
Use = Literal["search", "selection", "search and selection", "held out"]

SHOWN = ("environment", "n_envs", "n_steps", "n_epochs", "n_minibatches", "curve_points")
"""Fields of a setup that are shown elsewhere, or need not be shown."""


@dataclass(frozen=True)
class TaskFacts:
    """A task and its recipe.

    Attributes:
        name, environment, score: of the task.
        use: what the run uses it for.
        steps: environment steps of one training; `updates` rollouts of `envs` x `length` steps.
        epochs, minibatches: of each rollout.
        numbers: its numbers ("inf" as text); the algorithm's defaults apply to others.
        setup: other settings that differ from the defaults.
    """

    name: str
    use: Use
    environment: str
    score: str
    steps: int
    updates: int
    envs: int
    length: int
    epochs: int
    minibatches: int
    numbers: Mapping[str, float | str]
    setup: Mapping[str, Any]


@dataclass(frozen=True)
class Searched:
    """What was searched.

    Attributes:
        algorithm: the family's name.
        summary: the first sentence of its docstring; "" if its code is not available.
        options: all options, with defaults.
        shapes: shape of each searched array, by its path; empty before the search has begun.
        size: total number of entries of these arrays.
        start: origins of the first answer's entries, as text; empty for the family's own start.
        tasks: all tasks.
    """

    algorithm: str
    summary: str
    options: Mapping[str, Scalar]
    shapes: Mapping[str, tuple[int, ...]]
    size: int
    start: tuple[str, ...]
    tasks: tuple[TaskFacts, ...]


@dataclass(frozen=True)
class Mean:
    """An answer that was scored on selection seeds, such as the mean of an evolution strategy.

    Attributes:
        generation: g, after g updates.
        status: its state in the race between the answers.
        seeds: how many selection seeds it was trained on.
        scores: task -> interval of its mean score on them; failed trainings are left out and counted.
    """

    generation: int
    status: Literal["chosen", "in the race", "dropped"]
    seeds: int
    scores: Mapping[str, Interval]


@dataclass(frozen=True)
class Generation:
    """A closed generation: its population's scores, and the share of it that failed."""

    generation: int
    mean: float
    best: float
    failed: float


@dataclass(frozen=True)
class Method:
    """How it was searched.

    Attributes:
        meta: options of the meta-optimizer, with its defaults.
        settings: other settings of the search.
        stopping: options of early stopping; empty if there was none.
        closed, planned: number of generations.
        complete: whether the search has ended.
        race_seeds: number of selection seeds on which the answers in the race were compared.
        means, generations: in order.
    """

    meta: Mapping[str, Any]
    settings: Mapping[str, Scalar]
    stopping: Mapping[str, Scalar]
    closed: int
    planned: int
    complete: bool
    race_seeds: int
    means: tuple[Mean, ...]
    generations: tuple[Generation, ...]


def searched(run: RunData) -> Searched:
    """What was searched."""
    shapes = {path: array.shape for path, array in leaves(initial_mean(run))}
    size = sum(int(np.prod(shape)) for shape in shapes.values())
    config = run.config
    both: Use = "search" if config.selection else "search and selection"
    tasks = [_task(task, both) for task in config.tasks]
    tasks += [_task(task, "selection") for task in config.selection]
    tasks += [_task(task, "held out") for task in config.held_out]
    summary, options = _family(run)
    start = tuple(origin.text for origin in origins_of(run.meta))
    return Searched(run.spec.name, summary, options, shapes, size, start, tuple(tasks))


def summary(run: RunData) -> str:
    """A sentence that describes the run."""
    config, options = run.config, ", ".join(f"{name} {value}" for name, value in run.spec.options)
    family = run.spec.name + (f" ({options})" if options else "")
    tasks = ", ".join(task.name for task in config.tasks)
    how = f"{config.meta.title}, {run.n_generations} of {config.generations} generations"
    text = f"{family}, searched on {tasks} by {how} of {config.meta.population} proposals"
    if not run.selection:
        return f"{text}; nothing was chosen yet."
    chosen = run.choice.generation
    return f"{text}; chosen: {f'generation {chosen}' if chosen else f'the {words_of(config.meta).initial}'}."


def method(run: RunData, contest: Contest) -> Method:
    """How it was searched; `contest` is the state of the race between the answers."""
    config = run.config
    names = ("seed", "generations", "seeds", "selection_seeds", "selection_doublings")
    names += ("common_random_numbers", "antithetic_tasks", "executor", "agents_per_call")
    stopping = plain(config.stopping) if config.stopping.method != "none" else {}
    return Method(
        plain(config.meta.resolved()),
        {name: getattr(config, name) for name in names},
        stopping,
        run.n_generations,
        config.generations,
        run.settled,
        contest.seeds,
        tuple(_mean(run, number, contest) for number in sorted(run.selection)),
        tuple(_generation(number, row) for number, row in enumerate(run.scores)),
    )


def initial_mean(run: RunData) -> Mapping[str, Any]:
    """What the search began with; empty before it has begun."""
    rows = run.generations()
    return run.meta_params("initial") if rows and rows[0]["answer_digest"] else {}


def leaves(tree: Any, path: str = "") -> list[tuple[str, np.ndarray]]:
    """Arrays of nested dicts, each with its path ("drift.w_in")."""
    if isinstance(tree, Mapping):
        nested = [leaves(item, f"{path}.{name}" if path else str(name)) for name, item in tree.items()]
        return [leaf for found in nested for leaf in found]
    return [(path, np.asarray(tree))]


def _family(run: RunData) -> tuple[str, dict[str, Scalar]]:
    """A family's first sentence, and its options with defaults; only the given ones without its code."""
    given = dict(run.spec.options)
    try:
        make = factory(run.spec.name)
        defaults = {p.name: p.default for p in inspect.signature(make).parameters.values()}
    except (ValueError, TypeError):
        return "", given
    known = {name: value for name, value in defaults.items() if value is not inspect.Parameter.empty}
    summary = (inspect.getdoc(make) or "").partition("\n\n")[0]
    return " ".join(summary.split()), known | given


def _task(task: Task, use: Use) -> TaskFacts:
    setup, usual = task.setup, Setup()
    names = [field.name for field in fields(setup) if field.name not in SHOWN]
    unusual = {name: getattr(setup, name) for name in names if getattr(setup, name) != getattr(usual, name)}
    if task.shortest_life < 1:
        unusual["shortest_life"] = task.shortest_life
    numbers = {name: value if np.isfinite(value) else str(value) for name, value in task.numbers.items()}
    return TaskFacts(
        name=task.name,
        use=use,
        environment=setup.environment,
        score=task.score,
        steps=task.n_updates * setup.steps_per_update,
        updates=task.n_updates,
        envs=setup.n_envs,
        length=setup.n_steps,
        epochs=setup.n_epochs,
        minibatches=setup.n_minibatches,
        numbers=numbers,
        setup=unusual,
    )


def _mean(run: RunData, number: int, contest: Contest) -> Mean:
    scores = run.selection[number]
    status = "in the race" if number in contest.contenders else "dropped"
    if number == run.choice.generation:
        status = "chosen"
    intervals = {task: interval(values, failures="drop") for task, values in scores.items()}
    return Mean(number, status, min(map(len, scores.values())), intervals)


def _generation(number: int, scores: np.ndarray) -> Generation:
    known = scores[np.isfinite(scores)]
    mean, best = (float(known.mean()), float(known.max())) if known.size else (np.nan, np.nan)
    return Generation(number, mean, best, float(np.mean(~np.isfinite(scores))))
