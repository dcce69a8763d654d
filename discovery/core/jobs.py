"""The unit of work that searches, executors and the ledger exchange: one inner training."""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np

from environments.task import Task
from objectives import parts_of

MACHINE_FAILURES = frozenset({"crashed", "timeout", "out_of_memory", "environment"})
"""Errors that say nothing about an algorithm: a worker died, time or memory ran out, an environment raised.
They do not count against it, and a later command repeats the training."""
EXPORTED_FILE = "discovery.results.exported_file:from_file"
"""The algorithm of an exported file; only `results.subjects` uses it, when a user names the file."""


class Outcome(NamedTuple):
    """What one inner training returned, as numbers; a pytree (batched ``[W, ...]`` inside executors).

    Attributes:
        score: the task's score (see `Task.score`); NaN when no episode was completed.
        final: mean return of the episodes completed in the last fifth of the training.
        auc: mean of the learning curve over its K points.
        curve: ``[K]`` mean return of the episodes completed in each window (NaN: none).
        episodes: ``[K]`` how many episodes were completed in each window.
        length: ``[K]`` their mean length in steps.
        nonfinite_step: environment step at which anything first became non-finite, or -1.
        metrics: ``{name: [K]}``, what else the training's loop reports.
    """

    score: Any
    final: Any
    auc: Any
    curve: Any
    episodes: Any
    length: Any
    nonfinite_step: Any
    metrics: Mapping[str, Any]


@dataclass(frozen=True)
class AlgorithmSpec:
    """An algorithm by name and options: hashable, and small enough to send to a worker.

    `options` are keyword arguments of its factory, as sorted (name, value) pairs.
    """

    name: str
    options: tuple[tuple[str, Any], ...] = ()

    @property
    def parts(self) -> tuple["AlgorithmSpec", ...]:
        """Its parts, each with its options: "lpo+open" has `lpo` and `open`."""
        parts = parts_of(self.name, dict(self.options))
        return tuple(AlgorithmSpec(name, tuple(sorted(options.items()))) for name, options in parts)


@dataclass(frozen=True)
class JobKey:
    """Names one training within a run. Its text is for the database and for logs, and is never parsed.

    Attributes:
        owner: the id of a search's request, or the name of a subject.
        split: which seeds: "search", "selection" or "report".
        task: the task's name.
        seed: index of the seed.
        until: the rollout at which the training stops early; None to train to the end.
    """

    owner: Hashable
    split: str
    task: str
    seed: int
    until: int | None = None

    def __str__(self) -> str:
        end = "" if self.until is None else f"@{self.until}"
        return f"{self.owner}/{self.split}/{self.task}/s{self.seed}{end}"

    @property
    def whole(self) -> "JobKey":
        """The key of the same training without an early end."""
        return replace(self, until=None)


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """The whole state of a training that was stopped at some update, as plain arrays.

    Attributes:
        update: n, rollouts learned from.
        leaves: leaves of the loop's state, with keys as raw data.
    """

    update: int
    leaves: tuple[np.ndarray, ...] = field(repr=False)


@dataclass(frozen=True)
class Job:
    """One inner training to run.

    Attributes:
        id: unique within a run.
        algorithm: which algorithm.
        task: environment, recipe and budget.
        meta_params: the searched entries, a pytree of numpy arrays; empty dict for known algorithms.
        key: raw key data, uint32 ``[2]``.
        lifetime: N, number of rollouts.
        until: stop after this many rollouts and return a checkpoint; None: train to the end.
        checkpoint: where to continue; None: start afresh.
        stretches: number of calls that a whole training is split into, for any free workers.
    """

    id: JobKey
    algorithm: AlgorithmSpec
    task: Task
    meta_params: Any
    key: np.ndarray
    lifetime: int
    until: int | None = None
    checkpoint: Checkpoint | None = None
    stretches: int = 1

    @property
    def updates(self) -> int:
        """Rollouts to run."""
        end = self.lifetime if self.until is None else self.until
        return end - (0 if self.checkpoint is None else self.checkpoint.update)


@dataclass(frozen=True)
class JobResult:
    """The result of a job. Either `outcome` is set, or `error` is one of `MACHINE_FAILURES` or "failed" (the
    algorithm raised), with the reason in `detail`.

    `checkpoint` is the state of a job that was asked to stop, see `Job.until`.
    A job that asks for a measurement instead of a training has no outcome: `extra` has the answer.

    `outcome` with a non-finite score is the typed error "diverged", kept with its outcome.
    Observational (not reproducible, and not compared between runs): seconds, compile_seconds, worker,
    attempts, more.

    If `more`, further results came at the same time and follow at once: they can be recorded together.
    """

    id: JobKey
    outcome: Outcome | None
    error: str | None = None
    detail: str = ""
    seconds: float = 0.0
    compile_seconds: float = 0.0
    worker: str = ""
    attempts: int = 1
    checkpoint: Checkpoint | None = None
    more: bool = False
    extra: dict[str, Any] = field(default_factory=dict)
