"""Searches without a barrier: what they come to follows from the order in which batches were finished."""

import random
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace

import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from discovery.app.api import Silence
from discovery.app.loaded import load_run
from discovery.core.config.evolution import ESConfig
from discovery.core.config.population import PBEConfig
from discovery.core.config.search import SearchConfig, Stopping
from discovery.core.errors import BadInput, LedgerError
from discovery.core.jobs import Job, JobResult, Outcome
from discovery.executors.base import no_more
from discovery.executors.inline import Inline
from discovery.executors.processes import Processes
from discovery.meta.base import Proposal
from discovery.meta.generation import request_of_answer
from discovery.search import async_state
from discovery.search.loop import search
from discovery.search.progress import SearchProgress
from discovery.search.requests import jobs_of
from discovery.store.run import Run
from environments.task import Setup, Task
from tests.ids import job_key, request_id
from tests.search.interrupting import Interrupted, Interrupting, differences

SETUP = Setup(n_envs=4, n_steps=8, n_epochs=1, n_minibatches=1, hidden=(4,))
PBE = SearchConfig(
    generations=4,
    algorithm_options={"width": 4},
    meta=PBEConfig(population=8, answer_every=2, asynchronous=True, parents=3, elitism=True),
    tasks=(Task("short", SETUP, 256), Task("long", SETUP, 1024)),
    seeds=2,
    selection_seeds=2,
    selection_doublings=0,
    agents_per_call=4,
    executor="inline",
)
ES = replace(PBE, meta=ESConfig(population=8, answer_every=2, asynchronous=True))


class Played(Inline):
    """An executor that trains nothing: a score is a function of the proposal and the key.

    Attributes:
        pick: says which of the trainings that wait is finished next, by its index.
        most: trainings that were under way at once.
    """

    def __init__(self, pick: Callable[[list[Job]], int]) -> None:
        super().__init__(1)
        self.pick, self.most = pick, 0

    def run(self, jobs, more=no_more):
        waiting = list(jobs)
        while True:
            waiting += more()
            self.most = max(self.most, len(waiting))
            if not waiting:
                return
            yield _played(waiting.pop(self.pick(waiting)))


def shuffled(seed: int) -> Played:
    """Trainings are finished in an order that the seed decides."""
    draw = random.Random(seed).randrange
    return Played(lambda waiting: draw(len(waiting)))


def in_turn() -> Played:
    """Trainings are finished in the order of asking."""
    return Played(lambda waiting: 0)


def held(is_held: Callable[[Job], bool], others: int | None = None) -> Played:
    """Some trainings wait until so many others are done, or until nothing else is left."""

    def pick(waiting: list[Job]) -> int:
        nonlocal others
        waits = [is_held(job) for job in waiting]
        now = all(waits) or (others is not None and others <= 0 and any(waits))
        others = None if others is None else others - 1
        return waits.index(now)

    return Played(pick)


def _played(job) -> JobResult:
    """A bowl, with noise that the training's key decides; wide proposals fail."""
    x = np.asarray(ravel_pytree(job.meta_params)[0], np.float64)
    noise = np.random.default_rng(job.key).normal()
    score = -float(np.square(x - 1.0).sum()) + 0.1 * noise
    points = np.zeros(job.task.setup.curve_points)
    if np.abs(x).max() > 2.5:
        score = float("nan")
    outcome = Outcome(*[score] * 3, *[points] * 3, nonfinite_step=-1, metrics={})
    return JobResult(job.id, outcome, None if np.isfinite(score) else "diverged")


def played(config, folder, name, seed, order=None):
    """The folder of a search whose trainings are finished in an order that `seed` decides."""
    with Run.create(config, folder, name=name) as run:
        if order is not None:
            run.ledger.keep_order(order)
        search(run, shuffled(seed), Silence())
    return folder / name


def means(folder):
    with Run.open(folder) as run:
        closed = [row["generation"] for row in run.ledger.generations()]
        return {g: np.asarray(ravel_pytree(run.answer(g).meta_params)[0]) for g in closed}


