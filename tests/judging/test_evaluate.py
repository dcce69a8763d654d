"""Judging: who is meant, what is run and what is not run again, and what the numbers say."""

import re
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from discovery.app.api import evaluate
from discovery.app.loaded import load_run
from discovery.core.errors import BadInput, LedgerError, RunError
from discovery.judging.comparison import Comparison
from discovery.judging.evaluate import recorded, train_subjects
from discovery.judging.sentences import cautions
from discovery.meta.base import Proposal
from discovery.results.subjects import Subject, subjects
from discovery.statistics import interval, paired_difference
from discovery.store.run import Run
from environments.task import Setup, Task
from tests.judging.fakes import NAN, Pretender, cell, pretended

TASKS = (Task("one", Setup(curve_points=4), 1024), Task("two", Setup(curve_points=4), 1024))


def known(*names: str) -> list[Subject]:
    return subjects(names)


# Who is meant


def test_subjects(finished_run: SimpleNamespace) -> None:
    folder, run = finished_run.folder, load_run(finished_run.folder)
    chosen, initial, first, ppo = subjects([str(folder), f"{folder}@initial", f"{folder}@1", "ppo"])
    number = run.choice.generation
    assert (chosen.label, chosen.source) == ("discovered", f"tiny@{number}")
    assert (initial.label, initial.source) == ("initial mean", "tiny@0")
    assert (first.label, first.source) == ("discovered" if number == 1 else "generation 1", "tiny@1")
    assert (ppo.label, ppo.source, ppo.meta_params) == ("ppo", "", {})
    assert chosen.spec == run.spec
    np.testing.assert_array_equal(first.meta_params["drift"]["w_in"], run.meta_params(1)["drift"]["w_in"])


def test_proposals_are_subjects(finished_run: SimpleNamespace, copy: Path) -> None:
    folder, run = finished_run.folder, load_run(finished_run.folder)
    one, best = subjects([f"{folder}@g0/p1", f"{folder}@best"])
    assert (one.label, one.source) == ("proposal g0/p1", "tiny@g0/p1")
    asked = run.proposal(0, 1).meta_params
    np.testing.assert_array_equal(one.meta_params["drift"]["w_in"], asked["drift"]["w_in"])
    assert best.label == f"proposal {run.best_proposal()}"
    found: dict[str, list[float]] = {}
    for row in run.evaluations():
        if row["split"] == "search":
            found.setdefault(row["proposal"], []).append(row["score"])
    assert run.best_proposal() == max(found, key=lambda name: np.mean(found[name]))
    several = subjects([str(folder), str(copy), f"{copy}@initial", f"{folder}@g0/p1"])
    assert [subject.label for subject in several] == ["tiny", "copy", "copy initial mean", "tiny g0/p1"]


def test_the_best_proposal_is_best_on_all_tasks_together(finished_run: SimpleNamespace) -> None:
    run = load_run(finished_run.folder)
    table = np.zeros((3, 4, 2, 1))
    table[0, 0, 0], table[1, 2, 1], table[2, 3] = 100.0, 1.0, 0.9  # best on one, on the other, good on both
    table[2, 3, 0] = 90.0
    table[1, 1] = np.nan  # a training failed, or was not lived to its end
    run.__dict__["task_scores"] = table
    assert run.best_proposal() == "g2/p3"
    run.__dict__["task_scores"] = np.full((3, 4, 2, 1), np.nan)
    with pytest.raises(RunError, match="no proposal with a score yet"):
        run.best_proposal()


# What is run


def test_all_share_their_seeds() -> None:
    heard: list[Any] = []
    watcher: Any = SimpleNamespace(
        started=lambda generation, jobs, done: heard.append((len(jobs), done)),
        finished=lambda job, result: heard.append(job.id == result.id),
    )
    train_subjects(known("ppo", "dpo"), TASKS, 3, executor := Pretender(), listener=watcher)
    assert heard == [(12, 0)] + [True] * 12
    keys = {(j.algorithm.name, j.task.name, j.id.seed): tuple(j.key) for j in executor.jobs}
    assert len(keys) == len(executor.jobs) == 12
    assert len(set(keys.values())) == 6  # a task's seed is the same for all
    assert all(keys["ppo", task, seed] == keys["dpo", task, seed] for _, task, seed in keys)
    assert {job.lifetime for job in executor.jobs} == {2}


