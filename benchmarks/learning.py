"""PPO and PQN against the literature: `python -m benchmarks.learning [--out FOLDER] cartpole pendulum ...`.

For every named study of `benchmarks/studies.py`, prints mean and 95% interval of the final return (episodes
of the last fifth of training), of the last and the first point of the curve, and of their difference. Saves
the numbers as JSON, and a picture of the curves, in the folder. A study that is already in the folder, and
has not changed since, is drawn again but not trained again. `--picture FILE` draws all studies into one
picture.
"""

import argparse
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from benchmarks.studies import STUDIES, Study
from benchmarks.timing import estimate_text
from discovery.core.jobs import AlgorithmSpec
from discovery.display import plots
from discovery.executors import make_executor
from discovery.search.requests import report_jobs
from discovery.statistics import interval
from environments.task import Task
from objectives import FAMILIES

Results = dict[str, dict[str, Any]]
"""Label -> the result of `trained`."""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.learning", description=__doc__)
    parser.add_argument(
        "studies", nargs="*", choices=[*STUDIES, []], default=[], help="which ones; all unless named"
    )
    parser.add_argument("--out", type=Path, default=Path("runs/learning"), help="where results are kept")
    parser.add_argument("--picture", type=Path, help="where the picture of all of them goes")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    found: dict[str, Results] = {}
    for name in options.studies or STUDIES:
        path = options.out / f"{name}.json"
        kept = json.loads(path.read_text()) if path.exists() else {}
        if kept.get("study") != repr(STUDIES[name]):  # another recipe, or other seeds
            kept = {"study": repr(STUDIES[name]), "results": trained(STUDIES[name])}
            path.write_text(json.dumps(kept))
        found[name] = kept["results"]
        report(name, STUDIES[name], found[name])
        steps, curves, title = _curves(STUDIES[name], found[name])
        plots.save(plots.learning_curves(steps, curves, title=title), options.out / f"{name}.png")
    if options.picture:
        plots.save(overview(found), options.picture)


def trained(study: Study) -> Results:
    """Label to final returns ``[S]``, curves ``[S][K]`` and seconds, of every task of a study."""
    return {label: _trained(label.lower(), task, study) for label, task in study.tasks.items()}


def _trained(name: str, task: Task, study: Study) -> dict[str, Any]:
    began = time.perf_counter()
    name = name if name in FAMILIES else "ppo"
    jobs = report_jobs(name, AlgorithmSpec(name), {}, [task], study.seeds)
    with make_executor("processes", agents_per_call=study.width, timeout=7200.0) as executor:
        results = {result.id: result for result in executor.run(jobs)}
    outcomes = [outcome for job in jobs if (outcome := results[job.id].outcome) is not None]
    return {
        "final": [float(outcome.final) for outcome in outcomes],
        "curves": [np.asarray(outcome.curve, np.float64).tolist() for outcome in outcomes],
        "seconds": time.perf_counter() - began,
    }


def report(name: str, study: Study, results: Results) -> None:
    """Print a line for each task of a study."""

    def text(values: Any) -> str:
        return estimate_text(interval(values), 4)

    for label, found in results.items():
        curves = np.array(found["curves"], np.float64)
        last, first = curves[:, -1], curves[:, 0]
        scores = {"at the end": last, "at first": first, "gained": last - first}
        print(
            f"{name}, {label}, {study.tasks[label].total_steps:,} steps, {len(found['final'])} seeds: "
            f"{text(found['final'])}{f' (goal: {study.goal})' if study.goal else ''}, "
            + "".join(f"{when} {text(score)}, " for when, score in scores.items())
            + f"{found['seconds']:.0f} s",
            flush=True,
        )


def overview(found: Mapping[str, Results]) -> Figure:
    """Curves of several studies, one panel each."""
    figure, panels = plots.panel_grid(len(found), (3.2, 2.6), columns=4)
    notes, agents = dict[str, None](), dict[str, Any]()
    for axes, (name, results) in zip(panels, found.items(), strict=True):
        steps, curves, title = _curves(STUDIES[name], results)
        notes[plots.draw_curves(axes, steps, curves, title)] = None
        axes.title.set_fontsize(10)
        lines, labels = axes.get_legend_handles_labels()
        agents |= dict(zip(labels, lines, strict=True)) if len(curves) > 1 else {}
    figure.supxlabel(f"environment steps ({'; '.join(filter(None, notes))})", fontsize=10)
    figure.supylabel("mean return", fontsize=10)
    if agents:
        figure.legend(agents.values(), agents, loc="outside upper center", ncols=len(agents), frameon=False)
    return figure


def _curves(study: Study, results: Results) -> tuple[np.ndarray, dict[str, np.ndarray], str]:
    """Steps ``[K]``, label to curves ``[S, K]``, and a title."""
    task = next(iter(study.tasks.values()))
    curves = {label: np.array(found["curves"], np.float64) for label, found in results.items()}
    points = next(iter(curves.values())).shape[1]
    return task.total_steps * np.arange(1, points + 1) / points, curves, task.name


if __name__ == "__main__":
    main()
