"""Comparisons as tables for rich to print.

If a line does not fit the width, intervals are printed below their estimates.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rich.box import SIMPLE_HEAD
from rich.console import Console, ConsoleOptions, Group, RenderResult
from rich.table import Table
from rich.text import Text

from discovery.judging.comparison import Comparison, Row
from discovery.judging.robustness import Robustness
from discovery.judging.suite_comparison import SuiteComparison
from discovery.judging.suite_speed import SHARE
from discovery.statistics import Interval, interval_text, interval_with_failures
from environments.task import SCORES

PADDING = 3
"""Terminal columns that a column of the table takes in addition to its text."""

Cell = str | Interval | None


@dataclass(frozen=True, eq=False)
class Tables:
    """Tables of the same columns below one another.

    Attributes:
        notes: lines above the tables.
        heads: of the columns.
        sections: title and rows of each table; "" for no title.
        failures: whether intervals show how many trainings failed.
    """

    notes: Sequence[str]
    heads: Sequence[str]
    sections: Sequence[tuple[Text | str, Sequence[Sequence[Cell]]]]
    failures: bool = False

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield from map(Text, self.notes)
        for separator in (" ", "\n"):
            texts = [[self._texts(row, separator) for row in rows] for _, rows in self.sections]
            widths = [_width([row[i] for rows in texts for row in rows], h) for i, h in enumerate(self.heads)]
            if sum(widths) + PADDING * len(widths) <= options.max_width:
                break
        for (title, _), rows in zip(self.sections, texts, strict=True):
            if title:
                yield title
            yield self._table(widths, rows)

    def _texts(self, row: Sequence[Cell], separator: str) -> list[str]:
        as_text = interval_with_failures if self.failures else interval_text
        return [
            as_text(cell, separator) if isinstance(cell, Interval) else "-" if cell is None else cell
            for cell in row
        ]

    def _table(self, widths: Sequence[int], rows: Sequence[Sequence[str]]) -> Table:
        table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1))
        for i, (head, width) in enumerate(zip(self.heads, widths, strict=True)):
            table.add_column(Text(head), justify="right" if i else "left", no_wrap=True, min_width=width)
        for row in rows:
            table.add_row(*map(Text, row))
        return table


def comparison_tables(result: Comparison) -> Tables:
    """Scores: a table for each task."""
    heads = ("", "seeds", "mean", "IQM", f"minus {result.baseline}")
    sections = [
        (_title(task, result), [_score_cells(row) for row in result.rows if row.task == task])
        for task in result.tasks
    ]
    return Tables(["Scores on held-out seeds, 95% intervals"], heads, sections)


def suite_tables(result: SuiteComparison) -> Group:
    """Scores on each task, aggregates over all tasks, speed of learning, and the sweeps."""
    sweeps = map(robustness_tables, result.robustness)
    return Group(comparison_tables(result.comparison), aggregate_table(result), speed_tables(result), *sweeps)


def aggregate_table(result: SuiteComparison) -> Tables:
    """A suite's aggregates."""
    base, count = result.baseline, len(result.comparison.tasks)
    plural = "s" * (count != 1)
    note = f"\nNormalized scores over {count} task{plural}: 0 as random actions, 1 as tuned PPO"
    heads = ("", "IQM", "mean", "median", "optimality gap", f"IQM minus {base}", f"P(above {base})")
    rows = [
        (row.subject, row.iqm, row.mean, row.median, row.optimality_gap, row.difference, row.improvement)
        for row in result.aggregates
    ]
    return Tables([note], heads, [("", rows)])


def speed_tables(result: SuiteComparison) -> Tables:
    """Speed of learning: a table for each task."""
    heads = ("", "share that reaches it", "median steps", "area under curve")
    sections = []
    for task in result.comparison.tasks:
        own = [each for each in result.speeds if each.task == task]
        rows = [(each.subject, each.reached, _steps(each.median_steps), each.area) for each in own]
        sections.append((_title(task, result.comparison), rows))
    note = f"\nHow soon learning curves reach {SHARE:g} of tuned PPO's normalized score"
    return Tables([note], heads, sections)


def robustness_tables(result: Robustness) -> Tables:
    """A sweep: a table for each task, a column for each factor."""
    notes = [f"\nRobustness to {result.parameter}: mean scores at factors of its value, 95% intervals"]
    if result.left_out:
        notes.append(f"Left out, because they have no such number: {', '.join(result.left_out)}")
    sections = [
        (_title(task, result), [(subject, *result.scores(subject, task)) for subject in result.subjects])
        for task in result.tasks
    ]
    return Tables(notes, ("", *(f"x {factor:g}" for factor in result.factors)), sections, failures=True)


def _title(task: str, result: Comparison | Robustness) -> Text:
    note = " (held out)" if task in result.held_out else ""
    measure = SCORES.get(result.measures.get(task, ""), "")
    return Text.assemble("\n", (task, "bold"), note + (f": {measure}" if measure else ""))


def _score_cells(row: Row) -> tuple[Cell, ...]:
    lost = [f"{count} {name}" for name, count in (("failed", row.failed), ("missing", row.missing)) if count]
    seeds = f"{row.n} ({', '.join(lost)})" if lost else str(row.n)
    return row.subject, seeds, row.mean, row.iqm, row.difference


def _steps(steps: float) -> str:
    return f"{steps:,.0f}" if math.isfinite(steps) else "-"


def _width(cells: Iterable[str], head: str) -> int:
    return max(len(line) for text in (head, *cells) for line in text.split("\n"))
