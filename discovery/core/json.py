"""Strict JSON: non-finite numbers become null, and only valid JSON is written."""

import json
import math
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np


def json_value(value: Any) -> Any:
    """`value` as dicts, lists, texts, booleans and finite numbers, with None where a number is not finite.

    Dataclasses and named tuples become dicts of their fields, other tuples lists, and numpy numbers Python's.
    """
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: json_value(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return json_value(value._asdict())  # type: ignore[attr-defined]
    if isinstance(value, Mapping):
        return {str(name): json_value(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [json_value(item) for item in value]
    if isinstance(value, np.generic | np.ndarray):
        return json_value(value.tolist())
    return None if isinstance(value, float) and not math.isfinite(value) else value


def json_line(value: Any) -> str:
    """`json_value` as text on one line."""
    return json.dumps(json_value(value), ensure_ascii=False, allow_nan=False)


def json_text(value: Any) -> str:
    """`json_value` as indented text, for files that people also read."""
    return json.dumps(json_value(value), indent=1, ensure_ascii=False, allow_nan=False) + "\n"
