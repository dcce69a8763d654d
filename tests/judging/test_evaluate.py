"""Judging: who is meant, what is run and what is not run again, and what the numbers say."""

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from discovery.app.api import evaluate
from discovery.app.command_line import main
from discovery.app.loaded import load_run
from discovery.core.errors import BadInput, LedgerError, RunError
from discovery.core.jobs import AlgorithmSpec, Job
from discovery.judging.comparison import Comparison
from discovery.judging.evaluate import recorded, train_subjects
from discovery.meta.base import Proposal
from discovery.results.subjects import Subject, subjects
from discovery.statistics import interval, paired_difference
from discovery.store.run import Run
from environments.task import Setup, Task
from tests.judging.fakes import NAN, Pretender, cell, pretended

Says = Callable[..., tuple[int, str, str, list[Job]]]
TASKS = (Task("one", Setup(curve_points=4), 1024), Task("two", Setup(curve_points=4), 1024))


def known(*names: str) -> list[Subject]:
    return subjects(names)


@pytest.fixture
def copy(finished_run: SimpleNamespace, tmp_path: Path) -> Path:
    folder = tmp_path / "copy"
    shutil.copytree(finished_run.folder, folder)
    return folder


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


def test_subjects_of_several_runs_go_by_their_names(finished_run: SimpleNamespace, copy: Path) -> None:
    names = [str(finished_run.folder), str(copy), f"{copy}@initial"]
    assert [subject.label for subject in subjects(names)] == ["tiny", "copy", "copy initial mean"]


def test_proposals_are_subjects(finished_run: SimpleNamespace, copy: Path) -> None:
    folder, run = finished_run.folder, load_run(finished_run.folder)
    one, best = subjects([f"{folder}@g0/p1", f"{folder}@best"])
    assert (one.label, one.source) == ("proposal g0/p1", "tiny@g0/p1")
    np.testing.assert_array_equal(one.meta_params["drift"]["w_in"], run.proposal(0, 1)["drift"]["w_in"])
    assert best.label == f"proposal {run.best_proposal()}"
    found: dict[str, list[float]] = {}
    for row in run.evaluations():
        if row["split"] == "search":
            found.setdefault(row["proposal"], []).append(row["score"])
    assert run.best_proposal() == max(found, key=lambda name: np.mean(found[name]))
    assert [s.label for s in subjects([f"{folder}@g0/p1", f"{copy}@g0/p1"])] == ["tiny g0/p1", "copy g0/p1"]


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


def test_own_algorithm_by_its_place() -> None:
    (mine,) = known("objectives.known:dpo")
    assert mine.spec == AlgorithmSpec("objectives.known:dpo")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("ppoo", "no run or algorithm named 'ppoo'; did you mean ppo"),
        ("lpo", "family, with drift to be searched; name a run"),
        ("objectives.known:nothing", "cannot be imported"),
        ("{folder}@7", "has no mean of generation 7; it has 0"),
        ("{folder}@g0/p99", "no proposal of run tiny named 'g0/p99'; did you mean g0/p"),
        ("{folder}@soon", "has no mean of generation 'soon'"),
        ("{folder}@", "behind the @ may also come a proposal"),
        ("{parent}", "is no run"),
        ("{parent}/tinny", "did you mean .*tiny"),
    ],
)
def test_no_such_subject(name: str, message: str, finished_run: SimpleNamespace) -> None:
    folder = finished_run.folder
    with pytest.raises(BadInput, match=message):
        subjects([name.format(folder=folder, parent=folder.parent)])


def test_subjects_twice() -> None:
    with pytest.raises(BadInput, match="'ppo' is there twice"):
        known("ppo", "dpo", "ppo")


# What is run


def test_all_share_their_seeds() -> None:
    executor = Pretender()
    train_subjects(known("ppo", "dpo"), TASKS, 3, executor)
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
    with pytest.raises(BadInput, match="first_seed must be at least 0"):
        train_subjects(known("ppo"), TASKS[:1], 3, Pretender(), first_seed=-1)


def test_intervals_are_those_of_statistics() -> None:
    executor = Pretender()
    found = train_subjects(known("dpo", "ppo"), TASKS, 20, executor)
    scores = {
        name: np.array(
            [pretended(j) for j in executor.jobs if (j.algorithm.name, j.task.name) == (name, "two")]
        )
        for name in ("dpo", "ppo")
    }
    row = found.row("dpo", "two")
    assert found.baseline == "ppo"
    assert row is not None
    assert row.mean == interval(scores["dpo"])
    assert row.iqm == interval(scores["dpo"], "iqm")
    assert row.difference == paired_difference(scores["dpo"], scores["ppo"])
    assert found.rows[3].difference is None
    assert [(r.task, r.subject) for r in found.rows] == [
        (t, s) for t in ("one", "two") for s in ("dpo", "ppo")
    ]


