"""Tables for terminals, and intervals as text.

Where a line does not fit the width it is printed at, intervals go below their estimates.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from discovery.statistics import Interval

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult
    from rich.table import Table
    from rich.text import Text

    from discovery.judging.comparison import Comparison, Row
    from discovery.judging.suite_comparison import AggregateRow, SuiteComparison
    from discovery.judging.suite_speed import Speed
    from discovery.judging.sweep import Robustness

SCORES = {"final": "mean return, last fifth of training", "auc": "mean return over training"}
"""What each kind of `Task.score` is, in words."""

_PADDING = 3
"""Columns of the terminal that a column of the table takes beside its text."""

Sections = Callable[[str], list[list[list[str]]]]
"""From the separator between an estimate and its interval to the texts of each section's rows."""


def estimate_text(found: Interval | None, separator: str = " ") -> str:
    """Estimate [low, high], to two significant digits of the interval's width; "-" where there is none."""
    if found is None or not math.isfinite(found.estimate):
        return "-"
    width = found.high - found.low
    if not math.isfinite(width):
        return f"{found.estimate:.4g}"
    numbers = found.estimate, found.low, found.high
    if width <= 1e-9 * max(map(abs, numbers)):  # rounding, if it is a width at all
        texts = [f"{value:.4g}" for value in numbers]
    else:
        digits = max(0, 1 - math.floor(math.log10(width)))
        texts = [f"{value:.{digits}f}" for value in numbers]
    return f"{texts[0]}{separator}[{texts[1]}, {texts[2]}]"


@dataclass(frozen=True, eq=False)
class ComparisonTable:
    """A comparison's rows for rich to print, a table for each task."""

    comparison: "Comparison"

    def __rich_console__(self, console: "Console", options: "ConsoleOptions") -> "RenderResult":
        from rich.text import Text

        comparison = self.comparison
        heads = ["", "seeds", "mean", "IQM", f"minus {comparison.baseline}"]
        yield Text("Scores on held-out seeds, 95% intervals")
        sections = _fitted(heads, self._sections, options.max_width)
        for task, section in zip(comparison.tasks, sections, strict=True):
            measure = comparison.measure(task)
            yield _title(task, task in comparison.held_out, measure)
            yield section

    def _sections(self, separator: str) -> list[list[list[str]]]:
        rows = self.comparison.rows
        return [
            [_cells(row, separator) for row in rows if row.task == task] for task in self.comparison.tasks
        ]


@dataclass(frozen=True, eq=False)
class AggregateTable:
    """A suite's aggregates for rich to print."""

    result: "SuiteComparison"

    def __rich_console__(self, console: "Console", options: "ConsoleOptions") -> "RenderResult":
        from rich.text import Text

        baseline = self.result.comparison.baseline
        heads = [
            "",
            "IQM",
            "mean",
            "median",
            "optimality gap",
            f"IQM minus {baseline}",
            f"P(above {baseline})",
        ]
        count = len(self.result.comparison.tasks)
        yield Text(
            f"\nNormalized scores over {count} task{'s' * (count != 1)}: 0 as random actions, 1 as tuned PPO"
        )
        yield from _fitted(heads, self._sections, options.max_width)

    def _sections(self, separator: str) -> list[list[list[str]]]:
        return [[_aggregate_cells(row, separator) for row in self.result.aggregates]]


@dataclass(frozen=True, eq=False)
class SpeedTable:
    """How soon subjects learn, for rich to print: a table for each task."""

    result: "SuiteComparison"

    def __rich_console__(self, console: "Console", options: "ConsoleOptions") -> "RenderResult":
        from rich.text import Text

        from discovery.judging.suite_speed import SHARE

        comparison = self.result.comparison
        yield Text(f"\nHow soon learning curves come to {SHARE:g} of tuned PPO's normalized score")
        heads = ["", "share that does", "median steps", "area under curve"]
        sections = _fitted(heads, self._sections, options.max_width)
        for task, section in zip(comparison.tasks, sections, strict=True):
            yield _title(task, task in comparison.held_out, comparison.measure(task))
            yield section

    def _sections(self, separator: str) -> list[list[list[str]]]:
        speeds, tasks = self.result.speeds, self.result.comparison.tasks
        return [[_speed_cells(row, separator) for row in speeds if row.task == task] for task in tasks]


@dataclass(frozen=True, eq=False)
class RobustnessTable:
    """A sweep's levels for rich to print: a table for each task, a column for each factor."""

    result: "Robustness"

    def __rich_console__(self, console: "Console", options: "ConsoleOptions") -> "RenderResult":
        from rich.text import Text

        result = self.result
        heads = ["", *(f"x {factor:g}" for factor in result.factors)]
        yield Text(f"\nRobustness to {result.parameter}: mean scores at factors of its value, 95% intervals")
        if result.left_out:
            yield Text(f"Left out, without a number of that name: {', '.join(result.left_out)}")
        sections = _fitted(heads, self._sections, options.max_width)
        for task, section in zip(result.tasks, sections, strict=True):
            yield _title(task, task in result.held_out, SCORES.get(result.measures.get(task, ""), ""))
            yield section

    def _sections(self, separator: str) -> list[list[list[str]]]:
        result = self.result
        return [
            [
                [subject, *(_with_failures(score, separator) for score in result.scores(subject, task))]
                for subject in result.subjects
            ]
            for task in result.tasks
        ]


def _title(task: str, held_out: bool, measure: str) -> "Text":
    from rich.text import Text

    note = " (held out)" if held_out else ""
    return Text.assemble("\n", (task, "bold"), note + (f": {measure}" if measure else ""))


def _fitted(heads: list[str], sections: Sections, width: int) -> "list[Table]":
    """A table for each section, of the same columns, folded where a line would not fit."""
    for separator in (" ", "\n"):
        texts = sections(separator)
        widths = _widths(heads, [row for rows in texts for row in rows])
        if sum(widths) + _PADDING * len(heads) <= width:
            break
    return [_section(heads, widths, rows) for rows in texts]


def _section(heads: list[str], widths: list[int], rows: list[list[str]]) -> "Table":
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1))
    for i, (head, width) in enumerate(zip(heads, widths, strict=True)):
        table.add_column(Text(head), justify="right" if i else "left", no_wrap=True, min_width=width)
    for row in rows:
        table.add_row(*map(Text, row))
    return table


def _widths(heads: list[str], rows: Sequence[list[str]]) -> list[int]:
    return [
        max(len(line) for row in [heads, *rows] for line in row[i].split("\n")) for i in range(len(heads))
    ]


def _cells(row: "Row", separator: str) -> list[str]:
    seeds = f"{row.n}{separator}({row.failed} failed)" if row.failed else str(row.n)
    return [row.subject, seeds, *(estimate_text(v, separator) for v in (row.mean, row.iqm, row.difference))]


def _aggregate_cells(row: "AggregateRow", separator: str) -> list[str]:
    found = (row.iqm, row.mean, row.median, row.optimality_gap, row.difference, row.improvement)
    return [row.subject, *(estimate_text(value, separator) for value in found)]


def _speed_cells(row: "Speed", separator: str) -> list[str]:
    steps = f"{row.median_steps:,.0f}" if math.isfinite(row.median_steps) else "-"
    return [row.subject, estimate_text(row.reached, separator), steps, estimate_text(row.area, separator)]


def _with_failures(score: Interval, separator: str) -> str:
    if not math.isfinite(score.estimate):
        return f"all {score.failed} failed"
    return estimate_text(score, separator) + (f"{separator}({score.failed} failed)" if score.failed else "")
