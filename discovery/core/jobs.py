"""The unit of work that meta-optimizers, executors and the ledger exchange: one inner training."""

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from environments.task import Task
from objectives import parts_of

EXPORTED_FILE = "discovery.results.exported_file:from_file"
"""The algorithm that an exported file is; only `results.subjects` names it, for a user who names the file."""


class Outcome(NamedTuple):
    """What one inner training returned, as numbers; a pytree (batched ``[W, ...]`` inside executors).

    Attributes:
        score: the task's score (see `Task.score`); NaN when no episode was completed.
        final: mean return of the episodes completed in the last fifth of the training.
        auc: mean of the learning curve over its K points.
        curve: ``[K]`` mean return of the episodes completed in each window (NaN: none).
        episodes: ``[K]`` how many episodes were completed in each window.
        length: ``[K]`` their mean length in steps.
        kl: ``[K]`` mean approximate KL(old || new), nats per sample.
        clip_fraction: ``[K]`` share of samples whose ratio left the clip band.
        entropy: ``[K]`` mean policy entropy, nats.
        grad_norm: ``[K]`` mean global gradient norm before clipping.
        nonfinite_step: environment step at which anything first became non-finite, or -1.
    """

    score: Any
    final: Any
    auc: Any
    curve: Any
    episodes: Any
    length: Any
    kl: Any
    clip_fraction: Any
    entropy: Any
    grad_norm: Any
    nonfinite_step: Any


@dataclass(frozen=True)
class AlgorithmSpec:
    """Which algorithm, by name and options: hashable, and small enough to send to a worker.

    `options` are keyword arguments of its factory, as sorted (name, value) pairs.
    """

    name: str
    options: tuple[tuple[str, Any], ...] = ()

    @property
    def parts(self) -> tuple["AlgorithmSpec", ...]:
        """What it is made of, each with its own options: "lpo+open" is `lpo` and `open`."""
        parts = parts_of(self.name, dict(self.options))
        return tuple(AlgorithmSpec(name, tuple(sorted(options.items()))) for name, options in parts)


@dataclass(frozen=True, eq=False)
class Begun:
    """A training that was stopped at some update: its whole state, as plain arrays.

    Attributes:
        update: n, rollouts learned from.
        leaves: of the `TrainingState`, keys as raw data.
    """

    update: int
    leaves: tuple[np.ndarray, ...] = field(repr=False)


@dataclass(frozen=True)
class Job:
    """One inner training to run.

    Attributes:
        id: unique within a run, for example "g12/p3/CartPole-v1/s0".
        algorithm: which algorithm.
        task: environment, recipe and budget.
        meta_params: the searched entries, a pytree of numpy arrays; empty dict for known algorithms.
        key: raw key data, uint32 ``[2]``.
        lifetime: N, number of rollouts.
        until: stop after so many of them, and hand out the state; None: live to the end.
        begun: where to go on: a state that was handed out; None: at birth.
        stretches: calls that a whole life is trained in, by whoever is free.
    """

    id: str
    algorithm: AlgorithmSpec
    task: Task
    meta_params: Any
    key: np.ndarray
    lifetime: int
    until: int | None = None
    begun: "Begun | None" = None
    stretches: int = 1

    @property
    def updates(self) -> int:
        """Rollouts to run."""
        end = self.lifetime if self.until is None else self.until
        return end - (0 if self.begun is None else self.begun.update)


@dataclass(frozen=True)
class JobResult:
    """What became of a job. Either `outcome` is set, or `error` is one of
    "crashed", "timeout", "out_of_memory", "failed" with the reason in `detail`.

    `begun` is the state of a job that was to stop before the end of its life.

    `outcome` with a non-finite score is the typed error "diverged", kept with its outcome.
    Observational (not reproducible, and not compared between runs): seconds, compile_seconds, worker,
    attempts, more.

    `more` results came at the same time, and follow at once: they can be recorded together.
    """

    id: str
    outcome: Outcome | None
    error: str | None = None
    detail: str = ""
    seconds: float = 0.0
    compile_seconds: float = 0.0
    worker: str = ""
    attempts: int = 1
    begun: Begun | None = None
    more: bool = False
    extra: dict[str, Any] = field(default_factory=dict)
