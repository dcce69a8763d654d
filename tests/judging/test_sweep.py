"""Sweeps: which variants there are, that they share seeds, and how their failures count."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from discovery.app.loaded import load_run
from discovery.core.errors import BadInput
from discovery.judging.evaluate import comparisons, recorded
from discovery.judging.robustness import Robustness, recorded_sweeps
from discovery.judging.suite import store
from discovery.judging.sweep import check_sweep, parse_sweep, sweep, varied
from discovery.results.subjects import subjects
from discovery.store.run import Run
from environments.task import Task
from tests.judging.fakes import ENTRIES, NAN, SETUP, Pretender, cell


def test_sweeps_are_read() -> None:
    assert parse_sweep("learning_rate=1,0.1,10") == ("learning_rate", (0.1, 1.0, 10.0))
    assert parse_sweep("n-envs=2,2") == ("n_envs", (2.0,))
    for text in ("learning_rate", "=1,2", "clip=", "clip=a", "clip=0,1", "clip=-1", "clip=inf"):
        with pytest.raises(BadInput, match=r"clip|sweep"):
            parse_sweep(text)


def test_what_is_varied() -> None:
    (ppo, own) = subjects(["ppo", "ppo[learning_rate=0.5]"])
    task = ENTRIES[0].task
    assert varied(ppo, task, "learning_rate", 3).numbers == {"learning_rate": 0.03}
    assert varied(own, task, "learning_rate", 3).numbers == {"learning_rate": 1.5}
    assert varied(ppo, task, "clip", 0.5).numbers == {"learning_rate": 0.01, "clip": 0.1}
    assert varied(ppo, task, "clip", 1) == task
    assert varied(ppo, task, "hidden", 0.25).setup.hidden == (2, 2)
    assert varied(ppo, task, "hidden", 0.01).setup.hidden == (1, 1)
    assert varied(ppo, task, "n_envs", 1.5).setup.n_envs == 3
    more = varied(ppo, task, "n_envs", 2)
    assert (more.total_steps, more.name) == (task.total_steps, task.name)


@pytest.mark.parametrize(
    ("parameter", "factor", "word"),
    [
        ("lerning_rate", 2, "did you mean learning_rate"),
        ("entropy_coef", 2, "entropy_coef x 2 of ppo on one: it is 0"),
        ("gamma", 2, "1.98"),
        ("n_envs", 16, "n_envs x 16 of ppo on one: total_steps"),
        ("n_envs", 0.5, "n_minibatches"),
    ],
)
def test_variants_that_make_no_sense(parameter: str, factor: float, word: str) -> None:
    task = Task("one", replace(SETUP, n_steps=15), 400)
    with pytest.raises(BadInput, match=word):
        check_sweep(parameter, (factor,), subjects(["ppo"]), [task])


def test_a_sweep_trains_variants_on_the_same_seeds(tmp_path: Path) -> None:
    who, tasks = subjects(["ppo", "dpo"]), [ENTRIES[0].task]
    one, two = Pretender(), Pretender()
    with store(tmp_path / "kept") as ledger:
        first = sweep("learning_rate", (1, 3), who, tasks, comparisons(who, tasks, 2, one, ledger))
        again = sweep("learning_rate", (3, 1, 0.1), who, tasks, comparisons(who, tasks, 2, two, ledger))
        rows = ledger.reports()
    assert (len(one.jobs), len(two.jobs)) == (8, 4)
    assert {tuple(job.key) for job in one.jobs} == {tuple(job.key) for job in two.jobs}
    assert {row["task"] for row in rows} == {"one"}
    names = {1.0: "", 3.0: "learning_rate x 3", 0.1: "learning_rate x 0.1"}
    rates = {str(job.id): round(100 * job.task.numbers["learning_rate"], 6) for job in (*one.jobs, *two.jobs)}
    assert {row["id"]: row["variant"] for row in rows} == {id: names[rate] for id, rate in rates.items()}
    assert again.factors == (0.1, 1.0, 3.0)
    assert first.scores("ppo", "one") == again.scores("ppo", "one")[1:]


def test_who_has_no_such_number_is_left_out_of_its_sweep() -> None:
    """Of the sweep alone; and not where nobody has it."""
    who, tasks = subjects(["ppo", "dpo"]), [ENTRIES[0].task]
    compared = comparisons(who, tasks, 2, executor := Pretender())
    found = sweep("dpo_alpha", (0.5, 1, 2), who, tasks, compared)
    assert (found.subjects, found.left_out) == (("dpo",), ("ppo",))
    assert [level.subject for level in found.levels] == ["dpo"] * 3
    assert [job.algorithm.name for job in executor.jobs].count("ppo") == 2  # as it is, once for each seed
    assert json.loads(json.dumps(found.to_dict()))["left_out"] == ["ppo"]
    both = sweep("learning_rate", (1, 2), who, tasks, compared)
    assert (both.subjects, both.left_out) == (("ppo", "dpo"), ())
    with pytest.raises(BadInput, match=r"ppo cannot be swept over it: .*dpo_alpha"):
        check_sweep("dpo_alpha", (2.0,), who[:1], tasks)


def test_failures_in_a_sweep_count_as_the_worst_at_any_factor() -> None:
    cells = {
        0.1: (cell("ppo", "one", [1, 2, 3, 4]),),
        1.0: (cell("ppo", "one", [5, NAN, 5, NAN]),),
        10.0: (cell("ppo", "one", [NAN] * 4),),
    }
    low, own, high = Robustness("clip", (0.1, 1.0, 10.0), cells).scores("ppo", "one")
    assert (low.estimate, low.failed) == (2.5, 0)
    assert (own.estimate, own.failed) == (3.0, 2)
    assert np.isnan(high.estimate) and high.failed == 4


def test_recorded_sweeps_are_read_back_apart(reported_run: SimpleNamespace, tmp_path: Path) -> None:
    folder = shutil.copytree(reported_run.folder, tmp_path / reported_run.folder.name)
    before = recorded(load_run(folder))
    with Run.open(folder, write=True) as run:
        who, tasks = subjects([str(folder), "ppo"]), run.config.tasks[:1]
        compared = comparisons(who, tasks, 6, Pretender(), run.ledger)
        swept = sweep("learning_rate", (0.5, 2), who, tasks, compared)
        assert len(run.ledger.reports()) > 20
    after = recorded(load_run(folder))
    assert after.rows == before.rows
    (again,) = recorded_sweeps(load_run(folder), after)  # with the task as it is, trained by another executor
    assert again.factors == (0.5, 1.0, 2.0)
    for factor in swept.factors:
        for mine, theirs in zip(swept.cells[factor], again.cells[factor], strict=True):
            assert mine.subject == theirs.subject
            np.testing.assert_array_equal(mine.scores, theirs.scores)
