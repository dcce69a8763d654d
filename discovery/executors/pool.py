"""A pool of workers: who works on which chunk, and what becomes of one that dies, hangs or swells.

What a worker is, `processes.py` and `ray.py` know. Workers live as long as the executor, compile a
program once each, and take the next chunk when they are free. One that is lost is replaced; see
`chunks.py` for what becomes of its chunk.
"""

import logging
import math
import os
import pickle
import time
import weakref
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Sequence
from typing import Protocol, Self

from discovery.core.errors import BadInput, DiscoveryError, ExecutorError
from discovery.core.jobs import Job, JobResult
from discovery.executors.base import More, WorkerUse, as_group, no_more
from discovery.executors.call import Reply, failure
from discovery.executors.chunks import Chunk, again, cut, failed, finished, halves, onward
from discovery.executors.throughput import Pace

START_SECONDS = 120.0
MAX_FAILED_STARTS = 3
"""So many workers in a row that die before they are ready are no accident."""
REST_SECONDS = 5.0
"""After one that died so for want of memory, nobody is hired for so long, times how many it were."""

log = logging.getLogger(__name__)


class Gone(Exception):
    """A worker ended; the text says how, in a line."""

    def __init__(self, detail: str, error: str = "crashed") -> None:
        super().__init__(detail)
        self.error = error


class Worker(Protocol):
    """One worker as the pool sees it.

    Attributes:
        name: for records, for example "processes/0".
        kind: those of a kind are equally fast.
        ready: whether it has said that its imports are done.
        chunk: what it is working on, or None.
        since: when it was started, got its chunk or became ready, on the monotonic clock.
    """

    name: str
    kind: str
    ready: bool
    chunk: Chunk | None
    since: float

    def send(self, message: bytes) -> None:
        """Hand over a pickled request. If the worker is gone, `receive` will tell."""

    def receive(self) -> Reply | None:
        """What it said, None for that it is ready; only when the pool's `_listen` named it.

        Raises:
            Gone: it has ended.
            ExecutorError: it cannot be worked with, nor could another there.
            Exception: it said something that cannot be read.
        """

    def alive(self) -> bool:
        """Whether it has not ended, as far as can be told at once."""
        ...

    def memory(self) -> int:
        """Resident memory in bytes; 0 if the process is gone."""
        ...

    def last_lines(self) -> list[str]:
        """The end of what it printed."""
        ...

    def kill(self) -> None:
        """End it and what it started, at once; safe to call twice."""


