"""Comparing on a suite: which tasks, what is recorded, the store, the verb."""

import csv
import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tomli_w

from discovery.app import api
from discovery.app.command_line import main
from discovery.app.evaluation import Plan, evaluate_plan
from discovery.core.errors import BadInput
from discovery.core.suites import Reference, Suite, fingerprint, load_suite
from discovery.judging.suite import Chosen, chosen_tasks, store, train_on_suite
from discovery.results.subjects import subjects
from discovery.store.ledger import Ledger
from tests.judging.fakes import ENTRIES, Pretender, entry

SUITE = Suite("hand", "", ENTRIES[:1], ENTRIES[1:2], ENTRIES[2:])

# On a suite


def chosen(*names: str, test: bool = False) -> Chosen:
    return chosen_tasks(SUITE, names, test)


def test_which_tasks() -> None:
    assert [task.name for task in chosen().tasks] == ["one", "two"]
    assert [task.name for task in chosen(test=True).tasks] == ["one", "two", "three"]
    assert (chosen("two").hidden, chosen("three", test=True).hidden) == ((), ("three",))
    with pytest.raises(BadInput, match="three is held out by suite hand, for the last word; --test"):
        chosen("three")
    with pytest.raises(BadInput, match="no task of suite hand named 'on'; did you mean one"):
        chosen("on")
    with pytest.raises(BadInput, match="has only held-out tasks"):
        chosen_tasks(Suite("last", "", (), (), ENTRIES))


def test_tasks_held_out_by_a_run(finished_run: SimpleNamespace) -> None:
    """The run was searched on "cart" and holds out "fast cart"."""
    mine = Suite("mine", "", (entry("fast cart", 0, 1),), (), (entry("cart", 0, 1), entry("new", 0, 1)))
    with pytest.raises(BadInput, match=r"fast cart is held out by .*tiny"):
        chosen_tasks(mine, runs=[finished_run.folder])
    found = chosen_tasks(mine, test=True, runs=[finished_run.folder])
    assert found.runs == {finished_run.folder: ("fast cart", "new")}
    assert found.notes == ("cart is held out by the suite, but tiny was searched on it.",)


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


