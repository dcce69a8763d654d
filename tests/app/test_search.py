"""Verbs that search: search, resume, repeat; what they say, write, and refuse."""

import json
import re
import shlex
import shutil
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest

from discovery.app.commands import session
from discovery.app.commands.resume import moved_between
from discovery.app.commands.where import Where, elsewhere
from discovery.core.config.search import SearchConfig
from discovery.core.errors import BadInput
from discovery.core.toml import load
from discovery.store.ledger import Ledger
from discovery.store.run import Run
from tests.app.support import FLOWING, Says, at, change, differences, tree

CATCH = "g1/p2/search/Catch/s0"


def test_dry_run_prints_a_config_that_can_be_run(says: Says, home: Path, tmp_path: Path) -> None:
    code, out, _ = says(
        "search", "--dry-run", home / "tiny.toml", "--output", tmp_path, "--meta.population", 6,
        "--tasks.0.total-steps", "1_600", "--tasks.0.numbers", "gamma=0.9", "--algorithm-options", "xi=1e-5",
    )  # fmt: skip
    assert code == 0 and not list(tmp_path.iterdir())
    (tmp_path / "again.toml").write_text(out)
    config = load(tmp_path / "again.toml")
    assert config.meta.population == 6 and config.tasks[0].total_steps == 1600
    assert config.tasks[0].numbers == {"learning_rate": 0.01, "gamma": 0.9}
    assert config.algorithm_options == {"width": 4, "xi": 1e-5}
    again = says("search", tmp_path / "again.toml", "--output", tmp_path, "--dry-run", "--json")[1]
    plan = json.loads(again)
    # 6 generations x 6 proposals, and 2 selection seeds in generations 0, 2, 4 and after the last
    assert (plan["trainings"], plan["steps"]) == (44, 70400)
    assert plan["seconds"] is None and plan["config"]["meta"]["population"] == 6


def test_dry_run_with_options_and_varied_physics_of_an_environment(says: Says, home: Path) -> None:
    plan = ("search", home / "tiny.toml", *at(home), "--dry-run", "--tasks.0.setup.environment")
    out = says(*plan, "CartPole-v1", "--tasks.0.setup.vary", "gravity=5:15", "length=0.3:0.7")[1]
    varied = tomllib.loads(out)["tasks"][0]["setup"]["vary"]
    assert varied == {"gravity": [5.0, 15.0], "length": [0.3, 0.7]}
    out = says(*plan, "grid/small", "--tasks.0.setup.options", "tabular=false")[1]
    assert tomllib.loads(out)["tasks"][0]["setup"]["options"] == {"tabular": False}
    for arguments, word in (
        (("CartPole-v1", "--tasks.0.setup.vary", "gravty=5:15"), "gravty"),
        (("CartPole-v1", "--tasks.0.setup.vary", "gravity=5"), "LOWEST:HIGHEST"),
        (("grid/small", "--tasks.0.setup.options", "tabula=true"), "tabular"),
        (("grid/smal",), "small"),
    ):
        code, _, err = says(*plan, *arguments)
        assert code == 2 and word in err


def test_search_says_how_it_goes(says: Says, home: Path) -> None:
    search = ("search", "--seed", 3, home / "tiny.toml", *at(home), "--generations", 2)
    code, out, err = says(*search, "--name", "two")
    folder = home / "runs" / "two"
    assert (code, err) == (0, "") and str(folder) in out
    assert (load(folder / "config.toml").seed, load(folder / "config.toml").generations) == (3, 2)
    code, out, _ = says(*search, "--json")
    events = [json.loads(line) for line in out.splitlines()]
    assert [e["generation"] for e in events if e["event"] == "generation"] == [0, 1]
    assert (events[0]["event"], events[-1]["event"]) == ("run", "result")
    assert Path(events[-1]["run"]) == Path(events[0]["run"]) and "-tiny-" in events[0]["run"]


def test_resume_leaves_a_run_alone_that_is_finished_or_being_written(says: Says, home: Path) -> None:
    before = tree(home / "runs" / "done")
    assert says("resume", "done", *at(home))[0] == 0
    assert tree(home / "runs" / "done") == before
    with Ledger.open(home / "runs" / "done", write=True):
        code, _, err = says("resume", "done", *at(home))
        assert code == 1 and err.count("\n") == 1
        assert re.search(r"^done .* running$", says("list", *at(home))[1], re.MULTILINE)


def test_resume_extends(says: Says, home: Path) -> None:
    search = ("search", home / "tiny.toml", *at(home), "--generations", 4, "--name", "longer", "--quiet")
    assert says(*search)[0] == 0
    assert says("resume", "longer", *at(home), "--generations", 3)[0] == 2
    nowhere = ("--executor", "ray", "--address", "127.0.0.1:1")
    assert says("resume", "longer", *at(home), "--generations", 9, *nowhere)[0] == 2
    assert load(home / "runs" / "longer" / "config.toml").generations == 4
    assert says("resume", "longer", *at(home), "--generations", 6, "--quiet") == (0, "", "")
    assert load(home / "runs" / "longer" / "config.toml").generations == 6
    assert differences(home / "runs" / "longer", home / "runs" / "done") == []


