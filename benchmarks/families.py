"""Search with every family of algorithms: `python -m benchmarks.families [--out FOLDER] [NAME ...]`.

Runs the search of each preset in `FAMILIES`, which takes at most half an hour on two cores. The found
algorithm is judged once on report seeds of its task and of its held-out tasks, beside the initial mean and
the family's baselines. Prints scores, the differences from the found algorithm (paired by seed, 95%
intervals), the duration of the search, and the number of programs that each worker compiled. A search that is
already in the folder is not repeated. `--picture FILE` draws the meta-learning curves of all named families.
"""

import argparse
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

os.environ["PJRT_NPROC"] = "1"  # before jax is imported
os.environ.setdefault("JAX_PLATFORMS", "cpu")

import numpy as np
from matplotlib.figure import Figure
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from benchmarks.searches import searched
from benchmarks.timing import estimate_text
from discovery.app.api import evaluate
from discovery.app.loaded import LoadedRun
from discovery.core import presets
from discovery.display import plots
from discovery.display.report.spent import cost
from discovery.judging.comparison import Comparison
from discovery.statistics import interval, paired_difference
from objectives.known import TABULAR_A2C

SEEDS = 64
COLUMNS = 4


class Other(NamedTuple):
    """Another search to compare with.

    Attributes:
        name: of its run.
        preset: its preset.
        changed: options of the algorithm that replace the preset's.
    """

    name: str
    preset: str
    changed: Mapping[str, Any]


class Family(NamedTuple):
    """A preset and its baselines.

    Attributes:
        preset: its name.
        baselines: known algorithms, with options and numbers in brackets.
        other: a search whose answer is another baseline.
    """

    preset: str
    baselines: tuple[str, ...]
    other: Other | None = None


def _a2c(**numbers: float) -> str:
    listed = {"optimizer": "sgd", "normalize_advantage": "true", **TABULAR_A2C, **numbers}
    return f"a2c[{','.join(f'{name}={value}' for name, value in listed.items())}]"


MAPS = ("ampo[map=negative_entropy]", "ampo[map=l2]")
RATES = ("ppo", *(f"ppo[learning_rate={rate}]" for rate in (0.0015, 0.015, 0.05)))
"""PPO with the recipe's learning rate, 0.005, and with others."""
WITHOUT_TIME = Other("ta-lpo-catch-without-time", "ta-lpo-catch", {"temporal": False})

FAMILIES: Mapping[str, Family] = {
    "mirror map, tabular": Family("mirror-grid", MAPS),
    "mirror map, deep": Family("mirror-deep", MAPS),
    "OPEN, feed-forward": Family("open-catch", RATES),
    "OPEN, recurrent": Family("open-recurrent-catch", RATES),
    "LPG": Family("lpg-grid", (_a2c(),)),
    "TA-LPG": Family("ta-lpg-grid", (_a2c(),), Other("lpg-grid", "lpg-grid", {})),
    "TA-LPO": Family("ta-lpo-catch", ("ppo",), WITHOUT_TIME),
}
"""Every family by its name in tables."""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.families", description=__doc__)
    parser.add_argument("families", nargs="*", metavar="NAME", help=f"of {', '.join(FAMILIES)}; default: all")
    parser.add_argument("--out", type=Path, default=Path("runs/families"), help="where the runs are kept")
    parser.add_argument("--seeds", type=int, default=SEEDS, help=f"report seeds; default: {SEEDS}")
    parser.add_argument("--first-seed", type=int, default=0, help="the first of them; for seeds not seen yet")
    parser.add_argument("--picture", type=Path, help="where the picture of all of them goes")
    options = parser.parse_args()
    if unknown := set(options.families) - set(FAMILIES):
        parser.error(f"there is no family {', '.join(sorted(unknown))}; there are: {', '.join(FAMILIES)}")
    runs = {}
    for name in options.families or FAMILIES:
        runs[name], *others = searches(options.out, FAMILIES[name])
        against = ["initial", *FAMILIES[name].baselines, *(str(run.folder) for run in others)]
        asked = {"seeds": options.seeds, "first_seed": options.first_seed}
        report(name, runs[name], evaluate(runs[name], against, test=True, **asked))
    if options.picture:
        plots.save(overview(runs), options.picture)


def searches(out: Path, family: Family) -> list[LoadedRun]:
    """The family's search, and its other search if there is one."""
    config, _ = presets.read(family.preset)
    found = [searched(out, family.preset, config)]
    if family.other:
        name, preset, changed = family.other
        other, _ = presets.read(preset)
        options = {**other.algorithm_options, **changed}
        found.append(searched(out, name, replace(other, algorithm_options=options)))
    return found


def report(name: str, run: LoadedRun, judged: Comparison) -> None:
    seeds = max(len(cell.scores) for cell in judged.cells)
    table = Table(title=f"{name}: {seeds} report seeds, 95% intervals; {_cost(run)}")
    for head in ("task", "", "score", f"{judged.subjects[0]} minus it"):
        table.add_column(head)
    for task in judged.tasks:
        mine = judged.cell(judged.subjects[0], task)
        for subject in judged.subjects:
            cell = judged.cell(subject, task)
            assert mine is not None and cell is not None
            difference = "" if cell is mine else estimate_text(paired_difference(mine.scores, cell.scores))
            held_out = ", held out" if task in judged.held_out else ""
            table.add_row(task + held_out, escape(subject), estimate_text(interval(cell.scores)), difference)
    Console(width=170).print(table)


def _cost(run: LoadedRun) -> str:
    rows, minutes = run.evaluations(), (cost(run).wall_seconds or 0.0) / 60
    programs: dict[str, set[float]] = {}
    for row in rows:
        if row["compile_seconds"] > 0:
            programs.setdefault(row["worker"], set()).add(row["compile_seconds"])
    counts = "/".join(str(len(found)) for found in programs.values())
    return f"{minutes:.0f} minutes, {len(rows)} trainings, {counts} programs compiled by the workers"


def overview(runs: Mapping[str, LoadedRun]) -> Figure:
    """A panel for each task of each family: the population, and the mean's score with intervals."""
    drawn = [
        (name, run, place, task.name)
        for name, run in runs.items()
        for place, task in enumerate(run.config.tasks)
    ]
    figure, panels = plots.panel_grid(len(drawn), (10 / COLUMNS, 2.6), columns=COLUMNS)
    for panel, (name, run, place, task) in zip(panels, drawn, strict=True):
        scores = run.task_scores[:, :, place].mean(axis=-1)
        low, high = np.nanquantile(scores, (0.1, 0.9), axis=1)
        spread: Any = {"color": plots.COLORS[0], "alpha": 0.3, "linewidth": 0.5}
        panel.fill_between(np.arange(run.n_generations), low, high, label="population, 10% to 90%", **spread)
        generations = sorted(run.selection)
        means = [interval(run.selection[generation][task]) for generation in generations]
        low, high = np.array([[mean.low, mean.high] for mean in means]).T
        panel.vlines(generations, low, high, color=plots.COLORS[1])
        middle = [mean.estimate for mean in means]
        label = "mean on selection seeds, 95%"
        panel.plot(generations, middle, "o-", color=plots.COLORS[1], markersize=3, label=label)
        plots.tidy(panel, title=f"{name}\n{task}", ylabel="score")
        panel.set_xlabel("generation")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=2, frameon=False)
    return figure


if __name__ == "__main__":
    main()