def test_recorded_trainings_are_not_run_again(copy: Path) -> None:
    with Run.open(copy, write=True) as run:
        tasks = run.config.tasks
        first = train_subjects(
            known("ppo", "dpo"), tasks, 2, one := Pretender(), run.ledger, command="discovery x"
        )
        again = train_subjects(known("dpo", "ppo"), tasks, 3, two := Pretender(), run.ledger)
        rows = run.ledger.reports()
    assert (len(one.jobs), len(two.jobs)) == (4, 2)
    assert {job.id.seed for job in two.jobs} == {2}
    assert [(r["subject"], r["seed"], r["command"]) for r in rows[:2]] == [
        ("ppo", 0, "discovery x"),
        ("ppo", 1, "discovery x"),
    ]
    for subject in ("ppo", "dpo"):
        a, b = first.cell(subject, "cart"), again.cell(subject, "cart")
        assert a is not None
        assert b is not None
        np.testing.assert_array_equal(a.scores, b.scores[:2])
        np.testing.assert_array_equal(a.curves, b.curves[:2])


def test_an_interrupted_comparison_goes_on(copy: Path) -> None:
    with Run.open(copy, write=True) as run:
        with pytest.raises(KeyboardInterrupt):
            train_subjects(known("ppo", "dpo"), run.config.tasks, 4, Pretender(breaks_after=5), run.ledger)
        assert len(run.ledger.reports()) == 5
        found = train_subjects(known("ppo", "dpo"), run.config.tasks, 4, rest := Pretender(), run.ledger)
    assert len(rest.jobs) == 3
    assert [row.n for row in found.rows] == [4, 4]


@pytest.mark.parametrize(
    "change",
    [
        {"numbers": {"learning_rate": 0.02}},
        {"total_steps": 2048},
        {"setup": Setup(curve_points=4, n_epochs=1)},
        {"score": "auc"},
    ],
)
def test_a_changed_recipe_is_run_again(copy: Path, change: dict) -> None:
    settings = {"name": "one", "setup": TASKS[0].setup, "total_steps": 1024} | change
    with Run.open(copy, write=True) as run:
        train_subjects(known("ppo"), TASKS[:1], 2, Pretender(), run.ledger)
        train_subjects(known("ppo"), [Task(**settings)], 2, again := Pretender(), run.ledger)
        last = recorded(load_run(copy)).cell("ppo", "one")
    assert len(again.jobs) == 2
    assert last is not None
    np.testing.assert_array_equal(last.scores, [pretended(job) for job in again.jobs])


def test_equal_numbers_are_trained_once(copy: Path) -> None:
    """A search that chose its initial mean: both subjects are there, with one set of trainings."""
    (initial,) = subjects([f"{copy}@initial"])
    twin = Subject("discovered", initial.spec, initial.meta_params, initial.source)
    found = train_subjects([twin, initial], TASKS, 2, executor := Pretender())
    assert len(executor.jobs) == 4
    assert [row.difference.estimate for row in found.rows if row.difference] == [0, 0]


def test_meta_params_tell_trainings_apart(copy: Path) -> None:
    who = subjects([f"{copy}@1", f"{copy}@2", f"{copy}@3"])
    train_subjects(who, TASKS[:1], 1, executor := Pretender())
    assert len({job.id for job in executor.jobs}) == 3


def test_a_watcher_hears_all() -> None:
    heard = []
    watcher: Any = SimpleNamespace(
        started=lambda generation, jobs, done: heard.append((len(jobs), done)),
        finished=lambda job, result: heard.append(job.id == result.id),
    )
    train_subjects(known("ppo"), TASKS[:1], 2, Pretender(), listener=watcher)
    assert heard == [(2, 0), True, True]


def test_nothing_to_train_subjects() -> None:
    with pytest.raises(BadInput, match="needs subjects, tasks and seeds, got 1, 0 and 2"):
        train_subjects(known("ppo"), [], 2, Pretender())
    with pytest.raises(BadInput, match="dpo cannot be trained on one: algorithm 'dpo' does not read klop"):
        train_subjects(known("dpo"), [Task("one", numbers={"klop": 1.0})], 1, Pretender())
    with pytest.raises(BadInput, match="labels must differ"):
        train_subjects(known("ppo") * 2, TASKS, 1, Pretender())
    with pytest.raises(BadInput, match="nothing to compare"):
        _ = Comparison(()).baseline