def order_of(folder):
    with Run.open(folder) as run:
        return async_state.order_of(run)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The folder of a search."""
    return played(PBE, tmp_path_factory.mktemp("runs"), "whole", 0)


def test_the_numbers_follow_from_the_order_of_completion(whole, tmp_path):
    assert PBE.proposing.batch_size == 2  # four seeds fill a call
    order = order_of(whole)
    assert order is not None and sorted(order) == list(range(16)) and order != sorted(order)
    other = played(PBE, tmp_path, "other", 1)
    assert order_of(other) != order and differences(whole, other)
    assert differences(whole, played(PBE, tmp_path, "again", 0)) == []
    repeated = played(PBE, tmp_path, "repeated", 1, order=order)
    assert differences(whole, repeated) == [] and order_of(repeated) == order


@pytest.mark.parametrize(
    "stops",
    [(9, 1, 1, 20), *(pytest.param(at, marks=pytest.mark.slow) for at in ((1,), (118, 7), (139,)))],
    ids=str,
)
def test_a_search_that_is_interrupted_goes_on_from_what_is_recorded(stops, whole, tmp_path):
    """It ends with the numbers of one that was not, and in which batches were finished in the same order."""
    with Run.create(PBE, tmp_path, name="parts") as run:
        for seed, after in enumerate(stops):
            with pytest.raises(Interrupted):
                search(run, shuffled(seed), Interrupting(after))
    before, looked = order_of(tmp_path / "parts"), load_run(tmp_path / "parts")
    for row in looked.proposals():  # those in flight among them
        looked.proposal(row["generation"], row["idx"])
    with Run.open(tmp_path / "parts", write=True) as run:
        recorded = len(run.ledger.evaluations())
        search(run, shuffled(9), Silence())
        assert len(run.ledger.evaluations()) == 16 * 8 + 3 * 4
    assert recorded == sum(stops)
    order = order_of(tmp_path / "parts")
    assert order and before is not None and len(order) == 16 and len(before) <= 16
    assert differences(tmp_path / "parts", played(PBE, tmp_path, "at-once", 5, order=order)) == []


def test_a_mean_gets_its_fitness_after_a_crash_in_between(tmp_path):
    """All of its trainings were recorded, and the search was killed before their mean was."""

    class Killing(Silence):
        def finished(self, job, result):
            if job.id == job_key("g2/answer/selection/long/s1"):
                raise Interrupted

    with Run.create(PBE, tmp_path, name="parts") as run:
        with pytest.raises(Interrupted):
            search(run, in_turn(), Killing())
        assert run.ledger.unscored_answers() == [2]
        search(run, in_turn(), Silence())
        assert run.ledger.unscored_answers() == [4]  # the last one's score is in its evaluations alone
    assert differences(tmp_path / "parts", played(PBE, tmp_path, "again", 3, order=list(range(16)))) == []


class Rows(SearchProgress):
    """What a session shows, which ends with the first training after the first mean, where that is wished."""

    def __init__(self, ends=False):
        super().__init__(PBE)
        self.rows, self.ends, self.means = [], ends, 0

    def finished(self, job, result):
        super().finished(job, result)
        if self.ends and self.means == 4:
            raise Interrupted
        self.means += is_first_mean(job)

    def closed(self, generation, results, metrics):
        self.rows.append((generation, sorted(self.row(results).tasks["short"].means)))


def is_first_mean(job):
    return job.id.owner == request_id("g0/answer")


def test_every_mean_is_in_a_row_whenever_it_was_finished(tmp_path):
    """That of generation 0 is finished after the row of generation 0; the session ends before the next."""
    first, second, third = Rows(ends=True), Rows(), Rows()
    with Run.create(PBE, tmp_path, name="parts") as run:
        with pytest.raises(Interrupted):
            search(run, held(is_first_mean, 36), first)
        search(run, in_turn(), second)
    assert first.rows == [(0, [])] and first.unseen == {0}
    assert second.rows == [(1, [0]), (2, [2]), (3, [])] and second.unseen == {4}
    with Run.create(PBE, tmp_path, name="last-of-all") as run:
        search(run, held(is_first_mean), third)
        assert run.ledger.unscored_answers() == [4]
    assert third.rows == [(0, []), (1, []), (2, [2]), (3, [])] and third.unseen == {0, 4}


def test_nobody_waits_for_the_slowest(tmp_path):
    """The first batch is the last to be finished, whatever else there is to do."""
    executor = held(lambda job: job.id.owner == request_id("g0/p0") and job.task.name == "long")
    with Run.create(PBE, tmp_path, name="run") as run:
        search(run, executor, Silence())
        assert async_state.order_of(run) == [*range(1, 16), 0]
        proposals = run.ledger.proposals()
    assert np.isfinite([row["fitness"] for row in proposals if row["split"] == "search"]).all()
    # four batches of two proposals, with two seeds on two tasks; and the means of two seeds on two tasks
    assert executor.most == 4 * 2 * 4 + 4


def test_one_batch_at_a_time_is_a_search_that_waits(tmp_path):
    """The same proposals, scores and means; only the states are kept otherwise."""
    waits = replace(PBE, meta=replace(PBE.meta, asynchronous=False))
    alone = replace(PBE, meta=replace(PBE.meta, batch=8, in_flight=8))
    one, other = played(waits, tmp_path, "waits", 0), played(alone, tmp_path, "alone", 1)
    assert {line.split(": ")[1].split(" ")[0] for line in differences(one, other)} <= {"asked_digest"}
    for left, right in zip(means(one).values(), means(other).values(), strict=True):
        np.testing.assert_array_equal(left, right)


def test_a_strategy_does_not_depend_on_the_order_of_completion(tmp_path):
    one = played(ES, tmp_path, "one", 0)
    with Run.create(ES, tmp_path, name="parts") as run:
        for seed, after in enumerate((50, 40)):
            with pytest.raises(Interrupted):
                search(run, shuffled(seed), Interrupting(after))
        search(run, shuffled(4), Silence())
        assert async_state.order_of(run) is None
    assert differences(one, tmp_path / "parts") == []
    run = load_run(one)
    for generation in range(4):
        run.proposal(generation, 3)


def test_what_does_not_go_together_is_refused():
    with pytest.raises(BadInput, match="asynchronous"):
        replace(PBE, stopping=Stopping("halving", rungs=2))
    with pytest.raises(BadInput, match="32"):
        replace(PBE, meta=replace(PBE.meta, in_flight=40))


def test_what_is_in_flight_has_to_be_what_was_recorded(tmp_path):
    with Run.create(PBE, tmp_path, name="run") as run:
        with pytest.raises(Interrupted):
            search(run, shuffled(0), Interrupting(100))
        closed = run.ledger.last_generation()
        assert closed is not None
        states = {row["generation"]: row["state_digest"] for row in run.ledger.generations()}
        rows = [row for row in run.ledger.proposals(closed + 1) if row["asked_digest"] != states[closed]]
    with closing(sqlite3.connect(tmp_path / "run" / "ledger.sqlite")) as db, db:
        db.execute("UPDATE proposals SET params_digest = '' WHERE id = ?", [rows[0]["id"]])
    refused = pytest.raises(LedgerError, match="not the one recorded")
    with Run.open(tmp_path / "run", write=True) as run, refused:
        search(run, shuffled(1), Silence())


def test_stretches_are_a_rollout_at_least():
    request = request_of_answer(0, Proposal({"w": np.zeros(2)}))
    jobs = jobs_of(request, replace(PBE, stretches=1000))
    assert {job.stretches for job in jobs} == {task.n_updates for task in PBE.tasks}


@pytest.mark.parametrize(
    ("population", "seeds", "width", "batch"),
    [(8, 2, 4, 2), (32, 1, 8, 8), (12, 3, 8, 3), (6, 1, 8, 6), (8, 16, 8, 1)],
)
def test_a_batch_fills_whole_calls(population, seeds, width, batch):
    meta = PBEConfig(population=population, asynchronous=True, parents=2)
    config = replace(PBE, meta=meta, seeds=seeds, agents_per_call=width)
    assert config.proposing.batch_size == batch


@pytest.mark.slow  # test_cli.py has the like of it, by the command line
def test_a_real_search_without_a_barrier(tmp_path):
    """Its compiled trainings, in this process and in two others: each repeats the other's numbers."""
    config = replace(PBE, generations=2)
    with Inline(4) as executor, Run.create(config, tmp_path, name="inline") as run:
        search(run, executor, Silence())
        order = async_state.order_of(run)
    with Processes(2, 4) as executor, Run.create(config, tmp_path, name="processes") as run:
        assert order is not None
        run.ledger.keep_order(order)
        search(run, executor, Silence())
    assert differences(tmp_path / "inline", tmp_path / "processes") == []
