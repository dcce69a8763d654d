"""Early stopping: which trainings of a generation to run, stage by stage, and how to score the others.

    plan = stages(requests, config)
    stage = next(plan)               # trainings to run
    stage = plan.send(results)       # further ones; StopIteration holds the scores by request id

A stage depends only on the results of earlier stages, so a resumed search goes through the same stages.
Trainings of means on selection seeds are never stopped early.

* Racing, over seeds: all proposals get the same seeds, a few at a time; those that are clearly below the
  field get no further seeds.
* Successive halving, over steps: all proposals are trained for a share of their lifetimes, and only the best
  continue.
* A hurdle, over steps: the same, but those continue that have gained enough in score, compared with a
  baseline on the same seeds.

A meta-optimizer needs comparable scores of all proposals. Missing scores are estimated from how the proposal
compared with the others; scores of whole trainings stay as they are. A proposal with a failed training gets
no further trainings, and has no score.
"""

import math
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Float

from discovery.core.config.search import SearchConfig
from discovery.core.jobs import AlgorithmSpec, Checkpoint, Job, JobKey, JobResult
from discovery.meta.base import BASELINE, Proposal, RequestId, ScoreRequest, ScoreResult
from discovery.search.requests import jobs_of, result_of
from discovery.statistics import clearly_worse, filled, halving_schedule, race_looks, survivors
from objectives import baselines_of

Stage = list[tuple[Job, ScoreRequest]]
"""Trainings, each with its request."""

Complete = Callable[[Float[np.ndarray, "P columns"]], Float[np.ndarray, "P S"]]
"""Maps scores with NaN where a proposal was not trained to scores on all seeds."""

JobResults = Mapping[JobKey, JobResult]
Scores = dict[RequestId, ScoreResult]

Stages = Generator[Stage, JobResults, Scores]
"""Yields a stage; receives the results of this and all earlier stages, by job; returns scores by request."""

Evaluated = Generator[Stage, JobResults, tuple[Scores, JobResults]]
"""The same, but returns scores of the proposals only, and all results, including those of answers."""


def stages(requests: Sequence[ScoreRequest], config: SearchConfig) -> Stages:
    """The stages in which `requests` are evaluated."""
    proposals = [request for request in requests if request.split == "search"]
    answers = [(job, r) for r in requests if r.split == "selection" for job in jobs_of(r, config)]
    if config.stopping.method == "none" or not proposals:
        results = yield answers + [
            (job, request) for request in proposals for job in jobs_of(request, config)
        ]
        scores = {request.id: result_of(request, config, results) for request in proposals}
    else:
        field = _Field(proposals, config)
        if config.stopping.method == "hurdle":
            baseline = next(request for request in requests if request.split == "hurdle")
            scores, results = yield from _hurdle(field, config, answers, baseline)
        else:
            method = _racing if config.stopping.method == "racing" else _halving
            scores, results = yield from method(field, config, answers)
    return scores | {r.id: result_of(r, config, results) for r in requests if r.split == "selection"}


