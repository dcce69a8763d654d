"""Timing in rounds, A B C, A B C, ..., so that a change of the machine's speed affects all variants alike."""

import math
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from discovery.statistics import Interval


@dataclass(frozen=True)
class Figure:
    """One measured ratio.

    Attributes:
        name: what was compared.
        ratio: median over rounds of the round's ratio.
        low, high: smallest and largest round.
        goal: what the ratio should reach ("at least 1.8").
        met: whether it did; None if there is no goal.
        notes: the absolute figures.
    """

    name: str
    ratio: float
    low: float
    high: float
    goal: str = ""
    met: bool | None = None
    notes: Mapping[str, str] = field(default_factory=dict)


def rounds(variants: Mapping[str, Callable[[], float | None]], n: int) -> dict[str, list[float | None]]:
    """Seconds of each variant in each of `n` rounds, after an uncounted one; None where a variant gave up."""
    for run in variants.values():
        run()
    seconds: dict[str, list[float | None]] = {name: [] for name in variants}
    for _ in range(n):
        for name, run in variants.items():
            seconds[name].append(run())
    return seconds


def timed(run: Callable[[], object], clock: Callable[[], float] = time.perf_counter) -> Callable[[], float]:
    """`run` as a function that returns how many seconds it took by `clock`."""

    def call() -> float:
        started = clock()
        run()
        return clock() - started

    return call


def ratio(
    name: str,
    above: list[float | None],
    below: list[float | None],
    notes: Mapping[str, str],
    at_least: float | None = None,
    at_most: float | None = None,
) -> Figure:
    """The ratio above / below, round by round; rounds in which either gave up are left out."""
    pairs = [(a, b) for a, b in zip(above, below, strict=True) if a is not None and b is not None]
    notes = dict(notes)
    if not pairs:
        nan = float("nan")
        return Figure(name, nan, nan, nan, notes={**notes, "result": "gave up"})
    values = [a / b for a, b in pairs]
    middle = statistics.median(values)
    goal, met = "", None
    if at_least is not None:
        goal, met = f"at least {at_least:g}", middle >= at_least
    if at_most is not None:
        goal, met = f"at most {at_most:g}", middle <= at_most
    if len(pairs) < len(above):
        notes["gave up"] = f"{len(above) - len(pairs)} of {len(above)} rounds"
    return Figure(name, middle, min(values), max(values), goal, met, notes)


def median(seconds: list[float | None]) -> float:
    """The median of the rounds that did not give up; NaN if all did."""
    known = [s for s in seconds if s is not None]
    return statistics.median(known) if known else float("nan")


def rate(steps: int, seconds: list[float | None]) -> str:
    """Environment steps per second in the median round."""
    middle = median(seconds)
    return "gave up" if math.isnan(middle) else f"{steps / middle / 1e3:.0f} k steps/s"


def estimate_text(found: "Interval", digits: int = 3) -> str:
    """An interval as "estimate [low, high]", each to `digits` digits."""
    return f"{found.estimate:.{digits}g} [{found.low:.{digits}g}, {found.high:.{digits}g}]"
