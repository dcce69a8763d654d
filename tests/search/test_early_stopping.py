"""Stopping early: who goes on, what is trained, what is made of the rest; by formula, and for real."""

import math
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from benchmarks import losing
from benchmarks.races import race
from discovery.app.api import Silence
from discovery.core.config.evolution import ESConfig
from discovery.core.config.search import SearchConfig, Stopping
from discovery.core.errors import BadInput
from discovery.core.jobs import AlgorithmSpec
from discovery.executors.inline import Inline
from discovery.executors.processes import Processes
from discovery.meta.base import ANSWER, BASELINE
from discovery.search.early_stopping import anchored, baseline_of_hurdle
from discovery.search.loop import search
from discovery.search.progress import SearchProgress, planned
from discovery.search.requests import jobs_of
from discovery.store.run import Run
from environments.task import Setup, Task
from tests.ids import request_id, score_request
from tests.search.interrupting import Interrupted, Interrupting, differences

TASKS = tuple(Task(name, total_steps=51_200) for name in ("a", "b"))
N = TASKS[0].n_updates


def config_of(method, population=8, tasks=TASKS[:1], seeds=4, **stopping) -> SearchConfig:
    return SearchConfig(
        tasks=tasks,
        seeds=seeds,
        selection_seeds=2,
        meta=ESConfig(population=population),
        stopping=Stopping(method, **stopping),
    )


def requests_of(population):
    return [score_request(0, i) for i in [*range(population), ANSWER]]


def played(config, score):
    """All stages of a plan, with ``score(proposal, task, seed, share of life)``; and the results."""
    return losing.played(requests_of(config.meta.population), config, score)


def scores_of(results, i):
    return results[request_id(f"g0/p{i}")].scores["a"]


def proposals_of(stage):
    return sorted({request.id.index for _, request in stage if request.id.index >= 0})


def test_without_stopping_everything_is_one_stage():
    config = config_of("none", tasks=TASKS)
    seen, results = played(config, lambda i, task, seed, share: 10 * i + seed)
    (stage,) = seen
    expected = {job.id for request in requests_of(8) for job in jobs_of(request, config)}
    assert {job.id for job, _ in stage} == expected and len(stage) == len(expected) == 8 * 2 * 4 + 2 * 2
    assert all(job.until is None for job, _ in stage)
    np.testing.assert_array_equal(results[request_id("g0/p3")].scores["b"], [30, 31, 32, 33])


def test_a_race_stops_what_is_clearly_below_the_field():
    """Two are far below; noise is common, but for a little of each one's own."""
    noise = np.random.default_rng(0).normal(size=(8, 8))

    def score(i, task, seed, share):
        return (-9.0 if i in (2, 5) else i) + seed + 0.1 * noise[i, seed]

    (first, second), results = played(config_of("racing", seeds=8, first_seeds=4), score)
    assert proposals_of(first) == [*range(8)]
    assert {job.id.seed for job, r in first if r.id.index >= 0} == {0, 1, 2, 3}
    assert {job.id.seed for job, _ in second} == {4, 5, 6, 7}
    assert sum(r.id.index == ANSWER for _, r in first) == 2 and all(r.id.index >= 0 for _, r in second)
    assert {2, 5}.isdisjoint(proposals_of(second)) and 7 in proposals_of(second)
    found = np.stack([scores_of(results, i) for i in range(8)])
    whole = np.array([[score(i, "a", seed, 1) for seed in range(8)] for i in range(8)])
    measured = proposals_of(second)
    np.testing.assert_array_equal(found[measured], whole[measured].astype(np.float32))
    np.testing.assert_allclose(found.mean(1), whole.mean(1), atol=0.2)  # the others as if they had gone on


def test_a_race_in_stages_is_the_race_whose_errors_are_known():
    config, dropped = config_of("racing", seeds=16, first_seeds=4, error=0.2), 0
    for table in losing.scores(np.linspace(0.2, 2, 7), 16, 10):
        seen, _ = played(config, lambda i, task, seed, share, x=table: 0.0 if i < 0 else x[i, seed])
        known = race(lambda i, s, x=table: x[np.ix_(i, s)], 8, 4, 16, 0.2, "field")
        assert proposals_of(seen[-1]) == known.survivors.tolist()
        dropped += 8 - known.survivors.size
    assert dropped > 10


