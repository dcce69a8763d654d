"""The measured speed of chunks, and which worker should take which chunk: long ones first.

The assignment changes no number; it changes how long the other workers wait for the last one.
"""

import heapq
import math
from collections.abc import Iterable, Sequence
from typing import Any

from discovery.executors.call import Reply
from discovery.executors.chunks import Chunk

LATEST_WEIGHT = 0.5
"""Weight of the latest measurement in the moving average of a speed."""
MAX_PLANNED = 1000
"""With more pending chunks than this, a free worker takes the longest: it will not finish last."""
REORDER_FACTOR = 1.2
"""Chunks are ordered again when a speed has changed by this factor."""


class Pace:
    """Seconds per environment step of each program on each kind of worker, without compilation.

    Attributes:
        version: increases when chunks may have to be ordered again.
    """

    def __init__(self) -> None:
        self.version = 0
        self._seconds: dict[tuple[str, Any], float] = {}
        self._noted: dict[tuple[str, Any], float] = {}

    def learn(self, kind: str, chunk: Chunk, reply: Reply) -> None:
        """Record how long a chunk took on a worker of this kind."""
        now = max(reply.seconds - reply.compile_seconds, 1e-9) / chunk.cost
        key = kind, chunk.program
        self._seconds[key] = LATEST_WEIGHT * now + (1 - LATEST_WEIGHT) * self._seconds.get(key, now)
        change = self._seconds[key] / self._noted.get(key, math.inf)
        if not 1 / REORDER_FACTOR < change < REORDER_FACTOR:
            self._noted[key] = self._seconds[key]
            self.version += 1

    def seconds(self, kind: str, chunk: Chunk) -> float:
        """Expected seconds of a chunk on such a worker; infinite if unknown."""
        return self._seconds.get((kind, chunk.program), math.inf) * chunk.cost

    def order(self, kind: str, chunks: list[Chunk]) -> None:
        """Sort chunks in place, the next one to run last. Earlier turns run first; within a turn, chunks
        of unknown speed run first, then those that take longest.
        """
        speed = {chunk.program: self._seconds.get((kind, chunk.program), math.inf) for chunk in chunks}
        chunks.sort(key=lambda chunk: (-chunk.turn, speed[chunk.program] * chunk.rest, chunk.rest))

    def choose(self, kind: str, pending: Sequence[Chunk], others: Sequence[tuple[str, float]]) -> int | None:
        """Index of the chunk that a free worker should take; None if the others will finish them sooner.

        For workers of several kinds. Assigns chunks, longest first, each to the worker that would finish it
        first, until one is assigned to the free worker. If very many chunks are pending, it is the longest.

        Args:
            kind: of the free worker.
            pending: chunks, longest last.
            others: kind of each other worker, and seconds until it is free.
        """
        last = len(pending) - 1
        if len(pending) > MAX_PLANNED:
            return last
        free = {name: [left for other, left in others if other == name] for name in {kind, *dict(others)}}
        for queue in free.values():
            heapq.heapify(queue)
        for index in range(last, -1, -1):
            chunk = pending[index]
            own = self.seconds(kind, chunk)
            ends = {name: queue[0] + self.seconds(name, chunk) for name, queue in free.items() if queue}
            first = min(ends, key=ends.__getitem__)
            if math.isinf(own) or own <= ends[first]:
                return index  # if its speed is unknown, the worker has to measure it
            heapq.heapreplace(free[first], ends[first])
        return None

    def choose_alike(
        self, kind: str, pending: Sequence[Chunk], compiled: set[Any], running: Iterable[Any]
    ) -> int:
        """Index of the chunk that a free worker should take, if all workers are equally fast.

        The longest chunk of the first of these groups, all of the earliest turn: programs that no worker has
        compiled, so that each worker compiles another one; those that this worker has compiled; those that
        others have compiled; those that others are compiling now.

        Args:
            kind: of all workers.
            pending: chunks, longest last.
            compiled: programs that the free worker has compiled.
            running: programs that other workers are running.
        """
        last, by_others = len(pending) - 1, None
        if math.isinf(self.seconds(kind, pending[last])):  # else all speeds of this turn are known
            running = set(running)
        for index in range(last, -1, -1):
            chunk = pending[index]
            if chunk.turn != pending[last].turn:
                break
            known = math.isfinite(self.seconds(kind, chunk))
            if chunk.program in compiled if known else chunk.program not in running:
                return index
            if known and by_others is None:
                by_others = index
        return last if by_others is None else by_others
