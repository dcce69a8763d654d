"""Figures of a run, from plain arrays.

Every function returns a `matplotlib.figure.Figure` without using pyplot: no window and no global state, so
threads, tests and notebooks can draw at the same time. `save` writes a figure to a file.

Failures are shown and not dropped: NaN means that a training failed, or that no episode had ended yet.
"""

import io
import math
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import matplotlib
import numpy as np
from jaxtyping import Float, Real
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure, SubFigure
from matplotlib.ticker import EngFormatter, FixedLocator, MaxNLocator, NullLocator

from discovery.core.errors import BadInput
from discovery.statistics import Interval, band, carry_forward, interval, interval_text

Line = Literal["-", "--", ":", "-."]
Style = tuple[str, Line]
"""A color and a line style."""

COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Okabe and Ito's palette for all kinds of color vision, without its yellow (too pale on white)."""

LINES: tuple[Line, ...] = ("-", "--", ":", "-.")
STEPS = (1, 2, 2.5, 5, 10)
PANELS_IN_A_ROW = 3
BAND_SEEDS = 10
"""Minimal number of seeds for a band: with fewer, a t-interval is wider than the range of the curves."""

SMALL_PRINT_WIDTH = 16
"""Characters of small print per inch."""
NAME_WIDTH, NAME_LINES = 36, 3
"""Maximal characters per line, and lines, of a name in legends and at axes."""
SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")

_METADATA = {".png": {"Software": None}, ".svg": {"Date": None}, ".pdf": {"CreationDate": None}}


class Picture(Figure):
    """A figure that notebooks display; by themselves they display only figures made by pyplot."""

    def _repr_png_(self) -> bytes:
        data = io.BytesIO()
        self.savefig(data, format="png", dpi=100)
        return data.getvalue()


def save(figure: Figure, path: str | Path) -> Path:
    """Write `figure` to `path` (.png, .svg or .pdf) and return the path.

    The file contains no date, so equal data give equal bytes. It is written completely or not at all.
    """
    path = Path(path)
    if path.suffix not in _METADATA:
        raise BadInput(f"cannot write a figure to {path.name!r}; end the name in {', '.join(_METADATA)}")
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    with matplotlib.rc_context({"svg.hashsalt": "discovery"}):  # else the ids in an SVG are random
        figure.savefig(part, format=path.suffix[1:], dpi=150, metadata=_METADATA[path.suffix])
    return part.replace(path)


def meta_learning_curve(
    generations: Real[np.ndarray, " G"],
    scores: Real[np.ndarray, "G P"],
    mean_generations: Real[np.ndarray, " M"],
    mean_scores: Sequence[Real[np.ndarray, " S"]] | Real[np.ndarray, "M S"],
    baselines: Mapping[str, Interval] | None = None,
    ylabel: str = "score",
    title: str = "",
    styles: Mapping[str, Style] | None = None,
    failed: Real[np.ndarray, " G"] | None = None,
    answer: str = "mean",
) -> Figure:
    """Scores over the generations of a search: the population, its best, and the mean on selection seeds.

    Args:
        generations: ``[G]`` numbers of the generations.
        scores: ``[G, P]`` scores of their proposals, P = 0 if none were trained; NaN for one that failed or
            was stopped early. If any failed, a strip below the curves shows the share.
        mean_generations: ``[M]`` generations whose mean was scored on selection seeds; may be empty.
        mean_scores: the scores ``[S]`` of these M means; each gives a point and a 95% interval.
        baselines: by name, drawn as horizontal lines with their intervals.
        ylabel: what a score is.
        title: of the figure.
        styles: of the baselines, by name.
        failed: ``[G]`` share of proposals that failed; by default, those without a score.
        answer: what is scored on selection seeds, if it is no mean.
    """
    generations, scores = np.asarray(generations), np.asarray(scores, np.float64)
    mean_generations, mean_scores = np.asarray(mean_generations), list(mean_scores)
    check_shape("scores", scores, (generations.size, None), "generations x proposals")
    if len(mean_scores) != mean_generations.size:
        raise BadInput(
            f"mean_scores must be one row for each of {mean_generations.size} generations, "
            f"got {len(mean_scores)}"
        )
    if generations.size == 0:
        raise BadInput("there is no generation to draw; give at least one row of scores")
    failing = (
        (~np.isfinite(scores)).sum(1) / max(scores.shape[1], 1) if failed is None else np.asarray(failed)
    )
    figure = Picture(figsize=(7.5, 5), layout="constrained")
    heights = (6, 1) if failing.any() else (1,)
    axes = figure.subplots(len(heights), 1, sharex=True, squeeze=False, height_ratios=heights).ravel()
    main, strip = axes[0], axes[1:]
    _draw_population(main, generations, scores)
    _draw_mean(main, mean_generations, mean_scores, answer)
    _draw_baselines(main, baselines or {}, styles)
    tidy(main, ylabel=ylabel, title=title)
    for below in strip:
        below.bar(generations, 100 * failing, width=1, color="0.4", linewidth=0)
        below.set_ylim(0, 100)
        tidy(below, ylabel="failed, %")
    drawn = np.concatenate([generations, mean_generations])
    axes[-1].set_xlim(drawn.min() - 0.5, drawn.max() + 0.5)
    axes[-1].xaxis.set_major_locator(MaxNLocator(integer=True, steps=STEPS, min_n_ticks=1))
    axes[-1].set_xlabel("generation")
    add_legend(figure)
    return figure


