"""Runs whose ledgers hold numbers chosen by hand, so that what a report says can be checked by hand."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from discovery.app.loaded import LoadedRun, load_run
from discovery.core.config.evolution import ESConfig
from discovery.core.config.search import SearchConfig
from discovery.core.jobs import JobKey, JobResult, Outcome
from discovery.inner.compile import build_algorithm
from discovery.judging.comparison import Cell, Comparison
from discovery.meta.base import Proposal, ScoreRequest
from discovery.store.ledger import Evaluation, Ledger, Report
from discovery.store.run import Run
from environments.task import Setup, Task
from tests.ids import request_id, score_request

KEY = np.array([1, 2], np.uint32)
SETUP = Setup(curve_points=4)
NEAR = Task("near", SETUP, 1024, {"learning_rate": 0.01, "value_clip": float("inf")})
FAR = Task("far", SETUP, 1024)

CONFIG = SearchConfig(
    generations=1,
    algorithm_options={"width": 2},
    meta=ESConfig(population=2),
    tasks=(NEAR,),
    held_out=(FAR,),
    seeds=2,
    selection_seeds=2,
    selection_doublings=0,
)
"""One generation of two proposals. A rollout has 8 x 64 steps, so a training of 1,024 steps has two."""


def result(name: JobKey, score: float | None) -> JobResult:
    """What a training returned; None for one whose algorithm raised."""
    if score is None:
        return JobResult(name, None, "failed", "it broke <b>here</b>", seconds=2.0, compile_seconds=0.5)
    zeros = np.zeros(4, np.float32)
    curve = np.full(4, score, np.float32)
    outcome = Outcome(score, score, score, curve, zeros, zeros, -1, {"entropy": zeros})
    return JobResult(name, outcome, seconds=2.0, compile_seconds=0.5, worker="w0")


def begin(config: SearchConfig, folder: Path) -> Run:
    """A run "made" whose initial state is closed."""
    run = Run.create(config, folder, name="made")
    run.ledger.close_generation(-1, {"x": np.zeros(1)}, {}, answer=Proposal(mean_of(config)))
    return run


def mean_of(config: SearchConfig, scale: float = 1.0) -> dict[str, Any]:
    """A mean with weights 0.1, 0.2, ... times `scale`; nothing where nothing is searched."""
    tree = build_algorithm(config.spec).init(jax.random.key(0))
    return jax.tree.map(
        lambda x: scale * np.arange(1, x.size + 1, dtype=np.float32).reshape(x.shape) / 10, tree
    )


def evaluate(ledger: Ledger, proposal: str, task: str, scores: Sequence[float | None]) -> None:
    """Record trainings of a proposal ("g0/p1"), or of a mean ("g0/answer") on selection seeds."""
    split = "selection" if proposal.endswith("/answer") else "search"
    generation = int(proposal[1:].partition("/")[0])
    for seed, score in enumerate(scores):
        name = JobKey(request_id(proposal), split, task, seed)
        what = Evaluation(str(name), proposal, generation, split, task, seed, 2, 2, 0, KEY)
        ledger.record(what, result(name, score))


def report(
    ledger: Ledger, subject: str, task: str, scores: Sequence[float | None], source: str, variant: str = ""
) -> None:
    """Record trainings on fresh seeds."""
    for seed, score in enumerate(scores):
        name = JobKey(f"{subject}-{variant}-abc", "report", task, seed)
        what = Report(str(name), subject, source, task, seed, 2, KEY, "discovery evaluate made ppo", variant)
        ledger.record(what, result(name, score))


def request(name: str) -> ScoreRequest:
    """A proposal ("g0/p1"), or an answer ("g0/answer")."""
    id = request_id(name)
    return score_request(id.generation, id.index, {"x": np.zeros(1)})


def search(run: Run) -> None:
    """The whole search: proposals scored 2, 4 and (failed), 6; means 1, 3 and 5, 7."""
    ledger = run.ledger
    ledger.propose([request("g0/p0"), request("g0/p1"), request("g0/answer")])
    for task in run.config.tasks:
        evaluate(ledger, "g0/p0", task.name, [2.0, 4.0])
        evaluate(ledger, "g0/p1", task.name, [None, 6.0])
        evaluate(ledger, "g0/answer", task.name, [1.0, 3.0])
    scores = {request_id("g0/p0"): 3.0, request_id("g0/p1"): float("nan")}
    ledger.close_generation(0, {"x": np.zeros(1)}, {}, scores, Proposal(mean_of(run.config, 2.0)))
    ledger.propose([request("g1/answer")])
    for task in run.config.tasks:
        evaluate(ledger, "g1/answer", task.name, [5.0, 7.0])


def judge(run: Run) -> None:
    """Reports: on "far" what was found is 1 above PPO on each of 16 seeds, DPO far below; on "near" it is 2
    below PPO, and one of its trainings failed. Two factors of the learning rate on "near".
    """
    seeds = np.arange(16.0)
    own = f"{run.name}@1"
    for subject, source, shift in (("discovered", own, 1.0), ("ppo", "", 0.0), ("dpo", "", -5.0)):
        report(run.ledger, subject, "far", list(seeds + shift), source)
    report(run.ledger, "discovered", "near", [None, *(seeds[1:] - 2)], own)
    report(run.ledger, "ppo", "near", list(seeds), "")
    for factor, lost in ((0.5, 1.0), (2.0, 3.0)):
        report(run.ledger, "discovered", "near", list(seeds - lost), own, f"learning_rate x {factor:g}")
        report(run.ledger, "ppo", "near", list(seeds), "", f"learning_rate x {factor:g}")
    run.ledger.record_test("discovery evaluate made ppo dpo --test", ["made", "ppo", "dpo"], ["far"], 16, 0)


def whole_run(folder: Path) -> LoadedRun:
    """A run that was searched and judged."""
    with begin(CONFIG, folder) as run:
        search(run)
        judge(run)
    return load_run(run.folder)


def comparison(scores: Mapping[tuple[str, str], np.ndarray]) -> Comparison:
    """From scores by subject and task; "found" comes from a run, the others are known."""
    cells = tuple(
        Cell(subject, task, np.arange(len(values)), values, values[:, None], np.ones(1))
        for (subject, task), values in scores.items()
    )
    return Comparison(cells, {subject: "run@1" if subject == "found" else "" for subject, _ in scores})
