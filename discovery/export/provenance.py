"""The provenance of an exported file, and the header that states it."""

import math
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from discovery.export.recipe import lines
from environments.task import Task

_WIDTH = 100


class Score(NamedTuple):
    """One row of the header's table.

    Attributes:
        algorithm: which one, for example "discovered" or "ppo".
        task: on which task.
        mean: over seeds.
        low: lower end of the interval that `Provenance.interval` names.
        high: its upper end.
        seeds: how many.
        iqm: interquartile mean, if it was computed.
        split: "held-out", "selection" ...
    """

    algorithm: str
    task: str
    mean: float
    low: float
    high: float
    seeds: int
    iqm: float = math.nan
    split: str = "held-out"


@dataclass(frozen=True)
class Provenance:
    """The origin of an exported file, for its header; empty fields are left out.

    Attributes:
        run: name of the run; empty for a known algorithm.
        generation: the generation whose mean (or proposal) has these weights.
        commit: of this package.
        config_hash: hash of the run's whole config.
        created: date, as text.
        versions: library name to version.
        tasks: what it was meta-trained on; their setups and numbers become RECIPE and TASKS.
        scores: rows of the table.
        interval: meaning of `low` and `high` of the rows.
        notes: anything to add, a paragraph each.
    """

    run: str = ""
    generation: int | None = None
    commit: str = ""
    config_hash: str = ""
    created: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)
    tasks: Sequence[Task] = ()
    scores: Sequence[Score] = ()
    interval: str = "95% interval of the mean"
    notes: Sequence[str] = ()

    def facts(self) -> dict[str, str]:
        """The short facts, name to text, without empty ones."""
        facts = {
            "run": self.run or "none: a known algorithm, not the product of a search",
            "generation": "" if self.generation is None else str(self.generation),
            "commit": self.commit,
            "config": self.config_hash,
            "created": self.created,
            "versions": ", ".join(f"{name} {version}" for name, version in self.versions.items()),
            "tuned on": ", ".join(task.name for task in self.tasks),
        }
        return {name: text for name, text in facts.items() if text}


def header(
    title: str,
    description: str,
    usage: str,
    differences: Sequence[str],
    provenance: Provenance,
    shared: Mapping[str, object],
    own: Mapping[str, Mapping[str, object]],
) -> str:
    """The docstring of an exported file, quotes included.

    Args:
        title: first line.
        description: what the file computes, a paragraph.
        usage: code that uses it.
        differences: what the host does differently from the inner loop, a sentence or more each.
        provenance: origin.
        shared: what the recipes of all tasks have in common, see `recipe.common`.
        own: the rest of each task's, by its name.
    """
    sections = [_wrap(title), _wrap(description), textwrap.indent(textwrap.dedent(usage).strip(), "    ")]
    sections += [f"Origin\n{_facts(provenance.facts())}"]
    if provenance.scores:
        sections.append(f"Scores (mean return over seeds; {provenance.interval})\n{_table(provenance)}")
    recipe = {**lines(shared), **{name: "; ".join(lines(values).values()) for name, values in own.items()}}
    if recipe:
        text = "Inner-loop recipe it was tuned to (RECIPE and TASKS below hold it as data)"
        sections.append(f"{text}\n{_facts(recipe)}")
    if differences:
        items = "\n".join(_wrap(text, "  * ", "    ") for text in differences)
        sections.append(f"Differs here from that recipe\n{items}")
    sections += [_wrap(note) for note in provenance.notes]
    return '"""' + _safe("\n\n".join(sections)) + '\n"""\n'


def _safe(text: str) -> str:
    """`text`, changed so that nothing in it ends the docstring or is read as an escape."""
    text = "".join(c if c.isprintable() or c == "\n" else "?" for c in text)
    return text.replace("\\", "\\\\").replace('"""', "'''")


def _wrap(text: str, first: str = "", rest: str = "") -> str:
    text = " ".join(text.split())
    return textwrap.fill(text, _WIDTH, initial_indent=first, subsequent_indent=rest, break_on_hyphens=False)


def _facts(facts: Mapping[str, str]) -> str:
    width = max(map(len, facts)) + 2
    indent = " " * (width + 4)
    return "\n".join(_wrap(text, f"    {name:<{width}}", indent) for name, text in facts.items())


def _table(provenance: Provenance) -> str:
    head = ("algorithm", "task", "split", "mean", "IQM", "interval", "seeds")
    rows = [
        (
            " ".join(row.algorithm.split()),
            " ".join(row.task.split()),
            row.split,
            _number(row.mean),
            _number(row.iqm),
            f"[{_number(row.low)}, {_number(row.high)}]",
            str(row.seeds),
        )
        for row in provenance.scores
    ]
    columns = list(zip(head, *rows, strict=True))
    widths = [max(map(len, column)) for column in columns]
    texts = [
        "  ".join(
            cell.ljust(width) if index < 3 else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in (head, *rows)
    ]
    return textwrap.indent("\n".join(texts), "    ")


def _number(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.4g}" if abs(value) < 1000 else f"{value:,.0f}"
