"""The cost of a run, and its failures, from its ledger."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from discovery.meta.base import Proposal, RequestId, ScoreRequest
from discovery.results.loaded import Rows, RunData
from discovery.search.requests import jobs_of


@dataclass(frozen=True)
class Expense:
    """The cost of one part of a run.

    Attributes:
        part: "search", "selection" or "report".
        trainings, failed: how many; the parts of a training that was stopped and continued count separately.
        steps: environment steps; failed trainings count with their planned steps, and trainings on tasks of
            unknown setup are left out.
        seconds: summed over workers, without compilation.
        compile_seconds: summed over workers.
    """

    part: str
    trainings: int
    failed: int
    steps: int
    seconds: float
    compile_seconds: float


@dataclass(frozen=True)
class Cost:
    """The cost of a run.

    Attributes:
        parts: by purpose.
        total: of all parts.
        wall_seconds: from the run's beginning to the last record of the search, pauses included.
        workers, devices: the number of workers, and the devices.
        saved: share of the proposals' environment steps that early stopping saved; None without it.
    """

    parts: tuple[Expense, ...]
    total: Expense
    wall_seconds: float | None
    workers: int
    devices: tuple[str, ...]
    saved: float | None


@dataclass(frozen=True)
class Failure:
    """Trainings of one part of a run with the same kind of failure, and one example."""

    part: str
    kind: str
    count: int
    share: float
    example: str
    detail: str


def cost(run: RunData) -> Cost:
    """The cost of a run."""
    evaluations, reports = run.evaluations(), run.reports()
    rows = {part: [r for r in evaluations if r["split"] == part] for part in ("search", "selection")}
    rows["report"] = reports
    every = [*evaluations, *reports]
    return Cost(
        tuple(_expense(run, part, found) for part, found in rows.items()),
        _expense(run, "all", every),
        _wall_seconds(run.meta.get("created", ""), evaluations),
        len({row["worker"] for row in every if row["worker"]}),
        tuple(sorted({row["device"] for row in every if row["device"]})),
        _saved(run, rows["search"]),
    )


def failures(run: RunData) -> tuple[Failure, ...]:
    """Failures by part and kind, the most frequent first."""
    groups: dict[tuple[str, str], Rows] = {}
    every = [*run.evaluations(), *run.reports()]
    for row in every:
        if row["error"]:
            groups.setdefault((row["split"], row["error"]), []).append(row)
    found = []
    for (part, kind), rows in groups.items():
        share = len(rows) / sum(row["split"] == part for row in every)
        found.append(Failure(part, kind, len(rows), share, rows[0]["id"], rows[0]["detail"]))
    return tuple(sorted(found, key=lambda failure: -failure.count))


def _expense(run: RunData, part: str, rows: Rows) -> Expense:
    lengths = {task.name: task.setup.steps_per_update for task in run.tasks}
    steps = sum(_updates(row) * lengths.get(row["task"], 0) for row in rows)
    compiling = sum(row["compile_seconds"] for row in rows)
    seconds = sum(row["seconds"] for row in rows) - compiling
    failed = sum(row["error"] is not None for row in rows)
    return Expense(part, len(rows), failed, steps, float(seconds), float(compiling))


def _updates(row: Mapping[str, Any]) -> int:
    return row.get("until", row["lifetime"]) - row.get("begun", 0)


def _wall_seconds(created: str, rows: Rows) -> float | None:
    if not created or not rows:
        return None
    last = max(datetime.fromisoformat(row["recorded_at"]) for row in rows)
    return (last - datetime.fromisoformat(created)).total_seconds()


def _saved(run: RunData, rows: Rows) -> float | None:
    """1 minus the ratio of the steps of the proposals of closed generations to those of whole trainings."""
    if run.config.stopping.method == "none" or not run.n_generations:
        return None
    lengths = {task.name: task.setup.steps_per_update for task in run.config.tasks}
    whole = 0
    for generation in range(run.n_generations):
        # Early stopping requires common seeds, so all proposals have the lifetimes of the first.
        jobs = jobs_of(ScoreRequest(RequestId(generation, 0), Proposal({})), run.config)
        whole += run.config.meta.population * sum(job.lifetime * lengths[job.task.name] for job in jobs)
    closed = [row for row in rows if row["generation"] < run.n_generations]
    return 1 - sum(_updates(row) * lengths[row["task"]] for row in closed) / whole