def test_other_held_out_seeds() -> None:
    early = train_subjects(known("ppo"), TASKS[:1], 3, one := Pretender())
    late = train_subjects(known("ppo"), TASKS[:1], 3, two := Pretender(), first_seed=2)
    assert late.cells[0].seeds.tolist() == [2, 3, 4]
    assert late.cells[0].scores[0] == early.cells[0].scores[2]
    keys = [{tuple(job.key.tolist()) for job in executor.jobs} for executor in (one, two)]
    assert len(keys[0] & keys[1]) == 1


def test_intervals_are_those_of_statistics() -> None:
    found = train_subjects(known("dpo", "ppo"), TASKS, 20, executor := Pretender())
    names = [(job.algorithm.name, job.task.name) for job in executor.jobs]
    dpo, ppo = (
        [pretended(job) for job, of in zip(executor.jobs, names, strict=True) if of == (name, "two")]
        for name in ("dpo", "ppo")
    )
    order = [(row.task, row.subject) for row in found.rows]
    assert order == [("one", "dpo"), ("one", "ppo"), ("two", "dpo"), ("two", "ppo")]
    row = found.rows[2]
    assert (row.mean, row.iqm) == (interval(dpo), interval(dpo, "iqm"))
    assert row.difference == paired_difference(dpo, ppo)
    assert found.baseline == "ppo" and found.rows[3].difference is None


def test_recorded_trainings_are_not_run_again(copy: Path) -> None:
    with Run.open(copy, write=True) as run:
        tasks = run.config.tasks
        first = train_subjects(known("ppo", "dpo"), tasks, 2, one := Pretender(), run.ledger, command="x")
        again = train_subjects(known("dpo", "ppo"), tasks, 3, two := Pretender(), run.ledger)
        rows = run.ledger.reports()
    assert (len(one.jobs), len(two.jobs)) == (4, 2)
    assert {job.id.seed for job in two.jobs} == {2}
    told = [(row["subject"], row["seed"], row["command"]) for row in rows[:2]]
    assert told == [("ppo", 0, "x"), ("ppo", 1, "x")]
    for subject in ("ppo", "dpo"):
        a, b = first.cell(subject, "cart"), again.cell(subject, "cart")
        assert a is not None and b is not None
        np.testing.assert_array_equal(a.scores, b.scores[:2])
        np.testing.assert_array_equal(a.curves, b.curves[:2])


def test_a_changed_recipe_is_run_again(copy: Path) -> None:
    plain = TASKS[0]
    changed = [
        replace(plain, numbers={"learning_rate": 0.02}),
        replace(plain, total_steps=2048),
        replace(plain, setup=Setup(curve_points=4, n_epochs=1)),
        replace(plain, score="auc"),
    ]
    for task in (plain, *changed):
        with Run.open(copy, write=True) as run:
            train_subjects(known("ppo"), [task], 2, executor := Pretender(), run.ledger)
        assert len(executor.jobs) == 2
        last = recorded(load_run(copy)).cell("ppo", "one")
        assert last is not None
        np.testing.assert_array_equal(last.scores, [pretended(job) for job in executor.jobs])


def test_equal_numbers_are_trained_once(copy: Path) -> None:
    """A search that chose its initial mean: both subjects are there, with one set of trainings."""
    (initial,) = subjects([f"{copy}@initial"])
    twin = Subject("discovered", initial.spec, initial.meta_params, initial.source)
    found = train_subjects([twin, initial], TASKS, 2, executor := Pretender())
    assert len(executor.jobs) == 4
    assert [row.difference.estimate for row in found.rows if row.difference] == [0, 0]
    who = subjects([f"{copy}@1", f"{copy}@2", f"{copy}@3"])
    train_subjects(who, TASKS[:1], 1, executor := Pretender())
    assert len({job.id for job in executor.jobs}) == 3


def test_nothing_to_train() -> None:
    klop = Task("one", numbers={"klop": 1.0})
    for who, tasks, first_seed, word in (
        (known("ppo"), [], 0, "needs subjects"),
        (known("dpo"), [klop], 0, "klop"),
        (known("ppo") * 2, TASKS, 0, "labels"),
        (known("ppo"), TASKS, -1, "first_seed"),
    ):
        with pytest.raises(BadInput, match=word):
            train_subjects(who, tasks, 2, Pretender(), first_seed=first_seed)


def test_reports_need_a_ledger_to_write_to(finished_run: SimpleNamespace) -> None:
    with Run.open(finished_run.folder) as run, pytest.raises(LedgerError, match="reading only"):
        train_subjects(known("ppo"), TASKS, 1, Pretender(), run.ledger)