def learning_curves(
    steps: Real[np.ndarray, " K"],
    curves: Mapping[str, Real[np.ndarray, "S K"]],
    ylabel: str = "mean return",
    title: str = "",
    xlabel: str = "environment steps",
    styles: Mapping[str, Style] | None = None,
) -> Figure:
    """Mean learning curve of each algorithm over its seeds ``[S, K]``, with a pointwise 95% band.

    With fewer than `BAND_SEEDS` seeds, a thin, pale line for each seed replaces the band. A band leaves out
    points at which fewer seeds have ended an episode. `styles` are by the algorithms' names.
    """
    figure = Picture(figsize=(7.5, 4.5), layout="constrained")
    axes = figure.subplots()
    note = draw_curves(axes, steps, curves, title, styles)
    axes.set_ylabel(ylabel)
    axes.set_xlabel(f"{xlabel} ({note})" if note else xlabel)
    add_legend(figure)
    return figure


def draw_curves(
    axes: Axes,
    steps: Real[np.ndarray, " K"],
    curves: Mapping[str, Real[np.ndarray, "S K"]],
    title: str = "",
    styles: Mapping[str, Style] | None = None,
) -> str:
    """Draw `learning_curves` into one panel of a figure; returns a note that explains thin lines or bands."""
    steps = np.asarray(steps)
    marker = "o" if steps.size == 1 else ""  # a line through one point is invisible
    looks, notes = complete_styles(curves, styles), dict[str, None]()
    for name, values in curves.items():
        values, (color, line) = np.asarray(values, np.float64), looks[name]
        check_shape(f"curves[{name!r}]", values, (None, steps.size), "seeds x steps")
        seeds = f"{len(values)} seed{'s' * (len(values) != 1)}"
        look: dict[str, Any] = {"color": color, "linestyle": line, "marker": marker}
        axes.plot(steps, band(values).mean, label=f"{in_lines(name)} ({seeds})", **look)
        notes[_draw_spread(axes, steps, values, look)] = None
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    tidy(axes, title=title)
    return "; ".join(filter(None, notes))


def comparison(
    rows: Sequence[tuple[str, str, Interval]],
    xlabel: str = "mean score, 95% interval",
    title: str = "",
    styles: Mapping[str, Style] | None = None,
    measures: Mapping[str, str] | None = None,
) -> Figure:
    """Intervals of (name, task, interval) rows: a panel for each task, a line for each name.

    Each panel has its own scale. A point without an interval has too few seeds.

    Args:
        rows: what to draw.
        xlabel: below all panels.
        title: of the figure.
        styles: by name.
        measures: task -> description of its score, in small print below the panel's title.
    """
    if not rows:
        raise BadInput("there is nothing to compare; give at least one (name, task, interval) row")
    names = list(dict.fromkeys(name for name, _, _ in rows))
    tasks = list(dict.fromkeys(task for _, task, _ in rows))
    height = 0.7 + 0.5 * len(names) + (0.2 if measures else 0.0)
    figure, panels = panel_grid(len(tasks), (3.2, height), margin=(1.5, 0.9), sharey=True)
    looks = complete_styles(names, styles)
    for name, task, score in rows:
        _draw_interval(panels[tasks.index(task)], names.index(name), score, looks[name])
    for panel, task in zip(panels, tasks, strict=True):
        panel.set_yticks(range(len(names)), list(map(in_lines, names)))
        panel.set_ylim(len(names) - 0.5, -0.7)
        panel.margins(x=0.45)
        panel.xaxis.set_major_locator(MaxNLocator(5, steps=STEPS))
        tidy(panel, title=task)
        _add_small_print(panel, (measures or {}).get(task, ""))
        panel.tick_params(axis="y", length=0)
    figure.supxlabel(xlabel, fontsize=10)
    figure.suptitle(title, fontsize=11)
    return figure


