"""Comparing on a suite: which tasks, what is recorded, the store, the verb."""

import csv
import io
import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tomli_w

from discovery.app import api
from discovery.app.evaluation import Plan, evaluate_plan
from discovery.core.errors import BadInput
from discovery.core.suites import Reference, Suite, fingerprint, load_suite
from discovery.judging.sentences import suite_sentences
from discovery.judging.suite import Chosen, chosen_tasks, store, train_on_suite
from discovery.results.subjects import subjects
from discovery.store.ledger import Ledger
from tests.judging.fakes import ENTRIES, SUITE, Pretender, entry

# On a suite


def chosen(*names: str, test: bool = False) -> Chosen:
    return chosen_tasks(SUITE, names, test)


def test_which_tasks() -> None:
    assert [task.name for task in chosen().tasks] == ["one", "two"]
    assert [task.name for task in chosen(test=True).tasks] == ["one", "two", "three"]
    assert (chosen("two").hidden, chosen("three", test=True).hidden) == ((), ("three",))
    for suite, names, word in (
        (SUITE, ["three"], "--test"),
        (SUITE, ["on"], "did you mean one"),
        (Suite("last", "", (), (), ENTRIES), [], "held-out"),
    ):
        with pytest.raises(BadInput, match=word):
            chosen_tasks(suite, names)


def test_tasks_held_out_by_a_run_and_looks_at_them(copy: Path) -> None:
    """The run was searched on "cart", which the suite holds out, and holds out "fast cart"."""
    mine = Suite("mine", "", (entry("fast cart", 0, 1),), (), (entry("cart", 0, 1), entry("new", 0, 1)))
    with pytest.raises(BadInput, match=r"fast cart is held out by .*copy"):
        chosen_tasks(mine, runs=[copy])
    picked, who = chosen_tasks(mine, test=True, runs=[copy]), subjects([str(copy), "ppo"])
    assert picked.runs == {copy: ("fast cart", "new")}
    (note,) = picked.notes
    assert "cart" in note and "copy" in note
    found = train_on_suite(mine, picked, who, 2, Pretender(), None, command="one")
    assert note in suite_sentences(found)
    evaluate_plan(Plan([str(copy)], picked.tasks, picked.runs, 2, 0, "two", picked.hidden), Pretender())
    with Ledger.open(copy) as ledger:
        looks = [(row["command"].split()[-1], row["tasks"]) for row in ledger.tests()]
    assert looks == [("one", ["fast cart", "new"]), ("two", ["fast cart", "new"])]


def test_a_second_call_runs_nothing(tmp_path: Path) -> None:
    folder, who = tmp_path / "kept", subjects(["ppo", "dpo"])
    sweeps = {"clip": (0.5, 1)}
    first = train_on_suite(SUITE, chosen(), who, 3, one := Pretender(), folder, sweeps=sweeps)
    again = train_on_suite(SUITE, chosen(), who, 3, two := Pretender(), folder, sweeps=sweeps)
    more = train_on_suite(SUITE, chosen(), subjects(["ppo", "vsop"]), 4, three := Pretender(), folder)
    assert (len(one.jobs), len(two.jobs)) == (24, 0)
    assert len(three.jobs) == 2 + 8  # one more seed of ppo, four of vsop
    assert first.to_dict() == again.to_dict()
    np.testing.assert_array_equal(more.settled("ppo", "one")[:3], first.settled("ppo", "one"))


def test_nothing_is_written_for_bad_input(tmp_path: Path) -> None:
    folder = tmp_path / "kept"
    for sweeps, first_seed in (({"gamma": (2.0,)}, 0), ({}, -1), ({}, 9_999)):
        with pytest.raises(BadInput):
            train_on_suite(
                SUITE, chosen(), subjects(["ppo"]), 2, Pretender(), folder,
                first_seed=first_seed, sweeps=sweeps,
            )  # fmt: skip
    assert not folder.exists()


