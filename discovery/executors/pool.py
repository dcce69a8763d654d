"""A pool of workers: assigns chunks to them, and handles workers that die, hang or use too much memory.

`processes.py` and `ray/cluster.py` define the workers. Workers live as long as the executor, compile each
program once, and take the next chunk when they are free. A lost worker is replaced; `chunks.py` says what
happens to its chunk.
"""

import logging
import math
import os
import pickle
import time
import weakref
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from typing import Any, Protocol, Self

from discovery.core.errors import BadInput, DiscoveryError, ExecutorError
from discovery.core.jobs import Job, JobResult
from discovery.executors.base import More, WorkerUse, as_group, no_more
from discovery.executors.call import Reply, failure
from discovery.executors.chunks import Chunk, again, cut, failed, finished, halves, onward
from discovery.executors.throughput import Pace

START_SECONDS = 120.0
MAX_FAILED_STARTS = 3
"""Give up after this many consecutive workers fail to start."""
BACKOFF_SECONDS = 5.0
"""Wait after a worker ran out of memory while starting, times the number of consecutive failed starts."""

log = logging.getLogger(__name__)


class Gone(Exception):
    """A worker ended; the text says how, in one line."""

    def __init__(self, detail: str, error: str = "crashed") -> None:
        super().__init__(detail)
        self.error = error


class Worker(Protocol):
    """One worker as the pool sees it.

    Attributes:
        name: for records, for example "processes/0".
        kind: workers of one kind are equally fast.
        ready: whether it has reported that its imports are done.
        chunk: the chunk that it is running, or None.
        since: monotonic time at which it was started, became ready or got its chunk.
    """

    name: str
    kind: str
    ready: bool
    chunk: Chunk | None
    since: float

    def send(self, message: bytes) -> None:
        """Send a pickled request. If the worker is gone, `receive` reports it."""

    def receive(self) -> Reply | None:
        """Its reply, or None when it reports that it is ready. Call only after `_poll` returned this worker.

        Raises:
            Gone: it has ended.
            ExecutorError: it cannot be used, and a replacement could not be either.
            Exception: its message cannot be read.
        """

    def alive(self) -> bool:
        """Whether it has not ended, as far as is known without waiting."""
        ...

    def memory(self) -> int:
        """Resident memory in bytes; 0 if the process is gone."""
        ...

    def last_lines(self) -> list[str]:
        """The last lines that it printed."""
        ...

    def kill(self) -> None:
        """End it and its child processes at once; safe to call twice."""


