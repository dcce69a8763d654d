"""What the tests of judging share: an executor that trains nothing, and numbers chosen by hand."""

from collections.abc import Iterator, Sequence
from typing import Self

import numpy as np

from discovery.core.jobs import Job, JobResult, Outcome
from discovery.core.suites import Reference, Suite, SuiteTask
from discovery.executors.base import More, WorkerUse, no_more
from discovery.judging.comparison import Cell, Comparison
from discovery.judging.robustness import Robustness
from discovery.judging.suite_comparison import SuiteComparison
from environments.task import Setup, Task

NAN = np.nan
SETUP = Setup("CartPole-v1", n_envs=2, n_steps=8, n_epochs=1, n_minibatches=2, hidden=(8, 6), curve_points=4)


class Pretender:
    """Trains nothing: a job's score follows from its key and algorithm. `jobs` are those it was given."""

    def __init__(
        self, breaks_after: int | None = None, failing: Sequence[str] = (), error: str = "failed"
    ) -> None:
        self.jobs: list[Job] = []
        self._breaks_after, self._failing, self._error = breaks_after, failing, error

    def run(self, jobs: Sequence[Job], more: More = no_more) -> Iterator[JobResult]:
        for job in jobs:
            if self._breaks_after is not None and len(self.jobs) == self._breaks_after:
                raise KeyboardInterrupt
            self.jobs.append(job)
            if job.algorithm.name in self._failing:
                yield JobResult(job.id, None, self._error, "why")
                continue
            score = pretended(job)
            curve = np.linspace(0, score, 4, dtype=np.float32)
            outcome = Outcome(score, score, score, curve, curve, curve, np.int32(-1), {"kl": curve})
            yield JobResult(job.id, outcome)

    def worker_use(self) -> WorkerUse:
        return WorkerUse(1, 1.0)

    def close(self) -> None: ...

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None: ...


def pretended(job: Job) -> np.float32:
    seed = [*job.key.tolist(), len(job.algorithm.name), int(1e6 * job.task.numbers.get("learning_rate", 0))]
    return np.float32(np.random.default_rng(seed).normal())


def cell(subject: str, task: str, scores: Sequence[float], first_seed: int = 0) -> Cell:
    seeds = np.arange(first_seed, first_seed + len(scores))
    curves = np.tile(np.asarray(scores, float)[:, None], (1, 3))
    return Cell(subject, task, seeds, np.asarray(scores, float), curves, np.array([1.0, 2, 3]))


def entry(name: str, random: float, ppo: float) -> SuiteTask:
    """A suite's task with references written by hand."""
    low, high = (Reference(mean, mean - 0.1, mean + 0.1, 4) for mean in (random, ppo))
    return SuiteTask(Task(name, SETUP, 512, {"learning_rate": 0.01}), low, high)


ENTRIES = (entry("one", 0.0, 10.0), entry("two", -5.0, -1.0), entry("three", 0.0, 1.0))
SUITE = Suite("hand", "", ENTRIES[:1], ENTRIES[1:2], ENTRIES[2:])


def judged(*cells: Cell, entries: Sequence[SuiteTask] = ENTRIES, sweeps: tuple[Robustness, ...] = ()):
    return SuiteComparison("hand", Comparison(cells), entries, sweeps)


def rng_scores(seed: int, n: int, shift: float) -> list[float]:
    return list(np.random.default_rng(seed).normal(size=n) + shift)
