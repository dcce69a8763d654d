"""The command line: every verb with good and bad input, exit codes, Ctrl-C, kill -9."""

import contextlib
import gc
import json
import os
import random
import re
import shlex
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

import objectives
from benchmarks.executors import family
from discovery.app.command_line import VERBS, main
from discovery.app.commands import doctor, session
from discovery.app.commands.catalog import actions_text, known, shape_text
from discovery.app.commands.failure import interruptible, stop_if_interrupted
from discovery.app.commands.resume import moved_between
from discovery.app.commands.where import Where, elsewhere
from discovery.core import presets
from discovery.core.config.search import SearchConfig
from discovery.core.errors import BadInput
from discovery.core.toml import dumps, load
from discovery.inner import compile as compiled
from discovery.store.ledger import Ledger
from discovery.store.rows import same_numbers
from discovery.store.run import Run

ROOT = Path(__file__).parents[2]

TINY = """
generations = 6
seeds = 1
selection_seeds = 2
executor = "inline"
agents_per_call = 4
algorithm_options = { width = 4 }

[meta]
population = 4
mean_every = 2

[[tasks]]
name = "Catch"
total_steps = 96
numbers = { learning_rate = 0.01 }

[tasks.setup]
environment = "Catch-bsuite"
n_envs = 2
n_steps = 8
n_epochs = 1
n_minibatches = 1
hidden = [8]
curve_points = 2
"""

FLOWING = ["--meta.strategy", "PBE", "--meta.asynchronous", "--agents-per-call", "1"]

Says = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder to work in, with a config and a finished run."""
    folder = tmp_path_factory.mktemp("home")
    (folder / "tiny.toml").write_text(TINY)
    assert main(["search", str(folder / "tiny.toml"), *at(folder), "--name", "done", "--quiet"]) == 0
    return folder


@pytest.fixture
def says(capfd: pytest.CaptureFixture[str]) -> Says:
    """Runs a verb: exit code, standard output, standard error."""

    def run(*argv: object) -> tuple[int, str, str]:
        capfd.readouterr()
        code = main([str(argument) for argument in argv])
        out, err = capfd.readouterr()
        return code, out, err

    return run


def at(home: Path) -> list[str]:
    return ["--output", str(home / "runs")]


def tree(folder: Path) -> set[str]:
    """What a folder holds, SQLite's own files apart."""
    paths = {str(path.relative_to(folder)) for path in folder.rglob("*")}
    return {path for path in paths if not path.endswith(("-wal", "-shm"))}


# What anybody types first -------------------------------------------------------------------------


def test_usage_names_every_verb(says: Says) -> None:
    code, out, err = says("--help")
    assert (code, err) == (0, "")
    assert all(re.search(rf"^  {verb} ", out, re.MULTILINE) for verb in VERBS)
    assert says("help")[:2] == says("-h")[:2] == (0, out)
    assert says()[0] == 2


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help(verb: str, says: Says) -> None:
    code, out, err = says(verb, "--help")
    assert (code, err) == (0, "")
    assert out.startswith(f"usage: discovery {verb}")
    assert says("help", verb)[1] == out


def test_version(says: Says) -> None:
    code, out, _ = says("--version")
    assert code == 0 and re.fullmatch(r"rl-discovery \d+\.\d+\.\d+\n", out)


def test_search_help_shows_all_settings_with_the_values_of_the_preset(says: Says) -> None:
    _, out, _ = says("search", "lpo-multitask", "--help")
    for flag in (
        "--seed",
        "--generations",
        "--output",
        "--executor",
        "--workers",
        "--name",
        "--quiet",
        "--json",
    ):
        assert f"{flag} " in out or f"{flag}," in out
    for flag in (
        "--meta.population",
        "--tasks.3.setup.n-envs",
        "--held-out.1.numbers",
        "--algorithm-options",
    ):
        assert flag in out
    assert "width=8)" in out


# Bad input: one line, exit code 2, nothing written -------------------------------------------------