def test_resume_and_repeat_warn_of_other_devices_and_versions(says: Says, home: Path) -> None:
    moved = home / "moved" / "done"
    shutil.copytree(home / "runs" / "done", moved)
    change(moved, "UPDATE evaluations SET device = 'NVIDIA H200' WHERE generation < 2")
    assert says("resume", "done", "--output", moved.parent, "--quiet") == (0, "", "")  # it was on both
    change(moved, "UPDATE evaluations SET device = 'NVIDIA H200'")
    code, _, err = says("resume", "done", "--output", moved.parent, "--quiet")
    assert code == 0 and "NVIDIA H200" in err
    change(moved, "UPDATE evaluations SET device = 'cpu'")
    change(moved, "UPDATE meta SET value = '0.9.0' WHERE key = 'jax'")
    change(moved, "UPDATE meta SET value = 'abc' WHERE key IN ('source', 'commit')")
    for verb in (("resume", "done"), ("repeat", "done", "--name", "again")):
        code, _, err = says(*verb, "--output", moved.parent, "--quiet")
        assert code == 0 and "0.9.0" in err and "abc" in err
    assert moved_between({"cpu"}, accelerated=True)
    assert moved_between({"H200"}, True) == moved_between(set(), True) == ""


def test_a_run_moves_between_executors_and_takes_along_what_fits() -> None:
    config = SearchConfig(executor="ray", address="head:6379", gpu_workers=4, gpus_per_worker=0.5)
    alone = replace(config, executor="processes", address="", gpu_workers=0, gpus_per_worker=1.0)
    assert elsewhere(config, Where("processes")) == alone
    assert elsewhere(config, Where(workers=2)) == replace(config, workers=2)
    assert elsewhere(config, Where(gpu_workers=0)) == replace(config, gpu_workers=0, gpus_per_worker=1.0)
    config = SearchConfig(workers=4)
    moved = replace(config, executor="ray", workers=None, gpu_workers=2, gpus_per_worker=0.5)
    assert elsewhere(config, Where("ray", gpu_workers=2, gpus_per_worker=0.5)) == moved
    both = replace(config, executor="ray", workers=3, gpu_workers=2)
    assert elsewhere(config, Where("ray", 3, gpu_workers=2)) == both
    assert elsewhere(both, Where(gpu_workers=1)) == replace(both, workers=None, gpu_workers=1)
    with pytest.raises(BadInput, match="gpu_workers"):
        elsewhere(config, Where(gpu_workers=2))


def test_a_run_is_searched_again_or_repeated_and_all_numbers_are_compared(says: Says, home: Path) -> None:
    config = home / "runs" / "done" / "config.toml"
    assert says("search", config, *at(home), "--name", "again", "--quiet") == (0, "", "")
    assert differences(home / "runs" / "again", home / "runs" / "done") == []
    assert says("search", config, *at(home), "--name", "done")[0] == 2
    assert says("repeat", "done", *at(home), "--name", "once-more")[0] == 0
    assert differences(home / "runs" / "once-more", home / "runs" / "done") == []
    shutil.copytree(home / "runs" / "done", home / "changed" / "done")
    change(home / "changed" / "done", f"UPDATE evaluations SET score = score + 1 WHERE id = '{CATCH}'")
    code, out, _ = says("repeat", "done", "--output", home / "changed", "--name", "once-more", "--json")
    said = json.loads(out.splitlines()[-1])
    assert code == 1 and (said["event"], said["count"]) == ("differences", 1)
    assert CATCH in said["differences"][0]


def test_a_repeat_that_is_interrupted_goes_on_and_compares(
    says: Says, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(session._Guard, "closed", interrupt)
        code, out, _ = says("repeat", "done", *at(home), "--name", "half")
    command = shlex.split(out.splitlines()[-1])
    assert code == 130 and command[:2] == ["discovery", "repeat"] and "half" in command
    assert says(*command[1:])[0] == 0
    assert differences(home / "runs" / "half", home / "runs" / "done") == []
    assert says("repeat", "done", *at(home), "--name", "done")[0] == 2  # itself
    config = load(home / "runs" / "done" / "config.toml")
    Run.create(replace(config, seed=9), home / "runs", name="other").close()
    assert says("repeat", "done", *at(home), "--name", "other")[0] == 2


@pytest.mark.slow
def test_repeat_learns_in_the_order_of_an_asynchronous_run(says: Says, home: Path) -> None:
    flags = [*FLOWING, "--executor", "processes", "--workers", "2", "--quiet"]
    folder = home / "runs" / "flowing"
    assert says("search", home / "tiny.toml", *at(home), "--name", "flowing", *flags)[0] == 0
    assert says("repeat", "flowing", *at(home), "--name", "flowing2", "--executor", "inline")[0] == 0
    assert differences(folder, home / "runs" / "flowing2") == []
    change(folder, "DELETE FROM generations WHERE generation = 5")
    code, _, err = says("repeat", "flowing", *at(home))
    assert code == 2 and "discovery resume" in err
    with Run.open(folder, write=True):
        assert says("repeat", "flowing", *at(home))[0] == 1  # it is running
    (folder / "ledger.sqlite").write_bytes(b"nonsense")
    assert says("repeat", "flowing", *at(home))[0] == 1


def test_search_and_evaluate_end_when_every_training_fails(
    says: Says, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def explode(*_: object) -> None:
        raise RuntimeError("no luck")

    search = ("search", home / "tiny.toml", *at(home), "--generations", 3)
    code, _, err = says(*search, "--name", "wild", "--tasks.0.numbers", "learning_rate=1e38")
    assert code == 1 and "diverged" in err and err.count("\n") == 1
    assert "1/3" in says("list", *at(home))[1]  # once all of a generation had
    code, out, err = says("evaluate", "wild@initial", *at(home), "--seeds", 2)
    assert (code, err) == (1, "") and "diverged" in out
    monkeypatch.setattr("discovery.inner.compile.run_chunk", explode)
    code, _, err = says(*search, "--name", "hopeless", "--meta.population", 20)
    assert code == 1 and "no luck" in err
    assert "16 failed" in says("show", "hopeless", *at(home))[1]  # before the end of the generation
