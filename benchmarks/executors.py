"""A search in worker processes and the same on Ray: `python -m benchmarks.executors [--generations N]`.

Each is a command of its own, one after the other on an otherwise idle machine, so that all counts that a user
waits for. Prints minutes, how busy workers were, when the first generation was closed, the ratio of the two
speeds, and whether all scores are the same, bit for bit.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console
from rich.table import Table

from benchmarks.faults import scores

EXECUTORS = ("processes", "ray")


class Measured(NamedTuple):
    """A search.

    Attributes:
        seconds: of the whole command.
        first: until its first generation was closed.
        busy: share of their time in which workers had something to do.
        scores: score and error of every training, by id.
    """

    seconds: float
    first: float
    busy: float
    scores: dict[str, tuple[Any, ...]]


def measured(name: str, words: Sequence[str], out: Path) -> Measured:
    """A search by name, with two workers; `words` are its preset or file, and what to override."""
    words = ["search", *words, "--workers", "2", "--output", str(out), "--name", name, "--json"]
    began, first, busy = time.monotonic(), float("nan"), float("nan")
    with subprocess.Popen([sys.executable, "-m", "discovery", *words], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        for line in process.stdout:
            event = json.loads(line)
            if event["event"] == "generation":
                busy = event["utilization"]
                first = time.monotonic() - began if event["generation"] == 0 else first
    if process.returncode:
        raise SystemExit(f"the search {name} failed with {process.returncode}")
    return Measured(time.monotonic() - began, first, busy, scores(out / name))


def main() -> None:
    """Search twice, and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.executors", description=__doc__)
    parser.add_argument("--preset", default="quickstart")
    parser.add_argument("--generations", type=int, default=18)
    parser.add_argument("--last-first", action="store_true", help="Ray first: machines get slower and faster")
    options = parser.parse_args()
    order = EXECUTORS[::-1] if options.last_first else EXECUTORS
    words = [options.preset, "--generations", str(options.generations), "--executor"]
    with tempfile.TemporaryDirectory() as out:
        found = {name: measured(name, [*words, name], Path(out)) for name in order}
    table = Table(title=f"{options.preset}, {options.generations} generations, 2 workers")
    for head in ("executor", "minutes", "first generation after", "workers busy"):
        table.add_column(head)
    for name, one in found.items():
        table.add_row(name, f"{one.seconds / 60:.2f}", f"{one.first:.1f} s", f"{one.busy:.1%}")
    console = Console()
    console.print(table)
    first, second = (found[name] for name in EXECUTORS)
    same = "the same" if first.scores == second.scores else "NOT the same"
    console.print(f"ray makes {first.seconds / second.seconds:.3f} of the speed; all scores are {same}")


if __name__ == "__main__":
    main()
