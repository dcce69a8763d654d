"""The pictures of a comparison on a suite: intervals, performance profiles, learning curves, robustness."""

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, FixedLocator, NullLocator

from discovery.display import plots
from discovery.judging.comparison import Comparison
from discovery.judging.robustness import Robustness
from discovery.judging.suite_comparison import SuiteComparison

ALL_TASKS = "all tasks"
"""Title of the panel of aggregates."""

POINTS = 201
"""Number of thresholds of a profile."""

LARGE = 10_000
"""Scores of at least this size are written with k or M."""


def pictures(result: SuiteComparison) -> dict[str, Figure]:
    """Every picture by its file's name."""
    return {
        "intervals": intervals(result),
        "profiles": profiles(result),
        "learning-curves": learning_curves(result),
        **{
            f"robustness-{each.parameter}": robustness(each, styles(result), result.suite)
            for each in result.robustness
        },
    }


def intervals(result: SuiteComparison) -> Figure:
    """Mean scores on each task, and the IQM of normalized scores over all tasks."""
    comparison, titles = result.comparison, _titles(result.comparison)
    rows = [(row.subject, titles[row.task], row.mean) for row in comparison.rows]
    rows += [(row.subject, ALL_TASKS, row.iqm) for row in result.aggregates]
    measures = {titles[task]: comparison.measure(task) for task in comparison.tasks}
    return plots.comparison(
        rows,
        xlabel="mean score on held-out seeds, 95% interval",
        title=result.suite,
        styles=styles(result),
        measures=measures | {ALL_TASKS: "IQM; 0 as random actions, 1 as tuned PPO"},
    )


def score_intervals(
    result: Comparison, title: str = "", styles: Mapping[str, plots.Style] | None = None
) -> Figure:
    """Mean scores with intervals, a panel for each task."""
    titles = _titles(result)
    return plots.comparison(
        [(row.subject, titles[row.task], row.mean) for row in result.rows],
        xlabel="mean score on held-out seeds, 95% interval",
        title=title,
        styles=styles,
        measures={titles[task]: result.measure(task) for task in result.tasks},
    )


def profiles(result: SuiteComparison) -> Figure:
    """Share of trainings above each normalized score, over all tasks with equal weights, with 95% bands."""
    subjects, looks = result.comparison.subjects, styles(result)
    scores = np.concatenate([x for s in subjects for x in result.normalized(s).values()])
    low, high = np.quantile(scores, [0.01, 0.99])
    thresholds = np.linspace(min(0.0, low), max(1.0, high), POINTS)
    figure = plots.Picture(figsize=(7.5, 4.5), layout="constrained")
    axes = figure.subplots()
    for subject in subjects:
        band, (color, line) = result.profile(subject, thresholds), looks[subject]
        axes.plot(thresholds, band.mean, color=color, linestyle=line, label=plots.in_lines(subject))
        if np.isfinite(band.low).all():
            axes.fill_between(thresholds, band.low, band.high, color=color, alpha=0.2, linewidth=0)
    for reference in (0.0, 1.0):
        axes.axvline(reference, color="0.6", linewidth=1, zorder=0)
    axes.set_xlim(thresholds[0], thresholds[-1])
    axes.set_ylim(0, 1.02)
    axes.set_xlabel("normalized score s: 0 as random actions, 1 as tuned PPO")
    plots.tidy(axes, ylabel="share of trainings with a score above s", title=result.suite)
    plots.add_legend(figure)
    return figure


def learning_curves(result: SuiteComparison) -> Figure:
    """Learning curves of all subjects, a panel for each task."""
    figure, panels = _grid(len(result.comparison.tasks))
    titles, looks, notes = _titles(result.comparison), styles(result), dict[str, None]()
    for axes, (task, cells) in zip(panels, result.comparison.curves().items(), strict=True):
        steps = max((cell.steps for cell in cells.values()), key=len)
        curves = {subject: cell.curves for subject, cell in cells.items() if len(cell.steps) == len(steps)}
        notes[plots.draw_curves(axes, steps, curves, titles[task], looks)] = None
    _finish(figure, panels, "environment steps", "mean return", _heading(result.suite, *notes))
    return figure