class _Field:
    """The proposals of a generation, and their scores so far.

    Attributes:
        proposals: P requests.
        tables: task -> ``[P, columns]``, a column for each seed (of each rung); NaN where not trained.
        alive: indices of the proposals that are still trained.
    """

    def __init__(self, proposals: Sequence[ScoreRequest], config: SearchConfig) -> None:
        self.proposals = proposals
        self.tables = {task.name: np.empty((len(proposals), 0)) for task in config.tasks}
        self.alive = list(range(len(proposals)))
        self._failed = np.zeros(len(proposals), bool)
        self._index = {request.id: i for i, request in enumerate(proposals)}

    def add(self, stage: Stage, results: JobResults) -> None:
        """Add a stage's scores as further columns, and drop proposals with a failed training."""
        seeds = sorted({job.id.seed for job, _ in stage})
        for name, table in self.tables.items():
            self.tables[name] = np.hstack([table, np.full((len(self.proposals), len(seeds)), np.nan)])
        for job, request in stage:
            i, outcome = self._index[request.id], results[job.id].outcome
            score = math.nan if outcome is None else float(outcome.score)
            self.tables[job.task.name][i, seeds.index(job.id.seed) - len(seeds)] = score
            self._failed[i] |= not math.isfinite(score)
        self.alive = [i for i in self.alive if not self._failed[i]]

    def merit(self, columns: slice) -> Float[np.ndarray, "alive columns"]:
        """Scores in some columns, divided by each task's standard deviation and averaged over tasks."""
        tables = [table[self.alive, columns] for table in self.tables.values()]
        return np.mean([table / (table.std() or 1.0) for table in tables], axis=0)

    def results(self, complete: Complete) -> Scores:
        """Comparable scores of all proposals without a failure; NaN for the others."""
        failed = self._failed[:, None]
        tables = {name: complete(np.where(failed, np.nan, table)) for name, table in self.tables.items()}
        return {
            request.id: ScoreResult(request.id, {name: table[i] for name, table in tables.items()})
            for i, request in enumerate(self.proposals)
        }


def _racing(field: _Field, config: SearchConfig, answers: Stage) -> Evaluated:
    """At each look, further seeds for all proposals that are not clearly below the field's median."""
    looks, seen, results = race_looks(config.stopping.first_seeds, config.seeds), 0, {}
    for look, seeds in enumerate(looks):
        stage = [
            (job, field.proposals[i])
            for i in field.alive
            for job in jobs_of(field.proposals[i], config)
            if seen <= job.id.seed < seeds
        ]
        results = yield (stage if look else answers + stage)
        field.add(stage, results)
        seen = seeds
        if seen < config.seeds and len(field.alive) > 1:
            merit, initial = field.merit(slice(0, seen)), len(field.proposals)
            out = clearly_worse(merit, config.stopping.error, len(looks) - 1, initial, against="field")
            field.alive = [i for i, worse in zip(field.alive, out, strict=True) if not worse]
    return field.results(_with_all_seeds), results


def _with_all_seeds(table: Float[np.ndarray, "P S"]) -> Float[np.ndarray, "P S"]:
    """Scores on all seeds, from scores with NaN where a proposal was not trained; failed rows stay NaN."""
    sound = ~np.isnan(table).all(axis=1)
    if not np.isfinite(table).all(axis=1).any():  # every proposal that got all seeds has failed
        return np.broadcast_to(_means(table)[:, None], table.shape)
    table[sound] = filled(table[sound])
    return table


def _halving(field: _Field, config: SearchConfig, answers: Stage) -> Evaluated:
    """Train all proposals for a share of their lifetimes, the best for a larger share, up to the end."""
    schedule = halving_schedule(len(field.proposals), config.stopping.rungs, config.stopping.eta)
    results: JobResults = {}
    states: dict[JobKey, Checkpoint | None] = {}
    for rung, (share, kept) in enumerate(schedule):
        if rung and len(field.alive) > kept:
            best = survivors(field.merit(slice(-config.seeds, None)).mean(axis=1), kept)
            field.alive = [field.alive[i] for i in sorted(best)]
        stage = [
            (_shortened(job, share, states.get(job.id)), field.proposals[i])
            for i in field.alive
            for job in jobs_of(field.proposals[i], config)
        ]
        results = yield (stage if rung else answers + stage)
        field.add(stage, results)
        states = {job.id.whole: results[job.id].checkpoint for job, _ in stage}
    return field.results(lambda table: anchored(np.hsplit(table, len(schedule)))), results


def baseline_of_hurdle(config: SearchConfig, generation: int) -> list[ScoreRequest]:
    """The request for the short trainings of the family's first baseline; none without a hurdle."""
    if config.stopping.method != "hurdle":
        return []
    proposal = Proposal({}, AlgorithmSpec(baselines_of(config.algorithm)[0]), operator="baseline")
    return [ScoreRequest(RequestId(generation, BASELINE), proposal, split="hurdle")]