def test_a_race_drops_failures_at_once_and_gives_them_no_score():
    """Scores are comparable also where all that went on have failed."""

    def score(i, task, seed, share):
        return None if i == 1 and seed == 0 else math.nan if i == 7 and seed == 5 else float(i)

    config = config_of("racing", seeds=8, first_seeds=4)
    seen, results = played(config, score)
    assert 1 not in proposals_of(seen[1]) and 7 in proposals_of(seen[1])
    assert np.isnan([scores_of(results, i) for i in (1, 7)]).all()
    assert np.isfinite(scores_of(results, 0)).all()

    def only_the_last(i, task, seed, share):
        common = 0.01 * ((i * 7 + seed) % 3)
        return common + (-1000.0 + i if i < 7 else math.nan if seed >= 4 else 0.0)

    _, results = played(config, only_the_last)
    assert np.isnan(scores_of(results, 7)).all()
    assert np.isfinite([scores_of(results, i) for i in range(7)]).all()


def test_tasks_count_the_same_whatever_their_scale():
    """By task b alone 0 would be best by far; on a, which is as important, it is by far the worst."""

    def score(i, task, seed, share):
        return {"a": -50.0 if i == 0 else i, "b": 1e4 * (i == 0) + 1e3 * i}[task]

    seen, _ = played(config_of("halving", tasks=TASKS, rungs=2, eta=2), score)
    assert proposals_of(seen[1]) == [4, 5, 6, 7]


def test_halving_trains_the_best_for_longer_from_where_they_stopped():
    config = config_of("halving", rungs=3, eta=2)
    seen, results = played(config, lambda i, task, seed, share: i * share + seed)
    assert [proposals_of(stage) for stage in seen] == [[*range(8)], [4, 5, 6, 7], [6, 7]]
    ends = [math.ceil(N / 4), N / 2, N]
    for stage, end, before in zip(seen, ends, [None, *ends], strict=False):
        for job, request in stage:
            if request.id.index == -1:
                assert job.until is None and stage is seen[0]
                continue
            assert job.until == end and job.lifetime == N
            assert (None if job.checkpoint is None else job.checkpoint.update) == before
            assert job.id.until == (end if end < N else None)
    assert sum(job.updates for stage in seen for job, r in stage if r.id.index >= 0) == 4 * (
        8 * ends[0] + 4 * (ends[1] - ends[0]) + 2 * (N - ends[1])
    )
    np.testing.assert_array_equal(scores_of(results, 7), [7, 8, 9, 10])
    means = [scores_of(results, i).mean() for i in range(8)]
    assert np.argsort(means).tolist() == [*range(8)]


def test_a_hurdle_is_a_share_of_what_the_baseline_gains():
    """The baseline gains 20 of its 100 in a fifth of its life; 60% of 20 are 12."""
    config = config_of("hurdle", share=0.2, least=0.6)
    gains = [0.0, 59.0, 61.0, 90.0, 300.0, -50.0, 0.0, 60.5]
    (baseline,) = baseline_of_hurdle(config, 0)
    assert baseline.proposal.algorithm == AlgorithmSpec("ppo") and str(baseline.id) == "g0/baseline"

    def score(i, task, seed, share):
        return -500.0 + (100.0 if i == BASELINE else gains[i]) * share + (i == 6 and 1e3)

    seen, results = losing.played([*requests_of(8), baseline], config, score)
    assert {r.id.index for _, r in seen[0]} == {*range(8), ANSWER, BASELINE}
    assert proposals_of(seen[1]) == [2, 3, 4, 6, 7]
    assert all(job.until == math.ceil(0.2 * N) for job, r in seen[0] if r.id.index != ANSWER)
    assert all(job.until is None and job.checkpoint is not None for job, _ in seen[1])
    np.testing.assert_allclose(scores_of(results, 4), -200.0)
    assert scores_of(results, 1).mean() < min(scores_of(results, i).mean() for i in (2, 3, 4, 6, 7))
    keys = {(job.id.seed, tuple(job.key)) for job, r in seen[0] if r.id.index == BASELINE}
    assert keys == {(job.id.seed, tuple(job.key)) for job, r in seen[0] if r.id.index == 3}


def test_what_was_left_is_anchored_at_the_weakest_that_went_on():
    """By hand: 1 was left 2 below 2, which was left 3 below 3; 0 failed."""
    nan = np.nan
    first = np.array([[nan, nan], [1, 3], [4, 4], [5, 9], [6, 6.0]])
    second = np.array([[nan, nan], [nan, nan], [10, 12], [14, 14], [20, 20]])
    last = np.array([[nan, nan], [nan, nan], [nan, nan], [50, 30], [35, 55]])
    expected = np.array([[nan, nan], [35, 35], [37, 37], [50, 30], [35, 55]])
    np.testing.assert_allclose(anchored([first, second, last]), expected)
    nothing = np.full_like(first, nan)
    np.testing.assert_allclose(anchored([first, nothing])[:, 0], [nan, 2, 4, 7, 6])


