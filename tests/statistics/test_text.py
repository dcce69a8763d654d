"""Intervals as text: two significant digits of their width."""

import math

import pytest

from discovery.statistics import Interval, interval_text


@pytest.mark.parametrize(
    ("numbers", "expected"),
    [
        ((1.23456, 1.1, 1.4), "1.23 [1.10, 1.40]"),
        ((-85.04, -86.66, -83.34), "-85.0 [-86.7, -83.3]"),
        ((3.0, 3.0, 3.0), "3 [3, 3]"),
        ((1.5, -math.inf, math.inf), "1.5"),
    ],
)
def test_intervals_as_text(numbers: tuple[float, float, float], expected: str) -> None:
    found = Interval(*numbers, 0.95, 16)
    assert interval_text(found) == expected
    assert interval_text(found, "\n") == expected.replace(" [", "\n[")
