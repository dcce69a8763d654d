"""One session of a search, new or resumed: from an open run to an exit code."""

import contextlib
import shlex
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from discovery.app.commands.failure import INTERRUPTED, stop_if_interrupted, unexpected
from discovery.app.commands.folders import algorithm_text, in_order
from discovery.core.config.search import SearchConfig
from discovery.core.errors import DiscoveryError, RunError
from discovery.core.versions import changes
from discovery.display.formats import duration, interval_facts, row_facts, rows
from discovery.display.progress import View
from discovery.results.words import words_of
from discovery.search.progress import final_row
from discovery.statistics import Interval, interval, interval_with_failures
from discovery.store.start import origins_of

if TYPE_CHECKING:
    from discovery.core.jobs import Job, JobResult
    from discovery.executors.base import Executor
    from discovery.meta.base import Results
    from discovery.search.selection import Choice
    from discovery.store.run import Run

HOPELESS = 16
"""A search ends if its first trainings, this many, all raise or kill their process: the program is at fault.
Diverged trainings count only at the end of their generation, since others of it may succeed."""


def conduct(
    run: "Run", executor: "Executor", view: View, resume: str | None = None, farewell: bool = True
) -> int:
    """Continue the run's search to its end; returns the exit code. Closes the run.

    `resume` is the command that continues a stopped search. With `farewell`, next commands are shown at the
    end.

    Raises:
        RunError: the search cannot go on; what was recorded is kept.
    """
    from discovery.search.loop import search

    began = time.monotonic()
    resume = resume or f"discovery resume {shlex.quote(str(run.folder))}"
    try:
        with run, view:
            view.say("run", _opening(run), **_facts(run))
            if changed := changes(run.ledger.meta):
                view.warn(
                    f"since this run began, {'; '.join(changed)}: its numbers may differ from those of a run "
                    "that was never interrupted"
                )
            view.watch(executor.worker_use)
            choice = search(run, executor, _Guard(view))
            stop_if_interrupted()
            _report(run, choice, view, time.monotonic() - began, farewell)
    except KeyboardInterrupt:
        text = f"\nStopped; finished trainings are kept. To continue:\n  {resume}"
        with contextlib.suppress(BrokenPipeError):
            view.say("interrupted", text, resume=resume)
        return INTERRUPTED
    except BrokenPipeError:
        print(f"Stopped, since the reader of the output is gone. To continue:\n  {resume}", file=sys.stderr)
        return INTERRUPTED
    except DiscoveryError as error:
        if "discovery resume" in str(error) or isinstance(error, Hopeless):
            raise
        raise RunError(f"{error}; `{resume}` goes on") from error
    except Exception as error:
        raise unexpected(error, run.folder, f"`{resume}` goes on") from error
    return 0


class Hopeless(RunError):
    """Every training fails, and would fail again."""


class _Guard:
    """Passes events on to a view, and ends a search in which every training fails."""

    def __init__(self, view: View) -> None:
        self._view = view
        self._failed: list[JobResult] = []
        self._fine = False

    def started(self, generation: int, jobs: "Sequence[Job]", done: int) -> None:
        stop_if_interrupted()
        self._view.started(generation, jobs, done)

    def finished(self, job: "Job", result: "JobResult") -> None:
        stop_if_interrupted()
        self._view.finished(job, result)
        if result.error is None:
            self._fine = True
        elif not self._fine:
            self._failed.append(result)
            broken = [failed for failed in self._failed if failed.outcome is None]
            if len(broken) == len(self._failed) >= HOPELESS:
                raise self._hopeless(f"all of the first {HOPELESS} trainings failed")

    def closed(self, generation: int, results: "Results", metrics: Mapping[str, float]) -> None:
        self._view.closed(generation, results, metrics)
        if self._failed and not self._fine:
            raise self._hopeless(f"all {len(self._failed)} trainings of generation {generation} failed")
        self._failed.clear()

    def _hopeless(self, what: str) -> Hopeless:
        last = self._failed[-1]
        return Hopeless(
            f"{what} ({last.error}: {last.detail}); fix this and begin a new run, since these failures "
            "are on this run's record"
        )


def _opening(run: "Run") -> str:
    config = run.config
    tasks = ", ".join(task.name for task in config.tasks)
    meta = f"{config.meta.title}, population {config.meta.population}"
    meta += ", asynchronous" * config.meta.asynchronous
    lines = [f"{run.folder}: {algorithm_text(config)} on {tasks}, {meta}, seed {config.seed}"]
    lines += [f"  start: {origin.text}" for origin in origins_of(run.ledger.meta)]
    if closed := _closed(run):
        lines.append(f"  on record: {closed} of {config.generations} generations")
    return "\n".join(lines)


def _closed(run: "Run") -> int:
    last = run.ledger.last_generation()
    return 0 if last is None else last + 1


def _facts(run: "Run") -> dict[str, Any]:
    return {
        "run": str(run.folder),
        "config_hash": run.ledger.meta.get("config_hash", ""),
        "generations": run.config.generations,
        "closed": _closed(run),
        "start": [origin.to_dict() for origin in origins_of(run.ledger.meta)],
    }


def _report(run: "Run", choice: "Choice", view: View, seconds: float, farewell: bool) -> None:
    """Print what was found, and the next commands."""
    from discovery.search.selection import selection_scores

    found, evaluated = _intervals(run.config, choice.scores), selection_scores(run)
    before = _intervals(run.config, evaluated.get(0, {}))
    end, words = run.config.generations, words_of(run.config.meta)
    means = {
        generation: _intervals(run.config, scores)
        for generation, scores in evaluated.items()
        if generation == end or generation in view.progress.unseen
    }
    last = final_row(run.config, means)
    view.say("final", "\n".join(rows(last, run.config)), **row_facts(last))
    lines = [f"\nFound: generation {choice.generation} of {run.config.generations}, in {duration(seconds)}"]
    for task, score in found.items():
        initial = f"; the {words.initial}: {interval_with_failures(before[task])}" if task in before else ""
        lines.append(
            f"  {task}: {interval_with_failures(score)} on {score.n + score.failed} selection seeds{initial}"
        )
    if choice.generation == 0:
        lines.append(f"  which is the {words.initial}: {words.kept}")
    if farewell:
        lines += ["Next:", *(f"  {command}" for command in next_commands(run.folder, run.config))]
    view.say(
        "result",
        "\n".join(lines),
        run=str(run.folder),
        generation=choice.generation,
        scores={task: interval_facts(score) for task, score in found.items()},
        initial={task: interval_facts(score) for task, score in before.items()},
        seconds=seconds,
    )


def _intervals(config: SearchConfig, scores: Mapping[str, Any]) -> dict[str, Interval]:
    return {task: interval(values, failures="drop") for task, values in in_order(config, scores).items()}


def next_commands(folder: Path, config: SearchConfig) -> list[str]:
    """The usual commands for a finished run."""
    from discovery.export.parts import usual_arguments
    from objectives import baselines_of

    name = shlex.quote(str(folder))
    others = " ".join(baselines_of(config.algorithm))
    if config.tasks[0].setup.exact:
        others = "'ampo[map=negative_entropy]' 'ampo[map=l2]'"
    commands = [
        f"discovery show {name}",
        f"discovery evaluate {name} {name}@initial {others} --seeds 32",
        f"discovery plot {name}",
        f"discovery report {name}",
    ]
    if arguments := usual_arguments(config.algorithm, config.algorithm_options):
        commands.append(f"discovery export {name} {arguments}")
    return commands
