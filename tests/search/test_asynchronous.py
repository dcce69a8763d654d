"""Searches without a barrier: what they come to follows from the order in which batches were finished."""

import random
import sqlite3
from collections import deque
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
from discovery.core.jobs import JobResult, Outcome
from discovery.display.formats import row_facts, rows
from discovery.executors.base import no_more
from discovery.executors.inline import Inline
from discovery.executors.processes import Processes
from discovery.meta.base import Proposal, ScoreResult
from discovery.meta.generation import request_of_answer
from discovery.search import async_state
from discovery.search.loop import search
from discovery.search.progress import Row, SearchProgress, task_row
from discovery.search.regenerate import Regenerator
from discovery.search.requests import jobs_of
from discovery.store.ledger import Ledger
from discovery.store.rows import same_numbers
from discovery.store.run import Run
from environments.task import Setup, Task
from tests.ids import job_key, request_id
from tests.search.test_early_stopping import Interrupted, Interrupting

SETUP = Setup(n_envs=4, n_steps=8, n_epochs=1, n_minibatches=1, hidden=(4,))
PBE = SearchConfig(
    generations=4,
    algorithm_options={"width": 4},
    meta=PBEConfig(population=8, mean_every=2, asynchronous=True, parents=3, elitism=True),
    tasks=(Task("short", SETUP, 256), Task("long", SETUP, 1024)),
    seeds=2,
    selection_seeds=2,
    selection_doublings=0,
    agents_per_call=4,
    executor="inline",
)
ES = replace(PBE, meta=ESConfig(population=8, mean_every=2, asynchronous=True))


class Shuffled(Inline):
    """An executor that trains nothing: a score is a function of the proposal and the key, and trainings are
    finished in an order that the seed decides.

    Attributes:
        most: trainings that were under way at once.
    """

    def __init__(self, seed: int) -> None:
        super().__init__(1)
        self._next, self.most = random.Random(seed).randrange, 0

    def run(self, jobs, more=no_more):
        waiting = list(jobs)
        while True:
            waiting += more()
            self.most = max(self.most, len(waiting))
            if not waiting:
                return
            yield _played(waiting.pop(self._next(len(waiting))))


class InTurn(Shuffled):
    """The same, in the order of asking."""

    def __init__(self) -> None:
        super().__init__(0)
        self._next = lambda stop: 0


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


def played(config, folder, name, seed, listener=None, order=None):
    """The run of a search whose trainings are finished in an order that `seed` decides."""
    with Run.create(config, folder, name=name) as run:
        if order is not None:
            run.ledger.keep_order(order)
        search(run, Shuffled(seed), listener or Silence())
    return folder / name


def differences(one, other):
    with Ledger.open(one) as ours, Ledger.open(other) as theirs:
        return same_numbers(ours, theirs)


def means(folder):
    with Run.open(folder) as run:
        closed = [row["generation"] for row in run.ledger.generations()]
        return {g: np.asarray(ravel_pytree(run.answer(g).meta_params)[0]) for g in closed}


def order_of(folder):
    with Run.open(folder) as run:
        return async_state.order_of(run)


# Population-based evolution -----------------------------------------------------------------------


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


@pytest.mark.parametrize("stops", [(1,), (9, 1, 1, 20), (118, 7), (139,)], ids=str)
def test_a_search_that_is_interrupted_goes_on_from_what_is_recorded(stops, whole, tmp_path):
    """It ends with the numbers of one that was not, and in which batches were finished in the same order."""
    with Run.create(PBE, tmp_path, name="parts") as run:
        for seed, after in enumerate(stops):
            with pytest.raises(Interrupted):
                search(run, Shuffled(seed), Interrupting(after))
    before, looked = order_of(tmp_path / "parts"), load_run(tmp_path / "parts")
    for row in looked.proposals():  # those in flight among them
        looked.proposal(row["generation"], row["idx"])
    with Run.open(tmp_path / "parts", write=True) as run:
        recorded = len(run.ledger.evaluations())
        search(run, Shuffled(9), Silence())
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
            search(run, InTurn(), Killing())
        assert run.ledger.unscored_answers() == [2]
        search(run, InTurn(), Silence())
        assert run.ledger.unscored_answers() == [4]  # the last one's score is in its evaluations alone
    assert differences(tmp_path / "parts", played(PBE, tmp_path, "again", 3, order=list(range(16)))) == []


class Held(InTurn):
    """The first mean's trainings wait until so many others are done, or nothing else is left."""

    def __init__(self, others):
        super().__init__()
        self.others = others

    def run(self, jobs, more=no_more):
        waiting = list(jobs)
        while True:
            waiting += more()
            if not waiting:
                return
            held = [(job.id.owner == request_id("g0/answer")) for job in waiting]
            now = (self.others <= 0 and any(held)) or all(held)
            self.others -= 1
            yield _played(waiting.pop(held.index(now)))


class Rows(SearchProgress):
    """What a session shows, which ends with the first training after the first mean, where that is wished."""

    def __init__(self, ends=False):
        super().__init__(PBE)
        self.rows, self.ends, self.means = [], ends, 0

    def finished(self, job, result):
        super().finished(job, result)
        if self.ends and self.means == 4:
            raise Interrupted
        self.means += job.id.owner == request_id("g0/answer")

    def closed(self, generation, results, metrics):
        self.rows.append((generation, sorted(self.row(results).tasks["short"].means)))


