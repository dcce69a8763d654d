"""Numbers, rows and states as text for people and as data for programs. Imports no jax."""

import math
from collections.abc import Mapping
from typing import Any

from discovery.core.config.search import SearchConfig
from discovery.results.words import words_of
from discovery.search.progress import Row, SearchProgress, TaskRow
from discovery.statistics import Interval, interval_with_failures


def score(value: float) -> str:
    """A score, to three or four digits."""
    if not math.isfinite(value):
        return "-"
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.1f}" if abs(value) >= 100 else f"{value:#.3g}"


def short(value: float) -> str:
    """A large number with k, M or G."""
    if not math.isfinite(value):
        return "-"
    for factor, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= factor:
            return f"{value / factor:.3g}{letter}"
    return f"{value:.0f}"


def duration(seconds: float | None) -> str:
    """Seconds as 0:42, 12:03 or 3:10:00; "-" when unknown."""
    if seconds is None or not math.isfinite(seconds):
        return "-"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def failures_text(failures: Mapping[str, int]) -> str:
    """For example "3 diverged, 1 timeout"."""
    return ", ".join(f"{count} {kind}" for kind, count in sorted(failures.items()))


def interval_facts(found: Interval) -> dict[str, Any]:
    """An interval as data for programs."""
    return {
        "mean": found.estimate,
        "low": found.low,
        "high": found.high,
        "seeds": found.n,
        "failed": found.failed,
    }


def _task_facts(row: TaskRow) -> dict[str, Any]:
    means = [
        interval_facts(found) | {"generation": generation} for generation, found in sorted(row.means.items())
    ]
    return {"mean": row.mean, "spread": row.spread, "best": row.best, "selection": means}


def row_facts(row: Row) -> dict[str, Any]:
    """A generation's row as data for programs."""
    return {
        "generation": row.generation,
        "tasks": {name: _task_facts(task) for name, task in row.tasks.items()},
        "trainings": row.trainings,
        "failures": dict(row.failures),
        "steps": row.steps,
        "seconds": row.seconds,
        "steps_per_second": row.steps_per_second,
        "seconds_left": row.seconds_left,
        "workers": None if row.worker_use is None else row.worker_use.workers,
        "utilization": None if row.worker_use is None else row.worker_use.utilization,
    }


def heading(config: SearchConfig) -> str:
    """The column names of `rows`."""
    task = f"{'task':<{_task_width(config)}} " if len(config.seen) > 1 else ""
    answer = f"{words_of(config.meta).answer} on selection seeds"
    columns = f"{'population':>15} {'best':>6}  {answer:<23} {'steps/s':>7} {'left':>7}"
    return f"{'generation':>10}  {task}{columns}"


def rows(row: Row, config: SearchConfig) -> list[str]:
    """The row of a generation as text: one line for each task."""
    where, final = f"{row.generation}/{config.generations}", row.generation == config.generations
    speed = "" if final else f"{short(row.steps_per_second):>7} {duration(row.seconds_left):>7}"
    texts = []
    for name, task in row.tasks.items():
        label = f"{name:<{_task_width(config)}} " if len(config.seen) > 1 else ""
        population = "" if final else f"{score(task.mean)} ± {score(task.spread)}"
        best = "" if final else score(task.best)
        own = interval_with_failures(task.means[row.generation]) if row.generation in task.means else ""
        scores = f"{population:>15} {best:>6}  {own:<23}"
        texts.append(f"{where:>10}  {label}{scores} {speed}".rstrip())
        texts += [
            f"{'':>10}  {'':<{len(label)}}{f'generation {late}':>22}  {interval_with_failures(found)}"
            for late, found in sorted(task.means.items())
            if late != row.generation
        ]
        where, speed = "", ""
    if row.failures:
        texts.append(f"{'':>10}  {failures_text(row.failures)} of {row.trainings} trainings")
    return texts


def _task_width(config: SearchConfig) -> int:
    return max(len(task.name) for task in config.seen)


def place(progress: SearchProgress) -> str:
    """The open generation, as the beginning of a line."""
    if not progress.config:
        return ""
    last = progress.config.generations
    return "selection: " if progress.generation == last else f"generation {progress.generation}/{last}: "


def status(progress: SearchProgress) -> str:
    """The state of the search in one line."""
    parts = [f"{place(progress)}{progress.done} of {progress.trainings} trainings"]
    if progress.failures:
        parts.append(failures_text(progress.failures))
    if math.isfinite(progress.steps_per_second):
        parts.append(f"{short(progress.steps_per_second)} steps/s")
    if progress.worker_use:
        worker_use = progress.worker_use()
        busy = f" {worker_use.utilization:.0%} busy" if math.isfinite(worker_use.utilization) else ""
        parts.append(f"{worker_use.workers} worker{'s' * (worker_use.workers != 1)}{busy}")
    if progress.seconds_left is not None:
        parts.append(f"{duration(progress.seconds_left)} left")
    return ", ".join(parts)
