"""Reading a page as a browser would: its elements, its numbers, whether it is well-formed."""

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from typing import Any

VOID = {"meta", "link", "img", "br", "hr", "input"}
NUMBER = re.compile(r"(?<![\w.])[+\u2212-]?\d[\d,]*(?:\.\d+)?(?:e[+\u2212-]?\d+)?")


class Page(HTMLParser):
    """A parsed page.

    Attributes:
        ids, tags: in order.
        attributes: (tag, name, value) of all elements.
        data: (value, text) of every number.
        cells: text of every table cell outside of its numbers.
        tables: rows of every table, as lists of texts.
        text: all text that is shown.
    """

    def __init__(self, source: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.data: list[tuple[str, str]] = []
        self.cells: list[str] = []
        self.tables: list[list[list[str]]] = []
        self.text = ""
        self._open: list[str] = []
        self._value = ""
        self.feed(source)
        self.close()
        assert not self._open, f"never closed: {self._open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        names = [name for name, _ in attrs]
        assert len(names) == len(set(names)), f"an attribute twice in {tag}"
        for name, value in attrs:
            self.attributes.append((tag, name, value or ""))
            if name == "id":
                self.ids.append(value or "")
        if tag in VOID:
            return
        self._open.append(tag)
        if tag == "data":
            self._value = dict(attrs)["value"] or ""
        if tag == "table":
            self.tables.append([])
        if tag == "tr":
            self.tables[-1].append([])
        if tag in ("td", "th"):
            self.tables[-1][-1].append("")

    def handle_endtag(self, tag: str) -> None:
        assert self._open and self._open[-1] == tag, f"</{tag}> closes {self._open[-1:]}"
        self._open.pop()

    def handle_data(self, data: str) -> None:
        if {"style", "title"} & set(self._open):
            return
        self.text += data
        if "data" in self._open:
            self.data.append((self._value, data))
        if {"td", "th"} & set(self._open):
            self.tables[-1][-1][-1] += data
            if "data" not in self._open:
                self.cells.append(data)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        raise AssertionError(f"<{tag}/> is no HTML")


def leaves(value: Any) -> Iterator[Any]:
    """Every value anywhere in JSON, and every name."""
    if isinstance(value, dict):
        yield from value
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from leaves(item)
    else:
        yield value


def rounds(value: float, text: str) -> bool:
    """Whether `text` is that number, rounded."""
    plain = text.replace("\u2212", "-").replace(",", "")
    if ":" in plain:
        parts = [int(part) for part in plain.split(":")]
        return abs(sum(part * 60**i for i, part in enumerate(reversed(parts))) - value) <= 0.5
    scale = 0.01 if plain.endswith("%") else 1.0
    plain = plain.rstrip("%")
    mantissa, _, exponent = plain.partition("e")
    unit = scale * 10.0 ** (int(exponent or 0) - len(mantissa.partition(".")[2]))
    if "." not in mantissa and not exponent and abs(value) >= 100:  # four digits in all
        unit = max(unit, 1.0)
    return abs(scale * float(plain) - value) <= 0.5 * unit * (1 + 1e-9)
