"""PPO against the literature: `python -m benchmarks.learning [--out FOLDER] cartpole pendulum ...`.

Prints, for every study of `benchmarks/studies.py` that is named, mean and 95% interval of the final return
(episodes of the last fifth of training) and of the first point of the curve; saves the numbers as JSON, and
a picture of the curves, in the folder. A study that is already there is drawn again, not trained.
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.studies import STUDIES, Study
from benchmarks.tasks import PPO
from discovery import plots
from discovery.evaluation import report_jobs
from discovery.executors import make_executor
from discovery.statistics import interval
from environments.task import Task


def main() -> None:
    """Train, print and draw."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.learning", description=__doc__)
    parser.add_argument(
        "studies", nargs="*", choices=[*STUDIES, []], default=[], help="which ones; all unless named"
    )
    parser.add_argument("--out", type=Path, default=Path("runs/learning"), help="where results are kept")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    for name in options.studies or STUDIES:
        path = options.out / f"{name}.json"
        if not path.exists():
            path.write_text(json.dumps(trained(STUDIES[name])))
        report(name, STUDIES[name], json.loads(path.read_text()), options.out)


def trained(study: Study) -> dict[str, Any]:
    """Label to final returns ``[S]``, curves ``[S][K]`` and seconds, of every task of a study."""
    return {label: _trained(task, study) for label, task in study.tasks.items()}


def _trained(task: Task, study: Study) -> dict[str, Any]:
    began = time.perf_counter()
    with make_executor("processes", agents_per_call=study.width, timeout=7200.0) as executor:
        results = list(executor.run(report_jobs("ppo", PPO, {}, [task], study.seeds)))
    outcomes = [result.outcome for result in results if result.outcome is not None]
    return {
        "final": [float(outcome.final) for outcome in outcomes],
        "curves": [np.asarray(outcome.curve, np.float64).tolist() for outcome in outcomes],
        "seconds": time.perf_counter() - began,
    }


def report(name: str, study: Study, results: dict[str, Any], folder: Path) -> None:
    """Print one study, and draw it."""
    longest = max(task.total_steps for task in study.tasks.values())
    points = len(next(iter(results.values()))["curves"][0])
    curves = {label: np.array(found["curves"], np.float64) for label, found in results.items()}
    for label, found in results.items():
        final, first = interval(np.array(found["final"])), interval(curves[label][:, 0])
        print(
            f"{name}, {label}, {study.tasks[label].total_steps:,} steps, {len(found['final'])} seeds: "
            f"{_text(final)} (goal: {study.goal}), at first {_text(first)}, {found['seconds']:.0f} s",
            flush=True,
        )
    steps = longest * np.arange(1, points + 1) / points
    figure = plots.learning_curves(steps, curves, title=f"{next(iter(study.tasks.values())).name}")
    plots.save(figure, folder / f"{name}.png")


def _text(score: Any) -> str:
    return f"{score.estimate:.4g} [{score.low:.4g}, {score.high:.4g}]"


if __name__ == "__main__":
    main()
