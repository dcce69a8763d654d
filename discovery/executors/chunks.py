"""Cutting jobs into chunks of one fixed width W, and back into results; pure.

The lanes of a compiled program do not influence one another, but its width influences all of them. So every
call has width W = `agents_per_call`: a chunk with fewer jobs repeats its first one. Which jobs share a chunk
depends only on the jobs and on W, never on the number of workers.

Trainings can be divided into stretches. A chunk is then a chain of calls, each of which passes its states to
the next. Any free worker can continue the longest chunk, so that no worker starts a long one too late.

A chunk that ended its process is tried once more. A chunk that fails again, or that raised, is cut into
halves of the same width, until the faulty job is alone in its chunk and fails alone.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import jax.tree_util as tree
import numpy as np

from discovery.core.jobs import Checkpoint, Job, JobResult
from discovery.executors.call import Reply, Request


@dataclass(frozen=True)
class Chunk:
    """At most W jobs that one compiled program can train side by side.

    Attributes:
        jobs: the real lanes, 1 to W.
        width: W, lanes of the call; lanes beyond `jobs` repeat the first job and are dropped.
        attempts: how often these jobs were started.
        halved: whether it is part of a larger chunk that failed.
        turn: increases with every batch of jobs from `more`; chunks of earlier turns run first.
        stretch: number of the current stretch, from 0, if the trainings are divided into stretches.
        spent: seconds of the earlier stretches, and how many of these were compilation.
    """

    jobs: tuple[Job, ...]
    width: int
    attempts: int = 0
    halved: bool = False
    turn: int = 0
    stretch: int = 0
    spent: tuple[float, float] = (0.0, 0.0)

    @property
    def cost(self) -> int:
        """Environment steps of the call: all lanes run until the longest one stops."""
        starts = [0 if job.checkpoint is None else job.checkpoint.update for job in self.jobs]
        longest = max(self.until(job) - start for job, start in zip(self.jobs, starts, strict=True))
        return max(longest, 1) * self.width * self.jobs[0].task.setup.steps_per_update

    @property
    def rest(self) -> int:
        """Environment steps of this call and of the later stretches."""
        longest = max(job.updates for job in self.jobs)
        return longest * self.width * self.jobs[0].task.setup.steps_per_update

    def until(self, job: Job) -> int:
        """The rollout at which this call stops one of its jobs."""
        if self.jobs[0].stretches > 1:
            return math.ceil(job.lifetime * (self.stretch + 1) / job.stretches)
        return job.lifetime if job.until is None else job.until

    @property
    def program(self) -> tuple[Any, ...]:
        """The part of the jobs that determines the speed of a call."""
        return self.jobs[0].algorithm, self.jobs[0].task.setup

    def started(self) -> "Chunk":
        """The same jobs, started once more."""
        return replace(self, attempts=self.attempts + 1)

    @property
    def hands_out(self) -> bool:
        """Whether the call stops at a rollout and returns its states, instead of training to the end."""
        return self.jobs[0].until is not None or self.jobs[0].stretches > 1

    def request(self) -> Request:
        """The jobs as one batched call, every leaf ``[W, ...]``."""
        lanes = self.jobs + self.jobs[:1] * (self.width - len(self.jobs))
        first = self.jobs[0]
        return Request(
            algorithm=first.algorithm,
            task=first.task,
            meta_params=tree.tree_map(lambda *leaves: np.stack(leaves), *(job.meta_params for job in lanes)),
            keys=np.stack([np.asarray(job.key, np.uint32) for job in lanes]),
            lifetimes=np.asarray([job.lifetime for job in lanes], np.int32),
            until=np.asarray([self.until(job) for job in lanes], np.int32) if self.hands_out else None,
            checkpoint=_stacked([job.checkpoint for job in lanes]),
        )


def cut(jobs: Sequence[Job], width: int, turn: int = 0) -> list[Chunk]:
    """Chunks of `width` lanes that group equal programs and similar lifetimes; the longest chunk is first."""
    ids = [job.id for job in jobs]
    if len(set(ids)) < len(ids):
        repeated = str(next(id for id in ids if ids.count(id) > 1))
        raise ValueError(f"job ids must be unique, {repeated!r} is not")
    groups: dict[Any, list[Job]] = {}
    for job in jobs:
        groups.setdefault(_program(job), []).append(job)
    chunks = []
    for group in groups.values():
        ordered = sorted(group, key=lambda job: job.updates)
        chunks += [
            Chunk(tuple(ordered[start : start + width]), width, turn=turn)
            for start in range(0, len(ordered), width)
        ]
    return sorted(chunks, key=lambda chunk: -chunk.rest)


def halves(chunk: Chunk) -> tuple[Chunk, ...]:
    """A failed chunk as two of the same width; empty if it has only one job."""
    if len(chunk.jobs) == 1:
        return ()
    middle = (len(chunk.jobs) + 1) // 2
    parts = chunk.jobs[:middle], chunk.jobs[middle:]
    return tuple(replace(chunk, jobs=part, halved=True) for part in parts)


def again(chunk: Chunk, halving: bool = True) -> tuple[Chunk, ...]:
    """What to run after `chunk` ended its process: the same chunk, its halves, or nothing.

    `halving` is False where fewer jobs would fail as well, because their call is as wide.
    """
    if chunk.attempts < 2 and not chunk.halved:
        return (chunk,)
    return halves(chunk) if halving else ()


def onward(chunk: Chunk, reply: Reply) -> Chunk | None:
    """The next stretch of the same trainings; None after the last one."""
    if chunk.stretch + 1 >= chunk.jobs[0].stretches:
        return None
    assert reply.checkpoint is not None
    jobs = [
        replace(job, checkpoint=Checkpoint(chunk.until(job), tuple(leaf[lane] for leaf in reply.checkpoint)))
        for lane, job in enumerate(chunk.jobs)
    ]
    spent = chunk.spent[0] + reply.seconds, chunk.spent[1] + reply.compile_seconds
    # the next stretch starts with the attempts that this one failed, without the one that succeeded
    return replace(
        chunk, jobs=tuple(jobs), stretch=chunk.stretch + 1, attempts=chunk.attempts - 1, spent=spent
    )


def finished(chunk: Chunk, reply: Reply, worker: str) -> list[JobResult]:
    """One result per job, from the lanes of the reply's outcome; each job gets an equal share of the time."""
    if isinstance(reply.outcome, dict):  # measured, not trained
        return [_measured(job, reply, worker, chunk.attempts) for job in chunk.jobs]
    results = []
    for lane, job in enumerate(chunk.jobs):
        outcome = tree.tree_map(lambda leaf, lane=lane: np.asarray(leaf)[lane], reply.outcome)
        diverged = not np.isfinite(outcome.score)
        checkpoint = None
        if reply.checkpoint is not None and job.until is not None:
            checkpoint = Checkpoint(job.until, tuple(x[lane] for x in reply.checkpoint))
        results.append(
            JobResult(
                id=job.id,
                outcome=outcome,
                error="diverged" if diverged else None,
                detail=_divergence(int(outcome.nonfinite_step)) if diverged else "",
                seconds=(chunk.spent[0] + reply.seconds) / len(chunk.jobs),
                compile_seconds=(chunk.spent[1] + reply.compile_seconds) / len(chunk.jobs),
                worker=worker,
                attempts=chunk.attempts,
                checkpoint=checkpoint,
                extra={"device": reply.device},
            )
        )
    return results