def test_what_halving_costs_is_planned():
    config = replace(config_of("halving", rungs=3, eta=2), generations=1)
    plain = replace(config, stopping=Stopping())
    mean = 2 * 2 * TASKS[0].total_steps  # before and after
    share = (planned(config)[1] - mean) / (planned(plain)[1] - mean)
    assert share == pytest.approx((8 * 0.25 + 4 * 0.25 + 2 * 0.5) / 8)
    clock = SearchProgress(config, lambda: 0.0)
    for stage in played(config, lambda i, task, seed, share: i)[0]:
        clock.started(0, [job for job, _ in stage], 0)
        for job, _ in stage:
            result: Any = SimpleNamespace(error=None, seconds=1, compile_seconds=0, worker="w")
            clock.finished(job, result)
    assert clock.done == clock.trainings == 32 + 16 + 8 + 2
    assert clock.steps == pytest.approx(share * 32 * TASKS[0].total_steps + mean / 2, rel=0.01)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"common_random_numbers": False}, "common_random_numbers"),
        ({"antithetic_tasks": True}, "antithetic_tasks"),
        ({"stopping": Stopping("racing", first_seeds=4)}, "racing over 4 seeds"),
        ({"stopping": Stopping("halving", rungs=5)}, "at least 16"),
    ],
)
def test_what_does_not_go_together_or_makes_no_sense_is_refused(changes, message):
    with pytest.raises(BadInput, match=message):
        replace(config_of("halving"), **changes)
    wrong: list[dict[str, Any]] = [{"error": 1.0}, {"first_seeds": 1}, {"rungs": 1}, {"eta": 1}]
    for options in [*wrong, {"least": 2.0}]:
        with pytest.raises(BadInput):
            Stopping("halving", **options)


REAL = SearchConfig(
    generations=2,
    algorithm_options={"width": 4},
    meta=ESConfig(population=4, answer_every=2),
    tasks=(Task("cart", Setup(n_envs=4, n_steps=8, n_epochs=1, n_minibatches=1, hidden=(4,)), 256),),
    seeds=3,
    selection_seeds=2,
    stopping=Stopping("halving", rungs=2),
    executor="inline",
)


@pytest.mark.slow
def test_a_halved_search_that_is_interrupted_ends_with_the_same_numbers(tmp_path):
    """In the first rung, and in the last one, which continues from the recorded checkpoints."""
    with Inline(4) as executor:
        with Run.create(REAL, tmp_path, name="whole") as run:
            chosen = search(run, executor, Silence())
            rows = run.ledger.evaluations(outcomes=False)
        parts = [row for row in rows if row["until"] < row["lifetime"]]
        assert len(parts) == 2 * 4 * 3 and {(row["until"], row["begun"]) for row in parts} == {(4, 0)}
        wholes = [row for row in rows if row["split"] == "search" and row["until"] == row["lifetime"]]
        assert len(wholes) == 2 * 2 * 3 and {row["begun"] for row in wholes} == {4}
        for name, after in (("first", 7), ("last", 17)):
            with Run.create(REAL, tmp_path, name=name) as run, pytest.raises(Interrupted):
                search(run, executor, Interrupting(after))
            with Run.open(tmp_path / name, write=True) as run:
                assert search(run, executor, Silence()).generation == chosen.generation
                rows = run.ledger.evaluations(outcomes=False)
            wholes = [row for row in rows if row["split"] == "search" and row["until"] == row["lifetime"]]
            assert {row["begun"] for row in wholes} == {4}, "no training starts anew"
            assert not (tmp_path / name / "arrays" / "checkpoints").exists()
            assert differences(tmp_path / "whole", tmp_path / name) == []


@pytest.mark.slow
def test_the_numbers_do_not_depend_on_how_many_stretches_there_are(tmp_path):
    """Two, five, and two with an interruption; a training in one go is another program."""
    config = replace(REAL, stopping=Stopping(), generations=1)
    with Inline(4) as executor:
        for name, stretches in (("two", 2), ("five", 5)):
            with Run.create(replace(config, stretches=stretches), tmp_path, name=name) as run:
                search(run, executor, Silence())
    with Run.create(replace(config, stretches=2), tmp_path, name="parts") as run:
        with Processes(1, 4) as executor, pytest.raises(Interrupted):
            search(run, executor, Interrupting(5))
        with Inline(4) as executor:
            search(run, executor, Silence())
    for name in ("five", "parts"):
        assert differences(tmp_path / "two", tmp_path / name) == []
        with Run.open(tmp_path / name) as run:
            assert {(row["begun"], row["until"]) for row in run.ledger.evaluations()} == {(0, 8)}
