"""What `evaluate` and `compare_suite` return: comparisons that print, draw and write themselves."""

import io
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, fields
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from discovery.judging import comparison, suite_comparison
from discovery.judging.robustness import Robustness
from discovery.judging.sentences import comparison_sentences, suite_sentences

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from rich.console import RenderableType

WIDTH = 160
"""Columns of a printed table."""


class Shown(ABC):
    """Printing: tables and sentences in a terminal, a data frame and the sentences in a notebook."""

    @abstractmethod
    def table(self) -> "RenderableType":
        """The tables for rich to print."""

    @abstractmethod
    def verdicts(self) -> list[str]:
        """What the numbers say, in sentences."""

    def __str__(self) -> str:
        from rich.console import Console

        text = io.StringIO()
        Console(file=text, width=WIDTH, highlight=False, markup=False).print(self.table())
        lines = [line.rstrip() for line in text.getvalue().splitlines()]
        return "\n".join([*lines, "", *self.verdicts()])

    def _repr_html_(self) -> str:
        sentences = "".join(f"<p>{escape(line)}</p>" for line in self.verdicts())
        return self.frame().to_html(index=False) + sentences  # type: ignore[attr-defined]


@dataclass(frozen=True, eq=False, repr=False)
class Comparison(Shown, comparison.Comparison):
    """Subjects side by side, as `discovery.evaluate` returns them; see `discovery.judging.comparison`.

    Attributes:
        robustness: sweeps, by parameter.
    """

    robustness: tuple[Robustness, ...] = ()

    @classmethod
    def of(cls, result: comparison.Comparison, robustness: Sequence[Robustness] = ()) -> Self:
        """A comparison that prints and draws itself."""
        return cls(**_values(result), robustness=tuple(robustness))

    def __repr__(self) -> str:
        return f"Comparison(of {', '.join(self.subjects)}, on {', '.join(self.tasks)})"

    def table(self) -> "RenderableType":
        """A table for each task, then the sweeps."""
        from rich.console import Group

        from discovery.display.tables import comparison_tables, robustness_tables

        return Group(comparison_tables(self), *map(robustness_tables, self.robustness))

    def verdicts(self) -> list[str]:
        """Every pair of opponents task by task, the rule that judged them, and cautions."""
        return comparison_sentences(self)

    def plot(self) -> "Figure":
        """Mean scores with intervals, a panel for each task."""
        from discovery.display.pictures.suites import score_intervals

        return score_intervals(self)

    def to_dict(self) -> dict[str, Any]:
        """Everything except the curves, JSON-serializable."""
        swept = {"robustness": [each.to_dict() for each in self.robustness]} if self.robustness else {}
        return super().to_dict() | {"verdicts": self.verdicts()} | swept


@dataclass(frozen=True, eq=False, repr=False)
class SuiteComparison(Shown, suite_comparison.SuiteComparison):
    """Subjects on a suite, as `compare_suite` returns them; see `discovery.judging.suite_comparison`."""

    @classmethod
    def of(cls, result: suite_comparison.SuiteComparison) -> Self:
        """A comparison that prints, draws and writes itself."""
        return cls(**_values(result))

    def __repr__(self) -> str:
        return f"SuiteComparison(of {', '.join(self.comparison.subjects)}, on suite {self.suite})"

    def table(self) -> "RenderableType":
        """A table for each task, one over all of them, how soon each is learned, then the sweeps."""
        from discovery.display.tables import suite_tables

        return suite_tables(self)

    def verdicts(self) -> list[str]:
        """Each subject against the baseline, the rule that judged them, and cautions."""
        return suite_sentences(self)

    def to_dict(self) -> dict[str, Any]:
        """Everything except the curves, JSON-serializable."""
        return super().to_dict() | {"verdicts": self.verdicts()}

    def plot(self) -> "dict[str, Figure]":
        """The pictures by name: intervals, profiles, learning curves, and one for each sweep."""
        from discovery.display.pictures.suites import pictures

        return pictures(self)

    def write(self, folder: Path | str, command: str = "") -> list[Path]:
        """Write comparison.json, scores.csv, table.csv and the pictures to a folder; returns their paths."""
        from discovery.display.suite_files import write_suite_files

        return write_suite_files(self, Path(folder), command)


def _values(result: Any) -> dict[str, Any]:
    return {field.name: getattr(result, field.name) for field in fields(result) if field.init}