BAD = {
    "serch": "did you mean search",
    "search": "preset",
    "search lpo-cach": "did you mean lpo-catch",
    "search nosuch.toml": "nosuch.toml does not exist",
    "search lpo-catch --generatins 3": "did you mean --generations",
    "search lpo-catch --nope": "there is no option --nope; see `discovery search --help`",
    "search lpo-catch --algorithm-options width=a": "'width' of algorithm 'lpo' must be a whole number, got",
    "doctor --rya": "did you mean --ray?",
    "doctor --no-rya": "did you mean --no-ray?",
    "resume nope --gpu-workers x": "--gpu-workers: a whole number is wanted, got 'x'",
    "search lpo-catch --population 8": "did you mean --meta.population",
    "search lpo-catch --generations x": "--generations: a whole number is wanted, got 'x'",
    "search lpo-catch --generations": "--generations needs a value",
    "search lpo-catch --generations -1": "generations must be at least 0, got -1",
    "search lpo-catch --seeds 0": "seeds must be at least 1, got 0",
    "search lpo-catch --workers zwei": "--workers: a whole number is wanted, got 'zwei'",
    "search lpo-catch more": "unexpected argument 'more'",
    "search lpo-catch --meta.strategy openes": "did you mean Open_ES?",
    "search lpo-catch --meta.strategy SNES": "`--meta.sigma-decay None` unsets it",
    "search lpo-catch --meta.population 3": "population must be even for Open_ES",
    "search lpo-catch --meta.optimizer adm": "did you mean adam",
    "search lpo-catch --tasks.0.numbers.gamma 0.9": "`--tasks.0.numbers gamma=VALUE`",
    "search lpo-catch --tasks.0.numbers gamma=x": "gamma: a number is wanted, got 'x'",
    "search lpo-catch --tasks.0.setup.hidden a": "'a' cannot be read",
    "search lpo-catch --tasks.0.total-steps 5": "must be at least one rollout (256 steps), got 5",
    "search lpo-catch --tasks.0.total-steps 4e99": "must be at most 2147483647, got 4.000000000e+99",
    f"search lpo-catch --tasks.0.total-steps {'1' * 400}": "must be at most 2147483647, got 1.111111111e+399",
    "search lpo-catch --tasks.0.total-steps 1e9 --tasks.0.setup.curve-points 1000": "be at most 549755648",
    "search lpo-catch --executor ry": "there is no executor named 'ry'",
    "search lpo-catch --algorithm-options widht=4": "has no option 'widht'; did you mean width, of anchored,",
    "search lpo-catch --name a/b": "a run's name has letters",
    "resume": "RUN is missing",
    "resume nope": "there is no run 'nope'",
    "resume .": ". is not a run",
    "repeat": "RUN is missing",
    "repeat nope": "there is no run 'nope'",
    "show nope": "there is no run 'nope'",
    "list --output nope": "there is no folder nope",
    "plot nope": "there is no run 'nope'",
    "export nope --to torch": "there are: jax, optax, purejaxrl, rejax",
    "search lpo-catch --dry-run --agents-per-call 1e9": "agents_per_call must be at most 1000000, got 1",
    "search lpo-catch --dry-run --meta.population 1e12": "population must be at most 1000000, got 1",
    "search lpo-catch --dry-run --seed 1e30": "seed must be a whole number of 64 bits",
    "search lpo-catch --dry-run --timeout nan": "timeout must be positive, got nan",
    "search lpo-catch --dry-run --executor inline --workers 4": "is one process, got workers=4",
    "evaluate": "name at least one run",
    "evaluate ppo": "--tasks is required",
    "evaluate ppoo": "did you mean ppo",
    "evaluate ppo --tasks Catch-bsuite --seeds 0": "seeds must be at least 1, got 0",
    "evaluate ppo --tasks Catc": "did you mean Catch-bsuite",
    "presets nope": "there is no preset named 'nope'",
    "envs CartPol": "did you mean CartPole-v1?",
    "objectives lpoo": "did you mean lpo",
    "doctor now": "unexpected argument 'now'",
    "quickstart --preset nope": "there is no preset named 'nope'",
    "quickstart --seeds 0": "seeds must be at least 1, got 0",
    "quickstart --generations 0": "generations must be at least 1, got 0",
    "quickstart --workers 0": "workers must be at least 1, got 0",
    "evaluate ppo --tasks Catch-bsuite --workers 0": "workers must be at least 1, got 0",
    "evaluate ppo --tasks Catch-bsuite --agents-per-call 0": "agents_per_call must be at least 1, got 0",
}