def _hurdle(field: _Field, config: SearchConfig, answers: Stage, baseline: ScoreRequest) -> Evaluated:
    """Train all proposals and the baseline for a share of their lifetimes; then, to the end, the proposals
    with at least a share of the baseline's gain, averaged over tasks.
    """
    share = config.stopping.share
    short = [(_shortened(job, share, None), r) for r in field.proposals for job in jobs_of(r, config)]
    bar = [(_shortened(job, share, None), baseline) for job in jobs_of(baseline, config)]
    results = yield answers + bar + short
    field.add(short, results)
    begun, reached = {}, {}
    for task in field.tables:
        outcomes = [results[job.id].outcome for job, _ in bar if job.task.name == task]
        sound = [outcome for outcome in outcomes if outcome is not None]
        reached[task] = np.array([float(outcome.score) for outcome in sound] or [math.nan])
        begun[task] = np.array([_first(outcome.curve) for outcome in sound] or [math.nan])
    gains = [_gain(field.tables[task], begun[task].mean(), reached[task].mean()) for task in field.tables]
    gain = np.mean(gains, axis=0)
    field.alive = [i for i in field.alive if gain[i] >= config.stopping.least]
    states = {job.id.whole: results[job.id].checkpoint for job, _ in short}
    stage = [
        (replace(job, checkpoint=states[job.id], stretches=1), field.proposals[i])
        for i in field.alive
        for job in jobs_of(field.proposals[i], config)
    ]
    results = yield stage
    field.add(stage, results)
    scores = field.results(lambda table: anchored(np.hsplit(table, 2) if stage else [table]))
    return scores | {baseline.id: ScoreResult(baseline.id, reached)}, results


def _gain(table: Float[np.ndarray, "P S"], begun: float, reached: float) -> Float[np.ndarray, " P"]:
    """Gain of each proposal as a share of the baseline's; 1 on a task on which the baseline gained nothing.

    Proposals with a failed training have NaN, and are not trained further anyway.
    """
    if not reached > begun:
        return np.ones(len(table))
    return (table.mean(axis=1) - begun) / (reached - begun)


def _first(curve: Float[np.ndarray, " K"]) -> float:
    """The first finite point of a learning curve: the return before much was learned."""
    finite = np.asarray(curve)[np.isfinite(curve)]
    return float(finite[0]) if len(finite) else math.nan


def anchored(rungs: Sequence[Float[np.ndarray, "P S"]]) -> Float[np.ndarray, "P S"]:
    """Scores after a whole training ``[P, S]``, from those at each rung, which are NaN where not trained.

    A proposal that was dropped at a rung scored d less there than the weakest one that continued. On each
    seed, it gets that one's score after the whole training, minus d. This keeps the order that halving
    decided, however much scores spread in longer trainings. If no proposal that continued has a score, it
    keeps its own.
    """
    means = [_means(rung) for rung in rungs]
    value = means[-1]
    for here, further in zip(reversed(means[:-1]), reversed(means[1:]), strict=True):
        went, left = np.isfinite(further), np.isfinite(here) & ~np.isfinite(further)
        down = value[went].min() - here[went].min() if went.any() else 0.0
        value = np.where(left, here + down, value)
    return np.where(np.isnan(rungs[-1]), value[:, None], rungs[-1])


def _means(table: Float[np.ndarray, "P S"]) -> Float[np.ndarray, " P"]:
    """Mean of the finite entries of each row; NaN for a row without any."""
    known = np.isfinite(table)
    total = np.where(known, table, 0.0).sum(axis=1)
    return np.divide(total, known.sum(axis=1), out=np.full(len(table), np.nan), where=known.any(axis=1))


def _shortened(job: Job, share: float, checkpoint: Checkpoint | None) -> Job:
    """A training up to a share of its lifetime. It continues from `checkpoint`.

    Without a checkpoint it starts from the beginning and computes the same bits.
    """
    until = math.ceil(share * job.lifetime)
    id = job.id if until == job.lifetime else replace(job.id, until=until)
    return replace(job, id=id, until=until, checkpoint=checkpoint, stretches=1)
