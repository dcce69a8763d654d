"""A search in worker processes and the same on Ray: `python -m benchmarks.executors [--generations N]`.

Both are under way at once, and take turns: while one has its generation trained, the other's processes stand
still. So a machine that gets slower or faster does so for both. Prints seconds of each, from the start until
the first generation is closed and for all those after it, the ratio of their speeds with an interval over
generations, and whether all scores are the same, bit for bit.
"""

import argparse
import contextlib
import os
import signal
import subprocess
import tempfile
import threading
import time
import traceback
from collections.abc import Mapping, Sequence, Set
from dataclasses import replace
from pathlib import Path
from typing import Any

os.environ["PJRT_NPROC"] = "1"  # before jax is imported
os.environ.setdefault("JAX_PLATFORMS", "cpu")

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.faults import scores
from discovery.commands import presets
from discovery.commands.checks import check
from discovery.config import SearchConfig
from discovery.executors import make_executor
from discovery.executors.ray import Ray
from discovery.meta.base import Result
from discovery.run import Run
from discovery.search import search
from discovery.statistics import interval
from discovery.work import Job, JobResult

EXECUTORS = ("processes", "ray")


class Turns:
    """Whose turn it is among several searches, each in a thread of its own; it changes with each generation.

    Attributes:
        seconds: of each turn, by name.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self._names, self._turn = names, 0
        self._change = threading.Condition()
        self.seconds: dict[str, list[float]] = {name: [] for name in names}

    def wait(self, name: str) -> None:
        """Until it is this one's turn: first, second, second, first, and so on."""
        with self._change:
            self._change.wait_for(lambda: self._whose() == name)
        self._began = time.perf_counter()

    def done(self, name: str) -> None:
        """The next one's turn."""
        with self._change:
            self.seconds[name].append(time.perf_counter() - self._began)
            self._turn += 1
            self._change.notify_all()

    def _whose(self) -> str:
        both, second = divmod(self._turn, 2)
        return self._names[second ^ (both % 2)]


class Player:
    """Listens to a search, and hands on the turn with each generation; its processes stand still between."""

    def __init__(self, name: str, turns: Turns, executor: Any) -> None:
        self._name, self._turns, self._executor = name, turns, executor

    def started(self, generation: int, jobs: Sequence[Job], done: int) -> None:
        """Nothing to do."""

    def finished(self, job: Job, result: JobResult) -> None:
        """Nothing to do."""

    def closed(self, generation: int, results: Mapping[str, Result], metrics: Mapping[str, float]) -> None:
        """The other's turn."""
        executor = self._executor
        first = {executor._bridge.process.pid} if isinstance(executor, Ray) else set(executor.pids())
        processes = family(first)
        send(processes, signal.SIGSTOP)
        self._turns.done(self._name)
        self._turns.wait(self._name)
        send(processes, signal.SIGCONT)


def family(first: Set[int]) -> Set[int]:
    """Process ids: these, and all that they and theirs have started."""
    said = subprocess.run(["ps", "-e", "-o", "pid=,ppid="], capture_output=True, text=True, check=True)
    rows = [line.split() for line in said.stdout.splitlines()]
    parents = {int(pid): int(parent) for pid, parent in rows}
    found = first
    while more := {pid for pid, parent in parents.items() if parent in found} - found:
        found = found | more
    return found


def send(processes: Set[int], what: signal.Signals) -> None:
    """A signal to all that are still there."""
    for pid in processes:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, what)


def play(name: str, config: SearchConfig, out: Path, turns: Turns) -> None:
    """A search, whenever it is its turn."""
    try:
        turns.wait(name)
        executor = make_executor(name, 2, config.width)
        check(config)  # as a search does, while Ray begins
        with executor, Run.create(config, out, name=name) as run:
            search(run, executor, Player(name, turns, executor))
        turns.done(name)
    except BaseException:
        traceback.print_exc()
        send(family({os.getpid()}), signal.SIGCONT)  # who stands still would not see that we are gone
        os._exit(1)  # or the other would wait for ever


def together(config: SearchConfig, out: Path) -> Turns:
    """Both searches, in turns."""
    turns = Turns(EXECUTORS)
    threads = [threading.Thread(target=play, args=(name, config, out, turns)) for name in EXECUTORS]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return turns


def main() -> None:
    """Search twice, and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.executors", description=__doc__)
    parser.add_argument("--preset", default="quickstart")
    parser.add_argument("--generations", type=int, default=17)
    options = parser.parse_args()
    config = replace(presets.read(options.preset)[0], generations=options.generations)
    with tempfile.TemporaryDirectory() as out:
        turns = together(config, Path(out))
        same = scores(Path(out) / EXECUTORS[0]) == scores(Path(out) / EXECUTORS[1])
    table = Table(title=f"{options.preset}, {options.generations} generations, 2 workers")
    for head in ("executor", "until the first is closed", "the others, and the end", "minutes in all"):
        table.add_column(head)
    for name, (first, *others) in turns.seconds.items():
        table.add_row(name, f"{first:.1f} s", f"{sum(others):.1f} s", f"{(first + sum(others)) / 60:.2f}")
    console = Console()
    console.print(table)
    processes, ray = (np.array(turns.seconds[name]) for name in EXECUTORS)
    ratio = interval((processes / ray)[1:-1])
    console.print(
        f"ray makes {processes.sum() / ray.sum():.3f} of the speed; of single generations after the first "
        f"{ratio.estimate:.3f} [{ratio.low:.3f}, {ratio.high:.3f}]; all scores are "
        f"{'the same' if same else 'NOT the same'}"
    )


if __name__ == "__main__":
    main()
