"""(c) A whole search generation against its inner trainings alone."""

import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from benchmarks.timing import Figure, ratio
from discovery.core.config.evolution import ESConfig
from discovery.core.config.search import SearchConfig
from discovery.core.jobs import Job, JobResult
from discovery.executors import make_executor
from discovery.executors.base import Executor
from discovery.meta.base import Results
from discovery.search.loop import search
from discovery.store.run import Run
from environments.task import Setup, Task

CATCH = Task(
    name="Catch-bsuite",
    setup=Setup("Catch-bsuite", n_envs=8, n_steps=32, n_epochs=8, n_minibatches=4),
    total_steps=20_000,
    numbers={"learning_rate": 5e-3, "value_clip": float("inf")},
    score="auc",
)
CONFIG = SearchConfig(
    algorithm="lpo",
    algorithm_options={"width": 16},
    meta=ESConfig(population=16, answer_every=0),
    tasks=(CATCH,),
    seeds=2,
    selection_seeds=1,
)


class Stopwatch:
    """A listener that times each generation, and then its trainings alone with the same warm executor."""

    def __init__(self, executor: Executor) -> None:
        self.executor = executor
        self.whole: list[float | None] = []
        self.bare: list[float | None] = []
        self._began = time.perf_counter()
        self._jobs: Sequence[Job] = ()

    def started(self, generation: int, jobs: Sequence[Job], done: int) -> None:
        self._jobs = jobs

    def finished(self, job: Job, result: JobResult) -> None: ...

    def closed(self, generation: int, results: Results, metrics: Mapping[str, float]) -> None:
        self.whole.append(time.perf_counter() - self._began)
        began = time.perf_counter()
        list(self.executor.run(self._jobs))
        self.bare.append(time.perf_counter() - began)
        self._began = time.perf_counter()


def measure(n: int) -> list[Figure]:
    """n generations of 32 trainings of 20,000 steps on two workers, after one that compiles."""
    with (
        tempfile.TemporaryDirectory() as folder,
        make_executor("processes", workers=2, agents_per_call=CONFIG.width) as executor,
        Run.create(replace(CONFIG, generations=n + 1), Path(folder), name="bench") as run,
    ):
        watch = Stopwatch(executor)
        search(run, executor, watch)
    whole, bare = watch.whole[1:], watch.bare[1:]
    seconds = f"{sum(x or 0.0 for x in whole) / len(whole):.2f} s"
    return [
        ratio("search generation / its bare trainings", whole, bare, {"generation": seconds}, at_most=1.05)
    ]
