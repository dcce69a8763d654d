"""How often 95% intervals cover the truth: `python -m benchmarks.coverage [--simulations N] [interval ...]`.

Simulates experiments with a known truth: n seeds of one task, or of five tasks with different means. The
truth is computed from 100,000 equally likely scores of each task.
"""

import argparse
import os
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from typing import NamedTuple

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # before numpy is imported: one process per core is faster

import numpy as np
from rich.console import Console
from rich.table import Table
from scipy import special

from discovery import statistics as st

LEVEL = 0.95
SPACING = 0.5
"""Difference between the means of neighboring tasks."""
LEAD = 0.1
"""Difference between the means of the two algorithms."""
COMMON = 0.7
"""Correlation of both algorithms' scores on a common seed."""
CORRELATIONS = (0.0, 0.4, COMMON, -0.3)
"""Correlations for which the paired probability of improvement is tested."""
SIZES = ((1, 30), (1, 64), (5, 30), (5, 64))
"""(tasks, seeds)"""

Scores = dict[str, np.ndarray]
Truth = Callable[[np.ndarray, np.ndarray], float]
"""Computes the true value from all possible scores of both algorithms, each ``[tasks, 100_000]``."""

SHAPES: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {  # of two uniform numbers
    "normal": lambda u, v: 0.8 + 0.3 * special.ndtri(u),
    "two modes": lambda u, v: np.where(v < 0.7, 1.0, 0.2) + 0.2 * special.ndtri(u),  # 4 deviations apart
    "skewed": lambda u, v: 0.7 * np.exp(0.5 * special.ndtri(u)),
    "capped": lambda u, v: np.minimum(0.8 + 0.3 * special.ndtri(u), 0.95),  # 31 of 100 reach the cap
}


class Kind(NamedTuple):
    """An interval under test.

    Attributes:
        limits: computes lower and upper limit from the scores of two algorithms.
        truth: computes the value that they should enclose.
        correlation: of both algorithms' scores on a seed; 0 for different seeds.
    """

    limits: Callable[[Scores, Scores], tuple[float, float]]
    truth: Truth
    correlation: float = COMMON


def _middle(pool: np.ndarray) -> float:
    ordered = np.sort(pool, axis=None)
    return float(ordered[pool.size // 4 : -(pool.size // 4)].mean())


def _better(a: np.ndarray, b: np.ndarray) -> float:
    """P(X > Y) + P(X = Y) / 2."""
    counts = [
        np.searchsorted(np.sort(y), x, side) for x, y in zip(a, b, strict=True) for side in ("left", "right")
    ]
    return float(np.mean(counts) / a.shape[1])


STATISTICS: dict[st.Aggregate, Callable[[np.ndarray], float]] = {
    "mean": lambda a: float(a.mean()),
    "median": lambda a: float(np.median(a.mean(1))),
    "iqm": _middle,
    "optimality_gap": lambda a: float(1 - np.minimum(a, 1).mean()),
}
SAMPLES: dict[st.Statistic, Callable[[np.ndarray], float]] = {
    "mean": STATISTICS["mean"],
    "iqm": _middle,
    "median": lambda a: float(np.median(a)),
}


def _single(statistic: st.Statistic) -> Kind:
    return Kind(lambda a, _: st.interval(a["0"], statistic)[1:3], lambda a, _: SAMPLES[statistic](a))


def _across(statistic: st.Aggregate) -> Kind:
    return Kind(lambda a, _: st.aggregate(a, statistic)[1:3], lambda a, _: STATISTICS[statistic](a))


def _difference(statistic: st.Aggregate) -> Kind:
    value = STATISTICS[statistic]
    return Kind(lambda a, b: st.aggregate_difference(a, b, statistic)[1:3], lambda a, b: value(a) - value(b))


def _improvement(paired: bool, correlation: float) -> Kind:
    return Kind(lambda a, b: st.probability_of_improvement(a, b, paired=paired)[1:3], _better, correlation)


def _profile(threshold: float) -> Kind:
    def limits(a: Scores, b: Scores) -> tuple[float, float]:
        band = st.performance_profile(a, [threshold])
        return float(band.low[0]), float(band.high[0])

    return Kind(limits, lambda a, _: float((a > threshold).mean()))


KINDS = {
    **{f"interval {name}": _single(name) for name in SAMPLES},
    **{f"aggregate {name}": _across(name) for name in STATISTICS},
    **{f"difference {name}": _difference(name) for name in STATISTICS},
    "improvement": _improvement(False, 0.0),
    **{f"improvement paired {rho:g}": _improvement(True, rho) for rho in CORRELATIONS},
    **{f"profile {threshold}": _profile(threshold) for threshold in (0.6, 0.8)},
}


def coverage(kind: str, shape: str, tasks: int, n: int, simulations: int, spacing: float = SPACING) -> float:
    """Share of simulated experiments whose interval encloses the truth."""
    offsets = spacing * (np.arange(tasks)[:, None] - (tasks - 1) / 2)
    draw = SHAPES[shape]
    limits, truth, rho = KINDS[kind]
    everything = draw(*np.meshgrid((np.arange(10_000) + 0.5) / 10_000, (np.arange(10) + 0.5) / 10)).ravel()
    value = truth(everything + offsets + LEAD, everything + offsets)
    hits = 0
    for simulation in range(simulations):
        luck, own = np.random.default_rng([simulation, tasks, n]).normal(size=(2, 2, tasks, n))
        a = draw(*special.ndtr(luck)) + offsets + LEAD
        b = draw(*special.ndtr(rho * luck + np.sqrt(1 - rho**2) * own)) + offsets
        low, high = limits(*({str(task): row for task, row in enumerate(rows)} for rows in (a, b)))
        hits += low <= value <= high
    return hits / simulations


def _row(kind: str, tasks: int, n: int, simulations: int) -> list[float]:
    return [coverage(kind, shape, tasks, n, simulations) for shape in SHAPES]


def main() -> None:
    """Print the table in percent, with a mark at figures outside 93 to 97."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.coverage", description=__doc__)
    parser.add_argument(
        "kinds", nargs="*", choices=[*KINDS, []], default=[], help="which ones; all unless named"
    )
    parser.add_argument("--simulations", type=int, default=5000)
    options = parser.parse_args()
    table = Table(title=f"coverage of 95% intervals, percent of {options.simulations} experiments")
    for column in ("interval", "tasks", "n", *SHAPES):
        table.add_column(column)
    cells = [
        (kind, tasks, n)
        for kind in options.kinds or KINDS
        for tasks, n in SIZES
        if tasks == 1 or not kind.startswith("interval")
    ]
    with ProcessPoolExecutor() as pool:
        rows = pool.map(partial(_row, simulations=options.simulations), *zip(*cells, strict=True))
        for (kind, tasks, n), measured in zip(cells, rows, strict=True):
            print(f"{kind}, {tasks} tasks, {n} seeds: {measured}", file=sys.stderr, flush=True)
            marks = (f"{100 * share:.1f}{'' if 0.93 <= share <= 0.97 else ' *'}" for share in measured)
            table.add_row(kind, str(tasks), str(n), *marks)
    Console(width=110).print(table)


if __name__ == "__main__":
    main()
