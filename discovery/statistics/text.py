"""Intervals as text."""

import math

from discovery.statistics.samples import Interval


def rounded(found: Interval | None) -> tuple[str, ...]:
    """Estimate, low and high as text, to two significant digits of the interval's width.

    Only the estimate, to four digits, if there is no finite interval; empty if there is no estimate.
    """
    if found is None or not math.isfinite(found.estimate):
        return ()
    width = found.high - found.low
    if not math.isfinite(width):
        return (f"{found.estimate:.4g}",)
    numbers = found.estimate, found.low, found.high
    if width <= 1e-9 * max(map(abs, numbers)):  # nothing but rounding errors
        return tuple(f"{value:.4g}" for value in numbers)
    digits = max(0, 1 - math.floor(math.log10(width)))
    return tuple(f"{value:.{digits}f}" for value in numbers)


def interval_text(found: Interval | None, separator: str = " ") -> str:
    """An interval as "estimate [low, high]"; "-" where there is no estimate."""
    estimate, *limits = rounded(found) or ("-",)
    return f"{estimate}{separator}[{', '.join(limits)}]" if limits else estimate


def interval_with_failures(found: Interval, separator: str = " ") -> str:
    """An interval as text, and how many trainings failed: "0.50 [0.25, 0.75] (2 failed)"."""
    if found.failed and not math.isfinite(found.estimate):
        return f"all {found.failed} failed"
    failed = f"{separator}({found.failed} failed)" if found.failed else ""
    return interval_text(found, separator) + failed