def test_what_is_no_store(finished_run: SimpleNamespace, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for folder, word in ((tmp_path / "file" / "compared", "--output"), (finished_run.folder, "is the run")):
        with pytest.raises(BadInput, match=word), store(folder):
            pass


# The verbs and the API

TINY = """
[recipe]
total_steps = 128
numbers = { learning_rate = 0.01 }
setup = { n_envs = 2, n_steps = 8, n_epochs = 1, n_minibatches = 2, hidden = [4], curve_points = 2 }

[[train]]
name = "Catch-bsuite"

[[test]]
name = "late"
setup = { environment = "Catch-bsuite" }
numbers = { learning_rate = 0.02 }
"""


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The working directory holds a suite and its references."""
    monkeypatch.chdir(tmp_path)
    Path("tiny.toml").write_text(TINY)
    references = {
        task.name: {
            "fingerprint": fingerprint(task),
            "command": "discovery suites tiny.toml --measure",
            "random": vars(Reference(-1.0, -1.1, -0.9, 4)),
            "ppo": {"algorithm": "ppo", **vars(Reference(0.5, 0.4, 0.6, 4))},
        }
        for task in load_suite("tiny.toml", measured=False).tasks
    }
    Path("tiny.references.toml").write_text(tomli_w.dumps(references))


def events(out: str, kind: str) -> list[dict]:
    return [event for event in map(json.loads, out.splitlines()) if event["event"] == kind]


COMPARE = ("compare", "ppo", "ppo[learning_rate=1]", "--suite", "tiny.toml", "--seeds", 4)


def test_compare_on_the_command_line(says, tiny, pretender) -> None:
    code, out, err = says(*COMPARE)
    assert (code, err) == (0, "")
    assert "Catch-bsuite" in out and "ppo[learning_rate=1] against ppo" in out and "runs/compare-tiny" in out
    code, out, err = says(*COMPARE, "--sweep", "learning_rate=1,10", "--test", "--json")
    assert (code, err) == (0, "")
    # as it is: both tasks, of which one was there; then ten times the rate
    assert [(e["trainings"], e["finished_before"]) for e in events(out, "started")] == [(16, 8), (16, 0)]
    (result,) = events(out, "comparison")
    held_out = [(row["task"], row["held_out"]) for row in result["rows"][::2]]
    assert held_out == [("Catch-bsuite", False), ("late", True)]
    assert result["folder"] == "runs/compare-tiny"
    assert Path("runs/compare-tiny/robustness-learning_rate.png").stat().st_size > 1000
    with Ledger.open("runs/compare-tiny") as ledger:
        (look,) = ledger.tests()
    assert look["tasks"] == ["late"] and "--test" in look["command"]


def test_evaluate_on_a_suite(says, tiny, pretender) -> None:
    words = ("evaluate", "ppo", "--suite", "tiny.toml", "--seeds", 2, "--name", "aside")
    code, out, _ = says(*words, "--csv", "table.csv", "--sweep", "clip=0.5,1")
    assert code == 0 and "Robustness to clip" in out and "Left out" not in out
    code, out, _ = says(*words[:2], "dpo", *words[2:], "--sweep", "dpo_alpha=0.5,1")
    assert code == 0 and "Left out" in out
    lines = list(csv.DictReader(io.StringIO(Path("table.csv").read_text())))
    assert [(line["n"], line["variant"]) for line in lines] == [("2", ""), ("2", "clip x 0.5")]
    assert all(float(line["mean low"]) <= float(line["mean"]) <= float(line["mean high"]) for line in lines)
    assert events(says(*words, "--json")[1], "started")[0]["finished_before"] == 2
    assert says(*words[:-2], "--test")[0] == 0
    assert [path.name for path in Path("runs").iterdir()] == ["aside"]  # nothing is recorded without a name


def test_the_api_is_the_verb(tiny) -> None:
    executor = Pretender()
    found = api.compare_suite(["ppo", "dpo"], "tiny.toml", seeds=4, executor=executor, name="mine")
    again = api.compare_suite(["ppo"], "tiny.toml", seeds=4, executor=executor, name="mine")
    assert len(executor.jobs) == 8
    np.testing.assert_array_equal(found.settled("ppo", "Catch-bsuite"), again.settled("ppo", "Catch-bsuite"))
    assert Path("runs/mine/comparison.json").is_file()
    assert len(found.frame()) == 2


@pytest.mark.slow
def test_compare_trains(says, tiny) -> None:
    inline = ("--executor", "inline", "--agents-per-call", 4, "--json")
    (first,) = events(says(*COMPARE, *inline)[1], "comparison")
    shutil.rmtree("runs")
    code, out, _ = says(*COMPARE, *inline)
    (again,) = events(out, "comparison")
    assert code == 0 and first == again
    scores = [row["scores"] for row in first["rows"]]
    assert np.isfinite(scores).all() and scores[0] != scores[1]


@pytest.mark.parametrize(
    ("line", "word"),
    [
        ("compare --suite tiny.toml", "at least one run"),
        ("compare ppo", "--suite"),
        ("compare ppo --suite clasic", "did you mean classic"),
        ("compare ppo --suite tiny.toml --seeds 0", "seeds"),
        ("compare ppo --suite tiny.toml --tasks late", "late"),
        ("compare ppo --suite tiny.toml --sweep clip=1,2 --sweep clip=3", "twice"),
        ("compare ppo --suite tiny.toml --name a/b", "--name"),
        ("compare ppo here.py --suite tiny.toml", "here.py"),
        ("evaluate ppo --suite tiny.toml --tasks late", "late"),
        ("evaluate ppo --suite tiny.toml --sweep gamma=2", "gamma"),
    ],
)
def test_bad_input_is_one_clear_line(line: str, word: str, says, tiny) -> None:
    code, out, err = says(*line.split())
    assert (code, out) == (2, "")
    assert word in err and err.count("\n") == 1
    assert not Path("runs").exists()


def test_after_ctrl_c_it_goes_on(says, tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    line = ("compare", "ppo", "--suite", "tiny.toml", "--seeds", 5)
    first, second = Pretender(breaks_after=3), Pretender()
    for executor, expected in ((first, 130), (second, 0)):
        monkeypatch.setattr("discovery.executors.make_executor", lambda *_, one=executor, **__: one)
        assert says(*line)[0] == expected
    assert (len(first.jobs), len(second.jobs)) == (3, 2)
