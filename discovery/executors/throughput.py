"""How long chunks take, as it was measured, and who should take which: the long ones first.

Who runs what, and when, changes no number; it decides how long the last worker is waited for.
"""

import heapq
import math
from collections.abc import Sequence
from typing import Any

from discovery.executors.call import Reply
from discovery.executors.chunks import Chunk

FORGET = 0.5
"""Weight of the latest chunk's speed against those before."""
MANY = 1000
"""Of so many chunks, one that is too long for its worker will still not be the last."""
NOTABLE = 1.2
"""By which factor a speed has changed when it is time to think again."""


class Pace:
    """Seconds per environment step of each program on each kind of worker, compilation apart.

    Attributes:
        version: another one, where chunks may have to be ordered anew.
    """

    def __init__(self) -> None:
        self.version = 0
        self._seconds: dict[tuple[str, Any], float] = {}
        self._noted: dict[tuple[str, Any], float] = {}

    def learn(self, kind: str, chunk: Chunk, reply: Reply) -> None:
        """Remember how long a chunk took on a worker of some kind."""
        now = max(reply.seconds - reply.compile_seconds, 1e-9) / chunk.cost
        key = kind, chunk.program
        self._seconds[key] = FORGET * now + (1 - FORGET) * self._seconds.get(key, now)
        change = self._seconds[key] / self._noted.get(key, math.inf)
        if not 1 / NOTABLE < change < NOTABLE:
            self._noted[key] = self._seconds[key]
            self.version += 1

    def seconds(self, kind: str, chunk: Chunk) -> float:
        """How long a chunk will take on such a worker; infinite where nobody knows."""
        return self._seconds.get((kind, chunk.program), math.inf) * chunk.cost

    def order(self, kind: str, chunks: list[Chunk]) -> None:
        """Put the earliest turn last, where chunks are taken from; of a turn, the one with the longest way to
        go, and those of unknown speed after them.
        """
        speed = {chunk.program: self._seconds.get((kind, chunk.program), math.inf) for chunk in chunks}
        chunks.sort(key=lambda chunk: (-chunk.turn, speed[chunk.program] * chunk.rest, chunk.rest))

    def choose(self, kind: str, pending: Sequence[Chunk], others: Sequence[tuple[str, float]]) -> int | None:
        """Which of `pending` a free worker should take; None: others will have done them all sooner.

        Chunks go, longest first, each to the worker that would end it first; the free one gets the first that
        falls to it. Among equally fast workers that is the longest; and while there are very many.

        Args:
            kind: of the free worker.
            pending: chunks, longest last.
            others: kind of each other worker, and seconds until it is free.
        """
        last = len(pending) - 1
        if len(pending) > MANY or all(other == kind for other, _ in others):
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
                return index  # who has never done such a chunk has to find out
            heapq.heapreplace(free[first], ends[first])
        return None