def robustness(swept: Robustness, styles: Mapping[str, plots.Style], title: str = "") -> Figure:
    """Mean score against the factor of a parameter, a panel for each task, with 95% bands."""
    figure, panels = _grid(len(swept.tasks))
    titles, looks = _titles(swept), plots.complete_styles(swept.subjects, styles)
    for axes, task in zip(panels, swept.tasks, strict=True):
        for subject in swept.subjects:
            _draw_factors(axes, swept, subject, task, looks[subject])
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(FixedLocator(swept.factors))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set_xticklabels([f"{factor:g}" for factor in swept.factors])
        axes.axvline(1, color="0.6", linewidth=1, zorder=0)
        plots.tidy(axes, title=titles[task])
    failing = any(not np.isfinite(level.score.estimate) for level in swept.levels)
    notes = ("bands: 95% interval of the mean", "crosses: all trainings failed" if failing else "")
    _finish(figure, panels, f"factor of {swept.parameter}", "mean score", _heading(title, *notes))
    return figure


def _draw_factors(axes: Axes, swept: Robustness, subject: str, task: str, look: plots.Style) -> None:
    """A line through a subject's scores; a cross on the axis where all trainings failed."""
    color, line = look
    levels = [level for level in swept.levels if (level.subject, level.task) == (subject, task)]
    factors = np.array([level.factor for level in levels])
    mean, low, high = np.array([[x.estimate, x.low, x.high] for x in (level.score for level in levels)]).T
    axes.plot(
        factors, mean, color=color, linestyle=line, marker="o", markersize=4, label=plots.in_lines(subject)
    )
    known = np.isfinite(mean) & np.isfinite(low) & np.isfinite(high)
    low, high = np.where(known, low, np.nan), np.where(known, high, np.nan)
    axes.fill_between(factors, low, high, color=color, alpha=0.2, linewidth=0)
    if (failed := factors[np.isnan(mean)]).size:
        place = {"transform": axes.get_xaxis_transform(), "clip_on": False}
        axes.plot(failed, np.zeros(failed.size), "x", color=color, markersize=6, **place)


def _grid(count: int) -> tuple[Figure, list[Axes]]:
    """A figure of `count` panels, wide enough for a heading."""
    figure, panels = plots.panel_grid(count, (3.4, 2.6), margin=(0.8, 1.2))
    figure.set_figwidth(max(6.4, figure.get_figwidth()))
    return figure, panels


def _finish(figure: Figure, panels: list[Axes], xlabel: str, ylabel: str, heading: str) -> None:
    """Label the left and lower edges of the grid; one legend, because all panels have the same subjects."""
    columns = min(len(panels), plots.PANELS_IN_A_ROW)
    for number, axes in enumerate(panels):
        if number % columns == 0:
            axes.set_ylabel(ylabel)
        if number + columns >= len(panels):
            axes.set_xlabel(xlabel)
        if max(map(abs, axes.get_ylim())) >= LARGE:
            axes.yaxis.set_major_formatter(EngFormatter(sep=""))
        for line in axes.get_lines() if number else ():
            line.set_label("_")
    figure.suptitle(heading, fontsize=11)
    plots.add_legend(figure)


def _heading(title: str, *notes: str) -> str:
    """A title with notes that explain bands and lines."""
    told = "; ".join(filter(None, notes))
    return f"{title} ({told})" if title and told else title or told


def styles(result: SuiteComparison) -> dict[str, plots.Style]:
    """Color and line style of each subject, the same in all pictures."""
    return {subject: plots.style(number) for number, subject in enumerate(result.comparison.subjects)}


def _titles(result: Comparison | Robustness) -> dict[str, str]:
    return {task: f"{task} (held out)" if task in result.held_out else task for task in result.tasks}
