"""Facts that were recorded, and how what is found now is compared with them.

What was recorded under the same conditions is compared bit for bit. Elsewhere names must be equal, and floats
close to `TOLERANCE` where `close` is asked for.
"""

import json
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.net.conditions import conditions

RECORDED = Path(__file__).parent / "recorded"

TOLERANCE = 1e-3
"""Relative, or absolute below 1: of short trainings on a CPU that rounds otherwise."""


def record(name: str, facts: Any) -> None:
    """Write facts down, with what they depend on."""
    path = RECORDED / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps({"conditions": conditions(), "facts": facts}, indent=1, sort_keys=True)
    path.write_text(text + "\n", encoding="utf-8")


def recorded(name: str) -> tuple[dict[str, str], Any]:
    """The conditions and the facts that were written down."""
    found = json.loads((RECORDED / f"{name}.json").read_text(encoding="utf-8"))
    return found["conditions"], found["facts"]


def check(name: str, facts: Any, bits: bool = True) -> None:
    """Fail unless the facts are those on record; the message lists the first that differ.

    Without `bits`, they are compared as if recorded under other conditions.
    """
    was, before = recorded(name)
    exact = bits and was == conditions()
    differences = list(_differences("", before, json.loads(json.dumps(facts)), exact))
    listed = "\n  ".join(differences[:15])
    assert not differences, (
        f"{name}: {len(differences)} facts differ from those on record "
        f"({'bit for bit' if exact else f'to {TOLERANCE:g}: recorded with {was}'}):\n  {listed}"
    )


def _differences(place: str, before: Any, now: Any, exact: bool) -> Iterator[str]:
    if isinstance(before, dict) and isinstance(now, dict):
        for name in sorted({*before, *now}):
            where = f"{place}/{name}"
            if name not in now or name not in before:
                yield f"{where}: {'is gone' if name in before else 'is new'}"
            elif exact or name != "sha256":
                yield from _differences(where, before[name], now[name], exact)
    elif isinstance(before, list) and isinstance(now, list) and len(before) == len(now):
        for index, pair in enumerate(zip(before, now, strict=True)):
            yield from _differences(f"{place}/{index}", *pair, exact)
    elif before != now and (exact or not _close(before, now)):
        yield f"{place}: was {_shown(before)}, is {_shown(now)}"


def _close(before: Any, now: Any) -> bool:
    a, b = _number(before), _number(now)
    if a is None or b is None:
        return False
    return (math.isnan(a) and math.isnan(b)) or math.isclose(a, b, rel_tol=TOLERANCE, abs_tol=TOLERANCE)


def _shown(value: Any) -> str:
    number = _number(value)
    return str(value) if number is None else f"{value} ({number:.9g})"


def _number(value: Any) -> float | None:
    """The float that a text stands for, hexadecimal or decimal."""
    if not isinstance(value, str):
        return None
    if re.fullmatch(r"-?0x[0-9a-f.]+p[+-]\d+", value):
        return float.fromhex(value)
    return float(value) if re.fullmatch(r"-?(\d[\d.]*(e-?\d+)?|inf)|nan", value) else None
