"""A search that waits for whole generations and one that does not: `python -m benchmarks.barrier`.

Population-based evolution on three tasks, of which one takes 4 times and one 16 times as long as the
shortest. Each is a command of its own, with two workers, one after the other on an otherwise idle machine.
Prints minutes, and how busy workers were until the last generation was closed.
"""

import argparse
import tempfile
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.executors import measured

CONFIG = """
seeds = 2
selection_seeds = 4
selection_doublings = 0
agents_per_call = 8
algorithm_options = { width = 8 }

[meta]
strategy = "PBE"
population = 12
mean_every = 4
pbe = { parents = 3 }
"""
TASK = """
[[tasks]]
name = "%s"
total_steps = %d
setup = { environment = "Catch-bsuite", n_envs = 8, n_steps = 32, hidden = [32, 32] }
"""
STEPS = {"short": 20_480, "longer": 81_920, "longest": 327_680}
WAYS = {"waits": "--meta.no-asynchronous", "does not": "--meta.asynchronous"}


def main() -> None:
    """Search twice, and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.barrier", description=__doc__)
    parser.add_argument("--generations", type=int, default=8)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as out:
        file = Path(out) / "tasks.toml"
        file.write_text(CONFIG + "".join(TASK % task for task in STEPS.items()))
        words = [str(file), "--generations", str(options.generations)]
        found = {
            way: measured(way.replace(" ", "-"), [*words, flag], Path(out)) for way, flag in WAYS.items()
        }
    table = Table(
        title=f"{options.generations} generations on tasks of 1, 4 and 16 times the length, 2 workers"
    )
    for head in ("the search", "minutes", "workers busy"):
        table.add_column(head)
    for way, one in found.items():
        table.add_row(way, f"{one.seconds / 60:.2f}", f"{one.busy:.1%}")
    console = Console()
    console.print(table)
    waits, flows = found.values()
    console.print(f"without the barrier it takes {flows.seconds / waits.seconds:.2f} of the time")


if __name__ == "__main__":
    main()
