"""The one interface of all executors: jobs in, results out as they finish, the same numbers."""

from collections.abc import Iterator, Sequence
from typing import Protocol, Self

from discovery.work import Job, JobResult


class Executor(Protocol):
    """Runs inner trainings. Results arrive in any order and are matched by id."""

    def run(self, jobs: Sequence[Job]) -> Iterator[JobResult]:
        """Run all jobs; yield each result as soon as it is known."""
        ...

    def close(self) -> None:
        """Stop workers and free what they hold; safe to call twice."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *exc_info: object) -> None:
        """Close."""
        ...
