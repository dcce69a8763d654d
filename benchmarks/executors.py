"""A search in worker processes and the same search on Ray: `python -m benchmarks.executors [--generations
N]`.

Two commands run in turns of two seconds, while the other one is stopped, because the speed of a shared
machine can change within seconds. Prints the seconds that each command ran, until its first generation was
closed and from there to its end, the ratio of their speeds, with an interval over generations, and whether
all scores are equal bit for bit.
"""

import argparse
import contextlib
import json
import math
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.faults import scores
from discovery.statistics import interval

EXECUTORS = ("processes", "ray")
TURN_SECONDS = 2.0


class Player:
    """A command that prints JSON lines, such as `discovery search --json`, with its descendant processes.

    Attributes:
        closed: seconds that it had run when it closed each generation.
        seconds: seconds that it has run in total, up to its last turn.
    """

    def __init__(self, words: Sequence[str]) -> None:
        self.closed: list[float] = []
        self.seconds, self._since = 0.0, time.perf_counter()
        self._stopped: set[int] = set()
        self.process = subprocess.Popen(words, stdout=subprocess.PIPE)
        threading.Thread(target=self._read, daemon=True).start()
        self._stop()

    @property
    def over(self) -> bool:
        return self.process.poll() is not None

    def play(self) -> None:
        """Run for one turn."""
        self._since = time.perf_counter()
        for pid in self._stopped:
            send(pid, signal.SIGCONT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(TURN_SECONDS)
        self._stop()

    def kill(self) -> None:
        """Kill all processes; stopped ones would not notice that their parent is gone."""
        for pid in family(self.process.pid):
            send(pid, signal.SIGKILL)

    def _stop(self) -> None:
        self._stopped = set()
        while new := family(self.process.pid).keys() - self._stopped:
            for pid in sorted(new):
                send(pid, signal.SIGSTOP)
            self._stopped |= new
        self.seconds, self._since = self._now(), math.inf

    def _now(self) -> float:
        return self.seconds + max(time.perf_counter() - self._since, 0.0)

    def _read(self) -> None:
        for line in self.process.stdout or ():
            if json.loads(line)["event"] == "generation":
                self.closed.append(self._now())


def family(pid: int) -> dict[int, str]:
    """Names of a process and its descendants, by process id; empty once it has ended."""
    command = ["ps", "-e", "-o", "pid=,ppid=,stat=,comm="]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as ps:
        rows = [line.split(None, 3) for line in ps.stdout or ()]
    there = {int(pid): (int(parent), name.strip()) for pid, parent, state, name in rows if state[0] != "Z"}
    there.pop(ps.pid, None)
    found = {pid} & there.keys()
    while more := {pid for pid, (parent, _) in there.items() if parent in found} - found:
        found |= more
    return {pid: there[pid][1] for pid in found}


def send(pid: int, what: signal.Signals) -> None:
    """Send a signal to a process, if it still exists."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, what)


def together(preset: str, generations: int, out: Path) -> dict[str, Player]:
    """Search on each executor, in turns."""
    command = [sys.executable, "-m", "discovery", "search", preset, "--generations", str(generations)]
    command += ["--workers", "2", "--output", str(out), "--json"]
    players = {name: Player([*command, "--executor", name, "--name", name]) for name in EXECUTORS}
    try:
        while not all(player.over for player in players.values()):
            for name, player in players.items():
                if not player.over:
                    player.play()
                if player.process.poll():
                    raise SystemExit(f"the search on {name} failed with {player.process.returncode}")
    finally:
        for player in players.values():
            player.kill()
    return players


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.executors", description=__doc__)
    parser.add_argument("--preset", default="quickstart")
    parser.add_argument("--generations", type=int, default=17)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as out:
        players = together(options.preset, options.generations, Path(out))
        same = scores(Path(out) / EXECUTORS[0]) == scores(Path(out) / EXECUTORS[1])
    table = Table(title=f"{options.preset}, {options.generations} generations, 2 workers")
    for head in ("executor", "until the first is closed", "the others, and the end", "minutes in all"):
        table.add_column(head)
    for name, player in players.items():
        first = player.closed[0]
        table.add_row(name, f"{first:.1f} s", f"{player.seconds - first:.1f} s", f"{player.seconds / 60:.2f}")
    console = Console()
    console.print(table)
    processes, ray = players.values()
    ratio = interval(np.diff(processes.closed) / np.diff(ray.closed))
    console.print(
        f"ray makes {processes.seconds / ray.seconds:.3f} of the speed; of single generations after the "
        f"first {ratio.estimate:.3f} [{ratio.low:.3f}, {ratio.high:.3f}]; all scores are "
        f"{'the same' if same else 'NOT the same'}"
    )


if __name__ == "__main__":
    main()
