"""The interface of whatever shows the progress of a search."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from discovery.core.jobs import Job, JobResult
from discovery.meta.base import Results


class Listener(Protocol):
    """Receives the events of a search; see discovery/display/progress.py."""

    def started(self, generation: int, jobs: Sequence[Job], done: int) -> None:
        """The trainings of a generation are known; `done` of them were finished before. Called again when
        their results lead to further trainings of the same generation.
        """

    def finished(self, job: Job, result: JobResult) -> None:
        """A training has ended, and its result is recorded."""

    def closed(self, generation: int, results: Results, metrics: Mapping[str, float]) -> None:
        """A generation is closed and stored on disk."""
