"""The time that equally fast workers need for a generation's chunks, for benchmarks/cluster.py."""

import heapq
from collections.abc import Sequence
from typing import NamedTuple


class Schedule(NamedTuple):
    """Seconds of a generation, and the share of the workers' time in which they train."""

    seconds: float
    busy: float


def longest_first(chunks: Sequence[float], workers: int, handing: float) -> Schedule:
    """Give chunks to workers, the longest first, each to the worker that is free first.

    The one process that sends a chunk and receives its result needs `handing` seconds for each.
    """
    free = [0.0] * min(workers, len(chunks))
    now = end = 0.0
    for seconds in sorted(chunks, reverse=True):
        now = max(now, heapq.heappop(free)) + handing
        heapq.heappush(free, now + seconds)
        end = max(end, now + seconds)
    return Schedule(end, float(sum(chunks)) / (workers * end))