# What the numbers say


def test_who_failed_wholly_has_no_score_and_no_verdict() -> None:
    """Counting as the worst would give it the score of somebody else."""
    found = train_subjects(known("ppo", "dpo"), TASKS[:1], 4, Pretender(failing=("dpo",)))
    row = found.row("dpo", "one")
    assert row is not None and (row.n, row.failed, row.missing, row.difference) == (4, 4, 0, None)
    assert np.isnan(row.mean.estimate)
    assert found.to_dict()["rows"][1]["mean"]["estimate"] is None
    assert found.judgments == ()
    assert any("4 trainings of dpo on one failed" in line and "why" in line for line in cautions(found))
    nobody = train_subjects(known("ppo", "dpo"), TASKS[:1], 2, Pretender(failing=("dpo", "ppo")))
    assert ([row.failed for row in nobody.rows], nobody.judgments) == ([2, 2], ())


@pytest.mark.parametrize(
    ("sources", "opponents"),
    [
        (
            {"a": "a@3", "b": "b@2", "a initial mean": "a@0", "b initial mean": "b@0", "ppo": ""},
            [("a", "a initial mean"), ("a", "ppo"), ("b", "b initial mean"), ("b", "ppo")],
        ),
        (
            {"a": "a@3", "one": "a@g1/p2", "a initial mean": "a@0", "ppo": ""},
            [("a", "one"), ("a", "a initial mean"), ("a", "ppo"), ("one", "a initial mean"), ("one", "ppo")],
        ),
    ],
)
def test_what_a_run_found_is_judged_by_its_own_means_and_proposals(
    sources: dict[str, str], opponents: list[tuple[str, str]]
) -> None:
    found = Comparison(tuple(cell(label, "one", range(30)) for label in sources), sources)
    assert found.opponents == opponents


def test_differences_are_over_common_seeds() -> None:
    late = cell("dpo", "one", [5, 7, 9], first_seed=2)
    found = Comparison((cell("ppo", "one", [1, 2, 3, 4]), late, cell("dpo", "two", [0])))
    assert found.difference("dpo", "ppo", "one") == paired_difference([5, 7], [3, 4])
    assert found.difference("dpo", "ppo", "two") is None
    assert found.row("ppo", "two") is None


def test_json_holds_everything() -> None:
    cells = (cell("discovered", "one", [1.0, NAN]), cell("ppo", "one", [0.0, 2.0]))
    said = Comparison(cells, {"discovered": "t@3"}, frozenset({"one"})).to_dict()
    row = said["rows"][0]
    assert (said["baseline"], row["source"], row["held_out"], row["failed"]) == ("ppo", "t@3", True, 1)
    assert row["scores"] == [1.0, None]
    assert row["mean"]["estimate"] == 0.5  # the failure counts as the worst score, of PPO
    assert row["iqm"]["low"] is None  # two scores are too few for an interval
    assert said["rows"][1]["difference"] is None


# With real trainings


def test_evaluate_records_what_it_returns(reported_run: SimpleNamespace) -> None:
    run, found = load_run(reported_run.folder), reported_run.comparison
    assert found.tasks == ("cart", "fast cart")
    assert set(found.subjects) == {"discovered", "initial mean", "ppo"}
    assert found.held_out == {"fast cart"}
    frame = run.reports_frame()
    for row in found.rows:
        mine = frame.query("subject == @row.subject and task == @row.task").sort_values("seed")
        assert len(mine) == 4
        assert row.mean == interval(mine["score"].to_numpy())
    again = recorded(run)
    assert again.held_out == found.held_out
    assert again.measures == found.measures == {"cart": "final", "fast cart": "final"}
    assert again.rows == found.rows
    curves, shown = run.curves("report", "fast cart", "ppo"), again.curves()["fast cart"]["ppo"]
    np.testing.assert_array_equal(curves.values, shown.curves)
    np.testing.assert_array_equal(curves.steps[0], shown.steps)
    cart = evaluate(str(run.folder), ("initial", "ppo"), ["cart"], 4, executor := Pretender())
    assert not executor.jobs
    assert cart.rows == tuple(row for row in found.rows if row.task == "cart")


