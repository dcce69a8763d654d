"""The one interface of all executors: jobs in, results out as they finish, the same numbers."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple, Protocol, Self

from discovery.core.jobs import Job, JobResult


def as_group(results: Sequence[JobResult]) -> Iterator[JobResult]:
    """Results that are known together, all but the last marked so."""
    for index, result in enumerate(results):
        yield replace(result, more=index < len(results) - 1)


def together(results: Iterable[JobResult]) -> Iterator[list[JobResult]]:
    """Results in the groups in which they became known; each group is whole before the next is waited for."""
    group: list[JobResult] = []
    for result in results:
        group.append(result)
        if not result.more:
            yield group
            group = []
    if group:
        yield group


class WorkerUse(NamedTuple):
    """Who works.

    Attributes:
        workers: that are ready, busy or not.
        utilization: of the time that workers were there, the share in which they had something to do; NaN
            before there are any.
    """

    workers: int
    utilization: float


More = Callable[[], Sequence[Job]]
"""Further jobs, if there are any now."""


def no_more() -> Sequence[Job]:
    """No further jobs."""
    return ()


class Executor(Protocol):
    """Runs inner trainings. Results arrive in any order and are matched by id."""

    def run(self, jobs: Sequence[Job], more: More = no_more) -> Iterator[JobResult]:
        """Run all jobs, and those that `more` gives; yield each result as soon as it is known.

        `more` is asked whenever results were taken. What came earlier goes first. Which trainings share a
        call depends on those that came together alone.
        """
        ...

    def worker_use(self) -> WorkerUse:
        """Who works now, and how much of the time until now."""
        ...

    def close(self) -> None:
        """Stop workers and free what they hold; safe to call twice."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *exc_info: object) -> None:
        """Close."""
        ...