def panel_grid(
    count: int,
    size: tuple[float, float],
    margin: tuple[float, float] = (0.0, 0.0),
    columns: int = PANELS_IN_A_ROW,
    sharey: bool = False,
) -> tuple[Picture, list[Axes]]:
    """A figure with `count` panels of about `size` inches, in rows, and `margin` inches in addition."""
    columns = min(count, columns)
    rows = -(-count // columns)
    figsize = margin[0] + columns * size[0], margin[1] + rows * size[1]
    figure = Picture(figsize=figsize, layout="constrained")
    panels = list(figure.subplots(rows, columns, sharey=sharey, squeeze=False).ravel())
    for unused in panels[count:]:
        unused.remove()
    return figure, panels[:count]


def style(number: int) -> Style:
    """Color and line style by number: 28 different ones, then again from the start."""
    return COLORS[number % len(COLORS)], LINES[number // len(COLORS) % len(LINES)]


def complete_styles(
    names: Iterable[str], styles: Mapping[str, Style] | None, first: int = 0
) -> dict[str, Style]:
    """The given styles; names without one get those from number `first` on, by position."""
    return {name: style(number) for number, name in enumerate(names, first)} | dict(styles or {})


def tidy(axes: Axes, ylabel: str = "", title: str = "") -> None:
    """The common look of panels: a title, a pale grid in the background, no box."""
    axes.set_ylabel(ylabel)
    axes.set_title(title, fontsize=11)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="0.9", linewidth=0.8)
    axes.set_axisbelow(True)


def _add_small_print(axes: Axes, text: str) -> None:
    """A line of small print between the axes and their title."""
    if text:
        axes.set_title(axes.get_title(), fontsize=11, pad=18)
        place = {"xytext": (0, 5), "textcoords": "offset points", "ha": "center", "va": "bottom"}
        axes.annotate(text, (0.5, 1), xycoords="axes fraction", fontsize=8, color="0.35", **place)


def add_legend(figure: Figure | SubFigure) -> None:
    """Add a legend below the axes, in as many columns as fit the figure."""
    for columns in (4, 3, 2, 1):
        legend = figure.legend(loc="outside lower center", ncols=columns, frameon=False)
        if columns == 1 or legend.get_window_extent().width < 0.97 * figure.bbox.width:
            return
        legend.remove()


def in_lines(name: str) -> str:
    """A name for pictures: a long one is broken into lines, and shortened with an ellipsis if necessary."""
    if len(name) <= NAME_WIDTH:
        return name
    lines = textwrap.wrap(
        name.replace(",", ", "),
        NAME_WIDTH,
        max_lines=NAME_LINES,
        placeholder=" …",
        break_on_hyphens=False,
    )
    return "\n".join(lines)


def small_print(figure: Figure, text: str) -> None:
    """Add a note in small print at the bottom of a figure, in lines that fit it."""
    n_lines = math.ceil(len(text) / (SMALL_PRINT_WIDTH * figure.get_figwidth()))
    lines = textwrap.wrap(text, len(text) // n_lines + 8)  # of similar length
    figure.supxlabel("\n".join(lines).replace("-", "\N{MINUS SIGN}"), fontsize=8, color="0.35")


def number_ticks(axis: Axis, values: Iterable[float]) -> None:
    """Ticks at these values, with powers of ten as plain text, because pages disable formulas."""
    axis.set_major_locator(FixedLocator(list(values)))
    axis.set_major_formatter(lambda value, _: power_of_ten(value))
    axis.set_minor_locator(NullLocator())


def power_of_ten(value: float) -> str:
    """A power of ten as "10⁻³"; as plain digits from 0.01 to 100."""
    sign, size = "\N{MINUS SIGN}" if value < 0 else "", abs(value)
    if size == 0 or 0.01 <= size <= 100:
        return f"{sign}{size:g}"
    return f"{sign}10{str(round(math.log10(size))).translate(SUPERSCRIPTS)}"


def check_shape(name: str, array: np.ndarray, shape: tuple[int | None, int | None], meaning: str) -> None:
    """Raise a BadInput unless the array has this shape; None means any length."""
    if array.ndim != 2 or any(want not in (None, got) for want, got in zip(shape, array.shape, strict=True)):
        wanted = " x ".join("any" if want is None else str(want) for want in shape)
        raise BadInput(f"{name} must be an array of {meaning}, {wanted}, not of shape {list(array.shape)}")


def _quantiles(scores: Float[np.ndarray, "G P"], shares: Sequence[float]) -> Float[np.ndarray, "G Q"]:
    """Quantiles of each row's finite entries; NaN for a row without any."""
    finite = [row[np.isfinite(row)] for row in scores]
    missing = np.full(len(shares), np.nan)
    return np.array([np.quantile(row, shares) if row.size else missing for row in finite]).reshape(
        -1, len(shares)
    )


def _draw_population(axes: Axes, generations: np.ndarray, scores: Float[np.ndarray, "G P"]) -> None:
    if scores.shape[1] == 0:
        return
    if generations.size == 1:  # draw a single point as a short line
        generations, scores = generations + np.array([-0.3, 0.3]), np.repeat(scores, 2, axis=0)
    low, high, best = _quantiles(scores, (0.1, 0.9, 1.0)).T
    finite = np.isfinite(scores)
    total, count = np.where(finite, scores, 0.0).sum(1), finite.sum(1)
    average = np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)
    spread = {"alpha": 0.2, "linewidth": 0, "label": "population, 10% to 90%"}
    axes.fill_between(generations, low, high, color=COLORS[0], **spread)
    axes.plot(generations, average, color=COLORS[0], label="population, mean")
    axes.plot(generations, best, ":", color=COLORS[0], linewidth=1.2, label="population, best")


def _draw_mean(axes: Axes, generations: np.ndarray, scores: Sequence[np.ndarray], answer: str) -> None:
    if generations.size == 0:
        return
    rows = [interval(row, "mean", failures="drop") for row in scores]
    low, high = np.array([[row.low, row.high] for row in rows]).T
    known = np.isfinite(low) & np.isfinite(high)
    failed = sum(row.failed for row in rows)
    label = f"search {answer} on selection seeds, 95%" + (
        f" ({failed} of {sum(map(len, scores))} failed)" if failed else ""
    )
    axes.plot(generations, [row.estimate for row in rows], "o-", color=COLORS[1], markersize=4, label=label)
    axes.vlines(generations[known], low[known], high[known], color=COLORS[1], linewidth=1.5)


def _draw_baselines(
    axes: Axes, baselines: Mapping[str, Interval], styles: Mapping[str, Style] | None
) -> None:
    looks = complete_styles(baselines, styles, first=2)  # after the styles of the population and the mean
    for name, baseline in baselines.items():
        color, line = looks[name]
        axes.axhline(baseline.estimate, color=color, linestyle=line, linewidth=1.5, label=in_lines(name))
        if np.isfinite([baseline.low, baseline.high]).all():
            axes.axhspan(baseline.low, baseline.high, color=color, alpha=0.12, linewidth=0)


def _draw_spread(
    axes: Axes, steps: np.ndarray, values: Float[np.ndarray, "S K"], look: dict[str, Any]
) -> str:
    """Draw a band, or single seeds if they are too few; returns a note for the axes."""
    if len(values) < 2 or not np.isfinite(values).any():
        return ""
    if len(values) < BAND_SEEDS:
        axes.plot(steps, carry_forward(values).T, alpha=0.35, linewidth=0.6, markersize=3, **look)
        return "thin lines: single seeds"
    center = band(values)
    enough = center.n >= BAND_SEEDS
    axes.fill_between(
        steps, center.low, center.high, where=enough.tolist(), color=look["color"], alpha=0.2, linewidth=0
    )
    return "bands: 95% interval of the mean" if enough.any() else ""


def _draw_interval(axes: Axes, line: int, score: Interval, look: Style) -> None:
    color, dashes = look
    notes = [f"{score.failed} failed"] if score.failed else []
    if not np.isfinite(score.estimate):
        axes.text(
            0.5,
            line,
            "all failed",
            transform=axes.get_yaxis_transform(),
            ha="center",
            va="center",
            fontsize=8,
        )
        return
    axes.plot(score.estimate, line, "o", color=color, markersize=5)
    if np.isfinite([score.low, score.high]).all():
        axes.hlines(line, score.low, score.high, color=color, linestyles=dashes, linewidth=2)
        notes.insert(0, interval_text(score))
    else:
        notes.insert(0, f"{score.estimate:.4g} (n = {score.n})")
    place = {"xytext": (0, 6), "textcoords": "offset points", "ha": "center", "fontsize": 8, "color": "0.25"}
    text = ", ".join(notes).replace("-", "\N{MINUS SIGN}")
    axes.annotate(text, (score.estimate, line), **place)