class Pool(ABC):
    """The base of executors that have workers.

    Args:
        workers: how many.
        agents_per_call: W, trainings batched in one compiled call.
        timeout: seconds that one call may take, its compilation included.
        memory_limit: resident bytes that one worker may use; None for no limit.
    """

    patience = START_SECONDS
    """A worker that is not ready by then will not be."""

    def __init__(self, workers: int, agents_per_call: int, timeout: float, memory_limit: int | None) -> None:
        for name, value in (("workers", workers), ("agents_per_call", agents_per_call)):
            if value < 1:
                raise BadInput(f"{name} must be at least 1, got {value}")
        if not timeout > 0:
            raise BadInput(f"timeout must be more than 0 seconds, got {timeout}")
        if memory_limit is not None and memory_limit <= 0:
            raise BadInput(f"memory_limit must be None or more than 0 bytes, got {memory_limit}")
        if memory_limit is not None and not os.path.exists("/proc/self/statm"):
            raise BadInput("memory_limit needs /proc, which this system lacks; leave it at None")
        self.workers, self.agents_per_call = workers, agents_per_call
        self.timeout, self.memory_limit = timeout, memory_limit
        self._failed_starts = 0
        self._resting = 0.0  # until then nobody is hired, on the monotonic clock
        self.pace = Pace()
        self._ordered: int | None = None  # version of the pace by which `pending` is in order
        self._joined: dict[int, float] = {}  # since when the worker of a place is ready
        self._present = self._worked = 0.0  # seconds of those who left; of all, for chunks that ended
        self._staff: dict[int, Worker] = {}  # by place, 0 to workers - 1
        self._current: weakref.ref | None = None
        # also at exit, and when an executor is dropped without close()
        self._finalizer = weakref.finalize(self, _dismiss, self._staff, os.getpid())

    # What kinds of workers differ in ----------------------------------------------------------

    @abstractmethod
    def _start(self, place: int) -> Worker:
        """A new worker."""

    @abstractmethod
    def _listen(self, seconds: float) -> Collection[Worker]:
        """Those of the staff that said something or ended, after at most so many seconds."""

    # The interface ----------------------------------------------------------------------------

    def run(self, jobs: Sequence[Job], more: More = no_more) -> Iterator[JobResult]:
        """Run all jobs, and those that `more` gives; yield each result as soon as it is known.

        Ends an unfinished earlier run.
        """
        if not self._finalizer.alive:
            raise ExecutorError("this executor is closed; make a new one")
        self._end_current()
        results = self._run(cut(jobs, self.agents_per_call)[::-1], more)
        self._current = weakref.ref(results)
        return results

    def worker_use(self) -> WorkerUse:
        """Who is ready, and the share of their time in which they had a chunk."""
        now = time.monotonic()
        present = self._present + sum(now - joined for joined in self._joined.values())
        worked = self._worked + sum(_elapsed(worker) for worker in self._busy().values())
        return WorkerUse(len(self._joined), worked / present if present > 0 else math.nan)

    def close(self) -> None:
        """End all workers; safe to call twice."""
        self._end_current()
        self._finalizer()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    # One run ----------------------------------------------------------------------------------

    def _run(self, pending: list[Chunk], more: More) -> Iterator[JobResult]:
        results: list[JobResult] = []
        self._ordered, turn = None, 0
        try:
            while True:
                results += self._assign(pending)  # before we yield: the caller may take its time
                yield from as_group(results)
                results = []
                if further := more():
                    self._ordered, turn = None, turn + 1
                    pending[:0] = cut(further, self.agents_per_call, turn)[::-1]
                elif pending or self._busy():
                    self._hire(len(pending))
                    results = self._collect(pending)
                else:
                    return
        finally:
            for place in self._busy():  # left early: their work is not wanted any more
                self._dismiss(place)

    def _assign(self, pending: list[Chunk]) -> list[JobResult]:
        """Give every free worker a chunk; results are those of chunks that cannot be sent."""
        results = []
        for place, worker in self._staff.items():
            while pending and worker.ready and worker.chunk is None:
                index = self._next(place, worker, pending)
                if index is None:
                    break
                chunk = pending.pop(index).started()
                try:
                    message = pickle.dumps(chunk.request())
                except Exception as error:
                    results += self._settle(chunk, failure(error), worker.name, pending)
                else:
                    worker.chunk, worker.since = chunk, time.monotonic()
                    worker.send(message)
        return results

    def _next(self, place: int, worker: Worker, pending: list[Chunk]) -> int | None:
        """What a free worker should do now, by its index."""
        if pending[-1].attempts or pending[-1].halved:
            return len(pending) - 1  # a fault is hunted down at once
        if self._ordered != self.pace.version:
            self.pace.order(worker.kind, pending)
            self._ordered = self.pace.version
        others = [
            (other.kind, self._seconds_left(other))
            for there, other in self._staff.items()
            if there != place and other.ready
        ]
        return self.pace.choose(worker.kind, pending, others)

    def _seconds_left(self, worker: Worker) -> float:
        """Until a worker is free, as far as is known."""
        if worker.chunk is None:
            return 0.0
        left = self.pace.seconds(worker.kind, worker.chunk) - _elapsed(worker)
        return max(left, 0.0) if math.isfinite(left) else 0.0

    def _hire(self, waiting: int) -> None:
        """Fill empty places, as many as there is work for."""
        if time.monotonic() < self._resting:
            return
        for place, worker in list(self._staff.items()):
            if worker.ready and worker.chunk is None and not worker.alive():
                self._dismiss(place)  # died while nobody looked
        for place in range(min(self.workers, waiting + len(self._busy()))):
            if place not in self._staff:
                self._staff[place] = self._start(place)

    def _collect(self, pending: list[Chunk]) -> list[JobResult]:
        """Wait until something happens or a moment has passed; put what must run again into `pending`."""
        moment = min([self._left(worker) for worker in self._staff.values()], default=1.0)
        tick = 1.0 if self.memory_limit is None else 0.1
        heard = self._listen(min(max(moment, 0.0), tick))
        results = []
        for place, worker in list(self._staff.items()):
            if worker in heard:
                results += self._hear(place, pending)
        # what was heard comes first: a worker that answered while the caller took its time is not late
        for place, worker in list(self._staff.items()):
            results += self._inspect(place, worker, pending)
        return results

    def _hear(self, place: int, pending: list[Chunk]) -> list[JobResult]:
        """Take what a worker said."""
        worker = self._staff[place]
        try:
            reply = worker.receive()
        except Gone as gone:
            return self._lose(place, gone.error, str(gone), pending)
        except DiscoveryError:  # understood, and of no use
            raise
        except Exception as error:  # half a message can be any nonsense
            return self._lose(place, "crashed", f"the worker's reply could not be read: {error}", pending)
        if reply is None:
            worker.ready, self._failed_starts = True, 0
            self._joined[place] = time.monotonic()
            return []
        assert worker.chunk is not None
        if reply.error == "out_of_memory":
            # an accelerator's memory is its program's alone, whatever the jobs; a machine's is everybody's
            return self._lose(place, reply.error, reply.detail, pending, halving=reply.device == "cpu")
        chunk, worker.chunk = worker.chunk, None
        self._worked += _elapsed(worker)
        if reply.error is None:
            self.pace.learn(worker.kind, chunk, reply)
        return self._settle(chunk, reply, worker.name, pending)

    def _inspect(self, place: int, worker: Worker, pending: list[Chunk]) -> list[JobResult]:
        """End a worker that is past its limits."""
        if self._left(worker) <= 0:
            detail = f"no answer within {self.timeout:g} s; if this is honest work, raise the timeout"
            if worker.chunk is None:
                detail = f"not ready after {self.patience:g} s"
            return self._lose(place, "timeout", detail, pending)
        if self.memory_limit is None or worker.chunk is None or worker.memory() <= self.memory_limit:
            return []
        used, limit = (amount / 2**20 for amount in (worker.memory(), self.memory_limit))
        detail = f"the worker used {used:.0f} MiB, more than its {limit:.0f} MiB; lower agents_per_call"
        return self._lose(place, "out_of_memory", detail, pending)

    def _settle(self, chunk: Chunk, reply: Reply, worker: str, pending: list[Chunk]) -> list[JobResult]:
        """Results of a chunk that was answered; one that raised would raise again, so it is cut at once."""
        if reply.error is None and (further := onward(chunk, reply)):
            pending.append(further)
            self._ordered = None
            return []
        if reply.error is None:
            return finished(chunk, reply, worker)
        parts = halves(chunk)
        pending.extend(reversed(parts))
        if parts:
            return []
        log.debug("%s failed:\n%s", chunk.jobs[0].id, reply.trace)
        return failed(chunk, reply.error, reply.detail, reply.seconds, worker)

    def _lose(
        self, place: int, error: str, detail: str, pending: list[Chunk], halving: bool = True
    ) -> list[JobResult]:
        """A worker is lost, and perhaps the chunk it was working on."""
        worker = self._staff[place]
        words, elapsed = worker.last_lines(), _elapsed(worker)
        self._dismiss(place)
        if worker.chunk is None:
            if not worker.ready:
                self._count_stillborn(error, detail, words)
            return []
        parts = again(worker.chunk, halving)
        pending.extend(reversed(parts))
        next_step = ("given up", "trying again", "trying its halves")[len(parts)]
        ids = ", ".join(str(job.id) for job in worker.chunk.jobs)
        log.warning("%s: %s: %s; its chunk (%s): %s", worker.name, error, detail, ids, next_step)
        return [] if parts else failed(worker.chunk, error, detail, elapsed, worker.name)

    def _count_stillborn(self, error: str, detail: str, words: list[str]) -> None:
        if error == "timeout":
            if any(worker.ready for worker in self._staff.values()):
                return  # where others could start, there may be room for it later
            self._failed_starts = MAX_FAILED_STARTS  # it had its time
        self._failed_starts += 1
        if error == "out_of_memory":  # the machine's, which others use too: it may pass
            self._resting = time.monotonic() + REST_SECONDS * self._failed_starts
        if self._failed_starts >= MAX_FAILED_STARTS:
            said = "".join(f"\n  {line}" for line in words) or " nothing"
            raise ExecutorError(f"workers die before they can work ({detail}); the last one said:{said}")

    # The staff --------------------------------------------------------------------------------

    def _busy(self) -> dict[int, Worker]:
        return {place: worker for place, worker in self._staff.items() if worker.chunk is not None}

    def _left(self, worker: Worker) -> float:
        """Seconds until a worker is past its limit."""
        if worker.chunk is not None:
            return self.timeout - _elapsed(worker)
        return float("inf") if worker.ready else self.patience - _elapsed(worker)

    def _dismiss(self, place: int) -> None:
        if worker := self._staff.pop(place, None):
            self._worked += _elapsed(worker) if worker.chunk else 0.0
            self._present += time.monotonic() - self._joined.pop(place, time.monotonic())
            worker.kill()

    def _end_current(self) -> None:
        current = self._current() if self._current else None
        if current is not None:
            current.close()


def _elapsed(worker: Worker) -> float:
    return time.monotonic() - worker.since


def _dismiss(staff: dict[int, Worker], owner: int) -> None:
    """End all workers, unless we are a fork of the process that started them."""
    while staff and os.getpid() == owner:
        staff.popitem()[1].kill()
