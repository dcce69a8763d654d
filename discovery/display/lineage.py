"""The ancestors of a program as text for people and as data for programs."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.text import Text

from discovery.display.formats import score
from discovery.results.lineage import Relative, change

STYLES = {"-": "red", "+": "green"}
"""Of a diff's lines, by their first character."""


def lineage_text(lineage: Sequence[Relative]) -> Text:
    """Each program with its scores and what changed: its text at first, then the lines that are new."""
    found = Text()
    for one, changed in _with_changes(lineage):
        made = " from ".join([one.operator, *([", ".join(one.parents)] if one.parents else [])])
        found.append(f"{one.id:<10}", "bold").append(f"{made}\n")
        found.append(f"{'':<10}{scores_text(one)}; complexity {one.complexity}\n")
        for line in changed.splitlines():
            found.append(f"{'':<10}{line}\n", STYLES.get(line[0], "") if one.parents and line else "")
        found.append("\n")
    found.rstrip()
    return found


def lineage_facts(lineage: Sequence[Relative]) -> list[dict[str, Any]]:
    """The same as data for programs."""
    return [
        {**vars(one), "complexity": one.complexity, "change": changed}
        for one, changed in _with_changes(lineage)
    ]


def scores_text(one: Relative) -> str:
    """A program's scores, first and when it was scored again."""
    first, times = f"score {score(one.scores[0])}", len(one.scores) - 1
    if one.again is None:
        return first
    mean, often = ("mean ", f" ({times} times)") if times > 1 else ("", "")
    return f"{first}, {mean}{score(one.again)} when scored again{often}"


def _with_changes(lineage: Sequence[Relative]) -> Iterator[tuple[Relative, str]]:
    """Programs, each with its diff from its first parent; its whole text if it has none."""
    by_name: Mapping[str, Relative] = {one.id: one for one in lineage}
    for one in lineage:
        yield one, change(by_name[one.parents[0]].source, one.source) if one.parents else one.source
