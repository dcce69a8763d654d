"""How long chunks keep equally fast workers: arithmetic of `--dry-run` and of benchmarks/cluster.py."""

import heapq
from collections.abc import Sequence
from typing import NamedTuple

HANDING_SECONDS = 0.007
"""What a chunk costs the one process that asks, hands it out, records and tells: a high figure, of a busy
machine. By a search whose trainings do nothing (`handling` in benchmarks/cluster.py; 4 presets, 3 times each,
two cores that others used as well): processes 1.6 to 5.8 ms, Ray 3.6 to 7.4; 1.6 and 1.8 when quieter."""


class Schedule(NamedTuple):
    """A generation on its workers: its seconds, and the share of their time in which they train."""

    seconds: float
    busy: float


def longest_first(chunks: Sequence[float], workers: int, handing: float = HANDING_SECONDS) -> Schedule:
    """At least one chunk of so many seconds, the longest first, each to the worker that is free first.

    The one process that hands each out and takes its result needs `handing` seconds for it.
    """
    free = [0.0] * min(workers, len(chunks))
    now = end = 0.0
    for seconds in sorted(chunks, reverse=True):
        now = max(now, heapq.heappop(free)) + handing
        heapq.heappush(free, now + seconds)
        end = max(end, now + seconds)
    return Schedule(end, float(sum(chunks)) / (workers * end))


def chunk_lengths(lives: Sequence[float], width: int) -> list[float]:
    """Lengths of the chunks that `chunks.cut` makes of trainings of one program: each that of its longest."""
    ordered = sorted(lives)
    return [ordered[min(first + width, len(ordered)) - 1] for first in range(0, len(ordered), width)]
