"""Trainings in worker processes, one single-threaded process a core: the default on a CPU.

Workers live as long as the executor, compile a program once each, and take the next chunk when they
are free. One that is killed, hangs or swells is replaced; see `chunks.py` for what becomes of its chunk.
"""

import logging
import os
import pickle
import weakref
from collections import deque
from collections.abc import Iterator, Sequence
from multiprocessing.connection import wait
from typing import Self

from discovery.errors import BadInput, ExecutorError
from discovery.executors.call import RUN_CHUNK, Reply, failure
from discovery.executors.chunks import Chunk, again, cut, failed, finished, halves
from discovery.executors.cpu import cores
from discovery.executors.spawn import WorkerProcess
from discovery.executors.worker import READY
from discovery.work import Job, JobResult

START_SECONDS = 120.0
"""A worker that is not ready by then will not be."""
STILLBORN = 3
"""So many workers in a row that die before they are ready are no accident."""

log = logging.getLogger(__name__)


class Processes:
    """Runs chunks in worker processes on the CPU.

    Args:
        workers: number of processes; None for one a core.
        agents_per_call: W, trainings batched in one compiled call.
        timeout: seconds that one call may take, its compilation included.
        memory_limit: resident bytes that one worker may use; None for no limit.
        function: what runs a chunk, as "module:function".
    """

    def __init__(
        self,
        workers: int | None = None,
        agents_per_call: int = 8,
        timeout: float = 900.0,
        memory_limit: int | None = None,
        *,
        function: str = RUN_CHUNK,
    ) -> None:
        self.workers = cores() if workers is None else workers
        self.agents_per_call, self.timeout, self.memory_limit = agents_per_call, timeout, memory_limit
        for name, least in (("workers", 1), ("agents_per_call", 1)):
            if getattr(self, name) < least:
                raise BadInput(f"{name} must be at least {least}, got {getattr(self, name)}")
        if not timeout > 0:
            raise BadInput(f"timeout must be more than 0 seconds, got {timeout}")
        if memory_limit is not None and memory_limit <= 0:
            raise BadInput(f"memory_limit must be None or more than 0 bytes, got {memory_limit}")
        if memory_limit is not None and not os.path.exists("/proc/self/statm"):
            raise BadInput("memory_limit needs /proc, which this system lacks; leave it at None")
        self._function = function
        self._stillborn = 0
        self._staff: dict[int, WorkerProcess] = {}  # by place, 0 to workers - 1
        self._current: weakref.ref | None = None
        # also at exit, and when an executor is dropped without close()
        self._finalizer = weakref.finalize(self, _dismiss, self._staff, os.getpid())

    def run(self, jobs: Sequence[Job]) -> Iterator[JobResult]:
        """Run all jobs; yield each result as soon as it is known. Ends an unfinished earlier run."""
        if not self._finalizer.alive:
            raise ExecutorError("this executor is closed; make a new one")
        self._end_current()
        results = self._run(deque(cut(jobs, self.agents_per_call)))
        self._current = weakref.ref(results)
        return results

    def close(self) -> None:
        """End all workers; safe to call twice."""
        self._end_current()
        self._finalizer()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def pids(self) -> list[int]:
        """Process ids of the workers that live now."""
        return [worker.process.pid for worker in self._staff.values()]

    # One run ----------------------------------------------------------------------------------

    def _run(self, pending: deque[Chunk]) -> Iterator[JobResult]:
        results: list[JobResult] = []
        try:
            while True:
                results += self._assign(pending)  # before we yield: the caller may take its time
                yield from results
                if not pending and not self._busy():
                    return
                self._hire(len(pending))
                results = self._collect(pending)
        finally:
            for place, worker in self._busy().items():  # left early: their work is not wanted any more
                self._dismiss(place, worker)

    def _assign(self, pending: deque[Chunk]) -> list[JobResult]:
        """Give every free worker a chunk; results are those of chunks that cannot be sent."""
        results = []
        for worker in self._staff.values():
            while pending and worker.ready and worker.chunk is None:
                chunk = pending.popleft().started()
                try:
                    message = pickle.dumps(chunk.request())
                except Exception as error:
                    results += self._settle(chunk, failure(error), worker.name, pending)
                else:
                    worker.give(chunk, message)
        return results

    def _hire(self, waiting: int) -> None:
        """Fill empty places, as many as there is work for."""
        for place, worker in list(self._staff.items()):
            if worker.ready and worker.chunk is None and worker.process.poll() is not None:
                self._dismiss(place, worker)  # died while nobody looked
        for place in range(min(self.workers, waiting + len(self._busy()))):
            if place not in self._staff:
                self._staff[place] = WorkerProcess(f"processes/{place}", self._function)

    def _collect(self, pending: deque[Chunk]) -> list[JobResult]:
        """Wait until something happens or a moment has passed; put what must run again into `pending`."""
        moment = min([self._left(worker) for worker in self._staff.values()], default=1.0)
        tick = 1.0 if self.memory_limit is None else 0.1
        heard = wait([worker.connection for worker in self._staff.values()], min(max(moment, 0.0), tick))
        results = []
        for place, worker in list(self._staff.items()):
            if worker.connection in heard:
                results += self._hear(place, pending)
        # what was heard comes first: a worker that answered while the caller took its time is not late
        for place, worker in list(self._staff.items()):
            results += self._inspect(place, worker, pending)
        return results

    def _hear(self, place: int, pending: deque[Chunk]) -> list[JobResult]:
        """Take one message, or the end of the connection, from a worker."""
        worker = self._staff[place]
        try:
            message = worker.connection.recv()
        except Exception as error:  # not only EOFError: half a message can be any nonsense
            gone = isinstance(error, EOFError | OSError)
            detail = worker.obituary() if gone else f"the worker's reply could not be read: {error}"
            return self._lose(place, "crashed", detail, pending)
        if message == READY:
            worker.ready, self._stillborn = True, 0
            return []
        assert isinstance(message, Reply) and worker.chunk is not None
        if message.error == "out_of_memory":
            return self._lose(place, message.error, message.detail, pending)
        chunk, worker.chunk = worker.chunk, None
        return self._settle(chunk, message, worker.name, pending)

    def _inspect(self, place: int, worker: WorkerProcess, pending: deque[Chunk]) -> list[JobResult]:
        """End a worker that is past its limits."""
        if self._left(worker) <= 0:
            detail = f"no answer within {self.timeout:g} s; if this is honest work, raise the timeout"
            if worker.chunk is None:
                detail = f"not ready after {START_SECONDS:g} s"
            return self._lose(place, "timeout", detail, pending)
        if self.memory_limit is not None and worker.chunk is not None and worker.memory() > self.memory_limit:
            used, limit = (amount / 2**20 for amount in (worker.memory(), self.memory_limit))
            detail = f"the worker used {used:.0f} MiB, more than its {limit:.0f} MiB; lower agents_per_call"
            return self._lose(place, "out_of_memory", detail, pending)
        return []

    def _settle(self, chunk: Chunk, reply: Reply, worker: str, pending: deque[Chunk]) -> list[JobResult]:
        """Results of a chunk that was answered; one that raised would raise again, so it is cut at once."""
        if reply.error is None:
            return finished(chunk, reply, worker)
        parts = halves(chunk)
        pending.extendleft(reversed(parts))
        if parts:
            return []
        log.debug("%s failed:\n%s", chunk.jobs[0].id, reply.trace)
        return failed(chunk, reply.error, reply.detail, reply.seconds, worker)

    def _lose(self, place: int, error: str, detail: str, pending: deque[Chunk]) -> list[JobResult]:
        """A worker is lost, and perhaps the chunk it was working on."""
        worker = self._staff[place]
        words = worker.last_words()
        self._dismiss(place, worker)
        if worker.chunk is None:
            if not worker.ready:
                self._count_stillborn(detail, words)
            return []
        parts = again(worker.chunk)
        pending.extendleft(reversed(parts))
        next_step = ("given up", "trying again", "trying its halves")[len(parts)]
        ids = ", ".join(job.id for job in worker.chunk.jobs)
        log.warning("%s: %s: %s; its chunk (%s): %s", worker.name, error, detail, ids, next_step)
        return [] if parts else failed(worker.chunk, error, detail, worker.elapsed, worker.name)

    def _count_stillborn(self, detail: str, words: list[str]) -> None:
        self._stillborn += 1
        if self._stillborn >= STILLBORN:
            said = "".join(f"\n  {line}" for line in words) or " nothing"
            raise ExecutorError(f"workers die before they can work ({detail}); the last one said:{said}")

    # The staff --------------------------------------------------------------------------------

    def _busy(self) -> dict[int, WorkerProcess]:
        return {place: worker for place, worker in self._staff.items() if worker.chunk is not None}

    def _left(self, worker: WorkerProcess) -> float:
        """Seconds until a worker is past its limit."""
        if worker.chunk is not None:
            return self.timeout - worker.elapsed
        return float("inf") if worker.ready else START_SECONDS - worker.elapsed

    def _dismiss(self, place: int, worker: WorkerProcess) -> None:
        worker.kill()
        self._staff.pop(place, None)

    def _end_current(self) -> None:
        current = self._current() if self._current else None
        if current is not None:
            current.close()


def _dismiss(staff: dict[int, WorkerProcess], owner: int) -> None:
    """End all workers, unless we are a fork of the process that started them."""
    while staff and os.getpid() == owner:
        staff.popitem()[1].kill()