def test_reports_need_a_ledger_to_write_to(finished_run: SimpleNamespace) -> None:
    with Run.open(finished_run.folder) as run, pytest.raises(LedgerError, match="open for reading only"):
        train_subjects(known("ppo"), TASKS, 1, Pretender(), run.ledger)


# What the numbers say


def test_failures_count_as_the_worst_score() -> None:
    cells = cell("ppo", "one", [3.0, 1.0, 2.0, 4.0]), cell("dpo", "one", [5.0, np.nan, 5.0, np.nan])
    found = Comparison(cells)
    row = found.row("dpo", "one")
    assert row is not None
    assert (row.n, row.failed, row.mean.estimate) == (4, 2, 3.0)


def test_who_failed_wholly_has_no_score_and_no_verdict() -> None:
    """Counting as the worst would give it the score of somebody else."""
    found = train_subjects(known("ppo", "dpo"), TASKS[:1], 4, Pretender(failing=("dpo",)))
    row = found.row("dpo", "one")
    assert row is not None and (row.n, row.failed, row.missing, row.difference) == (4, 4, 0, None)
    assert np.isnan(row.mean.estimate)
    assert json.loads(found.to_json())["rows"][1]["mean"]["estimate"] is None
    assert found.judgments == ()
    assert any("4 trainings of dpo on one failed (failed: why)" in line for line in found.verdicts())


def test_all_failed() -> None:
    found = train_subjects(known("ppo", "dpo"), TASKS[:1], 2, Pretender(failing=("dpo", "ppo")))
    assert [row.failed for row in found.rows] == [2, 2]
    assert found.judgments == ()


STEADY = np.linspace(-1, 1, 30)


def test_verdicts_judge_what_was_found_by_its_own_beginning() -> None:
    labels = {"a": "a@3", "b": "b@2", "a initial mean": "a@0", "b initial mean": "b@0", "dpo": "", "ppo": ""}
    found = Comparison(tuple(cell(label, "one", list(STEADY)) for label in labels), labels)
    assert found.opponents == [
        ("a", "a initial mean"),
        ("a", "dpo"),
        ("a", "ppo"),
        ("b", "b initial mean"),
        ("b", "dpo"),
        ("b", "ppo"),
    ]


def test_what_was_found_is_judged_by_proposals_of_its_run() -> None:
    labels = {"discovered": "a@3", "proposal g1/p2": "a@g1/p2", "initial mean": "a@0", "ppo": ""}
    found = Comparison(tuple(cell(label, "one", list(STEADY)) for label in labels), labels)
    assert found.opponents == [
        ("discovered", "proposal g1/p2"),
        ("discovered", "initial mean"),
        ("discovered", "ppo"),
        ("proposal g1/p2", "initial mean"),
        ("proposal g1/p2", "ppo"),
    ]


def test_differences_are_over_common_seeds() -> None:
    cells = (
        cell("ppo", "one", [1, 2, 3, 4]),
        cell("dpo", "one", [5, 7, 9], first_seed=2),
        cell("dpo", "two", [0]),
    )
    found = Comparison(cells)
    assert found.difference("dpo", "ppo", "one") == paired_difference([5, 7], [3, 4])
    assert found.difference("dpo", "ppo", "two") is None
    assert found.row("ppo", "two") is None


def test_json_holds_everything() -> None:
    cells = (cell("discovered", "one", [1.0, NAN]), cell("ppo", "one", [0.0, 2.0]))
    said = json.loads(Comparison(cells, {"discovered": "t@3"}, frozenset({"one"})).to_json())
    assert said["baseline"] == "ppo"
    row = said["rows"][0]
    assert (row["source"], row["held_out"], row["failed"]) == ("t@3", True, 1)
    assert row["scores"] == [1.0, None]
    assert row["mean"]["estimate"] == 0.5
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
    assert {(r.task, r.subject): r.mean for r in again.rows} == {
        (r.task, r.subject): r.mean for r in found.rows
    }
    curves = run.curves("report", "fast cart", "ppo")
    np.testing.assert_array_equal(curves.values, again.curves()["fast cart"]["ppo"].curves)
    np.testing.assert_array_equal(curves.steps[0], again.curves()["fast cart"]["ppo"].steps)


