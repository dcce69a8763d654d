"""Reading a page as a browser would: its elements, its numbers, whether it is well-formed."""

import json
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
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


def checked_file(path: Path) -> Page:
    """A page, after checks of what must hold for all: nothing comes from outside, and every number is in the
    JSON next to it.
    """
    data = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    return checked_text(path.read_text(encoding="utf-8"), data)


def checked_text(source: str, data: dict) -> Page:
    """The same of a page's source and its data."""
    found = Page(source)
    assert len(found.ids) == len(set(found.ids))
    links = {value for tag, name, value in found.attributes if (tag, name) == ("a", "href")}
    assert links <= {f"#{id}" for id in found.ids}
    _nothing_from_outside(found, source)
    _every_number_is_in(data, found)
    return found


def _nothing_from_outside(found: Page, source: str) -> None:
    assert "script" not in found.tags
    for name, value in ((name, value) for _, name, value in found.attributes):
        assert not name.startswith("on")
        if name in ("src", "href"):
            assert value.startswith(("data:", "#")), value[:80]
    styles = "".join(re.findall(r"<style>(.*?)</style>", source, re.DOTALL))
    assert styles and "url(" not in styles and "@import" not in styles


def _every_number_is_in(data: dict, found: Page) -> None:
    held = list(leaves(data))
    known = {value for value in held if isinstance(value, int | float) and not isinstance(value, bool)}
    strings = {value for value in held if isinstance(value, str)}
    texts = {"".join(c if c.isprintable() or c == "\n" else "?" for c in text) for text in strings}
    assert found.data
    for value, text in found.data:
        assert float(value) in known, f"{text} ({value}) is not in report.json"
        assert rounds(float(value), text), f"{text} is not {value}"
    for cell in found.cells:
        bare = cell
        for text in sorted((text for text in texts if re.search(r"\d", text)), key=len, reverse=True):
            bare = bare.replace(text, "")
        bare = re.sub(r"r [<>] 1|A [<>] 0", "", bare)
        assert not NUMBER.search(bare.replace("95%", "")), f"a number of its own: {cell!r}"
