"""Tables for terminals, and intervals as text."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from discovery.statistics import Interval

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult
    from rich.table import Table

    from discovery.comparison import Comparison, Row

SCORES = {"final": "mean return, last fifth of training", "auc": "mean return over training"}
"""What each kind of `Task.score` is, in words."""

_PADDING = 3
"""Columns of the terminal that a column of the table takes beside its text."""


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
    """A comparison's rows for rich to print, a table for each task.

    Where a line does not fit the width it is printed at, intervals go below their estimates.
    """

    comparison: "Comparison"

    def __rich_console__(self, console: "Console", options: "ConsoleOptions") -> "RenderResult":
        from rich.text import Text

        comparison, separator = self.comparison, " "
        heads = ["", "seeds", "mean", "IQM", f"minus {comparison.baseline}"]
        widths = _widths(comparison, heads, separator)
        if sum(widths) + _PADDING * len(heads) > options.max_width:
            separator = "\n"
            widths = _widths(comparison, heads, separator)
        yield Text("Scores on held-out seeds, 95% intervals")
        for task in comparison.tasks:
            note = " (held out)" if task in comparison.held_out else ""
            measure = comparison.measure(task)
            note += f": {measure}" if measure else ""
            yield Text.assemble("\n", (task, "bold"), note)
            yield _section(heads, widths, [_cells(r, separator) for r in comparison.rows if r.task == task])


def _section(heads: list[str], widths: list[int], rows: list[list[str]]) -> "Table":
    """One task's rows; all tasks have the same widths."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1))
    for i, (head, width) in enumerate(zip(heads, widths, strict=True)):
        table.add_column(Text(head), justify="right" if i else "left", no_wrap=True, min_width=width)
    for row in rows:
        table.add_row(*map(Text, row))
    return table


def _widths(comparison: "Comparison", heads: list[str], separator: str) -> list[int]:
    rows = [heads, *(_cells(row, separator) for row in comparison.rows)]
    return [max(len(line) for row in rows for line in row[i].split("\n")) for i in range(len(heads))]


def _cells(row: "Row", separator: str) -> list[str]:
    """A row's texts; `separator` stands between an estimate and its interval."""
    seeds = f"{row.n}{separator}({row.failed} failed)" if row.failed else str(row.n)
    return [row.subject, seeds, *(estimate_text(v, separator) for v in (row.mean, row.iqm, row.difference))]