@pytest.mark.parametrize("line", BAD)
def test_bad_input_is_one_clear_line(
    line: str, says: Says, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, err = says(*line.split())
    assert code == 2
    assert BAD[line] in err and err.startswith("error: ") and err.count("\n") == 1
    assert out == "" and not list(tmp_path.iterdir())


BAD_CONFIGS = {
    ("population = 4", "populaton = 4"): "did you mean meta.population",
    ("population = 4", 'population = "4"'): "meta.population must be a whole number, got '4'",
    ("[meta]", "[meta"): "is no valid TOML",
    ("Catch-bsuite", "Catsh-bsuite"): "nearest: Catch-bsuite",
    ("Catch-bsuite", "no.such:place"): "cannot import module 'no.such'",
    ("width = 4", "widht = 4"): "did you mean width, of anchored, temporal, width",
    ("width = 4", 'width = "big"'): "'width' of algorithm 'lpo' must be a whole number, got 'big'",
    ("width = 4", "width = 0"): "must be positive, got width=0",
    ("learning_rate", "learnin_rate"): "does not read learnin_rate",
    (
        "population = 4",
        'population = 4\ntask_normalization = "reference"',
    ): "reference return, which is missing",
    ("generations = 6", 'generations = 6\nalgorithm = "lpoo"'): "did you mean lpo",
    ("{ width = 4 }", '{}\nalgorithm = "ppo"'): "there is nothing to search",
    ("n_steps = 8", "n_steps = 8\nactivation = 'gelu'"): "there is no value of tasks[0].setup.activation",
}


@pytest.mark.parametrize("change", BAD_CONFIGS, ids=lambda change: change[1][:30])
def test_bad_config_is_told_before_a_run_is_made(
    change: tuple[str, str], says: Says, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("bad.toml").write_text(TINY.replace(*change))
    code, out, err = says("search", "bad.toml")
    assert (code, out) == (2, "")
    assert BAD_CONFIGS[change] in err and err.count("\n") == 1
    assert tree(tmp_path) == {"bad.toml"}


def test_own_code_that_raises_is_told_before_a_run_is_made(
    says: Says, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    Path("mine.py").write_text(
        "from environments.make import make\n"
        "def raises():\n    raise RuntimeError('not\\ntoday')\n"
        "def step(*_):\n    raise IndexError('in step')\n"
        "def steps_badly():\n    return make('Catch-bsuite')._replace(step=step)\n"
    )
    for function, words in (
        ("raises", "raises RuntimeError: not today"),
        ("steps_badly", "IndexError: in step"),
    ):
        Path("own.toml").write_text(TINY.replace("Catch-bsuite", f"mine:{function}"))
        code, _, err = says("search", "own.toml")
        assert code == 2 and words in err and err.count("\n") == 1
    assert not Path("runs").exists()


def test_output_that_cannot_be_written(says: Says, home: Path) -> None:
    code, _, err = says("search", home / "tiny.toml", "--output", home / "tiny.toml")
    assert code == 2 and "choose another folder with --output" in err and err.count("\n") == 1


def test_unexpected_error_is_one_line_and_a_file(
    says: Says, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("a\nmistake of ours")

    monkeypatch.setattr("discovery.search.loop.choose", broken)
    code, _, err = says("resume", home / "runs" / "done")
    assert code == 1 and err.count("\n") == 1
    assert "unexpected ZeroDivisionError: a mistake of ours" in err and "discovery resume" in err
    trace = re.search(r"traceback is in (\S+);", err)
    assert trace and "in broken" in Path(trace[1]).read_text()
    Path(trace[1]).unlink()
    monkeypatch.setenv("DISCOVERY_DEBUG", "1")
    assert "Traceback" in says("resume", home / "runs" / "done")[2]
    for path in (home / "runs" / "done").glob("traceback-*"):
        path.unlink()


# Search, resume -----------------------------------------------------------------------------------


def test_dry_run_prints_a_config_that_can_be_run(says: Says, home: Path, tmp_path: Path) -> None:
    code, out, _ = says(
        "search", "--dry-run", home / "tiny.toml", "--output", tmp_path, "--meta.population", 6,
        "--tasks.0.total-steps", "1_600", "--tasks.0.numbers", "gamma=0.9", "--algorithm-options", "xi=1e-5",
    )  # fmt: skip
    assert code == 0 and not list(tmp_path.iterdir())
    config = load(_written(tmp_path / "again.toml", out))
    assert config.meta.population == 6 and config.tasks[0].total_steps == 1600
    assert config.tasks[0].numbers == {"learning_rate": 0.01, "gamma": 0.9}
    assert config.algorithm_options == {"width": 4, "xi": 1e-5}
    # 6 generations x 6 proposals, and 2 selection seeds in generations 0, 2, 4 and after the last
    assert "# 44 trainings, 70.4k environment steps in all" in out
    assert "Catch: 132k steps/s (measured on another machine" in out
    again = says("search", tmp_path / "again.toml", "--output", tmp_path, "--dry-run", "--json")[1]
    plan = json.loads(again)
    assert (plan["trainings"], plan["steps"]) == (44, 70400)
    assert plan["seconds"] > 0 and plan["config"]["meta"]["population"] == 6


def _written(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_dry_run_of_every_preset(says: Says, tmp_path: Path) -> None:
    for name in presets.names():
        code, out, err = says("search", name, "--dry-run", "--output", tmp_path)
        assert (code, err) == (0, ""), name
        assert tomllib.loads(out)["tasks"] and "environment steps in all" in out


def test_dry_run_takes_rates_from_earlier_runs(
    says: Says, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = home / "runs" / "done"
    monkeypatch.setattr("discovery.app.commands.rates.LEAST_SECONDS", 0.0)
    _, out, _ = says("search", home / "tiny.toml", "--dry-run", *at(home))
    assert f"measured in {folder}" in out


def test_dry_run_knows_how_fast_presets_are(says: Says, tmp_path: Path) -> None:
    """Whatever else is changed, but for the algorithm and the setup."""
    for changed, same in ((("--generations", 3), True), (("--algorithm-options", "width=33"), False)):
        _, out, _ = says("search", "lpg-grid", "--dry-run", "--output", tmp_path, *changed)
        assert ("of preset lpg-grid" in out) is same


def test_search_tells_its_story(says: Says, home: Path) -> None:
    code, out, err = says(
        "search", "--seed", 3, home / "tiny.toml", *at(home), "--generations", 2, "--name", "two"
    )
    assert (code, err) == (0, "")
    lines = out.splitlines()
    folder = home / "runs" / "two"
    assert lines[0] == f"{folder}: lpo(width=4) on Catch, Open_ES, population 4, seed 3"
    assert [line.split()[0] for line in lines[2:5]] == ["0/2", "1/2", "2/2"]
    assert f"  discovery evaluate {folder} {folder}@initial ppo dpo --seeds 32" in lines
    config = load(folder / "config.toml")
    assert (config.seed, config.generations) == (3, 2)


def test_search_as_json(says: Says, home: Path) -> None:
    _, out, _ = says(
        "search", home / "tiny.toml", *at(home), "--generations", 2, "--json", "--meta.population", 6
    )
    events = [json.loads(line) for line in out.splitlines()]
    kinds = [event["event"] for event in events]
    again = ["started"]  # the means that are still in question
    assert kinds == ["run", *["started", "generation"] * 2, "started", *again, "final", "result"]
    assert [event["generation"] for event in events if event["event"] == "started"] == [0, 1, 2, 2]
    assert events[0]["generations"] == 2 and events[-1]["run"] == events[0]["run"]
    name = Path(events[0]["run"]).name
    assert re.fullmatch(r"\d{4}-\d\d-\d\d-tiny-[0-9a-f]{6}", name)


def test_a_run_is_a_config_to_search_again(says: Says, home: Path) -> None:
    config = home / "runs" / "done" / "config.toml"
    assert says("search", config, *at(home), "--name", "again", "--quiet") == (0, "", "")
    assert differences(home / "runs" / "again", home / "runs" / "done") == []


def test_names_are_taken_once(says: Says, home: Path) -> None:
    code, _, err = says("search", home / "tiny.toml", *at(home), "--name", "done")
    assert code == 2 and "exists already" in err


def test_resume_of_a_finished_run_says_what_it_found(says: Says, home: Path) -> None:
    before = tree(home / "runs" / "done")
    code, out, _ = says("resume", "done", *at(home))
    assert code == 0 and "Found: generation" in out
    assert tree(home / "runs" / "done") == before


def test_resume_extends(says: Says, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert (
        says("search", home / "tiny.toml", *at(home), "--generations", 4, "--name", "longer", "--quiet")[0]
        == 0
    )
    code, _, err = says("resume", "longer", *at(home), "--generations", 3)
    assert code == 2 and "can be extended but not cut" in err
    with monkeypatch.context() as patch:
        patch.setitem(objectives.FACTORIES, "lpo", "nowhere:lpo")
        compiled.build_algorithm.cache_clear()
        code, _, err = says("resume", "longer", *at(home), "--generations", 9)
        assert code == 2 and "cannot be imported" in err
    nowhere = ("--executor", "ray", "--address", "127.0.0.1:1")
    code, _, err = says("resume", "longer", *at(home), "--generations", 9, *nowhere)
    assert code == 2 and "no Ray cluster can be joined" in err
    assert load(home / "runs" / "longer" / "config.toml").generations == 4
    assert says("resume", "longer", *at(home), "--generations", 6, "--quiet") == (0, "", "")
    assert load(home / "runs" / "longer" / "config.toml").generations == 6
    assert differences(home / "runs" / "longer", home / "runs" / "done") == []


def test_resume_warns_of_another_kind_of_device(says: Says, home: Path) -> None:
    shutil.copytree(home / "runs" / "done", home / "moved" / "done")
    with closing(sqlite3.connect(home / "moved" / "done" / "ledger.sqlite")) as db, db:
        db.execute("UPDATE evaluations SET device = 'NVIDIA H200' WHERE generation < 2")
    assert says("resume", "done", "--output", home / "moved", "--quiet") == (0, "", "")  # it was on both
    with closing(sqlite3.connect(home / "moved" / "done" / "ledger.sqlite")) as db, db:
        db.execute("UPDATE evaluations SET device = 'NVIDIA H200'")
    code, _, err = says("resume", "done", "--output", home / "moved", "--quiet")
    assert code == 0 and err.count("\n") == 1
    assert "were on NVIDIA H200 so far, and are on cores now" in err
    assert "on cores so far, and are on accelerators" in moved_between({"cpu"}, accelerated=True)
    assert moved_between({"cpu"}, False) == moved_between({"H200"}, True) == moved_between(set(), True) == ""


def test_a_run_of_a_cluster_goes_on_without_what_only_ray_has() -> None:
    config = SearchConfig(executor="ray", address="head:6379", gpu_workers=4, gpus_per_worker=0.5)
    alone = replace(config, executor="processes", address="", gpu_workers=0, gpus_per_worker=1.0)
    assert elsewhere(config, Where("processes")) == alone
    assert elsewhere(config, Where(workers=2)) == replace(config, workers=2)
    assert elsewhere(config, Where(gpu_workers=0)) == replace(config, gpu_workers=0, gpus_per_worker=1.0)


def test_a_run_moves_to_gpus_and_takes_no_cores_along() -> None:
    config = SearchConfig(workers=4)
    moved = replace(config, executor="ray", workers=None, gpu_workers=2, gpus_per_worker=0.5)
    assert elsewhere(config, Where("ray", gpu_workers=2, gpus_per_worker=0.5)) == moved
    both = replace(config, executor="ray", workers=3, gpu_workers=2)
    assert elsewhere(config, Where("ray", 3, gpu_workers=2)) == both
    assert elsewhere(both, Where(gpu_workers=1)) == replace(both, workers=None, gpu_workers=1)
    with pytest.raises(BadInput, match=r'gpu_workers is for the executor "ray"'):
        elsewhere(config, Where(gpu_workers=2))


def test_repeat_compares_all_numbers(says: Says, home: Path) -> None:
    code, out, err = says("repeat", "done", *at(home), "--name", "once-more")
    assert (code, err) == (0, "") and "row for row and bit for bit" in out
    assert differences(home / "runs" / "once-more", home / "runs" / "done") == []
    shutil.copytree(home / "runs" / "done", home / "changed" / "done")
    with closing(sqlite3.connect(home / "changed" / "done" / "ledger.sqlite")) as db, db:
        db.execute("UPDATE evaluations SET score = score + 1 WHERE id = 'g1/p2/search/Catch/s0'")
    code, out, _ = says("repeat", "done", "--output", home / "changed", "--name", "once-more", "--json")
    assert code == 1
    said = json.loads(out.splitlines()[-1])
    assert said["event"] == "differences" and said["count"] == 1
    assert "g1/p2/search/Catch/s0: score" in said["differences"][0]


def test_a_repeat_that_is_interrupted_goes_on_and_compares(
    says: Says, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(session._Guard, "closed", interrupt)
        code, out, _ = says("repeat", "done", *at(home), "--name", "half")
    command = out.splitlines()[-1].strip()
    assert code == 130 and command.startswith("discovery repeat ") and command.endswith("--name half")
    code, out, err = says(*shlex.split(command)[1:])
    assert (code, err) == (0, "") and "row for row and bit for bit" in out
    assert differences(home / "runs" / "half", home / "runs" / "done") == []
    code, _, err = says("repeat", "done", *at(home), "--name", "done")
    assert code == 2 and "cannot repeat itself" in err and err.count("\n") == 1
    config = load(home / "runs" / "done" / "config.toml")
    Run.create(replace(config, seed=9), home / "runs", name="other").close()
    code, _, err = says("repeat", "done", *at(home), "--name", "other")
    assert code == 2 and "does not repeat" in err and err.count("\n") == 1


@pytest.mark.slow
def test_repeat_learns_in_the_order_of_an_asynchronous_run(says: Says, home: Path) -> None:
    flags = [*FLOWING, "--executor", "processes", "--workers", "2", "--quiet"]
    code, _, err = says("search", home / "tiny.toml", *at(home), "--name", "flowing", *flags)
    assert (code, err) == (0, "")
    code, out, _ = says("repeat", "flowing", *at(home), "--name", "flowing2", "--executor", "inline")
    assert code == 0 and "row for row and bit for bit" in out
    with closing(sqlite3.connect(home / "runs" / "flowing" / "ledger.sqlite")) as db, db:
        db.execute("DELETE FROM generations WHERE generation = 5")
    code, _, err = says("repeat", "flowing", *at(home))
    assert code == 2 and "has not come to its end" in err and "discovery resume" in err
    with Run.open(home / "runs" / "flowing", write=True):
        code, _, err = says("repeat", "flowing", *at(home))
    assert code == 1 and "still running" in err and err.count("\n") == 1  # as `resume` has it
    (home / "runs" / "flowing" / "ledger.sqlite").write_bytes(b"nonsense")
    code, _, err = says("repeat", "flowing", *at(home))
    assert code == 1 and "damaged" in err


def test_resume_warns_of_another_version(says: Says, home: Path) -> None:
    shutil.copytree(home / "runs" / "done", home / "elsewhere" / "done")
    with closing(sqlite3.connect(home / "elsewhere" / "done" / "ledger.sqlite")) as db, db:
        db.execute("UPDATE meta SET value = '0.9.0' WHERE key = 'jax'")
        db.execute("UPDATE meta SET value = 'abc' WHERE key IN ('source', 'commit')")
        db.execute("UPDATE meta SET value = 'Z80' WHERE key = 'cpu'")
    code, _, err = says("resume", "done", "--output", home / "elsewhere", "--quiet")
    assert code == 0 and err.count("\n") == 1
    assert "warning: since this run began, cpu was Z80, is " in err and "jax was 0.9.0, is " in err
    assert "source was abc" in err and "commit" not in err
    code, _, err = says("repeat", "done", "--output", home / "elsewhere", "--name", "again", "--quiet")
    assert code == 0 and err.count("\n") == 1 and "done began, cpu was Z80, is " in err


def test_resume_refuses_a_run_that_is_being_written(says: Says, home: Path) -> None:
    with Ledger.open(home / "runs" / "done", write=True):
        code, _, err = says("resume", "done", *at(home))
        assert code == 1 and "is being written by process" in err and err.count("\n") == 1
        assert re.search(r"^done .* running$", says("list", *at(home))[1], re.MULTILINE)


def test_search_ends_when_every_training_diverges(says: Says, home: Path) -> None:
    search = ("search", home / "tiny.toml", *at(home), "--name", "wild", "--generations", 3)
    code, _, err = says(*search, "--tasks.0.numbers", "learning_rate=1e38")
    assert code == 1 and err.count("\n") == 1
    assert "all 6 trainings of generation 0 failed (diverged: something became non-finite" in err
    assert "1/3" in says("list", *at(home))[1]


def test_evaluate_says_that_everything_failed(says: Says, home: Path) -> None:
    (home / "wild.toml").write_text(TINY.replace("learning_rate = 0.01", "learning_rate = 1e38"))
    assert says("search", home / "wild.toml", *at(home), "--name", "hurt", "--quiet")[0] == 1
    code, out, err = says("evaluate", "hurt@initial", "ppo", *at(home), "--seeds", 2)
    assert (code, err) == (1, "") and "Traceback" not in out
    assert "All 2 trainings of ppo on Catch failed (diverged: something became non-finite" in out
    assert "not comparable" in out


def test_an_interrupt_that_a_callback_swallowed_is_not_lost() -> None:
    with interruptible():
        stop_if_interrupted()
        with contextlib.suppress(KeyboardInterrupt):  # as in a callback of the garbage collector
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(5.0)
        with pytest.raises(KeyboardInterrupt):
            stop_if_interrupted()
    with interruptible():
        stop_if_interrupted()


def test_an_interrupt_waits_until_the_garbage_is_collected(monkeypatch: pytest.MonkeyPatch) -> None:
    lost, phases = [], []

    def callback(phase: str, info: dict[str, int]) -> None:
        phases.append(phase)
        if phases == ["start"]:
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.1)

    monkeypatch.setattr(sys, "unraisablehook", lost.append)
    with interruptible():
        gc.callbacks.append(callback)
        try:
            with pytest.raises(KeyboardInterrupt):
                gc.collect()
                time.sleep(5.0)
        finally:
            gc.callbacks.remove(callback)
    assert phases[:2] == ["start", "stop"] and not lost


def test_search_ends_when_every_training_fails(
    says: Says, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def explode(*_: object) -> None:
        raise RuntimeError("no luck")

    monkeypatch.setattr("discovery.inner.compile.run_chunk", explode)
    code, _, err = says(
        "search", home / "tiny.toml", *at(home), "--name", "hopeless", "--meta.population", 20
    )
    assert code == 1 and "all of the first 16 trainings failed (failed: RuntimeError: no luck)" in err
    assert "16 failed; for example" in says("show", "hopeless", *at(home))[1]


def differences(a: Path, b: Path) -> list[str]:
    with Ledger.open(a) as left, Ledger.open(b) as right:
        return same_numbers(left, right)


# Looking, judging, taking away --------------------------------------------------------------------


def test_list_shows_every_run(says: Says, home: Path) -> None:
    code, out, _ = says("list", *at(home))
    assert code == 0
    assert re.search(r"^done +tiny +lpo\(width=4\) +6/6 +\S+ +done$", out, re.MULTILINE)
    facts = [json.loads(line) for line in says("list", *at(home), "--json")[1].splitlines()]
    one = next(fact for fact in facts if fact["run"].endswith("/done"))
    assert (one["closed"], one["generations"], one["state"]) == (6, 6, "done") and "Catch" in one["scores"]


def test_list_survives_what_is_no_run(says: Says, home: Path, tmp_path: Path) -> None:
    (tmp_path / "notes").mkdir()
    assert "There are no runs" in says("list", "--output", tmp_path)[1]
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "config.toml").write_text(TINY)
    (tmp_path / "broken" / "ledger.sqlite").write_text("no database")
    code, out, _ = says("list", "--output", tmp_path)
    assert code == 0 and re.search(r"^broken +unreadable$", out, re.MULTILINE) and "is damaged" in out
    code, _, err = says("show", "broken", "--output", tmp_path)
    assert code == 1 and "is damaged" in err and err.count("\n") == 1


def test_show(says: Says, home: Path) -> None:
    code, out, _ = says("show", home / "runs" / "done")
    assert code == 0
    for words in ("done, 6 of 6 generations", "Open_ES, population 4", "chosen for its score", "none failed",
                  "of compilation", "discovery evaluate"):  # fmt: skip
        assert words in out
    assert says("show", "done", *at(home), "--config")[1] == dumps(
        load(home / "runs" / "done" / "config.toml")
    )


def test_plot_and_export(says: Says, home: Path, tmp_path: Path) -> None:
    code, out, _ = says("plot", "done", *at(home))
    assert code == 0 and all(Path(line).stat().st_size > 1000 for line in out.splitlines())
    assert {"meta-learning-Catch.png", "objective.png"} <= {Path(line).name for line in out.splitlines()}
    file = tmp_path / "deep" / "found.py"
    code, out, _ = says(
        "export", "done", *at(home), "--to", "jax", "--out", file, "--verify", "--generation", "2"
    )
    assert code == 0 and out.startswith(f"{file}\nverified at 10,000 points")
    assert "def policy_loss(" in file.read_text()
    code, _, err = says("show", "done@2", *at(home))
    assert (
        code == 2
        and "a whole run is wanted here, got 'done@2'; leave out what is behind its name: done" in err
    )
    code, out, _ = says("export", "done@2", *at(home), "--out", tmp_path / "same.py")
    assert code == 0 and (tmp_path / "same.py").read_text() == file.read_text()
    assert says("export", "done", *at(home))[1] == f"{home / 'runs/done/exports/lpo_jax.py'}\n"
    assert "exports" in says("show", "done", *at(home))[1]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--to", "torch"], "there is no export format named 'torch'"),
        (["--to", "optax"], "optax takes a learned optimizer, and algorithm 'lpo' has a policy loss"),
        (["--generation", "99"], 'it has 0 (or "initial") to 6 (or "last")'),
        (["--generation", "best"], "the generation must be a number"),
    ],
)
def test_export_refuses(arguments: list[str], words: str, says: Says, home: Path) -> None:
    code, _, err = says("export", "done", *at(home), *arguments)
    assert code == 2 and words in err and err.count("\n") == 1


def test_export_to_a_place_that_cannot_be_written(says: Says, home: Path) -> None:
    code, _, err = says("export", "done", *at(home), "--out", home / "tiny.toml" / "found.py")
    assert code == 2 and "cannot be written" in err and err.count("\n") == 1


def test_options_and_varied_physics_of_an_environment(says: Says, home: Path) -> None:
    """On the command line, in the file, and in the training."""
    search = ("search", home / "tiny.toml", *at(home), "--generations", 1, "--tasks.0.setup.environment")
    plan = (*search, "CartPole-v1", "--tasks.0.setup.vary", "gravity=5:15", "length=0.3:0.7")
    code, out, err = says(*plan, "--dry-run")
    assert (code, err) == (0, "")
    config = tomllib.loads(out)
    assert config["tasks"][0]["setup"]["vary"] == {"gravity": [5.0, 15.0], "length": [0.3, 0.7]}
    assert says(*plan, "--name", "varied", "--quiet") == (0, "", "")
    assert load(home / "runs" / "varied" / "config.toml").tasks[0].setup.vary["gravity"] == (5.0, 15.0)
    code, out, _ = says(*search, "grid/small", "--tasks.0.setup.options", "tabular=false", "--dry-run")
    assert code == 0 and tomllib.loads(out)["tasks"][0]["setup"]["options"] == {"tabular": False}
    _, out, _ = says(*search, "CartPole-v1", "--tasks.0.setup.recurrence", "gru", "--dry-run")
    assert "and divided by 15 for its agent" in out
    for arguments, words in (
        (("CartPole-v1", "--tasks.0.setup.vary", "gravty=5:15"), "no parameter 'gravty' that can vary"),
        (("CartPole-v1", "--tasks.0.setup.vary", "gravity=5"), "a range is given as LOWEST:HIGHEST"),
        (
            ("CartPole-v1", "--tasks.0.setup.vary", "gravity=9:5"),
            "the lowest and the highest value of 'gravity'",
        ),
        (("grid/small", "--tasks.0.setup.options", "tabula=true"), "its options are: tabular, random_places"),
        (("grid/smal",), "there are: small, medium"),
    ):
        code, _, err = says(*search, *arguments, "--dry-run")
        assert code == 2 and words in err and err.count("\n") == 1


def test_quickstart_does_it_all(says: Says, home: Path) -> None:
    """Also what `evaluate` does: with --seeds 2 there are two trainings for each of four subjects."""
    code, out, err = says(
        "quickstart",
        "--preset",
        home / "tiny.toml",
        "--generations",
        2,
        "--seeds",
        2,
        *at(home),
        "--name",
        "quick",
    )
    assert (code, err) == (0, "")
    folder = home / "runs" / "quick"
    assert [line for line in out.splitlines() if re.match(r"\d/4 ", line)] == [
        "1/4 search", "2/4 compare on held-out seeds", "3/4 draw", "4/4 export and verify"
    ]  # fmt: skip
    for words in (
        "discovered",
        "initial mean",
        "ppo",
        "dpo",
        "comparison.png",
        "verified at 10,000 points",
        "Next",
    ):
        assert words in out
    with Ledger.open(folder) as ledger:
        # where the search chose its initial mean, one training serves both
        assert {row["subject"] for row in ledger.reports()} >= {"ppo", "dpo"}
        assert {(row["task"], row["seed"]) for row in ledger.reports()} == {("Catch", 0), ("Catch", 1)}

    code, out, err = says("evaluate", "quick", "ppo", *at(home), "--seeds", 3, "--json")
    assert (code, err) == (0, "")
    events = [json.loads(line) for line in out.splitlines()]
    # two of three seeds were trained by the quickstart
    assert [(e["trainings"], e["finished_before"]) for e in events if e["event"] == "started"] == [(6, 4)]
    assert [row["n"] for row in events[-1]["rows"]] == [3, 3]
    assert says("evaluate", "quick@99", *at(home))[0] == 2
    assert re.search(r"^ppo +3 ", says("show", "quick", *at(home))[1], re.MULTILINE)


# What there is to choose from ----------------------------------------------------------------------


def test_presets_can_be_listed_and_copied(says: Says, tmp_path: Path) -> None:
    code, out, _ = says("presets")
    assert code == 0 and all(name in out and presets.summary(name) in out for name in presets.names())
    assert {"quickstart", "lpo-catch", "lpo-minatar", "ta-lpo-catch"} <= set(presets.names())
    copy = _written(tmp_path / "mine.toml", says("presets", "lpo-catch")[1])
    assert load(copy) == presets.read("lpo-catch")[0]


def test_environments_are_what_the_list_says(says: Says) -> None:
    from environments.chain import LENGTHS
    from environments.levelsets import SETS
    from environments.make import FAMILIES, make, registered
    from environments.memory import TASKS

    families = {"grid": SETS, "chain": LENGTHS, "memory": TASKS}
    ours = {f"{family}/{name}" for family, names in families.items() for name in names}
    extras = tuple(f"{prefix}/" for prefix, family in FAMILIES.items() if family.requires)
    installed = {id for id in known() if not id.startswith(extras)}
    assert installed == set(registered()) | ours
    for id in installed:
        shape, actions, horizon, _ = known()[id]
        environment = make(id)
        found = shape_text(environment.observation_shape), actions_text(environment), environment.horizon
        assert found == (shape, actions, horizon), id
    code, out, _ = says("envs")
    assert code == 0 and all(id in out for id in known())
    assert "1 continuous" in says("envs", "Pendulum-v1")[1]
    assert "options      tabular, random_places" in says("envs", "grid/small")[1]
    assert says("envs", "grid/smal")[0] == 2


def test_objectives(says: Says) -> None:
    from objectives import FACTORIES

    code, out, _ = says("objectives")
    assert code == 0 and all(re.search(rf"^{name} ", out, re.MULTILINE) for name in FACTORIES)
    _, out, _ = says("objectives", "lpo")
    assert "width: int = 128" in out and "gamma = 0.99" in out and "drift.w_in [8, 128]" in out


def test_doctor_finds_nothing_wrong_here(says: Says, tmp_path: Path) -> None:
    code, out, err = says("doctor", "--output", tmp_path)
    assert (code, err) == (0, "") and "All is well" in out
    for words in ("jax 0.", "cores", "worker        ready after", str(ROOT / "environments")):
        assert words in out


def test_doctor_for_programs(says: Says, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "worker", lambda: doctor.Finding("worker", 'said "no"', "wrong"))
    code, out, _ = says("doctor", "--output", tmp_path, "--json")
    found = [json.loads(line) for line in out.splitlines()]
    assert code == 1 and found[-1] == {"what": "worker", "found": 'said "no"', "verdict": "wrong"}
    assert {"python", "versions", "cores", "runs", "devices"} <= {finding["what"] for finding in found}


def test_doctor_really_writes(tmp_path):
    (tmp_path / "file").touch()
    for output, place in (("/proc/xx", "/proc"), (tmp_path / "file", tmp_path / "file")):
        found = doctor.folder(Path(output))
        assert found.verdict == "wrong" and found.found.startswith(f"{place} cannot be written: ")
    assert doctor.folder(tmp_path / "some" / "runs").verdict == "ok"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_doctor_does_not_pass_over_hints(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(doctor, "findings", lambda output: [doctor.folder(output)])
    assert doctor.main(["--output", str(tmp_path)]) == 0
    assert capsys.readouterr().out.endswith("\n\nAll is well.\n")
    monkeypatch.setattr(shutil, "disk_usage", lambda place: SimpleNamespace(free=2**20))
    assert doctor.main(["--output", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert out.startswith("? runs ") and "(0.0 GiB free: make room, or use --output)" in out
    assert out.endswith("\n\nAll is well, apart from what is marked '?'.\n")
    assert doctor.main(["--output", "/proc/xx"]) == 1
    assert capsys.readouterr().out.endswith("\n\n1 thing to see to, marked with '!'.\n")


def test_doctor_finds_an_intruder(says: Says, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from discovery.app.commands import doctor

    other = tmp_path / "llm_prompts"
    other.mkdir()
    (other / "__init__.py").write_text("")
    monkeypatch.syspath_prepend(str(tmp_path))
    hint = next(found for found in doctor.packages() if found.what == "llm_prompts")
    if hint.verdict == "ok":  # ours was found first
        pytest.fail(f"an intruder was not seen: {hint}")
    assert str(other) in hint.found


# Signals ------------------------------------------------------------------------------------------


ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}


def start(home: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "discovery", *arguments, "--output", "runs"],
        cwd=home, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def recorded(folder: Path) -> int:
    """How many trainings a run's ledger holds."""
    if not (folder / "ledger.sqlite").exists():
        return 0
    with closing(sqlite3.connect(f"file:{folder / 'ledger.sqlite'}?mode=ro", uri=True, timeout=10)) as db:
        return db.execute("SELECT count(*) FROM evaluations").fetchone()[0]


def wait_for(ready: Callable[[], bool], process: subprocess.Popen[str], seconds: float = 120.0) -> None:
    end = time.monotonic() + seconds
    while not ready() and process.poll() is None:
        assert time.monotonic() < end
        time.sleep(0.002)


@pytest.mark.slow
@pytest.mark.parametrize("flags", [[], FLOWING], ids=["generations", "asynchronous"])
def test_killed_at_random_moments_it_ends_as_if_it_had_not_been(
    flags: list[str], home: Path, says: Says
) -> None:
    name = "killed-flowing" if flags else "killed"
    folder, moments = home / "runs" / name, random.Random()
    seed = moments.randrange(10**6)
    moments.seed(seed)
    process = start(home, "search", "tiny.toml", "--name", name, "--quiet", *flags)
    kills = 0
    for _ in range(2):
        goal = recorded(folder) + moments.randint(1, 10)
        wait_for(lambda goal=goal: recorded(folder) >= goal, process)
        time.sleep(moments.random() * 0.03)
        process.kill()
        process.communicate()
        kills += process.returncode == -signal.SIGKILL
        process = start(home, "resume", name, "--quiet")
    assert process.communicate() == ("", ""), seed
    assert process.returncode == 0 and kills >= 1, seed
    if flags:  # once more in the same order, at one go
        assert says("repeat", name, *at(home), "--quiet")[0] == 0, seed
    else:
        assert differences(folder, home / "runs" / "done") == [], seed
    with Ledger.open(folder) as ledger:
        assert all(row["attempts"] == 1 for row in ledger.evaluations(outcomes=False))


@pytest.mark.slow  # tests/executors/test_parents.py has the workers alone
def test_ctrl_c_ends_workers_and_tells_how_to_go_on(home: Path) -> None:
    folder = home / "runs" / "stopped"
    process = start(
        home, "search", "tiny.toml", "--name", "stopped", "--executor", "processes", "--workers", "1"
    )
    wait_for(lambda: recorded(folder) > 0, process)
    workers = family(process.pid).keys() - {process.pid}
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (130, "")
    assert workers and not any(family(pid) for pid in workers)
    command = out.splitlines()[-1].strip()
    assert command == "discovery resume runs/stopped"

    # elsewhere, and as one process: the same numbers
    again = ["resume", str(folder), "--executor", "inline", "--quiet"]
    assert shlex.split(command)[1] == again[0] and main(again) == 0
    assert differences(folder, home / "runs" / "done") == []


@pytest.mark.slow
def test_sigterm_is_ctrl_c(home: Path) -> None:
    process = start(home, "search", "tiny.toml", "--name", "ended", "--json", "--generations", "500")
    wait_for(lambda: recorded(home / "runs" / "ended") > 4, process)
    process.terminate()
    out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (130, "")
    assert json.loads(out.splitlines()[-1]) == {
        "event": "interrupted",
        "resume": "discovery resume runs/ended",
    }


def test_reader_that_leaves_is_no_error(home: Path) -> None:
    done = subprocess.run(
        f"{shlex.quote(sys.executable)} -m discovery envs | head -1; exit ${{PIPESTATUS[0]}}",
        shell=True, executable="/bin/bash", cwd=home, env=ENVIRONMENT, capture_output=True, text=True,
        timeout=60,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "") and done.stdout.startswith("environment")
