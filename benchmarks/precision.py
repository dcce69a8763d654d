"""The effect of rounded products on scores: `python -m benchmarks.precision [--seeds 64]`; minutes of CPU
time.

PPO on CartPole, with the same seeds at each precision: mean final return, and the mean of paired differences
from float32, with 95% intervals. A CPU rounds as an accelerator does (discovery/inner/networks/products.py),
but is not faster.
"""

import argparse
from dataclasses import replace

import numpy as np

from benchmarks.peak import PRECISIONS
from benchmarks.tasks import CARTPOLE, PPO
from discovery.executors import make_executor
from discovery.executors.base import Executor
from discovery.search.requests import report_jobs
from discovery.statistics import interval, interval_text


def scores(executor: Executor, matmul: str, seeds: int) -> np.ndarray:
    """Final returns ``[S]`` of PPO whose layers multiply with that precision."""
    task = replace(CARTPOLE, setup=replace(CARTPOLE.setup, matmul=matmul))
    jobs = report_jobs("ppo", PPO, {}, [task], seeds)
    found = {result.id: result.outcome for result in executor.run(jobs)}
    return np.asarray([found[job.id].score for job in jobs], float)  # type: ignore[union-attr]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.precision", description=__doc__)
    parser.add_argument("--seeds", type=int, default=64)
    parser.add_argument("--workers", type=int)
    options = parser.parse_args()
    with make_executor("processes", options.workers) as executor:
        found = {matmul: scores(executor, matmul, options.seeds) for matmul in PRECISIONS}
    print(f"{CARTPOLE.name}, {CARTPOLE.total_steps} steps, {options.seeds} seeds")
    for matmul, values in found.items():
        mean, difference = interval(values), interval(values - found["float32"], method="expanded")
        apart = f", minus float32 {interval_text(difference)}" if matmul != "float32" else ""
        print(f"{matmul:<15} {interval_text(mean)}{apart}", flush=True)


if __name__ == "__main__":
    main()
