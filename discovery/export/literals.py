"""Python source for numbers, dictionaries and arrays, exact to the last bit."""

import base64
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

WIDTH = 108
"""Longest line of generated source, so that it passes common line limits."""

READABLE = 4096
"""Arrays up to this many numbers are written as numbers, larger ones as base64."""


def plain(value: Any) -> Any:
    """A Python number for a numpy or jax scalar: the shortest decimal that names the same float32.

    So ``np.float32(0.2)`` is 0.2, not 0.20000000298: in float32 they are equal, and in float64 the decimal is
    the intended number. Other values are returned as they are.
    """
    if isinstance(value, float | int | str | bool):  # np.float64 is a float
        return float(value) if isinstance(value, np.floating) else value
    if getattr(value, "shape", None) == ():
        item = np.asarray(value)[()]
        return float(str(item)) if item.dtype == np.float32 else item.item()
    return value


def literal(value: Any) -> str:
    """The expression that gives `value`, infinities included.

    Containers of numbers and strings work too.
    """
    value = plain(value)
    if isinstance(value, float) and not math.isfinite(value):
        return f'float("{value}")'
    if isinstance(value, float) and abs(value) >= 1e10 and value == float(f"{value:g}"):
        return f"{value:g}".replace("e+", "e")  # 1e15 has too many zeros to be read
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{literal(k)}: {literal(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list | tuple):
        items = ", ".join(literal(v) for v in value)
        return f"({items},)" if len(value) == 1 else f"({items})"
    if isinstance(value, str) and "'" not in repr(value)[1:-1] and '"' not in value:
        return f'"{repr(value)[1:-1]}"'  # double quotes, as formatters prefer
    return repr(value)


def dictionary(name: str, values: Mapping[str, Any]) -> str:
    """``NAME = {...}``, one entry per line, with nested dictionaries indented."""
    return f"{name} = {_block(values, '')}\n"


def _block(values: Mapping[str, Any], indent: str) -> str:
    if not values:
        return "{}"
    inner = indent + "    "
    lines = [
        f"{inner}{literal(key)}: {_block(value, inner) if isinstance(value, Mapping) else literal(value)},\n"
        for key, value in values.items()
    ]
    return "{\n" + "".join(lines) + indent + "}"


def array(name: str, value: np.ndarray) -> str:
    """``NAME = np....``: source of an array of float32, or int32, equal to `value` bit for bit."""
    kind = "float32" if np.issubdtype(value.dtype, np.inexact) else "int32"
    value, code = np.ascontiguousarray(value, kind), "<f4" if kind == "float32" else "<i4"
    if value.size > READABLE:
        text = base64.b64encode(value.astype(code).tobytes()).decode()
        width = WIDTH - 8
        rows = [f'        "{text[i : i + width]}"\n' for i in range(0, len(text), width)]
        return (
            f"# {kind} {value.shape}, little-endian bytes\n"
            f'{name} = np.frombuffer(\n    base64.b64decode(\n{"".join(rows)}    ),\n    "{code}",\n'
            f").reshape{value.shape}\n"
        )
    rows, row = [], "   "
    for number in value.ravel():
        word = f" {number!s},"  # numpy prints the shortest text that gives the same float32 back
        if len(row) + len(word) > WIDTH:
            rows, row = [*rows, row], "   "
        row += word
    body = "\n".join([*rows, row])
    shape = ", ".join(map(str, value.shape))
    return f"# fmt: off\n{name} = np.array([\n{body}\n], np.{kind}).reshape({shape})\n# fmt: on\n"
