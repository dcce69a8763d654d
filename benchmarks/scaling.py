"""(a) Two worker processes against one, and against one process that vmaps over all agents."""

import os
import queue
import subprocess
import sys
import threading
from contextlib import closing
from typing import IO

from benchmarks.tasks import BREAKOUT, CARTPOLE, jobs, steps
from benchmarks.timing import Figure, rate, ratio, rounds, timed
from discovery.executors import make_executor
from environments.task import Task

WATCHDOG = 60.0
"""Seconds without an answer after which the vmapped process counts as hung: XLA's CPU pool can deadlock."""


class Vmapped:
    """A process that trains all agents in one vmapped call, on demand.

    It has XLA's default number of threads. If it hangs, it is started again with a pool of four, which has
    not hung so far; `threads` says which.
    """

    def __init__(self, task: str, agents: int) -> None:
        self._arguments = (task, agents)
        self.threads = "default threads"
        self._start({})

    def _start(self, pool: dict[str, str]) -> None:
        environment = {name: value for name, value in os.environ.items() if name != "PJRT_NPROC"} | pool
        task, agents = self._arguments
        command = [sys.executable, "-m", "benchmarks.vmapped", task, str(agents)]
        self._process = subprocess.Popen(
            command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._said: queue.Queue[str] = queue.Queue()
        threading.Thread(target=_listen, args=(self._process.stdout, self._said), daemon=True).start()

    def run(self) -> float | None:
        """Seconds of one call, or None when the process hangs or is gone."""
        if self._process.poll() is not None or self._process.stdin is None:
            return None
        self._process.stdin.write("go\n")
        self._process.stdin.flush()
        try:
            return float(self._said.get(timeout=WATCHDOG))
        except queue.Empty:
            self.close()
            if self.threads != "default threads":
                return None
            self.threads = "pool of 4 threads; with default threads it hung"
            self._start({"PJRT_NPROC": "4"})
            return self.run()

    def close(self) -> None:
        self._process.kill()
        self._process.wait()


def _listen(stream: IO[str] | None, said: "queue.Queue[str]") -> None:
    for line in stream or ():
        said.put(line)


def _scaling(task: Task, agents: int, width: int, goals: tuple[float, float], n: int) -> list[Figure]:
    work = jobs(task, agents)
    with (
        make_executor("processes", workers=1, agents_per_call=width) as one,
        make_executor("processes", workers=2, agents_per_call=width) as two,
        closing(Vmapped(task.name, agents)) as vmapped,
    ):
        workers = {"one": timed(lambda: list(one.run(work))), "two": timed(lambda: list(two.run(work)))}
        seconds = rounds({**workers, "vmapped": vmapped.run}, n)
    total = steps(task, agents)
    rates = {name: rate(total, values) for name, values in seconds.items()}
    rates["vmapped process"] = vmapped.threads
    sides = {"1 worker": "one", "one vmapped process": "vmapped"}
    return [
        ratio(f"{task.name}: 2 workers / {side}", seconds[key], seconds["two"], rates, at_least=goal)
        for (side, key), goal in zip(sides.items(), goals, strict=True)
    ]


def measure(n: int) -> list[Figure]:
    """Speed-ups on CartPole (16 agents, width 8) and Breakout-MinAtar (8 agents, width 2)."""
    return _scaling(CARTPOLE, 16, 8, (1.8, 1.7), n) + _scaling(BREAKOUT, 8, 2, (1.5, 1.5), n)