def test_evaluate_again_runs_nothing(reported_run: SimpleNamespace) -> None:
    executor = Pretender()
    found = evaluate(str(reported_run.folder), ("initial", "ppo"), ["cart"], 4, executor)
    assert not executor.jobs
    assert found.rows == tuple(row for row in reported_run.comparison.rows if row.task == "cart")


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


@pytest.fixture
def says(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Says:
    """Runs `discovery evaluate`, but for trainings: exit code, output, errors, and the jobs there were."""
    pretender = Pretender()
    monkeypatch.setattr("discovery.executors.make_executor", lambda *_, **__: pretender)

    def run(*words: object) -> tuple[int, str, str, list[Job]]:
        capsys.readouterr()
        code = main(["evaluate", *map(str, words), "--seeds", "2"])
        said = capsys.readouterr()
        return code, said.out, said.err, pretender.jobs

    return run


def test_the_verb_refuses_held_out_tasks(says: Says, copy: Path) -> None:
    code, out, err, jobs = says(copy, "ppo", "--tasks", "fast cart")
    assert (code, out, jobs, looks(copy)) == (2, "", [], [])
    assert err.startswith(f"error: fast cart is held out by {copy}, ") and err.count("\n") == 1
    assert "--test" in err


def test_the_verb_records_a_look_before_it(says: Says, copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("discovery.judging.evaluate.train_subjects", interrupted)
        assert says(copy, "ppo", "--tasks", "fast cart", "--test")[0] == 130
    assert looks(copy) == [(["fast cart"], 2)]
    assert says(copy, "ppo", "--test")[0] == 0
    assert looks(copy) == [(["fast cart"], 2)] * 2
    assert says(copy, "ppo")[0] == 0
    assert len(looks(copy)) == 2


def test_what_one_run_has_seen_another_may_hold_out(says: Says, copy: Path, opposite: Path) -> None:
    """Without --tasks too."""
    two = (f"{copy}@initial", f"{opposite}@initial", "ppo")
    for words in (two, (*two, "--tasks", "cart")):
        code, _, err, jobs = says(*words)
        assert (code, jobs, looks(copy), looks(opposite)) == (2, [], [], [])
        assert "cart is held out by" in err and "--test" in err and err.count("\n") == 1
    code, out, _, jobs = says(*two, "--test")
    assert code == 0 and {job.task.name for job in jobs} == {"cart", "fast cart"}
    assert (looks(copy), looks(opposite)) == ([(["fast cart"], 2)], [(["cart"], 2)])
    assert "(held out)" not in out  # each was seen by one of them


def test_a_task_that_is_not_part_of_the_search_is_not_called_held_out(says: Says, copy: Path) -> None:
    code, out, _, _ = says(copy, "ppo", "--tasks", "cart", "Catch-bsuite")
    assert code == 0 and "Catch-bsuite: " in out and "held out" not in out
    assert looks(copy) == []


def test_the_function_refuses_held_out_tasks_of_every_run(copy: Path, opposite: Path) -> None:
    other = f"{opposite}@initial"
    for against, tasks in (("ppo", ["fast cart"]), ((other,), ["cart"]), ((other,), None)):
        with pytest.raises(BadInput, match=r"cart is held out by .*test=True"):
            evaluate(copy, against, tasks, 2, executor := Pretender())
        assert not executor.jobs
    assert looks(copy) == looks(opposite) == []
    found = evaluate(copy, (other, "ppo"), None, 2, Pretender(), test=True)
    assert (looks(copy), looks(opposite)) == ([(["fast cart"], 2)], [(["cart"], 2)])
    assert found.held_out == set()
    assert evaluate(copy, "ppo", None, 2, Pretender(), test=True).held_out == {"fast cart"}


def test_the_recorded_command_is_what_was_typed(says: Says, copy: Path) -> None:
    """And the width, on which bits depend, where it is not the run's own."""
    own = load_run(copy).config.width
    for words, expected in (
        (("--tasks", "Catch-bsuite"), ""),
        (("--test", "--tasks", "cart", "--agents-per-call", own), "--test"),
        (
            ("--agents-per-call", own + 1, "--tasks", "cart", "--first-seed", "9"),
            f"--agents-per-call {own + 1}",
        ),
    ):
        assert says(copy, "ppo", *words)[0] == 0
        with Run.open(copy) as run:
            command = run.ledger.reports()[-1]["command"]
        flags = re.findall(r"--test|--agents-per-call \d+", command)
        assert flags == ([expected] if expected else []), command