def _measured(job: Job, reply: Reply, worker: str, attempts: int) -> JobResult:
    extra = {"device": reply.device, **reply.outcome}
    return JobResult(job.id, None, seconds=reply.seconds, worker=worker, attempts=attempts, extra=extra)


def failed(chunk: Chunk, error: str, detail: str, seconds: float, worker: str) -> list[JobResult]:
    """One failed result per job."""
    share = (chunk.spent[0] + seconds) / len(chunk.jobs)
    return [
        JobResult(job.id, None, error, detail, seconds=share, worker=worker, attempts=chunk.attempts)
        for job in chunk.jobs
    ]


def _divergence(nonfinite_step: int) -> str:
    if nonfinite_step < 0:
        return "the score is not finite: no episode was completed in the part of training that is scored"
    return f"a value became non-finite at environment step {nonfinite_step}"


def _program(job: Job) -> tuple:
    """Grouping key: jobs may share a chunk if theirs are equal."""
    leaves, structure = tree.tree_flatten(job.meta_params)
    shapes = tuple((np.shape(leaf), np.asarray(leaf).dtype.str) for leaf in leaves)
    task = tuple(_hashable(getattr(job.task, field.name)) for field in fields(job.task))
    return job.algorithm, task, structure, shapes, job.until is None, job.checkpoint is None, job.stretches


def _stacked(checkpoints: Sequence[Checkpoint | None]) -> tuple[np.ndarray, ...] | None:
    """The states of all lanes as leaves ``[W, ...]``; either all jobs of a chunk have a state or none has."""
    states = [state.leaves for state in checkpoints if state is not None]
    return tuple(np.stack(leaves) for leaves in zip(*states, strict=True)) if states else None


def _hashable(value: Any) -> Any:
    return frozenset(value.items()) if isinstance(value, Mapping) else value
