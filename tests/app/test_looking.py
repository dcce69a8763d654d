"""Verbs that show, judge and take away: list, show, plot, export, quickstart; and what there is to choose."""

import json
import re
from pathlib import Path

import pytest

from discovery.app.command_line import VERBS
from discovery.app.commands.catalog import actions_text, known, shape_text
from discovery.core import presets
from discovery.core.toml import load
from discovery.store.ledger import Ledger
from tests.app.support import TINY, Says, at, recorded


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help(verb: str, says: Says) -> None:
    code, out, err = says(verb, "--help")
    assert (code, err) == (0, "") and f"discovery {verb}" in out
    assert says("help", verb)[1] == out
    assert verb in says("--help")[1]


def test_usage_and_version(says: Says) -> None:
    assert says("help") == says("-h") and says()[0] == 2
    assert re.fullmatch(r"rl-discovery \d+\.\d+\.\d+\n", says("--version")[1])


def test_list_and_show_tell_how_far_a_run_is(says: Says, home: Path) -> None:
    code, out, _ = says("list", *at(home))
    assert code == 0 and re.search(r"^done .* 6/6 .* done$", out, re.MULTILINE)
    facts = [json.loads(line) for line in says("list", *at(home), "--json")[1].splitlines()]
    one = next(fact for fact in facts if fact["run"].endswith("/done"))
    assert (one["closed"], one["generations"], one["state"]) == (6, 6, "done") and "Catch" in one["scores"]
    assert says("show", home / "runs" / "done")[0] == 0
    shown = json.loads(says("show", home / "runs" / "done", "--json")[1])
    assert shown["scores"] == one["scores"] and shown["trainings"] == recorded(home / "runs" / "done")
    config = home / "runs" / "done" / "config.toml"
    assert says("show", "done", *at(home), "--config")[1] == config.read_text()


def test_list_survives_what_is_no_run(says: Says, tmp_path: Path) -> None:
    (tmp_path / "notes").mkdir()
    assert says("list", "--output", tmp_path)[0] == 0
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "config.toml").write_text(TINY)
    (tmp_path / "broken" / "ledger.sqlite").write_text("no database")
    code, out, _ = says("list", "--output", tmp_path)
    assert code == 0 and re.search(r"^broken +unreadable$", out, re.MULTILINE)
    code, _, err = says("show", "broken", "--output", tmp_path)
    assert code == 1 and err.count("\n") == 1


def test_plot_and_export(says: Says, home: Path, tmp_path: Path) -> None:
    code, out, _ = says("plot", "done", *at(home))
    assert code == 0 and all(Path(line).stat().st_size > 1000 for line in out.splitlines())
    assert {"meta-learning-Catch.png", "objective.png"} <= {Path(line).name for line in out.splitlines()}
    file = tmp_path / "deep" / "found.py"
    export = ("export", "done", *at(home), "--generation", "2", "--verify", "--out", file)
    code, out, _ = says(*export)
    assert code == 0 and out.startswith(f"{file}\nverified")
    assert "def policy_loss(" in file.read_text()
    code, _, err = says("show", "done@2", *at(home))
    assert code == 2 and "done@2" in err
    code, out, _ = says("export", "done@2", *at(home), "--out", tmp_path / "same.py")
    assert code == 0 and (tmp_path / "same.py").read_text() == file.read_text()
    assert says("export", "done", *at(home))[1] == f"{home / 'runs/done/exports/lpo_jax.py'}\n"


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["--to", "optax"], "optax"),
        (["--generation", "99"], "6"),
        (["--generation", "best"], "best"),
        (["--out", "{home}/tiny.toml/found.py"], "found.py"),
    ],
)
def test_export_refuses(arguments: list[str], word: str, says: Says, home: Path) -> None:
    code, _, err = says("export", "done", *at(home), *(text.format(home=home) for text in arguments))
    assert code == 2 and word in err and err.count("\n") == 1


def test_quickstart_does_it_all(says: Says, home: Path) -> None:
    """Also what `evaluate` does: with --seeds 2 there are two trainings for each of four subjects."""
    small = ("--preset", home / "tiny.toml", "--generations", 2, "--seeds", 2, "--name", "quick")
    code, out, err = says("quickstart", *small, *at(home))
    assert (code, err) == (0, "")
    for word in ("4/4", "ppo", "dpo", "comparison.png", "verified"):
        assert word in out
    with Ledger.open(home / "runs" / "quick") as ledger:
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


def test_presets_can_be_listed_and_copied(says: Says, tmp_path: Path) -> None:
    code, out, _ = says("presets")
    assert code == 0 and all(name in out and presets.summary(name) in out for name in presets.names())
    (tmp_path / "mine.toml").write_text(says("presets", "lpo-catch")[1])
    assert load(tmp_path / "mine.toml") == presets.read("lpo-catch")[0]


def told(id: str) -> tuple[str, str, int]:
    """What making an environment shows, in the words of the list."""
    from environments.make import make

    environment = make(id)
    return shape_text(environment.observation_shape), actions_text(environment), environment.horizon


def test_every_environment_is_listed(says: Says) -> None:
    from environments.chain import LENGTHS
    from environments.levelsets import SETS
    from environments.make import FAMILIES, registered
    from environments.memory import TASKS

    families = {"grid": SETS, "chain": LENGTHS, "memory": TASKS}
    ours = {f"{family}/{name}" for family, names in families.items() for name in names}
    extras = tuple(f"{prefix}/" for prefix, family in FAMILIES.items() if family.requires)
    installed = {id for id in known() if not id.startswith(extras)}
    assert installed == set(registered()) | ours
    for id in ("CartPole-v1", "Pendulum-v1", "grid/small", "memory/chain"):
        assert told(id) == tuple(known()[id][:3])
    code, out, _ = says("envs")
    assert code == 0 and all(id in out for id in known())
    assert "tabular" in says("envs", "grid/small")[1]


def test_objectives(says: Says) -> None:
    from objectives import FAMILIES

    code, out, _ = says("objectives")
    assert code == 0 and all(re.search(rf"^{name} ", out, re.MULTILINE) for name in FAMILIES)
    _, out, _ = says("objectives", "lpo")
    assert all(word in out for word in ("width", "128", "gamma", "drift.w_in"))
