"""The pictures of a run, for `discovery plot` and `RunData.plot_*`.

This module selects the data; `discovery/display/plots.py` draws arrays.
"""

import re
import sys
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from discovery.core.errors import BadInput
from discovery.display import plots
from discovery.display.pictures.found import LOSS, draw, pictures_of
from discovery.display.pictures.programs import search_pictures
from discovery.display.pictures.suites import score_intervals
from discovery.judging.comparison import BEGINNINGS, INITIAL, Comparison, Row
from discovery.judging.evaluate import recorded
from discovery.results.loaded import RunData
from discovery.results.words import words_of
from environments.task import SCORES, Task
from objectives.family import Picture

FIRST_STYLES = (INITIAL, "discovered", "ppo", "dpo")
"""Subjects in the order of their styles, which is the same in all runs; others follow by name.

In the meta-learning curve, the population has the style of what the search began with, and the search's
answer has the style of "discovered".
"""


def plot_run(run: RunData, folder: Path) -> list[Path]:
    """Write every picture that the run has data for to `folder`; returns their paths.

    These are the meta-learning curve of each task, the learning curves of each task with report seeds, a
    picture of each searched part of the found algorithm, the comparison of all subjects, and of a search over
    programs the family tree, complexities and falls of scores. If the picture of a part is left out, the
    reason is printed on standard error.
    """
    reports = recorded(run)
    drawn: dict[str, Figure] = {}
    for task in run.config.seen if run.n_generations else ():
        drawn[f"meta-learning-{_slug(task.name)}"] = meta_learning(run, task.name, reports)
    if run.selection:
        drawn |= {picture.name: figure for picture, figure in found_pictures(run, _say_why)}
    for task in reports.tasks:
        drawn[f"learning-curves-{_slug(task)}"] = learning_curves(run, task, reports)
    if reports.cells:
        drawn["comparison"] = comparison_picture(run, reports)
    drawn |= {name: one.figure for name, one in search_pictures(run).items()}
    return [plots.save(figure, folder / f"{name}.png") for name, figure in drawn.items()]


def found_pictures(
    run: RunData, left_out: Callable[[str, BadInput], None]
) -> Iterator[tuple[Picture, Figure]]:
    """Pictures of the found algorithm, part by part; calls `left_out` for a picture that cannot be drawn."""
    try:
        found = run.learned()
    except BadInput as error:
        left_out(LOSS.name, error)
        return
    for picture in pictures_of(found).values():
        try:
            yield picture, draw(picture, found)
        except BadInput as error:
            left_out(picture.name, error)


def _say_why(name: str, error: BadInput) -> None:
    print(f"{name}.png was left out: {' '.join(str(error).split())}", file=sys.stderr)


def meta_learning(run: RunData, task: str, reports: Comparison | None = None) -> Figure:
    """Scores of a search on a task: the population, the answer, and known algorithms with report seeds.

    Generation g shows its proposals, if they are trained on the task, and the answer after g generations on
    the selection seeds, if the task is used for selection. The answer of an evolution strategy is its mean.
    """
    names = [each.name for each in run.config.tasks]
    if task not in names:
        scores = np.zeros((run.n_generations, 0))
    elif len(names) == 1:  # includes the estimated scores of trainings that were stopped early
        scores = run.scores
    else:
        scores = run.task_scores[:, :, names.index(task)].mean(axis=-1)
    selected = sorted(run.selection)
    selected = [generation for generation in selected if task in run.selection[generation]]
    means = [run.selection[generation][task] for generation in selected]
    reports = recorded(run) if reports is None else reports
    known, styles = _baselines(reports, task), subject_styles(reports)
    return plots.meta_learning_curve(
        np.arange(run.n_generations),
        scores,
        np.array(selected),
        means,
        {label: row.mean for label, row in known.items()},
        ylabel=SCORES[_task(run, task).score],
        title=f"{run.name}: {run.spec.name} on {task}"
        + (f" (chosen: generation {run.choice.generation})" if selected else ""),
        styles={label: styles[row.subject] for label, row in known.items()},
        failed=np.isnan(run.scores).mean(axis=1) if task in names else np.zeros(run.n_generations),
        answer=words_of(run.config.meta).answer,
    )


def learning_curves(run: RunData, task: str, reports: Comparison | None = None) -> Figure:
    """Learning curves of all subjects on a task, with bands or, for few seeds, single curves."""
    reports = recorded(run) if reports is None else reports
    cells = reports.curves().get(task, {})
    if not cells:
        raise BadInput(
            f"nothing was reported on task {task!r} of run {run.name} yet; "
            f"`discovery evaluate {run.folder} ppo` trains it there"
        )
    steps = max((cell.steps for cell in cells.values()), key=len)
    # Leaves out subjects that were trained with another budget: they do not fit these axes.
    fitting = {name: cell.curves for name, cell in cells.items() if np.array_equal(cell.steps, steps)}
    known = any(each.name == task for each in run.tasks)
    unit = "environment steps" if known else "rollouts"
    measure = reports.measure(task)
    title = task + _held_out(run, task) + (f"\nscore: {measure}" if measure else "")
    return plots.learning_curves(steps, fitting, title=title, xlabel=unit, styles=subject_styles(reports))


def comparison_picture(run: RunData, reports: Comparison | None = None) -> Figure:
    """Mean scores of all subjects with intervals, a panel for each task."""
    reports = recorded(run) if reports is None else reports
    return score_intervals(reports, run.name, subject_styles(reports))


def subject_styles(reports: Comparison) -> dict[str, plots.Style]:
    """Color and line style of all subjects, the same in every picture of a run."""
    names = (*FIRST_STYLES, *sorted(set(reports.subjects) - {*FIRST_STYLES, *BEGINNINGS}))
    styles = {name: plots.style(number) for number, name in enumerate(names)}
    return dict.fromkeys(BEGINNINGS, styles[INITIAL]) | styles


def _baselines(reports: Comparison, task: str) -> dict[str, Row]:
    """Known algorithms' rows on a task, by their names in the legend."""
    return {
        f"{row.subject} ({row.n} held-out seeds)": row
        for row in reports.rows
        if row.task == task and not reports.sources[row.subject] and np.isfinite(row.mean.estimate)
    }


def _task(run: RunData, name: str) -> Task:
    seen = {task.name: task for task in run.config.seen}
    if name not in seen:
        raise BadInput(f"run {run.name} did not search on {name!r}; it did on {', '.join(seen)}")
    return seen[name]


def _held_out(run: RunData, task: str) -> str:
    return " (held out)" if any(each.name == task for each in run.config.held_out) else ""


def _slug(name: str) -> str:
    """A task's name for file names; if characters are removed, a hash keeps names distinct."""
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-")
    return plain if plain == name.replace(" ", "-") else f"{plain}-{sha256(name.encode()).hexdigest()[:6]}"
