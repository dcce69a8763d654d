"""The progress of a search, shown on a terminal, in a log, to a program, or not at all.

`view` picks one. Each is a `discovery.search.listener.Listener` and a context manager. Imports no jax.

The row of generation g shows the proposals that were sampled around mean g, and the score of mean g on the
selection seeds if it was evaluated. After the last generation comes a row with the final mean. An
asynchronous search shows the proposals that it learned from since the last row, and all means that finished
since then, with their generations; the last row shows the remaining means.
"""

import logging
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self, TextIO

from discovery.core.config.search import SearchConfig
from discovery.core.json import json_line
from discovery.display.formats import heading, place, row_facts, rows, status
from discovery.search.progress import SearchProgress

if TYPE_CHECKING:
    from discovery.core.jobs import Job, JobResult
    from discovery.executors.base import WorkerUse
    from discovery.meta.base import Results

EXECUTORS = "discovery.executors"
"""The logger of the executors. Its warnings (a worker was replaced, and why) are shown too."""

HEARTBEAT = 30.0
"""Seconds between the lines of a log within a generation."""


def view(
    config: SearchConfig | None, quiet: bool = False, as_json: bool = False, out: TextIO | None = None
) -> "View":
    """The view for an output: JSON, warnings only, a live display on a terminal, or plain lines.

    Args:
        config: of the search; None for trainings outside a search (`discovery evaluate`).
        quiet: only warnings.
        as_json: one object per line.
        out: instead of standard output.
    """
    progress, stream = SearchProgress(config), out or sys.stdout
    if as_json:
        return Json(progress, stream)
    if quiet:
        return View(progress, stream)
    from rich.console import Console

    console = Console(file=stream, highlight=False)
    if console.is_terminal and not console.is_dumb_terminal:
        return Live(progress, console)
    return Lines(progress, stream)


class View:
    """Shows warnings only, on standard error. The base class of the other views."""

    def __init__(self, progress: SearchProgress, out: TextIO) -> None:
        self.progress, self.out = progress, out
        self._handler = _Warnings(self)

    def started(self, generation: int, jobs: "Sequence[Job]", done: int) -> None:
        self.progress.started(generation, jobs, done)

    def finished(self, job: "Job", result: "JobResult") -> None:
        self.progress.finished(job, result)

    def closed(self, generation: int, results: "Results", metrics: Mapping[str, float]) -> None: ...

    def watch(self, worker_use: "Callable[[], WorkerUse]") -> None:
        """Show the workers too."""
        self.progress.worker_use = worker_use

    def warn(self, text: str) -> None:
        print(f"warning: {text}", file=sys.stderr, flush=True)

    def say(self, event: str, text: str, **facts: Any) -> None:
        """Show an event: `text` for people, `event` with `facts` for programs."""

    def __enter__(self) -> Self:
        logger = logging.getLogger(EXECUTORS)
        logger.addHandler(self._handler)
        self._propagated, logger.propagate = logger.propagate, False
        return self

    def __exit__(self, *exc_info: object) -> None:
        logger = logging.getLogger(EXECUTORS)
        logger.removeHandler(self._handler)
        logger.propagate = self._propagated


class Lines(View):
    """A line for each generation and each heartbeat: for logs."""

    def __init__(self, progress: SearchProgress, out: TextIO) -> None:
        super().__init__(progress, out)
        self._head = False
        self._spoke = 0.0

    def started(self, generation: int, jobs: "Sequence[Job]", done: int) -> None:
        super().started(generation, jobs, done)
        if self.progress.config and not self._head:
            self._head = True
            self._print(heading(self.progress.config))
        if done:
            self._print(f"{place(self.progress)}{done} of {len(jobs)} trainings were finished before")

    def finished(self, job: "Job", result: "JobResult") -> None:
        super().finished(job, result)
        if time.monotonic() - self._spoke >= HEARTBEAT:
            self._print(status(self.progress))

    def closed(self, generation: int, results: "Results", metrics: Mapping[str, float]) -> None:
        assert self.progress.config is not None  # else nothing is closed
        for line in rows(self.progress.row(results), self.progress.config):
            self._print(line)

    def say(self, event: str, text: str, **facts: Any) -> None:
        self._print(text)

    def _print(self, text: str) -> None:
        self._spoke = time.monotonic()
        print(text, file=self.out, flush=True)


class Live(Lines):
    """The same lines, with a progress bar of the open generation below them."""

    def __init__(self, progress: SearchProgress, console: Any) -> None:
        super().__init__(progress, console.file)
        from rich.live import Live as Display

        self._display = Display(
            console=console, get_renderable=self._renderable, refresh_per_second=4, transient=True
        )
        self._console = console

    def finished(self, job: "Job", result: "JobResult") -> None:
        View.finished(self, job, result)

    def warn(self, text: str) -> None:
        self._console.print(f"warning: {text}", style="yellow", markup=False)

    def _print(self, text: str) -> None:
        self._console.print(text, markup=False, soft_wrap=True)

    def _renderable(self) -> Any:
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        progress = self.progress
        if not progress.trainings:
            return Text("starting", style="dim")
        grid = Table.grid(padding=(0, 1))
        bar = ProgressBar(total=progress.trainings, completed=progress.done, width=24)
        grid.add_row(bar, Text(status(progress), style="dim", overflow="ellipsis", no_wrap=True))
        return grid

    def __enter__(self) -> Self:
        super().__enter__()
        self._display.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._display.stop()
        super().__exit__(*exc_info)


class Json(View):
    """One JSON object per line, with null for NaN; "event" names its kind.

    started      generation, trainings, finished_before; again for further stages or batches
    generation   generation, tasks (name: mean, spread, best, selection), trainings, failures, steps,
                 seconds, steps_per_second, seconds_left, workers, utilization, metrics; `selection` lists the
                 means that were evaluated since the last row, each with its generation
    final        the same facts for the mean after the last generation, and for remaining ones
    warning      text
    Others are those of `say`: run, result, interrupted ...
    """

    def started(self, generation: int, jobs: "Sequence[Job]", done: int) -> None:
        super().started(generation, jobs, done)
        self._write("started", generation=generation, trainings=len(jobs), finished_before=done)

    def closed(self, generation: int, results: "Results", metrics: Mapping[str, float]) -> None:
        self._write("generation", **row_facts(self.progress.row(results)), metrics=dict(metrics))

    def warn(self, text: str) -> None:
        self._write("warning", text=text)

    def say(self, event: str, text: str, **facts: Any) -> None:
        self._write(event, **facts)

    def _write(self, event: str, **facts: Any) -> None:
        print(json_line({"event": event, **facts}), file=self.out, flush=True)


class _Warnings(logging.Handler):
    """Passes warnings of the executors on to a view."""

    def __init__(self, view: View) -> None:
        super().__init__(logging.WARNING)
        self._view = view

    def emit(self, record: logging.LogRecord) -> None:
        self._view.warn(record.getMessage())
