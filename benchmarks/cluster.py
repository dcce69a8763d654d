"""Simulate how a search would scale: `python -m benchmarks.cluster RUN [--picture FILE]`.

Simulates a cluster of 1 to 10,000 workers with the training times of a real run, for the run's population and
for one 10 and 100 times as large. Chunks are sent out one after the other, longest first, because one process
sends all of them and records all results. The cost of that per chunk is measured first, with a search whose
trainings do nothing. Prints and draws seconds per generation and the utilization of workers.
"""

import argparse
import math
import os
import sqlite3
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

os.environ["PJRT_NPROC"] = "1"  # before jax is imported
os.environ.setdefault("JAX_PLATFORMS", "cpu")

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table

from benchmarks.schedule import Schedule, longest_first
from discovery.core.config.search import SearchConfig
from discovery.core.jobs import Job, JobResult, Outcome
from discovery.core.toml import load
from discovery.display import plots
from discovery.executors.base import Executor
from discovery.executors.processes import Processes
from discovery.executors.ray.cluster import Ray
from discovery.meta.base import Results
from discovery.search.loop import search
from discovery.store.run import CONFIG, Run

NOTHING = "benchmarks.cluster:nothing"
WORKERS = tuple(round(10 ** (step / 4)) for step in range(17))
"""1 to 10,000."""
TIMES = (1, 10, 100)
"""Factors of the run's population."""


def recorded(folder: Path) -> dict[str, Float[np.ndarray, " _"]]:
    """Seconds of a run's recorded chunks of proposals by task, without chunks that compiled.

    Trainings of one chunk have equal shares of its time, so equal seconds identify a chunk.
    """
    found: dict[str, list[float]] = {}
    query = """SELECT task, sum(seconds) FROM evaluations JOIN proposals ON proposal = proposals.id
               WHERE proposals.split = 'search' AND outcome IS NOT NULL AND compile_seconds = 0
               GROUP BY task, worker, seconds"""
    with closing(sqlite3.connect(f"file:{folder / 'ledger.sqlite'}?mode=ro", uri=True)) as database:
        for task, seconds in database.execute(query):
            found.setdefault(task, []).append(seconds)
    return {task: np.asarray(seconds) for task, seconds in found.items()}


def generation(
    seconds: Mapping[str, Float[np.ndarray, " _"]], config: SearchConfig, times: int
) -> list[float]:
    """Seconds of each chunk of a generation with `times` the population, drawn from the recorded seconds."""
    generator = np.random.default_rng(0)
    chunks: list[float] = []
    for task in config.tasks:
        number = math.ceil(times * config.meta.population * config.seeds / config.width)
        chunks += generator.choice(seconds[task.name], number).tolist()
    return chunks


# The search's own cost per chunk -----------------------------------------------------------------


def nothing(
    algorithm: Any,
    task: Any,
    meta_params: Any,
    keys: Any,
    lifetimes: Any,
    until: Any = None,
    checkpoint: Any = None,
) -> tuple[Outcome, None, float]:
    """A call that trains nothing."""
    width, points = len(keys), task.setup.curve_points
    each = np.zeros(width, np.float32)
    curve = np.zeros((width, points), np.float32)
    nonfinite_step = np.full(width, -1, np.int32)
    return Outcome(each, each, each, curve, curve, curve, nonfinite_step, {"kl": curve}), None, 0.0


class Clock:
    """A listener that records when generations were closed."""

    def __init__(self) -> None:
        self.closings: list[float] = []

    def started(self, generation: int, jobs: Sequence[Job], done: int) -> None: ...

    def finished(self, job: Job, result: JobResult) -> None: ...

    def closed(self, generation: int, results: Results, metrics: Mapping[str, float]) -> None:
        self.closings.append(time.perf_counter())


def handling(config: SearchConfig, executor: Executor) -> float:
    """The search's own seconds per chunk: asking, sending, receiving, recording, telling."""
    meta = replace(config.meta, population=256, answer_every=0)
    config = replace(config, meta=meta, generations=3, selection_seeds=1, seeds=2)
    clock = Clock()
    with tempfile.TemporaryDirectory() as place, executor:
        search(Run.create(config, Path(place), name="idle"), executor, clock)
    chunks = len(config.tasks) * math.ceil(meta.population * config.seeds / config.width)
    return (clock.closings[-1] - clock.closings[0]) / (len(clock.closings) - 1) / chunks


def overview(found: Mapping[int, Sequence[Schedule]], populations: Mapping[int, int]) -> Figure:
    """Seconds of a generation, and utilization, over the number of workers."""
    figure = plots.Picture(figsize=(9, 3.4), layout="constrained")
    seconds, busy = figure.subplots(1, 2)
    for color, (times, row) in zip(plots.COLORS, found.items(), strict=False):
        label = f"population {populations[times]:,}"
        seconds.plot(WORKERS, [one.seconds for one in row], "o-", color=color, markersize=3, label=label)
        busy.plot(WORKERS, [one.busy for one in row], "o-", color=color, markersize=3)
    for panel in (seconds, busy):
        panel.set_xscale("log")
        panel.set_xlabel("workers")
    seconds.set_yscale("log")
    plots.tidy(seconds, title="a generation", ylabel="seconds")
    plots.tidy(busy, title="workers busy", ylabel="share of their time")
    busy.set_ylim(0, 1.03)
    seconds.legend(frameon=False)
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cluster", description=__doc__)
    parser.add_argument("run", type=Path, help="folder of a run, whose trainings' times are taken")
    parser.add_argument("--picture", type=Path, help="where the picture goes")
    options = parser.parse_args()
    config, seconds = load(options.run / CONFIG), recorded(options.run)
    width = config.width
    console = Console(width=120)
    console.print("; ".join(f"{task}: {times.mean():.2f} s a chunk" for task, times in seconds.items()))
    costs = {
        "processes": handling(config, Processes(2, width, function=NOTHING)),
        "ray": handling(config, Ray(2, width, function=NOTHING)),
    }
    console.print(", ".join(f"{name}: {1e3 * cost:.2f} ms a chunk" for name, cost in costs.items()))
    chunks = {times: generation(seconds, config, times) for times in TIMES}
    found = {times: [longest_first(chunks[times], n, costs["ray"]) for n in WORKERS] for times in TIMES}
    populations = {times: times * config.meta.population for times in TIMES}
    table = Table(title="seconds of a generation (share of their time in which workers train)")
    table.add_column("workers")
    for times in TIMES:
        table.add_column(f"population {populations[times]:,}: {len(chunks[times]):,} chunks")
    for index, workers in enumerate(WORKERS):
        cells = [f"{found[times][index].seconds:.3g} ({found[times][index].busy:.1%})" for times in TIMES]
        table.add_row(f"{workers:,}", *cells)
    console.print(table)
    if options.picture:
        plots.save(overview(found, populations), options.picture)


if __name__ == "__main__":
    main()
