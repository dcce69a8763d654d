"""Who is told how a search goes."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from discovery.core.jobs import Job, JobResult
from discovery.meta.base import Results


class Listener(Protocol):
    """Who is told how a search goes; see discovery/display/progress.py."""

    def started(self, generation: int, jobs: Sequence[Job], done: int) -> None:
        """Trainings of a generation are known; `done` of them were finished before. Called again for further
        ones of the same generation, where the first decided on them.
        """

    def finished(self, job: Job, result: JobResult) -> None:
        """One training ended and is recorded."""

    def closed(self, generation: int, results: Results, metrics: Mapping[str, float]) -> None:
        """A generation is closed, safe on disk."""
