"""How the numbers of two runs differ."""

from typing import Any

import numpy as np

from discovery.store.arrays import numbers_of, unpack
from discovery.store.ledger import Ledger

NUMBERS = ("generations", "proposals", "responses", "evaluations", "reports")
"""The tables that two runs of the same search share; `meta` describes one run only."""

OBSERVATIONAL = frozenset(
    {"closed_at", "recorded_at", "seconds", "compile_seconds", "worker", "attempts", "device"}
    | {"detail", "command", "source", "begun", "checkpoint"}
)
"""Columns that may differ between two runs with the same numbers: times, places, texts."""


def same_numbers(a: Ledger, b: Ledger) -> list[str]:
    """How two runs differ, bit for bit, except in observational columns; empty if they agree."""
    differences = []
    for table in NUMBERS:
        ours, theirs = _compared(a, table), _compared(b, table)
        for name in sorted(ours.keys() | theirs.keys()):
            if name not in ours or name not in theirs:
                where = a.folder if name in ours else b.folder
                differences.append(f"{table} {name}: only in {where}")
                continue
            left, right = ours[name], theirs[name]
            # The text of a float is exact, and distinguishes 0.0 from -0.0 and 1 from 1.0.
            differs = [column for column in left if repr(left[column]) != repr(right[column])]
            differences += [f"{table} {name}: {_difference(c, left[c], right[c])}" for c in differs]
    return differences


def _compared(ledger: Ledger, table: str) -> dict[Any, dict[str, Any]]:
    rows = ledger.rows(table)
    rows = [{name: value for name, value in row.items() if name not in OBSERVATIONAL} for row in rows]
    return {row["generation" if table == "generations" else "id"]: row for row in rows}


def _difference(column: str, left: Any, right: Any) -> str:
    if not (isinstance(left, bytes) and isinstance(right, bytes)):
        return f"{column} {left!r} is {right!r}"
    ours, theirs = numbers_of(unpack(left)), numbers_of(unpack(right))
    names = [*ours, *(name for name in theirs if name not in ours)]
    parts = [n for n in names if n not in ours or n not in theirs or _bits(ours[n]) != _bits(theirs[n])]
    return f"{column} differs in {', '.join(parts)}"


def _bits(array: np.ndarray) -> tuple[str, tuple[int, ...], bytes]:
    return array.dtype.str, array.shape, array.tobytes()
