"""The one interface of all executors: jobs in, results out as they finish, the same numbers."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple, Protocol, Self

from discovery.core.jobs import Job, JobResult


def as_group(results: Sequence[JobResult]) -> Iterator[JobResult]:
    """Results that became known together: all but the last have `more` set."""
    for index, result in enumerate(results):
        yield replace(result, more=index < len(results) - 1)


def together(results: Iterable[JobResult]) -> Iterator[list[JobResult]]:
    """Group results that became known together; yields a group before waiting for the next one."""
    group: list[JobResult] = []
    for result in results:
        group.append(result)
        if not result.more:
            yield group
            group = []
    if group:
        yield group


class WorkerUse(NamedTuple):
    """How many workers there are, and how busy they are.

    Attributes:
        workers: number of ready workers, busy or not.
        utilization: share of the workers' ready time in which they had work; NaN before any is ready.
    """

    workers: int
    utilization: float


More = Callable[[], Sequence[Job]]
"""Returns further jobs, or an empty sequence if there are none now."""


def no_more() -> Sequence[Job]:
    """No further jobs."""
    return ()


class Executor(Protocol):
    """Runs inner trainings. Results arrive in any order and are matched by id."""

    def run(self, jobs: Sequence[Job], more: More = no_more) -> Iterator[JobResult]:
        """Run all jobs, and those that `more` returns; yield each result as soon as it is known.

        `more` is called after results were consumed. Earlier jobs run first. Only jobs that came together
        can share a call.
        """
        ...

    def worker_use(self) -> WorkerUse:
        """How many workers are ready now, and how busy they were until now."""
        ...

    def close(self) -> None:
        """Stop workers and free what they hold; safe to call twice."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *exc_info: object) -> None:
        """Close."""
        ...
