"""The ledger's rows: conversion of requests and results to columns, and back."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
from jaxtyping import UInt32

from discovery.core.jobs import AlgorithmSpec, Checkpoint, Job, JobKey, JobResult
from discovery.meta.base import Proposal, ReplyRequest, Request, ScoreRequest
from discovery.store.arrays import digest_of, pack, unpack


@dataclass(frozen=True)
class Evaluation:
    """An evaluation of a search: one inner training of one proposal.

    Attributes:
        id: the job's.
        proposal: id of the request it belongs to.
        generation: generation it belongs to.
        split: "search" or "selection".
        task: the task's stable name.
        seed: seed index.
        lifetime: N, number of rollouts.
        until: the rollout at which it was stopped; N if it was not.
        begun: the rollout at which it continued, if it had been stopped before; else 0.
        key: raw key data of the training.
    """

    id: str
    proposal: str
    generation: int
    split: str
    task: str
    seed: int
    lifetime: int
    until: int
    begun: int
    key: UInt32[np.ndarray, " words"]

    @classmethod
    def of(cls, job: Job, request: ScoreRequest) -> "Evaluation":
        """A training of a request."""
        return cls(
            id=str(job.id),
            proposal=str(request.id),
            generation=request.id.generation,
            split=request.split,
            task=job.task.name,
            seed=job.id.seed,
            lifetime=job.lifetime,
            until=job.lifetime if job.until is None else job.until,
            begun=0 if job.checkpoint is None else job.checkpoint.update,
            key=job.key,
        )


@dataclass(frozen=True)
class Report:
    """A training of `discovery evaluate`: an access to held-out tasks or seeds.

    Attributes:
        id: the job's, unique among the ledger's reports.
        subject: label of what was judged, for example "ppo" or "discovered".
        source: where it came from: a run and generation, a file, or "" for a known algorithm.
        task: the task's stable name.
        seed: seed index.
        lifetime: N, number of rollouts.
        key: raw key data of the training.
        command: the command line.
        variant: how the task's recipe was changed, for example "learning_rate x 3"; "" for the unchanged
            task.
        split: of the seeds.
    """

    id: str
    subject: str
    source: str
    task: str
    seed: int
    lifetime: int
    key: UInt32[np.ndarray, " words"]
    command: str = ""
    variant: str = ""
    split: str = "report"


def proposal_row(request: Request, asked: str) -> dict[str, Any]:
    """The row of a request that was asked from the state with digest `asked`."""
    row = {
        "id": str(request.id),
        "generation": int(request.id.generation),
        "idx": int(request.id.index),
        "split": "",
        "pair": -1,
        "kind": request.kind,
        "asked_digest": asked,
    }
    if isinstance(request, ReplyRequest):
        proposal = Proposal({}, source=request.prompt)
        content = {"prompt": request.prompt, "model": request.model, "options": dict(request.options)}
    else:
        proposal = request.proposal
        content = proposal.meta_params
    if isinstance(request, ScoreRequest):
        row |= {"split": request.split, "pair": int(request.pair)}
    return row | origin_columns(proposal) | {"params_digest": digest_of(content)}


def origin_columns(proposal: Proposal) -> dict[str, Any]:
    """The columns that describe a proposal besides its numbers, and its origin."""
    spec = proposal.algorithm
    return {
        "algorithm": None if spec is None else json.dumps([spec.name, dict(spec.options)]),
        "parents": json.dumps(list(proposal.parents)),
        "operator": proposal.operator,
        "source_text": proposal.source,
    }


def proposal_of(meta_params: Any, columns: Mapping[str, Any]) -> Proposal:
    """The proposal that `origin_columns` described; missing columns count as empty."""
    algorithm = columns.get("algorithm")
    if algorithm is not None:
        name, options = json.loads(algorithm)
        algorithm = AlgorithmSpec(name, tuple(sorted(options.items())))
    parents = tuple(json.loads(columns.get("parents", "[]")))
    return Proposal(
        meta_params, algorithm, parents, columns.get("operator", ""), columns.get("source_text", "")
    )


def measured_columns(result: JobResult) -> dict[str, Any]:
    """The columns of a result."""
    outcome = result.outcome
    return {
        "score": None if outcome is None else null_if_nan(outcome.score),
        "final": None if outcome is None else null_if_nan(outcome.final),
        "auc": None if outcome is None else null_if_nan(outcome.auc),
        "nonfinite_step": None if outcome is None else int(outcome.nonfinite_step),
        "outcome": None if outcome is None else pack(outcome),
        "error": result.error,
        "detail": result.detail,
        "seconds": float(result.seconds),
        "compile_seconds": float(result.compile_seconds),
        "worker": result.worker,
        "attempts": int(result.attempts),
        "device": str(result.extra.get("device", "")),
        "recorded_at": now(),
    }


def result_of_row(row: Mapping[str, Any], id: JobKey) -> JobResult:
    """The result of the training `id` from the columns of `measured_columns`."""
    same = ("error", "detail", "seconds", "compile_seconds", "worker", "attempts")
    outcome = None if row["outcome"] is None else unpack(row["outcome"])
    extra = {"device": row["device"]} if row["device"] else {}
    return JobResult(id, outcome=outcome, extra=extra, **{name: row[name] for name in same})


def readable_row(row: dict[str, Any], outcomes: bool) -> dict[str, Any]:
    """A measured row for analysis."""
    row |= {name: nan_if_null(row[name]) for name in ("score", "final", "auc")}
    data = row.pop("outcome")
    return row | {"outcome": None if data is None else unpack(data)} if outcomes else row


def checkpoint_tree(checkpoint: Checkpoint) -> dict[str, Any]:
    """A checkpoint as the arrays hold it: its leaves by number."""
    return {f"{number:06d}": leaf for number, leaf in enumerate(checkpoint.leaves)}


def null_if_nan(value: Any) -> float | None:
    """SQL has no NaN: it is NULL there."""
    value = float(value)
    return None if np.isnan(value) else value


def nan_if_null(value: float | None) -> float:
    """Inverse of `null_if_nan`."""
    return float("nan") if value is None else value


def now() -> str:
    """The time, as rows hold it: UTC, ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")
