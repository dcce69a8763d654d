"""Counts of a search: trainings and environment steps, done and left; speed and remaining time.

`display/progress.py` shows these numbers, and `--dry-run` plans with them. Imports no jax.
"""

import math
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from discovery.core.config.search import SearchConfig
from discovery.meta.base import RequestId, Results, ScoreResult
from discovery.statistics import Interval, halving_schedule, interval
from environments.task import Task

if TYPE_CHECKING:
    from discovery.core.jobs import Job, JobResult
    from discovery.executors.base import WorkerUse


SETTLED = 10.0
"""Seconds without compilation after which speed is measured by wall-clock time."""


def expected_steps(task: Task, searching: bool = False) -> float:
    """Environment steps of one training; when `searching`, their mean over sampled lifetimes.

    A log-uniform lifetime between s N and N has the mean N (1 - s) / log(1 / s).
    """
    shortest = max(task.shortest_life, 1 / task.n_updates) if searching else 1.0
    share = (1 - shortest) / math.log(1 / shortest) if shortest < 1 else 1.0
    return share * task.trained_steps


def answer_is_due(config: SearchConfig, generation: int) -> bool:
    """Whether the mean of a generation is evaluated; the final mean always is."""
    every = config.meta.answer_every
    return generation == config.generations or (bool(every) and generation % every == 0)


def trainings_of(config: SearchConfig, generation: int) -> tuple[int, int]:
    """Trainings per task in a generation: of proposals, and of the mean on selection seeds."""
    searching = config.meta.population * config.seeds if generation < config.generations else 0
    return searching, config.selection_seeds if answer_is_due(config, generation) else 0


def planned(config: SearchConfig, first: int = 0) -> tuple[int, float]:
    """Trainings and environment steps from generation `first` to the end of the search. The further selection
    seeds, which only some means get, are not counted.
    """
    counts = [trainings_of(config, generation) for generation in range(first, config.generations + 1)]
    searching, selecting = (sum(column) for column in zip(*counts, strict=True)) if counts else (0, 0)
    steps = searching * stopping_share(config) * sum(expected_steps(task, True) for task in config.tasks)
    steps += selecting * sum(expected_steps(task) for task in config.selecting)
    return searching * len(config.tasks) + selecting * len(config.selecting), steps


def stopping_share(config: SearchConfig) -> float:
    """Steps that proposals take with successive halving, as a share of the steps without it.

    The savings of racing are not known in advance.
    """
    if config.stopping.method != "halving":
        return 1.0
    population, reached, total = config.meta.population, 0.0, 0.0
    for share, kept in halving_schedule(population, config.stopping.rungs, config.stopping.eta):
        total += kept * (share - reached)
        reached = share
    return total / population


def steps_of(job: "Job") -> int:
    """Environment steps of one training."""
    return job.updates * job.task.setup.steps_per_update


@dataclass(frozen=True)
class TaskRow:
    """One generation on one task.

    Attributes:
        mean, spread, best: of the proposals' finite scores (each averaged over its seeds); NaN if there are
            none.
        means: by generation, intervals over the selection seeds of the means that were evaluated since the
            last row. In an asynchronous search these can be means of earlier generations.
    """

    mean: float
    spread: float
    best: float
    means: Mapping[int, Interval]


@dataclass(frozen=True)
class Row:
    """One generation: its tasks by name, its trainings, its failures by kind, its speed, and its workers with
    their utilization since the session began.
    """

    generation: int
    tasks: Mapping[str, TaskRow]
    trainings: int
    failures: Mapping[str, int]
    steps: int
    seconds: float
    seconds_left: float | None
    worker_use: "WorkerUse | None" = None
    pace: float | None = None

    @property
    def steps_per_second(self) -> float:
        """Environment steps per second of all workers together, compilation included.

        In an asynchronous search, where two generations can be closed at once, it is `pace`: the speed of the
        whole session, without compilation.
        """
        if self.pace is not None:
            return self.pace
        return self.steps / self.seconds if self.seconds > 0 else math.nan


