"""The first mean of a search, if it is not its family's initial value, as stored with the run."""

import json
from collections.abc import Mapping
from typing import Any, NamedTuple


class Seen(NamedTuple):
    """A task that a search trained or selected on, with the run, and what identifies the task."""

    run: str
    task: str
    environment: str
    options: Mapping[str, Any]


class Origin(NamedTuple):
    """Where one searched entry comes from.

    Attributes:
        entry: its name.
        source: the subject's name in tables.
        place: "RUN@GENERATION" for what a run found, an exported file, or "".
        what: the answers that were imitated, in words; empty for numbers that were copied.
        error: relative error of the imitation, on inputs it was not fitted to.
        before: the same for the family's initial values.
        steps: of the fit; 0 if the initial values were no worse.
        seen: the tasks that the source and its own start were searched on.
    """

    entry: str
    source: str
    place: str = ""
    what: str = ""
    error: float = 0.0
    before: float = 0.0
    steps: int = 0
    seen: tuple[Seen, ...] = ()

    @property
    def text(self) -> str:
        """The origin in words."""
        source = self.place or self.source
        if not self.what:
            return f"{self.entry} taken over from {source}"
        return (
            f"{self.entry} distilled from {source}, relative error of {self.what} {self.error:.2g} "
            f"({self.before:.2g} before)"
        )

    def to_dict(self) -> dict[str, Any]:
        """JSON-serializable."""
        return self._asdict() | {"seen": [each._asdict() for each in self.seen]}


class Start(NamedTuple):
    """The first mean of a search, and where its entries come from."""

    mean: dict[str, Any]
    origins: tuple[Origin, ...]


def dumps(origins: tuple[Origin, ...]) -> str:
    """Origins as JSON."""
    return json.dumps([origin.to_dict() for origin in origins])


def origins_of(meta: Mapping[str, str]) -> tuple[Origin, ...]:
    """The origins in a run's `meta`; empty if it began with its family's initial values."""
    rows = json.loads(meta.get("start", "[]"))
    return tuple(Origin(**row | {"seen": tuple(Seen(**s) for s in row.get("seen", ()))}) for row in rows)
