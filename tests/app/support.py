"""What tests of the command line share."""

import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from discovery.store.differences import same_numbers
from discovery.store.ledger import Ledger

ROOT = Path(__file__).parents[2]

TINY = """
generations = 6
seeds = 1
selection_seeds = 2
executor = "inline"
agents_per_call = 4
algorithm_options = { width = 4 }

[meta]
population = 4
answer_every = 2

[[tasks]]
name = "Catch"
total_steps = 96
numbers = { learning_rate = 0.01 }

[tasks.setup]
environment = "Catch-bsuite"
n_envs = 2
n_steps = 8
n_epochs = 1
n_minibatches = 1
hidden = [8]
curve_points = 2
"""

FLOWING = ["--meta.method", "pbe", "--meta.asynchronous", "--agents-per-call", "1"]
PROGRAMS = ["--algorithm", "programs", "--meta.method", "programs", "--algorithm-options", "instructions=8"]

Says = Callable[..., tuple[int, str, str]]
"""Runs a verb: exit code, standard output, standard error."""


def at(home: Path) -> list[str]:
    """Flags for the runs of a folder."""
    return ["--output", str(home / "runs")]


def tree(folder: Path) -> set[str]:
    """What a folder holds, SQLite's own files apart."""
    paths = {str(path.relative_to(folder)) for path in folder.rglob("*")}
    return {path for path in paths if not path.endswith(("-wal", "-shm"))}


def differences(a: Path, b: Path) -> list[str]:
    """How the numbers of two runs differ."""
    with Ledger.open(a) as left, Ledger.open(b) as right:
        return same_numbers(left, right)


def change(run: Path, statement: str) -> None:
    """Rewrite the record of a run."""
    with closing(sqlite3.connect(run / "ledger.sqlite")) as db, db:
        db.execute(statement)


def recorded(run: Path) -> int:
    """How many trainings a run's ledger holds."""
    if not (run / "ledger.sqlite").exists():
        return 0
    with closing(sqlite3.connect(f"file:{run / 'ledger.sqlite'}?mode=ro", uri=True, timeout=10)) as db:
        return db.execute("SELECT count(*) FROM evaluations").fetchone()[0]


def start(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    """A command in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "discovery", *arguments],
        cwd=folder, env={**os.environ, "PYTHONPATH": str(ROOT)}, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def wait_for(ready: Callable[[], bool], process: subprocess.Popen[str], seconds: float = 120.0) -> None:
    """Wait until something is so, or the process has ended."""
    end = time.monotonic() + seconds
    while not ready() and process.poll() is None:
        assert time.monotonic() < end
        time.sleep(0.002)
