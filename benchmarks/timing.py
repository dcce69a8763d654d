"""Timing in rounds: A B C, A B C, ... so that a drifting machine drifts for all of them."""

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Figure:
    """One measured ratio.

    Attributes:
        name: what was compared.
        ratio: median over rounds of the round's ratio.
        low, high: smallest and largest round.
        goal: what the ratio should reach ("at least 1.8").
        met: whether it did; None when there is no goal.
        notes: the absolute figures behind it.
    """

    name: str
    ratio: float
    low: float
    high: float
    goal: str = ""
    met: bool | None = None
    notes: Mapping[str, str] = field(default_factory=dict)


def rounds(variants: Mapping[str, Callable[[], float | None]], n: int) -> dict[str, list[float | None]]:
    """Seconds of each variant in each of `n` rounds, after one uncounted round; None where one gave up."""
    for run in variants.values():
        run()
    seconds: dict[str, list[float | None]] = {name: [] for name in variants}
    for _ in range(n):
        for name, run in variants.items():
            seconds[name].append(run())
    return seconds


def timed(run: Callable[[], object]) -> Callable[[], float]:
    """`run` as a function that returns how many seconds it took."""

    def call() -> float:
        started = time.perf_counter()
        run()
        return time.perf_counter() - started

    return call


def ratio(
    name: str,
    above: list[float | None],
    below: list[float | None],
    notes: Mapping[str, str],
    at_least: float | None = None,
    at_most: float | None = None,
) -> Figure:
    """The figure above / below, pair by pair; rounds in which one gave up do not count."""
    pairs = [(a, b) for a, b in zip(above, below, strict=True) if a is not None and b is not None]
    notes = dict(notes)
    if not pairs:
        return Figure(
            name, float("nan"), float("nan"), float("nan"), "", None, {**notes, "result": "gave up"}
        )
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


def rate(steps: int, seconds: list[float | None]) -> str:
    """Environment steps per second at the median round."""
    known = [s for s in seconds if s is not None]
    return f"{steps / statistics.median(known) / 1e3:.0f} k steps/s" if known else "gave up"
