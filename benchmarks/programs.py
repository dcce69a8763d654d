"""(h) Programs that are interpreted against hand-written PPO, and programs judged per hour.

Seconds of trainings are CPU time of the process, so that other programs on the machine do not influence them.
"""

import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np

from benchmarks.tasks import BREAKOUT, CARTPOLE, PPO, inputs, shortened
from benchmarks.timing import Figure, median, ratio, rounds, timed
from discovery.core.config.programs import ProgramsConfig
from discovery.core.config.search import SearchConfig
from discovery.core.jobs import AlgorithmSpec, Job, JobResult
from discovery.executors import make_executor
from discovery.executors.base import Executor
from discovery.inner.compile import run_chunk
from discovery.meta.base import Results
from discovery.search.loop import search
from discovery.store.run import Run
from environments.task import Task
from objectives.programs.code import Size, encode
from objectives.programs.known import SOURCES, known

TASKS = {"CartPole": (CARTPOLE, 8), "MinAtar": (shortened(BREAKOUT, 1 / 3), 4)}
"""Each task with the number of trainings in a call."""
SLOTS = ("policy_loss", "loss", "trace", "advantage", "optimizer", "schedule")
SHARED, DIFFERENT, PIPELINE = 1.15, 1.4, 0.8
"""The goals of `policy_loss`: its trainings take at most so many times as long as PPO's, with one program in
a call and with different ones; and a search judges programs at this share of the speed of bare trainings."""


def training(task: Task, slot: str, names: Sequence[str]) -> Callable[[], tuple[Any, Any, float]]:
    """Trainings side by side, each with a known program in a slot; of plain PPO without a slot."""
    keys, lifetimes = inputs(task, len(names))
    if not slot:
        return lambda: run_chunk(PPO, task, {}, keys, lifetimes)
    codes = [encode(known(slot, name), Size(24, 8, 0)) for name in names]
    meta_params = {slot: jax.tree.map(lambda *leaves: np.stack(leaves), *codes)}
    spec = AlgorithmSpec("programs", (("slots", slot),))
    return lambda: run_chunk(spec, task, meta_params, keys, lifetimes)


def measure(n: int) -> list[Figure]:
    """Whole trainings on two recipes with a program in each slot, and the speed of a search."""
    figures = []
    for name, (task, agents) in TASKS.items():
        variants = {"PPO": training(task, "", [""] * agents)}
        for slot in SLOTS:
            programs = list(SOURCES[slot])
            every = [programs[i % len(programs)] for i in range(agents)]
            start = "ppo" if "ppo" in programs else programs[0]
            variants[f"{slot}, one program"] = training(task, slot, [start] * agents)
            if len(programs) > 1:
                variants[f"{slot}, different programs"] = training(task, slot, every)
        compiled = sum(run()[2] > 0 for run in variants.values())
        seconds = rounds({key: timed(run, time.process_time) for key, run in variants.items()}, n)
        for key in list(variants)[1:]:
            goal = SHARED if key.endswith("one program") else DIFFERENT
            notes = {who: f"{median(seconds[who]):.2f} s" for who in (key, "PPO")}
            notes["compiled"] = f"{compiled} for PPO and {len(SLOTS)} slots"
            at_most = goal if key.startswith("policy_loss") else None
            what = f"{name}, {agents} side by side: {key} / PPO"
            figures.append(ratio(what, seconds[key], seconds["PPO"], notes, at_most=at_most))
    return [*figures, judged(n)]


CARTPOLE_30K = replace(CARTPOLE, total_steps=30_000)
CONFIG = SearchConfig(
    algorithm="programs",
    meta=ProgramsConfig(population=32, answer_every=0, tuning=0, simplification=0),
    tasks=(CARTPOLE_30K,),
    seeds=4,
    selection_seeds=1,
    agents_per_call=4,
)


class _Stopwatch:
    """A listener that times each generation, and then as many trainings of PPO with the same executor."""

    def __init__(self, executor: Executor) -> None:
        self.executor = executor
        self.whole: list[float | None] = []
        self.bare: list[float | None] = []
        self.compiling: list[float] = []
        self._began = time.perf_counter()
        self._jobs: Sequence[Job] = ()

    def started(self, generation: int, jobs: Sequence[Job], done: int) -> None:
        self._jobs = jobs

    def finished(self, job: Job, result: JobResult) -> None: ...

    def closed(self, generation: int, results: Results, metrics: Mapping[str, float]) -> None:
        self.whole.append(time.perf_counter() - self._began)
        jobs = [replace(job, algorithm=PPO, meta_params={}) for job in self._jobs]
        began = time.perf_counter()
        found = list(self.executor.run(jobs))
        self.bare.append(time.perf_counter() - began)
        self.compiling += [result.compile_seconds for result in found if result.compile_seconds]
        self._began = time.perf_counter()


def judged(n: int) -> Figure:
    """n generations of 32 programs, each trained for 30,000 steps with 4 seeds, on two workers."""
    with (
        tempfile.TemporaryDirectory() as folder,
        make_executor("processes", workers=2, agents_per_call=CONFIG.width) as executor,
        Run.create(replace(CONFIG, generations=n + 1), Path(folder), name="bench") as run,
    ):
        watch = _Stopwatch(executor)
        search(run, executor, watch)
    whole, bare = watch.whole[1:], watch.bare[1:]
    population, compiling = CONFIG.meta.population, max(watch.compiling, default=float("nan"))
    notes = {
        "programs per hour": f"{population * 3600 / median(whole):,.0f}",
        "as bare trainings of PPO": f"{population * 3600 / median(bare):,.0f}",
        "if each were compiled": f"{3600 / (median(bare) / population + compiling / 2):,.0f}",
    }
    return ratio("programs judged per hour / bare trainings of PPO", bare, whole, notes, at_least=PIPELINE)
