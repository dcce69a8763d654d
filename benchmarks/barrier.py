"""Synchronous and asynchronous search on tasks of different length: `python -m benchmarks.barrier`.

Population-based evolution on two tasks; one takes 16 times as long as the other. A generation is three calls
of each, which two workers cannot share evenly unless trainings are divided into stretches. The searches run
one after the other and need an otherwise idle machine. Prints minutes, and the utilization of the workers
until the last generation was closed.
"""

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

CONFIG = """
seeds = 2
selection_seeds = 4
selection_doublings = 0
agents_per_call = 8
algorithm_options = { width = 8 }

[meta]
method = "pbe"
population = 12
answer_every = 4
parents = 3
"""
TASK = """
[[tasks]]
name = "%s"
total_steps = %d
setup = { environment = "Catch-bsuite", n_envs = 8, n_steps = 32, hidden = [32, 32] }
"""
STEPS = {"short": 20_480, "long": 327_680}
WAYS = {
    "waits": ("--meta.no-asynchronous",),
    "waits, 8 stretches": ("--meta.no-asynchronous", "--stretches", "8"),
    "does not": ("--meta.asynchronous",),
}


def measured(name: str, words: Sequence[str], out: Path) -> tuple[float, float]:
    """Seconds of a search with two workers, and their utilization; `words` are its file and options."""
    words = ["search", *words, "--workers", "2", "--output", str(out), "--name", name, "--json"]
    began, busy = time.monotonic(), float("nan")
    with subprocess.Popen([sys.executable, "-m", "discovery", *words], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        for line in process.stdout:
            event = json.loads(line)
            busy = event["utilization"] if event["event"] == "generation" else busy
    if process.returncode:
        raise SystemExit(f"the search {name} failed with {process.returncode}")
    return time.monotonic() - began, busy


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.barrier", description=__doc__)
    parser.add_argument("--generations", type=int, default=8)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as out:
        file = Path(out) / "tasks.toml"
        file.write_text(CONFIG + "".join(TASK % task for task in STEPS.items()))
        words = [str(file), "--generations", str(options.generations)]
        found = {
            way: measured(re.sub(r"\W+", "-", way), [*words, *flags], Path(out))
            for way, flags in WAYS.items()
        }
    table = Table(title=f"{options.generations} generations on tasks of 1 and 16 times the length, 2 workers")
    for head in ("the search", "minutes", "workers busy"):
        table.add_column(head)
    for way, (seconds, busy) in found.items():
        table.add_row(way, f"{seconds / 60:.2f}", f"{busy:.1%}")
    Console().print(table)


if __name__ == "__main__":
    main()
