"""How often early stopping drops the best proposal: `python -m benchmarks.losing [--simulations N]`.

Nothing is trained. A score is the sum of the proposal's true score, its own normal noise with deviation 1,
and noise with deviation 3 that all proposals share on a seed. The best of 16 proposals leads by a gap, in
units of the deviation of its own noise. Prints how often the best is dropped, the bound on that, and the
share of trainings that still run.

Races use `benchmarks.races`, which makes the same decisions as a search. Halving uses
`discovery.search.early_stopping.stages`, as a search does.
"""

import argparse
import time
from collections.abc import Callable, Sequence
from itertools import repeat
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from rich.console import Console
from rich.table import Table

from benchmarks.races import halving_loss_bound, race
from discovery import statistics as st
from discovery.core.config.evolution import ESConfig
from discovery.core.config.search import SearchConfig, Stopping
from discovery.core.jobs import Checkpoint, JobKey, JobResult, Outcome
from discovery.meta.base import Proposal, RequestId, ScoreRequest, ScoreResult
from discovery.search.early_stopping import Stage, stages
from environments.task import Task

PROPOSALS = 16
SHARED = 3.0
"""Deviation of the noise that all proposals share on a seed, relative to that of a proposal's own noise."""
RACE = (4, 32)
"""Seeds at the first look and at the last."""
SEEDS = 8
"""Seeds of each proposal at every rung of halving."""
RUNGS, ETA = 3, 2

TASK = Task("noise", total_steps=204_800)
"""Every rung's share of its rollouts is a whole number."""

GAPS: dict[str, np.ndarray] = {
    "all tie": np.zeros(PROPOSALS - 1),
    "others 0.25 below": np.full(PROPOSALS - 1, 0.25),
    "others 1 below": np.full(PROPOSALS - 1, 1.0),
    "spread, 0.2 to 3 below": np.linspace(0.2, 3.0, PROPOSALS - 1),
}
SHARES = np.array([[share] for share, _ in st.halving_schedule(PROPOSALS, RUNGS, ETA)])
CURVES: dict[str, np.ndarray] = {  # [rungs, P - 1]
    **{name: np.tile(gaps, (RUNGS, 1)) for name, gaps in GAPS.items()},
    "the same spread at the end of lives, growing with them": SHARES * GAPS["spread, 0.2 to 3 below"],
    "others 1 below, but at first 0.5 ahead": np.tile([[-0.5], [0.25], [1.0]], PROPOSALS - 1),
}

AGAINST: dict[st.Against, str] = {"best": "race against the leader", "field": "race against the field"}

Score = Callable[[int, str, int, float], float | None]
"""Maps proposal (-1: the mean), task, seed and share of a lifetime to a score; None if the training failed.
"""


class Lost(NamedTuple):
    """Share of the simulations that dropped the best; mean share of all trainings that ran."""

    share: float
    spent: float


def scores(
    gaps: Float[np.ndarray, "*rungs others"], seeds: int, simulations: int
) -> Float[np.ndarray, "N *rungs P S"]:
    """Simulated scores, the best proposal first; rungs are independent of one another."""
    generator = np.random.default_rng(0)
    truth = np.concatenate([np.zeros((*gaps.shape[:-1], 1)), -gaps], axis=-1)[..., None]
    shape = (simulations, *truth.shape[:-2])
    common = SHARED * generator.normal(size=(*shape, 1, seeds))
    return truth + common + generator.normal(size=(*shape, truth.shape[-2], seeds))


def raced(drawn: Float[np.ndarray, "N P S"], error: float, against: st.Against) -> Lost:
    """Races over the given scores, the best proposal first."""
    missing, spent = 0, 0.0
    for table in drawn:
        proposals, seeds = table.shape
        found = race(lambda i, s, x=table: x[np.ix_(i, s)], proposals, RACE[0], seeds, error, against)
        missing += 0 not in found.survivors
        spent += found.spent.mean() / seeds
    return Lost(missing / len(drawn), spent / len(drawn))


def halved(drawn: Float[np.ndarray, "N rungs P S"]) -> Lost:
    """Successive halving as a search does it, over the given scores at each rung, the best proposal first."""
    _, rungs, proposals, seeds = drawn.shape
    config = SearchConfig(
        tasks=(TASK,),
        seeds=seeds,
        meta=ESConfig(population=proposals),
        stopping=Stopping("halving", rungs=rungs, eta=ETA),
    )
    requests = [ScoreRequest(RequestId(0, i), Proposal({})) for i in range(proposals)]
    rung = {share: r for r, (share, _) in enumerate(st.halving_schedule(proposals, rungs, ETA))}
    missing, spent = 0, 0
    for table in drawn:
        seen, _ = played(requests, config, lambda i, _, s, share, x=table: x[rung[share], i, s])
        missing += all(request.id.index for _, request in seen[-1])
        spent += sum(job.updates for stage in seen for job, _ in stage)
    return Lost(missing / len(drawn), spent / (len(drawn) * proposals * seeds * TASK.n_updates))


def played(
    requests: Sequence[ScoreRequest], config: SearchConfig, score: Score
) -> tuple[list[Stage], dict[RequestId, ScoreResult]]:
    """All stages of `discovery.search.early_stopping.stages` with simulated scores, and the final results."""
    plan, results, seen = stages(requests, config), dict[JobKey, JobResult](), list[Stage]()
    stage = next(plan)
    while True:
        seen.append(stage)
        for job, request in stage:
            until = job.lifetime if job.until is None else job.until
            value = score(request.id.index, job.task.name, job.id.seed, until / job.lifetime)
            begun = score(request.id.index, job.task.name, job.id.seed, 0.0)
            curve = np.array([begun, value], np.float32)
            outcome = Outcome(np.float32(value or 0), None, None, curve, *repeat(None, 3), metrics={})
            outcome = None if value is None else outcome
            checkpoint = None if job.until is None else Checkpoint(until, (np.array([until]),))
            results[job.id] = JobResult(job.id, outcome, checkpoint=checkpoint)
        try:
            stage = plan.send(results)
        except StopIteration as end:
            return seen, end.value


def kept(proposals: int = PROPOSALS) -> list[int]:
    """How many proposals halving keeps at each rung that drops some."""
    return [count for _, count in st.halving_schedule(proposals, RUNGS, ETA)[1:]]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.losing", description=__doc__)
    parser.add_argument("--simulations", type=int, default=2000)
    options = parser.parse_args()
    began = time.perf_counter()
    table = Table(title=f"the best of {PROPOSALS} is lost, percent of {options.simulations} simulations")
    for column in ("way", "field", "promised", "lost", "trained"):
        table.add_column(column)

    def add(way: str, field: str, promised: float, found: Lost) -> None:
        table.add_row(way, field, *(f"{100 * x:.1f}" for x in (promised, *found)))

    for against, name in AGAINST.items():
        for error in (0.05, 0.2):
            for field, gaps in GAPS.items():
                drawn = scores(gaps, RACE[1], options.simulations)
                add(f"{name}, error {error:g}", field, error, raced(drawn, error, against))
    for field, curves in CURVES.items():
        bound = halving_loss_bound(curves[:-1], 1.0, SEEDS, kept())
        add("halving", field, bound, halved(scores(curves, SEEDS, options.simulations)))
    Console(width=120).print(table)
    print(f"{time.perf_counter() - began:.0f} seconds")


if __name__ == "__main__":
    main()
