"""Savings and costs of early stopping: `python -m benchmarks.stopping [--searches N] [--out FOLDER]`.

Searches for a drift on CartPole with N search seeds, three times each: without early stopping, with racing
over seeds, and with successive halving over steps. Prints the environment steps of the proposals as a share
of those without early stopping. Also prints the scores of the found drifts on report seeds of CartPole and of
a held-out task, and the differences from the search without early stopping (paired by search seed, 95%
intervals). Runs are kept in the folder and are not repeated.
"""

import argparse
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

os.environ["PJRT_NPROC"] = "1"  # before jax is imported
os.environ.setdefault("JAX_PLATFORMS", "cpu")

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.searches import searched
from benchmarks.timing import estimate_text
from discovery.app.api import evaluate
from discovery.app.loaded import LoadedRun
from discovery.core import presets
from discovery.core.config.search import SearchConfig, Stopping
from discovery.statistics import interval, paired_difference

REPORT_SEEDS = 64

METHODS: Mapping[str, Stopping] = {
    "in full": Stopping(),
    "racing": Stopping("racing", error=0.2, first_seeds=4),
    "halving": Stopping("halving", rungs=3, eta=2),
}
"""Racing may drop a proposal as good as the field's median: an evolution strategy uses ranks, and one wrong
rank matters little."""


def search_config(seed: int, stopping: Stopping) -> SearchConfig:
    """The quickstart's search with fewer proposals and more seeds, so that early stopping can save seeds."""
    config, _ = presets.read("quickstart")
    meta = replace(config.meta, population=16)
    return replace(config, seed=seed, generations=8, seeds=8, meta=meta, stopping=stopping)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.stopping", description=__doc__)
    parser.add_argument("--searches", type=int, default=8, help="search seeds of each method")
    parser.add_argument("--out", type=Path, default=Path("runs/stopping"), help="where the runs are kept")
    options = parser.parse_args()
    steps: dict[str, list[float]] = {name: [] for name in METHODS}
    scores: dict[str, dict[str, list[float]]] = {name: {} for name in METHODS}
    for seed in range(options.searches):
        for name, stopping in METHODS.items():
            run = searched(options.out, f"{name.replace(' ', '-')}-{seed}", search_config(seed, stopping))
            steps[name].append(_steps(run))
            judged = evaluate(run, against=(), seeds=REPORT_SEEDS, test=True)
            for row in judged.rows:
                scores[name].setdefault(row.task, []).append(row.mean.estimate)
            found = ", ".join(f"{task} {values[-1]:.4g}" for task, values in scores[name].items())
            print(f"seed {seed}, {name}: {steps[name][-1] / 1e6:.1f}M steps, {found}", flush=True)
    _print(steps, scores)


def _steps(run: LoadedRun) -> float:
    """Environment steps of all proposals."""
    rows = [row for row in run.evaluations() if row["split"] == "search"]
    return float(sum((row["until"] - row["begun"]) * run.steps_per_update(row["task"]) for row in rows))


def _print(steps: Mapping[str, list[float]], scores: Mapping[str, Mapping[str, list[float]]]) -> None:
    whole = next(iter(METHODS))
    tasks = list(scores[whole])
    table = Table(title=f"means over {len(steps[whole])} search seeds, 95% intervals")
    for head in ("", "steps", *(text for task in tasks for text in (task, f"minus {whole}"))):
        table.add_column(head)
    for name in METHODS:
        share = interval(np.divide(steps[name], steps[whole]))
        cells = [estimate_text(share, 2)]
        for task in tasks:
            cells.append(estimate_text(interval(scores[name][task])))
            difference = paired_difference(scores[name][task], scores[whole][task])
            cells.append("" if name == whole else estimate_text(difference))
        table.add_row(name, *cells)
    Console(width=150).print(table)


if __name__ == "__main__":
    main()
