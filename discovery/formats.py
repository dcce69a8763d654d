"""Numbers as people and programs read them. Imports no jax."""

import json
import math
from collections.abc import Mapping
from typing import Any

from discovery.statistics import Interval


def score(value: float) -> str:
    """A score, to three or four digits."""
    if not math.isfinite(value):
        return "-"
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.1f}" if abs(value) >= 100 else f"{value:#.3g}"


def interval_text(found: Interval) -> str:
    """Estimate [low, high]."""
    failed = f", {found.failed} failed" if found.failed else ""
    return f"{score(found.estimate)} [{score(found.low)}, {score(found.high)}]{failed}"


def short(value: float) -> str:
    """A large number with k, M or G."""
    if not math.isfinite(value):
        return "-"
    for factor, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= factor:
            return f"{value / factor:.3g}{letter}"
    return f"{value:.0f}"


def duration(seconds: float | None) -> str:
    """Seconds as 0:42, 12:03 or 3:10:00; "-" when unknown."""
    if seconds is None or not math.isfinite(seconds):
        return "-"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def failures_text(failures: Mapping[str, int]) -> str:
    """For example "3 diverged, 1 timeout"."""
    return ", ".join(f"{count} {kind}" for kind, count in sorted(failures.items()))


def json_line(value: Any) -> str:
    """JSON on one line, with null where a number is not finite."""
    return json.dumps(_finite(value), ensure_ascii=False, allow_nan=False)


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _finite(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def interval_facts(found: Interval) -> dict[str, Any]:
    """An interval for programs."""
    return {
        "mean": found.estimate,
        "low": found.low,
        "high": found.high,
        "seeds": found.n,
        "failed": found.failed,
    }