def test_an_interrupted_comparison_goes_on(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        train_on_suite(SUITE, chosen(), subjects(["ppo"]), 4, Pretender(breaks_after=5), tmp_path / "kept")
    train_on_suite(SUITE, chosen(), subjects(["ppo"]), 4, rest := Pretender(), tmp_path / "kept")
    assert len(rest.jobs) == 3


def test_every_look_at_held_out_tasks_is_recorded(tmp_path: Path) -> None:
    folder = tmp_path / "kept"
    for _ in range(2):
        train_on_suite(SUITE, chosen(test=True), subjects(["ppo"]), 2, Pretender(), folder, command="c")
    train_on_suite(SUITE, chosen(), subjects(["ppo"]), 2, Pretender(), folder)
    with Ledger.open(folder) as ledger:
        looks = [(row["command"], row["subjects"], row["tasks"], row["seeds"]) for row in ledger.tests()]
    assert looks == [("c", ["ppo"], ["three"], 2)] * 2


def test_looks_are_recorded_in_runs_too(finished_run: SimpleNamespace, tmp_path: Path) -> None:
    """Whether `compare` or `evaluate` looks; the run was searched on "cart", which the suite holds out."""
    folder = shutil.copytree(finished_run.folder, tmp_path / "tiny")
    mine = Suite("mine", "", (entry("fast cart", 0, 1),), (), (entry("cart", 0, 1), entry("new", 0, 1)))
    picked, who = chosen_tasks(mine, test=True, runs=[folder]), subjects([str(folder), "ppo"])
    found = train_on_suite(mine, picked, who, 2, Pretender(), None, command="one")
    assert picked.notes[0] in found.verdicts()
    evaluate_plan(Plan([str(folder)], picked.tasks, picked.runs, 2, 0, "two", picked.hidden), Pretender())
    with Ledger.open(folder) as ledger:
        looks = [(row["command"].split()[-1], row["tasks"]) for row in ledger.tests()]
    assert looks == [("one", ["fast cart", "new"]), ("two", ["fast cart", "new"])]


def test_nothing_is_written_for_bad_input(tmp_path: Path) -> None:
    folder = tmp_path / "kept"
    for sweeps, first_seed in (({"gamma": (2.0,)}, 0), ({}, -1), ({}, 9_999)):
        with pytest.raises(BadInput):
            train_on_suite(
                SUITE, chosen(), subjects(["ppo"]), 2, Pretender(), folder,
                first_seed=first_seed, sweeps=sweeps,
            )  # fmt: skip
    assert not folder.exists()


def test_a_store_that_cannot_be_made_is_bad_input(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    words = "cannot be kept in .*file/compared: .*; choose another folder with --output"
    with pytest.raises(BadInput, match=words), store(tmp_path / "file" / "compared"):
        pass


def test_a_run_is_no_store(finished_run: SimpleNamespace) -> None:
    with pytest.raises(BadInput, match="is the run of a search"), store(finished_run.folder):
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

Says = Callable[..., tuple[int, str, str]]


@pytest.fixture
def says(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Says:
    """Runs a command line in a folder with a suite and its references: exit code, output, errors."""
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

    def run(*words: object) -> tuple[int, str, str]:
        capsys.readouterr()
        code = main([str(word) for word in words])
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


def events(out: str, kind: str) -> list[dict]:
    return [event for event in map(json.loads, out.splitlines()) if event["event"] == kind]


@pytest.fixture
def pretending(monkeypatch: pytest.MonkeyPatch) -> None:
    """No command trains anything; see `Pretender`."""
    monkeypatch.setattr("discovery.executors.make_executor", lambda *_, **__: Pretender())


COMPARE = ("compare", "ppo", "ppo[learning_rate=1]", "--suite", "tiny.toml", "--seeds", 4)


def test_compare_on_the_command_line(says: Says, pretending: None) -> None:
    code, out, err = says(*COMPARE)
    assert (code, err) == (0, "")
    assert "Catch-bsuite" in out and "ppo[learning_rate=1] against ppo" in out and "runs/compare-tiny" in out
    assert Path("runs/compare-tiny/comparison.json").is_file()
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


def test_evaluate_on_a_suite(says: Says, pretending: None) -> None:
    words = ("evaluate", "ppo", "--suite", "tiny.toml", "--seeds", 2, "--name", "aside")
    code, out, _ = says(*words, "--csv", "table.csv", "--sweep", "clip=0.5,1")
    assert code == 0 and "Robustness to clip" in out and "Left out" not in out
    code, out, _ = says(*words[:2], "dpo", *words[2:], "--sweep", "dpo_alpha=0.5,1")
    assert code == 0 and "Left out" in out
    lines = list(csv.DictReader(io.StringIO(Path("table.csv").read_text())))
    assert [(line["n"], line["variant"]) for line in lines] == [("2", ""), ("2", "clip x 0.5")]
    assert all(float(line["mean low"]) <= float(line["mean"]) <= float(line["mean high"]) for line in lines)
    out = says(*words, "--json")[1]
    assert events(out, "started")[0]["finished_before"] == 2
    assert says("evaluate", "ppo", "--suite", "tiny.toml", "--seeds", 2, "--test")[0] == 0
    assert [path.name for path in Path("runs").iterdir()] == ["aside"]  # nothing is recorded without a name


def test_the_api_is_the_verb(says: Says) -> None:
    executor = Pretender()
    found = api.compare_suite(["ppo", "dpo"], "tiny.toml", seeds=4, executor=executor, name="mine")
    again = api.compare_suite(["ppo"], "tiny.toml", seeds=4, executor=executor, name="mine")
    assert len(executor.jobs) == 8
    np.testing.assert_array_equal(found.settled("ppo", "Catch-bsuite"), again.settled("ppo", "Catch-bsuite"))
    assert Path("runs/mine/comparison.json").is_file()
    assert len(found.frame()) == 2 and str(found)


@pytest.mark.slow
def test_compare_trains(says: Says) -> None:
    inline = ("--executor", "inline", "--agents-per-call", 4, "--json")
    (first,) = events(says(*COMPARE, *inline)[1], "comparison")
    shutil.rmtree("runs")
    code, out, _ = says(*COMPARE, *inline)
    (again,) = events(out, "comparison")
    assert code == 0 and first == again
    scores = [row["scores"] for row in first["rows"]]
    assert np.isfinite(scores).all() and scores[0] != scores[1]


BAD = {
    "compare --suite tiny.toml": "name at least one run",
    "compare ppo": "--suite is required",
    "compare ppo --suite clasic": "did you mean classic",
    "compare ppo --suite tiny.toml --seeds 0": "seeds must be at least 1, got 0",
    "compare ppo --suite tiny.toml --tasks late": "late is held out by suite tiny",
    "compare ppo --suite tiny.toml --sweep clip": "a sweep is given as NAME=FACTOR",
    "compare ppo --suite tiny.toml --sweep clip=1,2 --sweep clip=3": "--sweep clip was given twice",
    "compare ppo --suite tiny.toml --name a/b": "--name",
    "compare ppo[clip=0.1 --suite tiny.toml": "options of a subject are given as",
    "compare ppo here.py --suite tiny.toml": "there is no file here.py",
    "compare ppo --suite tiny.toml --executor threads": "no executor named 'threads'",
    "evaluate ppo --suite tiny.toml --tasks late": "late is held out by suite tiny",
    "evaluate ppo --suite tiny.toml --sweep gamma=2": "number gamma must be between 0 and 1",
}


@pytest.mark.parametrize("line", BAD)
def test_bad_input_is_one_clear_line(line: str, says: Says) -> None:
    code, out, err = says(*line.split())
    assert (code, out) == (2, "")
    assert BAD[line] in err and err.startswith("error: ") and err.count("\n") == 1
    assert not Path("runs").exists()


def test_ctrl_c_says_how_to_go_on(says: Says, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("discovery.executors.make_executor", lambda *_, **__: Pretender(breaks_after=3))
    code, _, err = says("compare", "ppo", "--suite", "tiny.toml", "--seeds", 5)
    assert code == 130
    assert "Stopped" in err
    with Ledger.open("runs/compare-tiny") as ledger:
        assert len(ledger.reports()) == 3
