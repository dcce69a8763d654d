"""HTML from values: everything is escaped, and every number says which number it is.

A number is written as ``<data value="0.0184857">0.018</data>``: the text is rounded for people, the value
is the one that stands in report.json.
"""

import math
from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

from discovery.display import formats
from discovery.statistics import Interval

MINUS = "\N{MINUS SIGN}"
NOTHING = "–"
"""What stands where there is no number."""


class Html(str):
    """Markup, which goes into the page as it is; any other text is escaped."""


def html(value: Any) -> Html:
    """A value as markup: `Html` as it is, numbers as `number`, None as nothing, other text escaped."""
    if isinstance(value, Html):
        return value
    if value is None:
        return Html(NOTHING)
    if isinstance(value, bool):
        return Html("yes" if value else "no")
    if isinstance(value, int | float):
        return number(value)
    if isinstance(value, Interval):
        return estimate(value)
    return Html(escape("".join(c if c.isprintable() or c == "\n" else "?" for c in str(value))))


def tag(name: str, *children: Any, **attributes: Any) -> Html:
    """An element; `class_` is the class, and None leaves an attribute out."""
    pairs = {key.rstrip("_").replace("_", "-"): value for key, value in attributes.items()}
    written = "".join(f' {key}="{html(str(value))}"' for key, value in pairs.items() if value is not None)
    return Html(f"<{name}{written}>{join(children)}</{name}>")


def join(children: Iterable[Any], separator: str = "") -> Html:
    """Values as markup, one behind the other."""
    return Html(separator.join(html(child) for child in children))


def number(value: float, digits: int | None = None) -> Html:
    """A number: whole ones with separators; others to `digits` behind the point, by default four in all."""
    if not math.isfinite(value):
        return Html(NOTHING)
    if isinstance(value, int):
        text = f"{value:,}"
    else:
        text = _short(value) if digits is None else f"{value:.{digits}f}"
    return _data(value, text)


def percent(share: float | None) -> Html:
    """A share in percent."""
    if share is None or not math.isfinite(share):
        return Html(NOTHING)
    return _data(share, f"{100 * share:.0f}%" if share in (0, 1) else f"{100 * share:.1f}%")


def duration(seconds: float | None) -> Html:
    """Seconds as minutes and hours."""
    if seconds is None or not math.isfinite(seconds):
        return Html(NOTHING)
    return _data(seconds, formats.duration(seconds))


def estimate(found: Interval | None, signed: bool = False) -> Html:
    """An estimate and its interval, to two significant digits of the interval's width."""
    if found is None or not math.isfinite(found.estimate):
        return Html(NOTHING)
    width = found.high - found.low
    if not math.isfinite(width) or width <= 1e-9 * abs(found.estimate):
        return number(found.estimate)
    digits = max(0, 1 - math.floor(math.log10(width)))
    sign = "+" if signed and found.estimate > 0 else ""
    center, low, high = (number(float(value), digits) for value in found[:3])
    return Html(f'{sign}{center} <span class="interval">[{low}, {high}]</span>')


def table(caption: str, heads: Sequence[Any], rows: Iterable[Sequence[Any]], note: str = "") -> Html:
    """A table in a box of its own that scrolls; the first cell of a row is its head. Columns of numbers are
    set to the right. Nothing where there are no rows.
    """
    cells = [[html(cell) for cell in row] for row in rows]
    if not cells:
        return Html("")
    kinds = ["number" if any(_is_number(row[i]) for row in cells) else None for i in range(len(heads))]
    named = zip(heads, kinds, strict=True)
    head = tag("tr", *(tag("th", cell, scope="col", class_=kind) for cell, kind in named))
    body = []
    for first, *rest in cells:
        others = (tag("td", cell, class_=kind) for cell, kind in zip(rest, kinds[1:], strict=True))
        body.append(tag("tr", tag("th", first, scope="row", class_=kinds[0]), *others))
    small = tag("small", note) if note else ""
    title = tag("caption", tag("span", caption, " ", small))
    inner = tag("table", title, tag("thead", head), tag("tbody", *body))
    return tag("div", inner, class_="scroll", tabindex="0", role="region", aria_label=caption)


def facts(pairs: Iterable[tuple[str, Any]]) -> Html:
    """Names and values, side by side."""
    return tag("dl", *(tag("div", tag("dt", name), tag("dd", value)) for name, value in pairs))


def fold(summary: str, *children: Any) -> Html:
    """Something that opens when asked for."""
    return tag("details", tag("summary", summary), *children)


def code(text: str) -> Html:
    """Text of a program, in a box that scrolls."""
    return tag("pre", tag("code", text), tabindex="0")


def commands(*lines: str, name: str = "Reproduce") -> Html:
    """Command lines, labeled; empty ones are left out."""
    lines = tuple(filter(None, lines))
    return tag("div", tag("span", name, class_="label"), code("\n".join(lines)), class_="command")


def _is_number(cell: Html) -> bool:
    return "<data" in cell and 'class="pair"' not in cell


def _data(value: float, text: str) -> Html:
    text = text.replace("-", MINUS)
    return Html(f'<data value="{value!r}">{text}</data>')


def _short(value: float) -> str:
    if value == 0:
        return "0"
    return (
        f"{value:,.0f}" if abs(value) >= 10_000 else f"{value:.2g}" if abs(value) < 0.001 else f"{value:.4g}"
    )