class Pool(ABC):
    """The base of executors that have workers; for its arguments see `Processes`."""

    patience = START_SECONDS
    """Seconds after which a worker that is not ready is given up."""

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
        self._no_starts_before = 0.0  # monotonic time
        self.pace = Pace()
        self._ordered: int | None = None  # the version of `pace` by which `pending` is sorted
        self._ready_since: dict[int, float] = {}  # by slot
        self._compiled: defaultdict[int, set[Any]] = defaultdict(set)  # programs, by slot
        self._past_ready_seconds = 0.0  # of workers that are gone
        self._past_busy_seconds = 0.0  # of all workers, for chunks that ended
        self._active: dict[int, Worker] = {}  # by slot, 0 to workers - 1
        self._current: weakref.ref | None = None
        # also at exit, and when an executor is dropped without close()
        self._finalizer = weakref.finalize(self, _kill_all, self._active, os.getpid())

    # Subclasses implement these ---------------------------------------------------------------

    @abstractmethod
    def _start(self, slot: int) -> Worker:
        """Start a worker."""

    @abstractmethod
    def _poll(self, seconds: float) -> Collection[Worker]:
        """The workers that have sent a message or ended; waits for at most `seconds`."""

    # The interface ----------------------------------------------------------------------------

    def run(self, jobs: Sequence[Job], more: More = no_more) -> Iterator[JobResult]:
        """Run all jobs, as `Executor.run` does; ends an earlier run that is unfinished."""
        if not self._finalizer.alive:
            raise ExecutorError("this executor is closed; make a new one")
        self._end_current()
        results = self._run(cut(jobs, self.agents_per_call)[::-1], more)
        self._current = weakref.ref(results)
        return results

    def worker_use(self) -> WorkerUse:
        now = time.monotonic()
        present = self._past_ready_seconds + sum(now - joined for joined in self._ready_since.values())
        worked = self._past_busy_seconds + sum(_elapsed(worker) for worker in self._busy().values())
        return WorkerUse(len(self._ready_since), worked / present if present > 0 else math.nan)

    def close(self) -> None:
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
                results += self._assign(pending)  # before we yield: the caller may be slow
                yield from as_group(results)
                results = []
                if further := more():
                    self._ordered, turn = None, turn + 1
                    pending[:0] = cut(further, self.agents_per_call, turn)[::-1]
                elif pending or self._busy():
                    self._fill_slots(len(pending))
                    results = self._collect(pending)
                else:
                    return
        finally:
            for slot in self._busy():  # the caller stopped early and does not want these results
                self._remove(slot)

    def _assign(self, pending: list[Chunk]) -> list[JobResult]:
        """Give every free worker a chunk; returns failed results for chunks that cannot be sent."""
        results = []
        for slot, worker in self._active.items():
            while pending and worker.ready and worker.chunk is None:
                index = self._choose_chunk(slot, worker, pending)
                if index is None:
                    break
                chunk = pending.pop(index).started()
                try:
                    message = pickle.dumps(chunk.request())
                except Exception as error:
                    results += self._finish_chunk(chunk, failure(error), worker.name, pending)
                else:
                    worker.chunk, worker.since = chunk, time.monotonic()
                    self._compiled[slot].add(chunk.program)
                    worker.send(message)
        return results

    def _choose_chunk(self, slot: int, worker: Worker, pending: list[Chunk]) -> int | None:
        """Index of the chunk that a free worker should take; None if it should take none."""
        if pending[-1].attempts or pending[-1].halved:
            return len(pending) - 1  # retry a failed chunk first
        if self._ordered != self.pace.version:
            self.pace.order(worker.kind, pending)
            self._ordered = self.pace.version
        others = [other for there, other in self._active.items() if there != slot and other.ready]
        if any(other.kind != worker.kind for other in others):
            free = [(other.kind, self._seconds_until_free(other)) for other in others]
            return self.pace.choose(worker.kind, pending, free)
        running = (other.chunk.program for other in others if other.chunk)
        return self.pace.choose_alike(worker.kind, pending, self._compiled[slot], running)

    def _seconds_until_free(self, worker: Worker) -> float:
        """Expected seconds until a worker is free; 0 if unknown."""
        if worker.chunk is None:
            return 0.0
        left = self.pace.seconds(worker.kind, worker.chunk) - _elapsed(worker)
        return max(left, 0.0) if math.isfinite(left) else 0.0

    def _fill_slots(self, waiting: int) -> None:
        """Start workers in empty slots, as many as there is work for."""
        if time.monotonic() < self._no_starts_before:
            return
        for slot, worker in list(self._active.items()):
            if worker.ready and worker.chunk is None and not worker.alive():
                self._remove(slot)  # it died while idle
        for slot in range(min(self.workers, waiting + len(self._busy()))):
            if slot not in self._active:
                self._active[slot] = self._start(slot)

    def _collect(self, pending: list[Chunk]) -> list[JobResult]:
        """Wait briefly for messages; returns new results and adds chunks that must run again to `pending`."""
        moment = min([self._seconds_to_limit(worker) for worker in self._active.values()], default=1.0)
        tick = 1.0 if self.memory_limit is None else 0.1
        heard = self._poll(min(max(moment, 0.0), tick))
        results = []
        for slot, worker in list(self._active.items()):
            if worker in heard:
                results += self._receive(slot, pending)
        # Limits are checked after reading: a worker that replied while the caller was slow is not late.
        for slot, worker in list(self._active.items()):
            results += self._check_limits(slot, worker, pending)
        return results

    def _receive(self, slot: int, pending: list[Chunk]) -> list[JobResult]:
        """Handle a worker's message."""
        worker = self._active[slot]
        try:
            reply = worker.receive()
        except Gone as gone:
            return self._drop(slot, gone.error, str(gone), pending)
        except DiscoveryError:  # the worker is unusable
            raise
        except Exception as error:  # a truncated message can raise anything
            return self._drop(slot, "crashed", f"the worker's reply could not be read: {error}", pending)
        if reply is None:
            worker.ready, self._failed_starts = True, 0
            self._ready_since[slot] = time.monotonic()
            return []
        assert worker.chunk is not None
        if reply.error == "out_of_memory":
            # On an accelerator the program's size alone decides, so halving does not help. A machine's
            # memory is shared with other processes.
            return self._drop(slot, reply.error, reply.detail, pending, halving=reply.device == "cpu")
        chunk, worker.chunk = worker.chunk, None
        self._past_busy_seconds += _elapsed(worker)
        if reply.error is None:
            self.pace.learn(worker.kind, chunk, reply)
        return self._finish_chunk(chunk, reply, worker.name, pending)

    def _check_limits(self, slot: int, worker: Worker, pending: list[Chunk]) -> list[JobResult]:
        """End a worker that has exceeded its limits."""
        if self._seconds_to_limit(worker) <= 0:
            detail = f"no answer within {self.timeout:g} s; raise the timeout if trainings take that long"
            if worker.chunk is None:
                detail = f"not ready after {self.patience:g} s"
            return self._drop(slot, "timeout", detail, pending)
        if self.memory_limit is None or worker.chunk is None or worker.memory() <= self.memory_limit:
            return []
        used, limit = (amount / 2**20 for amount in (worker.memory(), self.memory_limit))
        detail = f"the worker used {used:.0f} MiB, more than its {limit:.0f} MiB; lower agents_per_call"
        return self._drop(slot, "out_of_memory", detail, pending)

    def _finish_chunk(self, chunk: Chunk, reply: Reply, worker: str, pending: list[Chunk]) -> list[JobResult]:
        """Results of a chunk with a reply. A chunk that raised is halved at once: it would raise again."""
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

    def _drop(
        self, slot: int, error: str, detail: str, pending: list[Chunk], halving: bool = True
    ) -> list[JobResult]:
        """Remove a lost worker; run its chunk again, or return failed results."""
        worker = self._active[slot]
        words, elapsed = worker.last_lines(), _elapsed(worker)
        self._remove(slot)
        if worker.chunk is None:
            if not worker.ready:
                self._count_failed_start(error, detail, words)
            return []
        parts = again(worker.chunk, halving)
        pending.extend(reversed(parts))
        next_step = ("given up", "trying again", "trying its halves")[len(parts)]
        ids = ", ".join(str(job.id) for job in worker.chunk.jobs)
        log.warning("%s: %s: %s; its chunk (%s): %s", worker.name, error, detail, ids, next_step)
        return [] if parts else failed(worker.chunk, error, detail, elapsed, worker.name)

    def _count_failed_start(self, error: str, detail: str, words: list[str]) -> None:
        if error == "timeout":
            if any(worker.ready for worker in self._active.values()):
                return  # others could start, so there may be room later
            self._failed_starts = MAX_FAILED_STARTS  # trying again would only time out again
        self._failed_starts += 1
        if error == "out_of_memory":  # other processes share the machine's memory and may free some
            self._no_starts_before = time.monotonic() + BACKOFF_SECONDS * self._failed_starts
        if self._failed_starts >= MAX_FAILED_STARTS:
            said = "".join(f"\n  {line}" for line in words) or " nothing"
            raise ExecutorError(f"workers die before they can work ({detail}); the last one said:{said}")

    # Workers ----------------------------------------------------------------------------------

    def _busy(self) -> dict[int, Worker]:
        return {slot: worker for slot, worker in self._active.items() if worker.chunk is not None}

    def _seconds_to_limit(self, worker: Worker) -> float:
        """Seconds until a worker exceeds its time limit."""
        if worker.chunk is not None:
            return self.timeout - _elapsed(worker)
        return float("inf") if worker.ready else self.patience - _elapsed(worker)

    def _remove(self, slot: int) -> None:
        self._compiled.pop(slot, None)
        if worker := self._active.pop(slot, None):
            self._past_busy_seconds += _elapsed(worker) if worker.chunk else 0.0
            self._past_ready_seconds += time.monotonic() - self._ready_since.pop(slot, time.monotonic())
            worker.kill()

    def _end_current(self) -> None:
        current = self._current() if self._current else None
        if current is not None:
            current.close()


def _elapsed(worker: Worker) -> float:
    return time.monotonic() - worker.since


def _kill_all(workers: dict[int, Worker], owner: int) -> None:
    """End all workers, unless this process is a fork of the one that started them."""
    while workers and os.getpid() == owner:
        workers.popitem()[1].kill()
