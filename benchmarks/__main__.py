"""Run the benchmarks and print one table: `python -m benchmarks [--rounds N] [scaling hosts ...]`."""

import os

os.environ["PJRT_NPROC"] = "1"  # before jax is imported: one thread for every side of every comparison
os.environ.setdefault("JAX_PLATFORMS", "cpu")

import argparse
import importlib
import json
import sys
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.timing import Figure

PARTS = ("scaling", "hosts", "generation", "memory", "stepping", "sequences", "optimizers", "programs")


def main() -> int:
    """Print every ratio with its range and goal; returns 1 if a goal was missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "parts", nargs="*", choices=[*PARTS, []], default=[], help="which ones; all unless named"
    )
    parser.add_argument("--rounds", type=int, default=5, help="rounds to take medians of")
    parser.add_argument(
        "--purejaxrl", type=Path, help="a checkout of PureJaxRL, for hosts to compare with too"
    )
    parser.add_argument("--json", action="store_true", help="print JSON lines instead of a table")
    options = parser.parse_args()
    missed = False
    for part in options.parts or PARTS:
        print(f"measuring {part} ...", file=sys.stderr, flush=True)
        figures = importlib.import_module(f"benchmarks.{part}").measure(options.rounds)
        if part == "hosts" and options.purejaxrl:
            from benchmarks import purejaxrl

            figures += purejaxrl.measure(options.rounds, options.purejaxrl)
        missed |= any(figure.met is False for figure in figures)
        if options.json:
            print("\n".join(json.dumps(asdict(figure)) for figure in figures), flush=True)
        else:
            _print(figures, options.rounds)
    return int(missed)


def _print(figures: list[Figure], n: int) -> None:
    table = Table(title=f"ratios, median of {n} (smallest to largest)")
    for column in ("what", "ratio", "goal", "", "behind it"):
        table.add_column(column, overflow="fold")
    for f in figures:
        mark = {True: "met", False: "MISSED", None: ""}[f.met]
        notes = ", ".join(f"{name}: {value}" for name, value in f.notes.items())
        table.add_row(f.name, f"{f.ratio:.2f} ({f.low:.2f} to {f.high:.2f})", f.goal, mark, notes)
    Console(width=140).print(table)


if __name__ == "__main__":
    sys.exit(main())
