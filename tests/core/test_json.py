"""JSON that every program can read."""

import json
import math

import numpy as np

from discovery.core.json import json_line, json_text, json_value
from discovery.statistics import Interval


def test_what_is_not_finite_is_null_and_records_are_dicts() -> None:
    value = {"a": [math.nan, (1.0, "é")], 3: np.array([[np.inf, 2.0]]), "n": np.float32("nan")}
    assert json_value(value) == {"a": [None, [1.0, "é"]], "3": [[None, 2.0]], "n": None}
    assert json.loads(json_line(value)) == json.loads(json_text(value)) == json_value(value)
    assert "\n" not in json_line(value) and "é" in json_line(value)
    record = {"estimate": 1.0, "low": 0.5, "high": None, "level": 0.95, "n": 4, "failed": 0}
    assert json_value(Interval(1.0, 0.5, math.inf, 0.95, 4)) == record
