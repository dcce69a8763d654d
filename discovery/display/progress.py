"""How a search goes, told to a terminal, a log, a program, or nobody.

`view` picks one. Each is a `discovery.search.listener.Listener` and a context manager. Imports no jax.

Generation g's row shows the proposals that were sampled around mean g, and mean g itself on the
selection seeds where it was due; after the last generation comes a row with the final mean.
Asynchronously, it shows the proposals that were told since the last row, and all means that were finished
since then, with their numbers where these are others; the last row has those that no row had.
"""

import logging
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, Self, TextIO

from discovery.core.config.search import SearchConfig
from discovery.display.formats import heading, json_line, place, row_facts, rows, status
from discovery.search.progress import Tally

if TYPE_CHECKING:
    from discovery.core.jobs import Job, JobResult
    from discovery.executors.base import Crew
    from discovery.meta.base import Results

EXECUTORS = "discovery.executors"
"""The logger whose warnings (a worker was replaced, and why) belong to the story."""

HEARTBEAT = 30.0
"""Seconds between the lines of a log while a generation takes its time."""


class View(Protocol):
    """A listener of a search that shows something, from `__enter__` to `__exit__`."""

    tally: Tally

    def started(self, generation: int, jobs: "Sequence[Job]", done: int) -> None: ...

    def finished(self, job: "Job", result: "JobResult") -> None: ...

    def closed(self, generation: int, results: "Results", metrics: Mapping[str, float]) -> None: ...

    def watch(self, crew: "Callable[[], Crew]") -> None:
        """Who works is worth showing too."""

    def warn(self, text: str) -> None:
        """Something that the user should know, and that does not end the search."""

    def say(self, event: str, text: str, **facts: Any) -> None:
        """Something that people read as `text` and programs as `event` with `facts`."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *exc_info: object) -> None: ...


def view(
    config: SearchConfig | None, quiet: bool = False, as_json: bool = False, out: TextIO | None = None
) -> View:
    """The view for this output: JSON, silence, a live display on a terminal, or else plain lines.

    Args:
        config: of the search; None for trainings that belong to none (`discovery evaluate`).
        quiet: only warnings.
        as_json: one object a line.
        out: instead of standard output.
    """
    tally, stream = Tally(config), out or sys.stdout
    if as_json:
        return Json(tally, stream)
    if quiet:
        return Silent(tally, stream)
    from rich.console import Console

    console = Console(file=stream, highlight=False)
    if console.is_terminal and not console.is_dumb_terminal:
        return Live(tally, console)
    return Lines(tally, stream)


class Silent:
    """Says nothing of the search; warnings go to standard error. The base of the others."""

    def __init__(self, tally: Tally, out: TextIO) -> None:
        self.tally, self.out = tally, out
        self._handler = _Warnings(self)

    def started(self, generation: int, jobs: "Sequence[Job]", done: int) -> None:
        self.tally.started(generation, jobs, done)

    def finished(self, job: "Job", result: "JobResult") -> None:
        self.tally.finished(job, result)

    def closed(self, generation: int, results: "Results", metrics: Mapping[str, float]) -> None: ...

    def watch(self, crew: "Callable[[], Crew]") -> None:
        self.tally.crew = crew

    def warn(self, text: str) -> None:
        print(f"warning: {text}", file=sys.stderr, flush=True)

    def say(self, event: str, text: str, **facts: Any) -> None: ...

    def __enter__(self) -> Self:
        logger = logging.getLogger(EXECUTORS)
        logger.addHandler(self._handler)
        self._propagated, logger.propagate = logger.propagate, False
        return self

    def __exit__(self, *exc_info: object) -> None:
        logger = logging.getLogger(EXECUTORS)
        logger.removeHandler(self._handler)
        logger.propagate = self._propagated


class Lines(Silent):
    """A line for each generation, and one now and then in between: for logs."""

    def __init__(self, tally: Tally, out: TextIO) -> None:
        super().__init__(tally, out)
        self._head = False
        self._spoke = 0.0

    def started(self, generation: int, jobs: "Sequence[Job]", done: int) -> None:
        super().started(generation, jobs, done)
        if self.tally.config and not self._head:
            self._head = True
            self._print(heading(self.tally.config))
        if done:
            self._print(f"{place(self.tally)}{done} of {len(jobs)} trainings were finished before")

    def finished(self, job: "Job", result: "JobResult") -> None:
        super().finished(job, result)
        if time.monotonic() - self._spoke >= HEARTBEAT:
            self._print(status(self.tally))

    def closed(self, generation: int, results: "Results", metrics: Mapping[str, float]) -> None:
        assert self.tally.config is not None  # else nothing is closed
        for line in rows(self.tally.row(results), self.tally.config):
            self._print(line)

    def say(self, event: str, text: str, **facts: Any) -> None:
        self._print(text)

    def _print(self, text: str) -> None:
        self._spoke = time.monotonic()
        print(text, file=self.out, flush=True)


class Live(Lines):
    """The same lines, with the open generation's progress below them, redrawn in place."""

    def __init__(self, tally: Tally, console: Any) -> None:
        super().__init__(tally, console.file)
        from rich.live import Live as Display

        self._display = Display(
            console=console, get_renderable=self._renderable, refresh_per_second=4, transient=True
        )
        self._console = console

    def finished(self, job: "Job", result: "JobResult") -> None:
        Silent.finished(self, job, result)

    def warn(self, text: str) -> None:
        self._console.print(f"warning: {text}", style="yellow", markup=False)

    def _print(self, text: str) -> None:
        self._console.print(text, markup=False, soft_wrap=True)

    def _renderable(self) -> Any:
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        tally = self.tally
        if not tally.trainings:
            return Text("starting", style="dim")
        grid = Table.grid(padding=(0, 1))
        bar = ProgressBar(total=tally.trainings, completed=tally.done, width=24)
        grid.add_row(bar, Text(status(tally), style="dim", overflow="ellipsis", no_wrap=True))
        return grid

    def __enter__(self) -> Self:
        super().__enter__()
        self._display.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._display.stop()
        super().__exit__(*exc_info)


class Json(Silent):
    """One JSON object a line, with null for NaN; its "event" says what the others mean.

    started      generation, trainings, finished_before; again for its further stages, or broods
    generation   generation, tasks (name: mean, spread, best, selection), trainings, failures, steps,
                 seconds, steps_per_second, seconds_left, workers, utilization, metrics; `selection` lists the
                 means that were evaluated since the last row, each with its generation
    final        the same facts for the mean after the last generation, and for others that no row had
    warning      text
    and what else `say` is given: run, result, interrupted ...
    """

    def started(self, generation: int, jobs: "Sequence[Job]", done: int) -> None:
        super().started(generation, jobs, done)
        self._write("started", generation=generation, trainings=len(jobs), finished_before=done)

    def closed(self, generation: int, results: "Results", metrics: Mapping[str, float]) -> None:
        self._write("generation", **row_facts(self.tally.row(results)), metrics=dict(metrics))

    def warn(self, text: str) -> None:
        self._write("warning", text=text)

    def say(self, event: str, text: str, **facts: Any) -> None:
        self._write(event, **facts)

    def _write(self, event: str, **facts: Any) -> None:
        print(json_line({"event": event, **facts}), file=self.out, flush=True)


class _Warnings(logging.Handler):
    """Hands warnings of the executors to a view."""

    def __init__(self, view: Silent) -> None:
        super().__init__(logging.WARNING)
        self._view = view

    def emit(self, record: logging.LogRecord) -> None:
        self._view.warn(record.getMessage())
