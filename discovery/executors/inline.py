"""All trainings in this process, one chunk after the other: for notebooks, debuggers and GPUs."""

import logging
import math
import time
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Self

from discovery.core.errors import BadInput
from discovery.core.jobs import Job, JobResult
from discovery.executors.base import More, WorkerUse, as_group, no_more
from discovery.executors.call import RUN_CHUNK, call, failure, resolve
from discovery.executors.chunks import Chunk, cut, failed, finished, halves, onward
from discovery.executors.cpu import ensure_single_thread

log = logging.getLogger(__name__)


class Inline:
    """Runs chunks in this process. It cannot stop a training that hangs.

    Args:
        agents_per_call: W, trainings batched in one compiled call.
        function: what runs a chunk, as "module:function".

    Raises:
        ExecutorError: jax already runs a CPU pool of several threads here; says what to do.
    """

    def __init__(self, agents_per_call: int = 8, *, function: str = RUN_CHUNK) -> None:
        if agents_per_call < 1:
            raise BadInput(f"agents_per_call must be at least 1, got {agents_per_call}")
        ensure_single_thread()
        self.agents_per_call = agents_per_call
        self._function = function
        self._began: float | None = None
        self._worked = 0.0

    def run(self, jobs: Sequence[Job], more: More = no_more) -> Iterator[JobResult]:
        return self._run(cut(jobs, self.agents_per_call), more)

    def worker_use(self) -> WorkerUse:
        """One worker, and the share of the time since its first training in which it trained."""
        if self._began is None:
            return WorkerUse(1, math.nan)
        return WorkerUse(1, self._worked / max(time.monotonic() - self._began, 1e-9))

    def close(self) -> None: ...

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def _run(self, chunks: list[Chunk], more: More) -> Iterator[JobResult]:
        pending = deque(chunks)
        function = resolve(self._function)
        while True:
            pending.extend(cut(more(), self.agents_per_call))
            if not pending:
                return
            chunk, began = pending.popleft().started(), time.monotonic()
            self._began = began if self._began is None else self._began
            try:
                request = chunk.request()
            except Exception as error:
                reply = failure(error)
            else:
                reply = call(function, request)
            self._worked += time.monotonic() - began
            if reply.error is None and (further := onward(chunk, reply)):
                pending.appendleft(further)
            elif reply.error is None:
                yield from as_group(finished(chunk, reply, "inline"))
            elif reply.error != "out_of_memory" and (parts := halves(chunk)):  # halves need as much memory
                pending.extendleft(reversed(parts))
            else:
                log.debug("%s failed:\n%s", chunk.jobs[0].id, reply.trace)
                yield from failed(chunk, reply.error, reply.detail, reply.seconds, "inline")