def test_every_mean_is_in_a_row_whenever_it_was_finished(tmp_path):
    """That of generation 0 is finished after the row of generation 0; the session ends before the next."""
    first, second = Rows(ends=True), Rows()
    with Run.create(PBE, tmp_path, name="parts") as run:
        with pytest.raises(Interrupted):
            search(run, Held(36), first)
        search(run, InTurn(), second)
    assert first.rows == [(0, [])] and first.unseen == {0}
    assert second.rows == [(1, [0]), (2, [2]), (3, [])] and second.unseen == {4}


def test_a_mean_that_is_finished_last_of_all_is_kept(tmp_path):
    shown = Rows()
    with Run.create(PBE, tmp_path, name="run") as run:
        search(run, Held(1000), shown)
        assert run.ledger.unscored_answers() == [4]
    assert shown.rows == [(0, []), (1, []), (2, [2]), (3, [])] and shown.unseen == {0, 4}


def test_a_generation_is_made_again_from_where_it_was_asked_for(whole, monkeypatch):
    told, tell = [], async_state.AsyncState.tell

    def counted(self):
        told.append(found := tell(self))
        return found

    monkeypatch.setattr(async_state.AsyncState, "tell", counted)
    with Run.open(whole) as run:
        assert len(Regenerator(run).requests(run, 1)) == 9
    assert 0 < sum(found is not None for found in told) <= 4  # of 16: those told until it was asked for


def test_nobody_waits_for_the_slowest(tmp_path):
    """The first batch is the last to be finished, whatever else there is to do."""

    class Slow(Shuffled):
        def run(self, jobs, more=no_more):
            slow, waiting = [], deque(jobs)
            while True:
                waiting.extend(more())
                for job in list(waiting):
                    if job.id.owner == request_id("g0/p0") and job.task.name == "long":
                        waiting.remove(job)
                        slow.append(job)
                self.most = max(self.most, len(waiting) + len(slow))
                if not waiting and not slow:
                    return
                yield _played(waiting.popleft() if waiting else slow.pop())

    executor = Slow(0)
    with Run.create(PBE, tmp_path, name="run") as run:
        search(run, executor, Silence())
        assert async_state.order_of(run) == [*range(1, 16), 0]
        assert np.isfinite(
            [row["fitness"] for row in run.ledger.proposals() if row["split"] == "search"]
        ).all()
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


# An evolution strategy ----------------------------------------------------------------------------


def test_a_strategy_does_not_depend_on_the_order_of_completion(tmp_path):
    one = played(ES, tmp_path, "one", 0)
    with Run.create(ES, tmp_path, name="parts") as run:
        for seed, after in enumerate((50, 40)):
            with pytest.raises(Interrupted):
                search(run, Shuffled(seed), Interrupting(after))
        search(run, Shuffled(4), Silence())
        assert async_state.order_of(run) is None
    assert differences(one, tmp_path / "parts") == []
    run = load_run(one)
    for generation in range(4):
        run.proposal(generation, 3)


def test_a_row_says_whose_mean_it_shows():
    scores = {"g3/p0": 1.0, "g0/answer": 1.0, "g2/answer": 5.0}
    ids = [request_id(name) for name in scores]
    found = {
        id: ScoreResult(id, {"short": np.full(2, value)})
        for id, value in zip(ids, scores.values(), strict=True)
    }
    row = task_row("short", found)
    assert {generation: mean.estimate for generation, mean in row.means.items()} == {0: 1.0, 2: 5.0}
    two, three = (Row(generation, {"short": row}, 4, {}, 8, 1.0, None) for generation in (2, 3))
    first, second = ([" ".join(line.split()) for line in rows(row, PBE)] for row in (two, three))
    assert ["5 [5, 5]" in line for line in first] == [True, False]
    assert ["5 [5, 5]" in line for line in second] == [False, False, True]
    assert [mean["generation"] for mean in row_facts(three)["tasks"]["short"]["selection"]] == [0, 2]


# What does not go together ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"stopping": Stopping("halving", rungs=2)}, "asynchronous"),
        ({"meta": replace(PBE.meta, in_flight=3)}, "multiple of the batch"),
        ({"meta": replace(PBE.meta, in_flight=40)}, "32"),
    ],
)
def test_what_does_not_go_together_is_refused(changes, word):
    with pytest.raises(BadInput, match=word):
        replace(PBE, **changes)


def test_what_is_in_flight_has_to_be_what_was_recorded(tmp_path):
    with Run.create(PBE, tmp_path, name="run") as run:
        with pytest.raises(Interrupted):
            search(run, Shuffled(0), Interrupting(100))
        closed = run.ledger.last_generation()
        assert closed is not None
        states = {row["generation"]: row["state_digest"] for row in run.ledger.generations()}
        rows = [row for row in run.ledger.proposals(closed + 1) if row["asked_digest"] != states[closed]]
    with closing(sqlite3.connect(tmp_path / "run" / "ledger.sqlite")) as db, db:
        db.execute("UPDATE proposals SET params_digest = '' WHERE id = ?", [rows[0]["id"]])
    with (
        Run.open(tmp_path / "run", write=True) as run,
        pytest.raises(LedgerError, match="not the one recorded"),
    ):
        search(run, Shuffled(1), Silence())


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
