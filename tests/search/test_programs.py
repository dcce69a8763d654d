"""A search over programs through the loop: interrupted and resumed, recorded, answered with the simplest."""

from dataclasses import replace

import numpy as np
import pytest

from discovery.app.api import Silence, load_run
from discovery.core.config.programs import ProgramsConfig
from discovery.core.config.search import SearchConfig
from discovery.core.jobs import JobResult, Outcome
from discovery.executors.inline import Inline
from discovery.search.async_state import order_of
from discovery.search.loop import search
from discovery.store.run import Run
from objectives.programs.checks import probe
from objectives.programs.code import Size, decode, encode
from objectives.programs.known import known
from objectives.programs.text import read
from tests.search.interrupting import Interrupted, Interrupting, differences

CONFIG = SearchConfig(
    algorithm="programs",
    algorithm_options={"start": "policy_gradient"},
    meta=ProgramsConfig(population=8, alive=8, begin="start", tuning=2, simplification=2),
    generations=8,
    seeds=2,
    selection_seeds=2,
    selection_doublings=0,
    agents_per_call=4,
    executor="inline",
)
FLOWING = replace(CONFIG, meta=replace(CONFIG.meta, asynchronous=True))
TARGET, _ = probe("policy_loss", encode(known("policy_loss", "ppo"), Size(24, 8)))


class Compared(Inline):
    """An executor that trains nothing: a program scores by how near its values are to PPO's, with noise that
    the training's key decides. Trainings are finished in an order that `seed` decides.
    """

    def __init__(self, seed: int) -> None:
        super().__init__(1)
        self._order = np.random.default_rng(seed)

    def run(self, jobs, more=lambda: []):
        waiting = list(jobs)
        while waiting := [*waiting, *more()]:
            yield _scored(waiting.pop(int(self._order.integers(len(waiting)))))


def _scored(job) -> JobResult:
    values, _ = probe("policy_loss", job.meta_params["policy_loss"])
    distance = np.minimum(np.abs(values[0] - TARGET[0]), 1.0).mean()
    score = -float(distance) + 0.02 * np.random.default_rng(job.key).normal()
    points = np.zeros(job.task.setup.curve_points)
    return JobResult(job.id, Outcome(*[score] * 3, *[points] * 3, nonfinite_step=-1, metrics={}), None)


def searched(config, folder, name, seed=0, order=None):
    """The folder of a search."""
    with Run.create(config, folder, name=name) as run:
        if order is not None:
            run.ledger.keep_order(order)
        search(run, Compared(seed), Silence())
    return folder / name


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The folder of a search by generations."""
    return searched(CONFIG, tmp_path_factory.mktemp("runs"), "whole")


@pytest.mark.parametrize("stops", [(3, 40, 30), pytest.param((100, 25), marks=pytest.mark.slow)], ids=str)
def test_an_interrupted_search_ends_with_the_same_numbers(stops, whole, tmp_path):
    with Run.create(CONFIG, tmp_path, name="parts") as run:
        for seed, after in enumerate(stops):
            with pytest.raises(Interrupted):
                search(run, Compared(seed), Interrupting(after))
        search(run, Compared(9), Silence())
    assert differences(tmp_path / "parts", whole) == []


def test_an_interrupted_asynchronous_search_is_repeated_at_one_go(tmp_path):
    with Run.create(FLOWING, tmp_path, name="parts") as run:
        for seed, after in enumerate((9, 60, 21)):
            with pytest.raises(Interrupted):
                search(run, Compared(seed), Interrupting(after))
        search(run, Compared(9), Silence())
        order = order_of(run)
    assert order is not None and order != sorted(order)
    assert differences(tmp_path / "parts", searched(FLOWING, tmp_path, "at-once", 5, order)) == []


def test_rows_have_sources_and_parents_and_proposals_are_made_again(whole):
    run = load_run(whole)
    rows = {row["id"]: row for row in run.proposals()}
    for row in rows.values():
        program = read(row["source_text"])["policy_loss"]
        again = run.proposal(row["generation"], row["idx"]).meta_params["policy_loss"]
        assert decode("policy_loss", again).structure == program.structure
    operators = {row["operator"] for row in rows.values()}
    assert {"start", "scored again", "reference"} <= operators


def test_equal_answers_are_scored_once_on_the_selection_seeds_and_the_run_is_complete(whole):
    run = load_run(whole)
    answers = [row for row in run.proposals() if row["split"] == "selection"]
    assert len({row["params_digest"] for row in answers}) == len(answers) < CONFIG.generations + 1
    assert run.settled