@dataclass
class SearchProgress:
    """The progress of this session, from the events of a `discovery.search.listener.Listener`.

    Attributes:
        config: of the search; None for trainings outside a search.
        clock: monotonic seconds.
        generation, trainings, done: the open generation, its number of trainings, and how many have ended.
        steps: its environment steps in this session.
        failures: how many of its trainings failed, by kind.
        worker_use: returns how many workers are ready and how busy they are; None if unknown.
        shown: generations whose means were in a row of this session.
        unseen: generations whose means were trained in this session but were in no row yet.
    """

    config: SearchConfig | None
    clock: Callable[[], float] = time.monotonic
    worker_use: "Callable[[], WorkerUse] | None" = None
    generation: int = 0
    trainings: int = 0
    done: int = 0
    steps: int = 0
    failures: Counter = field(default_factory=Counter)
    shown: set[int] = field(default_factory=set)
    unseen: set[int] = field(default_factory=set)
    _began: float = 0.0
    _left: float = 0.0
    _since: float | None = None
    _timed: int = 0
    _all_steps: int = 0
    _core_seconds: float = 0.0
    _workers: set[str] = field(default_factory=set)

    def started(self, generation: int, jobs: "Sequence[Job]", done: int) -> None:
        """The trainings of a generation are known; `done` of them were finished before."""
        total, done_share = sum(map(steps_of, jobs)), done / max(len(jobs), 1)
        left = (1 - done_share) * total
        flowing = self.config and self.config.meta.asynchronous and generation < self.config.generations
        if generation == self.generation and self.trainings:  # a further stage of it, or a further batch
            self.trainings += len(jobs)
            self.done += done
            self._left += 0.0 if flowing else left
            return
        self.generation, self.trainings, self.done, self.steps = generation, len(jobs), done, 0
        self.failures, self._began = Counter(), self.clock()
        if self.config and flowing:  # the trainings in flight are among those that are planned
            self._left = planned(self.config, generation)[1] - done_share * total
        else:
            self._left = left + (planned(self.config, generation + 1)[1] if self.config else 0.0)

    def finished(self, job: "Job", result: "JobResult") -> None:
        """One training ended."""
        steps = steps_of(job)
        self.done += 1
        self.steps += steps
        self._left -= steps
        if result.error:
            self.failures[result.error] += 1
        self._all_steps += steps
        self._core_seconds += result.seconds - result.compile_seconds
        self._workers.add(result.worker)
        if isinstance(owner := job.id.owner, RequestId) and owner.is_answer:
            self.unseen |= {owner.generation} - self.shown
        if result.compile_seconds or self._since is None:
            self._since, self._timed = self.clock(), 0  # compilation has just ended
        else:
            self._timed += steps

    @property
    def steps_per_second(self) -> float:
        """Speed of this session without compilation; NaN before there are results.

        It is measured since the last compilation. While that is less than `SETTLED` ago, it follows from the
        seconds that the workers report.
        """
        seconds = 0.0 if self._since is None else self.clock() - self._since
        if seconds >= SETTLED and self._timed:
            return self._timed / seconds
        return (
            self._all_steps / self._core_seconds * len(self._workers) if self._core_seconds > 0 else math.nan
        )

    @property
    def seconds_left(self) -> float | None:
        """Expected time until the search ends, at this speed; None while unknown."""
        rate = self.steps_per_second
        return max(self._left, 0.0) / rate if rate > 0 else None

    def row(self, results: Results) -> Row:
        """The row of the generation that was just closed."""
        self.shown |= {id.generation for id in results if id.is_answer}
        self.unseen -= self.shown
        return Row(
            self.generation,
            {task.name: task_row(task.name, results) for task in self.config.seen} if self.config else {},
            self.done,
            dict(self.failures),
            self.steps,
            self.clock() - self._began,
            self.seconds_left,
            self.worker_use() if self.worker_use else None,
            self.steps_per_second if self.config and self.config.meta.asynchronous else None,
        )


def final_row(config: SearchConfig, means: Mapping[int, Mapping[str, Interval]]) -> Row:
    """The last row, which has no proposals. `means` holds the intervals of the final mean, and of others that
    were evaluated since the row before, by generation and task.
    """
    tasks = {
        task.name: TaskRow(
            math.nan,
            math.nan,
            math.nan,
            {generation: found[task.name] for generation, found in means.items() if task.name in found},
        )
        for task in config.seen
    }
    return Row(config.generations, tasks, config.selection_seeds * len(config.selecting), {}, 0, 0.0, 0.0)


def task_row(task: str, results: Results) -> TaskRow:
    """A generation's scores on one task."""
    here = {
        id: result.scores[task]
        for id, result in results.items()
        if isinstance(result, ScoreResult) and task in result.scores
    }
    means = {id.generation: interval(v, failures="drop") for id, v in here.items() if id.is_answer}
    scores = np.array([values.mean() for id, values in here.items() if id.index >= 0])
    scores = scores[np.isfinite(scores)]
    if not scores.size:
        return TaskRow(math.nan, math.nan, math.nan, means)
    return TaskRow(float(scores.mean()), float(scores.std()), float(scores.max()), means)
