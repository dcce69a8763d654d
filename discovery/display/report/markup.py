"""Values as HTML for the templates. Everything is escaped.

A number is written as ``<data value="0.0184857">0.018</data>``: the text is rounded, and the value is the
exact one of report.json.
"""

import math
from collections.abc import Mapping
from typing import Any

from markupsafe import Markup

from discovery.display import formats
from discovery.statistics import Interval, rounded

MINUS = "\N{MINUS SIGN}"
NOTHING = Markup('<span class="none">–</span>')
"""Shown instead of a missing number."""


def shown(value: Any) -> Any:
    """The text for a value in a template: numbers by `number`, intervals by `estimate`, None as `NOTHING`."""
    if value is None:
        return NOTHING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float):
        return number(value)
    if isinstance(value, Interval):
        return estimate(value)
    if isinstance(value, Markup):
        return value
    return "".join(c if c.isprintable() or c == "\n" else "?" for c in str(value))


def number(value: float) -> Markup:
    """A number: integers with separators, others to four digits."""
    if not math.isfinite(value):
        return NOTHING
    return _data(value, f"{value:,}" if isinstance(value, int) else _short(value))


def percent(share: float | None) -> Markup:
    """A share in percent."""
    if share is None or not math.isfinite(share):
        return NOTHING
    return _data(share, f"{100 * share:.0f}%" if share in (0, 1) else f"{100 * share:.1f}%")


def duration(seconds: float | None) -> Markup:
    """Seconds as minutes and hours."""
    if seconds is None or not math.isfinite(seconds):
        return NOTHING
    return _data(seconds, formats.duration(seconds))


def estimate(found: Interval | None, signed: bool = False) -> Markup:
    """An estimate and its interval; if `signed`, a positive estimate gets a plus sign."""
    texts = rounded(found)
    if found is None or not texts:
        return NOTHING
    center, *limits = (_data(float(x), text) for x, text in zip(found[:3], texts, strict=False))
    sign = "+" if signed and limits and found.estimate > 0 else ""
    if not limits:
        return center
    return Markup('{}{} <span class="interval">[{}, {}]</span>').format(sign, center, *limits)


def signed(found: Interval | None) -> Markup:
    """A difference: `estimate` with a sign."""
    return estimate(found, signed=True)


def setting(value: Any) -> Any:
    """The value of a setting, on one line."""
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {item}" for name, item in value.items()) or "none"
    if isinstance(value, list | tuple):
        return " × ".join(map(str, value)) or "none"
    return "none" if value is None else value


def array_text(array: Any) -> str:
    """Nested tuples of numbers, a row on each line."""
    if array and isinstance(array[0], tuple):
        return "[\n" + "\n".join(f"  {array_text(row)}," for row in array) + "\n]"
    return f"[{', '.join(map(str, array))}]"


def _data(value: float, text: str) -> Markup:
    return Markup('<data value="{}">{}</data>').format(repr(value), text.replace("-", MINUS))


def _short(value: float) -> str:
    if value == 0:
        return "0"
    size = abs(value)
    return f"{value:,.0f}" if size >= 10_000 else f"{value:.2g}" if size < 0.001 else f"{value:.4g}"
