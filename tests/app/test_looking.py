"""Verbs that show, judge and take away, and those that list what there is to choose."""

import json
import re
from pathlib import Path

import pytest

import objectives
from discovery.app.command_line import VERBS
from discovery.app.commands.catalog import actions_text, known, shape_text
from discovery.app.commands.quickstart import AGAINST
from discovery.core import presets
from discovery.core.toml import load
from discovery.store.ledger import Ledger
from environments.chain import LENGTHS
from environments.levelsets import SETS
from environments.make import FAMILIES, make, registered
from environments.memory import TASKS
from tests.app.support import TINY, Says, at, recorded


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help(verb: str, says: Says) -> None:
    code, out, err = says(verb, "--help")
    assert (code, err) == (0, "") and f"discovery {verb}" in out
    assert says("help", verb)[1] == out and verb in says("--help")[1]


def test_usage_and_version(says: Says) -> None:
    assert says("help") == says("-h") and says()[0] == 2
    assert re.fullmatch(r"rl-discovery \d+\.\d+\.\d+\n", says("--version")[1])


def test_list_and_show_tell_how_far_a_run_is(says: Says, home: Path) -> None:
    assert re.search(r"^done .* 6/6 .* done$", says("list", *at(home))[1], re.MULTILINE)
    facts = [json.loads(line) for line in says("list", *at(home), "--json")[1].splitlines()]
    one = next(fact for fact in facts if fact["run"].endswith("/done"))
    assert (one["closed"], one["generations"], one["state"]) == (6, 6, "done") and "Catch" in one["scores"]
    run = home / "runs" / "done"
    shown = json.loads(says("show", run, "--json")[1])
    assert shown["scores"] == one["scores"] and shown["trainings"] == recorded(run)
    assert says("show", "done", *at(home), "--config")[1] == (run / "config.toml").read_text()


def test_list_survives_what_is_no_run(says: Says, tmp_path: Path) -> None:
    (tmp_path / "notes").mkdir()
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "config.toml").write_text(TINY)
    (tmp_path / "broken" / "ledger.sqlite").write_text("no database")
    code, out, _ = says("list", "--output", tmp_path)
    assert code == 0 and re.search(r"^broken +unreadable$", out, re.MULTILINE)
    code, _, err = says("show", "broken", "--output", tmp_path)
    assert code == 1 and err.count("\n") == 1


def test_plot_and_export(says: Says, home: Path, tmp_path: Path) -> None:
    code, out, _ = says("plot", "done", *at(home))
    pictures = {Path(line).name: Path(line).stat().st_size for line in out.splitlines()}
    assert code == 0 and min(pictures.values()) > 1000
    assert {"meta-learning-Catch.png", "objective.png"} <= pictures.keys()
    file = tmp_path / "deep" / "found.py"
    assert says("export", "done", *at(home), "--generation", "2", "--out", file)[:2] == (0, f"{file}\n")
    assert "def policy_loss(" in file.read_text()
    code, _, err = says("show", "done@2", *at(home))
    assert code == 2 and "done@2" in err
    assert says("export", "done@2", *at(home), "--out", tmp_path / "same.py")[0] == 0
    assert (tmp_path / "same.py").read_text() == file.read_text()
    assert says("export", "done", *at(home))[1] == f"{home / 'runs/done/exports/lpo_jax.py'}\n"


def test_export_refuses(says: Says, home: Path) -> None:
    for flag, value, word in (
        ("--to", "optax", "optax"),
        ("--generation", "99", "6"),
        ("--generation", "best", "best"),
        ("--out", home / "tiny.toml" / "found.py", "found.py"),
    ):
        code, _, err = says("export", "done", *at(home), flag, value)
        assert code == 2 and word in err and err.count("\n") == 1


def test_quickstart_does_it_all(says: Says, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also what `evaluate` does: with --seeds 2 there are two trainings for each of three subjects."""
    assert AGAINST == ("ppo", "dpo")
    monkeypatch.setattr("discovery.app.commands.quickstart.AGAINST", ("ppo",))
    small = ("--preset", home / "tiny.toml", "--generations", 2, "--seeds", 2, "--name", "quick")
    code, out, err = says("quickstart", *small, *at(home))
    assert (code, err) == (0, "") and "comparison.png" in out and "verified" in out
    with Ledger.open(home / "runs" / "quick") as ledger:
        # where the search chose its initial mean, one training serves both
        assert {row["subject"] for row in ledger.reports()} >= {"ppo"}
        assert {(row["task"], row["seed"]) for row in ledger.reports()} == {("Catch", 0), ("Catch", 1)}

    code, out, err = says("evaluate", "quick", "ppo", *at(home), "--seeds", 3, "--json")
    assert (code, err) == (0, "")
    events = [json.loads(line) for line in out.splitlines()]
    # two of three seeds were trained by the quickstart
    assert [(e["trainings"], e["finished_before"]) for e in events if e["event"] == "started"] == [(6, 4)]
    assert [row["n"] for row in events[-1]["rows"]] == [3, 3]
    assert says("evaluate", "quick@99", *at(home))[0] == 2


def test_presets_and_objectives_are_listed(says: Says, tmp_path: Path) -> None:
    for verb, names in (("presets", presets.names()), ("objectives", objectives.FAMILIES)):
        code, out, _ = says(verb)
        assert code == 0 and all(re.search(rf"^{name} ", out, re.MULTILINE) for name in names)
    (tmp_path / "mine.toml").write_text(says("presets", "lpo-catch")[1])
    assert load(tmp_path / "mine.toml") == presets.read("lpo-catch")[0]
    _, out, _ = says("objectives", "lpo")
    assert all(word in out for word in ("width", "128", "gamma", "drift.w_in"))


def test_every_environment_is_listed(says: Says) -> None:
    families = {"grid": SETS, "chain": LENGTHS, "memory": TASKS}
    ours = {f"{family}/{name}" for family, names in families.items() for name in names}
    extras = tuple(f"{prefix}/" for prefix, family in FAMILIES.items() if family.requires)
    installed = {id for id in known() if not id.startswith(extras)}
    assert installed == set(registered()) | ours
    for id in ("CartPole-v1", "Pendulum-v1", "grid/small", "memory/chain"):
        made = make(id)
        listed = shape_text(made.observation_shape), actions_text(made), made.horizon
        assert listed == tuple(known()[id][:3])
    code, out, _ = says("envs")
    assert code == 0 and all(id in out for id in known())
    assert "tabular" in says("envs", "grid/small")[1]
