"""Check that PPO is tuned on a suite: `python -m benchmarks.tuning SUITE [--tasks ...] [--rates ...]`.

Trains PPO with several learning rates, prints mean and 95% interval of each score, and marks the recipe's.
With `--published sgd` or `adam`, the recipe uses that optimizer with the numbers that Goldie et al. tuned for
it. The seeds are different from those of references and of comparisons.
"""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from benchmarks.tasks import PPO
from benchmarks.timing import estimate_text
from discovery.core.jobs import AlgorithmSpec
from discovery.core.suites import load_suite
from discovery.executors import make_executor
from discovery.executors.base import Executor
from discovery.executors.cpu import ensure_single_thread
from discovery.results.subjects import Subject
from discovery.search.requests import report_jobs
from discovery.statistics import Interval, interval
from environments.task import Task
from objectives.optimizers import TUNED_ADAM, TUNED_SGD
from objectives.parts import DEFAULTS

RATES = (3e-4, 1e-3, 3e-3, 1e-2)
SEEDS = 8
FIRST_SEED = 20_000
PUBLISHED = {"adam": TUNED_ADAM, "sgd": TUNED_SGD}
"""Optimizer -> its published numbers, by environment."""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tuning", description=__doc__)
    parser.add_argument("suite", help="a suite, or a TOML file")
    parser.add_argument("--tasks", nargs="*", default=[], help="which ones; all unless named")
    parser.add_argument(
        "--rates", nargs="*", type=float, default=RATES, help="learning rates beside the recipe's"
    )
    parser.add_argument("--published", choices=PUBLISHED, help="an optimizer, with its published numbers")
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--agents-per-call", type=int, default=4)
    parser.add_argument("--workers", type=int)
    options = parser.parse_args()
    ensure_single_thread()
    tasks = {task.name: task for task in load_suite(options.suite, measured=False).tasks}
    algorithm = PPO
    if options.published:
        algorithm = ppo_trained_by(options.published)
        tasks = published(tasks, options.published)
    if strange := set(options.tasks) - set(tasks):
        parser.error(f"there is no task {', '.join(sorted(strange))}; there are: {', '.join(tasks)}")
    with make_executor("processes", options.workers, options.agents_per_call, timeout=7200.0) as executor:
        for task in (tasks[name] for name in options.tasks or tasks):
            every = rates(task, options.rates)
            scores = {rate: score(task, rate, options.seeds, executor, algorithm) for rate in every}
            print(report(task, scores), flush=True)


def ppo_trained_by(name: str) -> AlgorithmSpec:
    """PPO with an optimizer by name."""
    return AlgorithmSpec("ppo", (("optimizer", name),))


def published(tasks: Mapping[str, Task], optimizer: str) -> dict[str, Task]:
    """The tasks for which the optimizer has published numbers, with these numbers."""
    spec = ppo_trained_by(optimizer)
    return {
        name: Subject("ppo", spec, numbers={"anneal": 1.0, **PUBLISHED[optimizer][name]}).task(tasks[name])
        for name in filter(PUBLISHED[optimizer].get, tasks)
    }


def rates(task: Task, grid: Sequence[float]) -> list[float]:
    """The learning rates to try on a task: the grid and the recipe's own."""
    return sorted({*grid, learning_rate(task)})


def learning_rate(task: Task) -> float:
    return task.numbers.get("learning_rate", DEFAULTS["learning_rate"])


def score(
    task: Task, rate: float, seeds: int, executor: Executor, algorithm: AlgorithmSpec = PPO
) -> Interval:
    """Mean score of PPO at a learning rate; a failed training counts as the worst of the others."""
    variant = replace(task, numbers={**task.numbers, "learning_rate": rate})
    results = list(executor.run(report_jobs("ppo", algorithm, {}, [variant], seeds, FIRST_SEED)))
    scores = np.array([np.nan if r.outcome is None else float(r.outcome.score) for r in results])
    known = scores[np.isfinite(scores)]
    return interval(scores, failures=float(known.min()) if known.size else "drop")


def report(task: Task, scores: dict[float, Interval]) -> str:
    """A line for each learning rate: the recipe's with "recipe", the best mean with "best"."""
    best = max(scores, key=lambda rate: -np.inf if np.isnan(scores[rate].estimate) else scores[rate].estimate)
    lines = [f"{task.name}, {task.total_steps:,} steps, {task.score}, {next(iter(scores.values())).n} seeds"]
    for rate, found in scores.items():
        marks = ["recipe"] * (rate == learning_rate(task)) + ["best"] * (rate == best)
        failed = f", {found.failed} failed" if found.failed else ""
        lines.append(f"  {rate:<8g} {estimate_text(found, 4)}{failed}  {', '.join(marks)}".rstrip())
    return "\n".join(lines)


if __name__ == "__main__":
    main()