def test_recorded_calls_means_by_what_they_are_now(reported_run: SimpleNamespace, tmp_path: Path) -> None:
    """A mean that is chosen no longer goes by its generation; those of another run, by its name."""
    run = load_run(reported_run.folder)
    number = run.choice.generation
    moved = load_run(shutil.copytree(run.folder, tmp_path / "moved"))
    assert recorded(moved).subjects == recorded(run).subjects
    run._choice = None
    assert f"generation {number}" in recorded(run).subjects
    run.name, run.meta["run"] = "other", "other"
    assert set(recorded(run).subjects) == {"tiny discovered", "tiny initial mean", "ppo"}


# The gate before held-out tasks


@pytest.fixture
def opposite(finished_run: SimpleNamespace, tmp_path: Path) -> Path:
    """A run that was searched on what `finished_run` holds out, and holds out what that was searched on."""
    source = load_run(finished_run.folder)
    config = replace(source.config, tasks=source.config.held_out, held_out=source.config.tasks)
    with Run.create(config, tmp_path, name="opposite") as run:
        run.ledger.close_generation(
            -1, {"x": np.zeros(1)}, {}, answer=Proposal(source.meta_params("initial"))
        )
        return run.folder


def looks(folder: Path) -> list[tuple[list[str], int]]:
    """Tasks and seeds of every look on record."""
    with Run.open(folder) as run:
        return [(row["tasks"], row["seeds"]) for row in run.ledger.tests()]


def test_the_verb_refuses_what_any_run_holds_out(says, pretender, copy: Path, opposite: Path) -> None:
    """What one run has seen, another may hold out."""
    two = (f"{copy}@initial", f"{opposite}@initial", "ppo")
    for words in ((copy, "ppo", "--tasks", "fast cart"), two, (*two, "--tasks", "cart")):
        code, out, err = says("evaluate", *words, "--seeds", 2)
        assert (code, out, pretender.jobs, looks(copy), looks(opposite)) == (2, "", [], [], [])
        assert "cart is held out by" in err and "--test" in err and err.count("\n") == 1
    code, out, _ = says("evaluate", *two, "--seeds", 2, "--test")
    assert code == 0 and {job.task.name for job in pretender.jobs} == {"cart", "fast cart"}
    assert (looks(copy), looks(opposite)) == ([(["fast cart"], 2)], [(["cart"], 2)])
    assert "(held out)" not in out  # each was seen by one of them


def test_the_verb_records_a_look_before_it(
    says, pretender, copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    line = ("evaluate", copy, "ppo", "--seeds", 2)
    with monkeypatch.context() as patch:
        patch.setattr("discovery.judging.evaluate.train_subjects", interrupted)
        assert says(*line, "--tasks", "fast cart", "--test")[0] == 130
    assert looks(copy) == [(["fast cart"], 2)]
    assert says(*line, "--test")[0] == 0
    assert looks(copy) == [(["fast cart"], 2)] * 2
    assert says(*line)[0] == 0
    assert len(looks(copy)) == 2


def test_the_function_refuses_held_out_tasks_of_every_run(copy: Path, opposite: Path) -> None:
    other = f"{opposite}@initial"
    for against, tasks in (("ppo", ["fast cart"]), ((other,), None)):
        with pytest.raises(BadInput, match=r"cart is held out by .*test=True"):
            evaluate(copy, against, tasks, 2, executor := Pretender())
        assert not executor.jobs
    assert looks(copy) == looks(opposite) == []
    found = evaluate(copy, (other, "ppo"), None, 2, Pretender(), test=True)
    assert (looks(copy), looks(opposite)) == ([(["fast cart"], 2)], [(["cart"], 2)])
    assert found.held_out == set()
    assert evaluate(copy, "ppo", None, 2, Pretender(), test=True).held_out == {"fast cart"}


def test_the_recorded_command_is_what_was_typed(says, pretender, copy: Path) -> None:
    """And the width, on which bits depend, where it is not the run's own."""
    own = load_run(copy).config.width
    for words, expected in (
        ("--tasks Catch-bsuite", []),
        (f"--test --tasks cart --agents-per-call {own}", ["--test"]),
        (f"--tasks cart --first-seed 9 --agents-per-call {own + 1}", [f"--agents-per-call {own + 1}"]),
    ):
        code, out, _ = says("evaluate", copy, "ppo", "--seeds", 2, *words.split())
        assert code == 0 and "held out" not in out  # nor is a task that no run names
        with Run.open(copy) as run:
            command = run.ledger.reports()[-1]["command"]
        assert re.findall(r"--test|--agents-per-call \d+", command) == expected, command
    assert looks(copy) == []
