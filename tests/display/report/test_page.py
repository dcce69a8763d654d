"""The page: every number is in report.json, nothing comes from outside, and no name can break it."""

import webbrowser
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from discovery.app.command_line import main
from discovery.app.loaded import LoadedRun, load_run
from discovery.core.errors import BadInput
from discovery.display.report import write_report
from discovery.display.report.figures import Images
from discovery.meta.base import Proposal
from discovery.store.run import Run
from tests.display.report.fabricated import (
    CONFIG,
    FAR,
    NEAR,
    begin,
    evaluate,
    mean_of,
    report,
    request,
    search,
)
from tests.display.report.pages import Page, checked_file
from tests.ids import request_id

EXAMPLE = Path(__file__).parents[3] / "docs/reports/drift-classic.html"


@pytest.fixture(scope="module")
def written(made: LoadedRun, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_report(made, tmp_path_factory.mktemp("written") / "found.html")


@pytest.fixture
def without_objective(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its picture takes the longest, and does not depend on what else a run has."""
    monkeypatch.setattr("discovery.display.report.figures._objective", lambda *_: ())


def checked(run: LoadedRun, folder: Path) -> Page:
    """The page of a run, with everything checked that must hold for all."""
    return checked_file(write_report(run, folder / "page.html"))


def test_pages_are_sound_and_can_be_read_without_eyes(written: Path) -> None:
    """The report of the documents too, of a search of 7,904 trainings."""
    assert len(checked_file(EXAMPLE).data) > 500
    page = checked_file(written)
    assert len(page.data) > 150 and len(page.tables) >= 12
    alts = [value for tag, name, value in page.attributes if (tag, name) == ("img", "alt")]
    assert len(alts) == page.tags.count("img") == 7 and all(alts)
    assert page.tags.count("caption") == page.tags.count("table")
    assert [(tag, name) for tag, name, _ in page.attributes].count(("th", "scope")) == page.tags.count("th")
    assert ("html", "lang", "en") in page.attributes


@pytest.mark.slow
def test_equal_runs_give_equal_pages(made: LoadedRun, written: Path, tmp_path: Path) -> None:
    again = write_report(made, tmp_path / "again.html")
    assert again.read_bytes() == written.read_bytes()


EVIL = "<script>alert(1)</script>\"'&$x^2$\x07"


@pytest.mark.usefixtures("without_objective")
def test_no_name_can_break_it(tmp_path: Path) -> None:
    config = replace(CONFIG, tasks=(replace(NEAR, name=EVIL),), held_out=(replace(FAR, name=f"far {EVIL}"),))
    with begin(config, tmp_path) as run:
        search(run)
        for subject in (EVIL, "ppo"):
            report(run.ledger, subject, f"far {EVIL}", [1.0, 2.0], "")
        run.ledger.record_test(EVIL, [EVIL], [EVIL], 2, 0)
    found = checked(load_run(run.folder), tmp_path)
    assert "<script>alert(1)</script>" in found.text


# Runs of every kind


def test_a_run_that_has_not_begun_or_was_interrupted_in_its_first_generation(tmp_path: Path) -> None:
    Run.create(CONFIG, tmp_path, name="new").close()
    found = checked(load_run(tmp_path / "new"), tmp_path)
    assert "not yet judged" in found.text and "discovery evaluate new" in found.text
    with begin(CONFIG, tmp_path) as run:
        run.ledger.propose([request("g0/p0"), request("g0/p1")])
        evaluate(run.ledger, "g0/p0", "near", [2.0, None])
    assert "discovery resume made" in checked(load_run(run.folder), tmp_path).text


@pytest.mark.usefixtures("without_objective")
def test_a_run_whose_trainings_all_failed(tmp_path: Path) -> None:
    names = ("g0/p0", "g0/p1", "g0/answer")
    with begin(CONFIG, tmp_path) as run:
        run.ledger.propose([request(name) for name in names])
        for name in names:
            evaluate(run.ledger, name, "near", [None, None])
        scores = {request_id(name): float("nan") for name in names[:2]}
        run.ledger.close_generation(0, {"x": np.zeros(1)}, {}, scores, Proposal(mean_of(run.config)))
        for subject, source in (("initial mean", "made@0"), ("ppo", "")):
            report(run.ledger, subject, "far", [None] * 16, source)
    assert "not yet judged" in checked(load_run(run.folder), tmp_path).text


@pytest.mark.usefixtures("without_objective")
def test_several_tasks_and_selection_tasks(tmp_path: Path) -> None:
    other, chosen = replace(NEAR, name="other"), replace(NEAR, name="chosen on")
    with begin(replace(CONFIG, tasks=(NEAR, other), selection=(chosen,)), tmp_path) as run:
        run.ledger.propose([request("g0/p0"), request("g0/p1"), request("g0/answer")])
        for task in ("near", "other"):
            evaluate(run.ledger, "g0/p0", task, [2.0, 4.0])
            evaluate(run.ledger, "g0/p1", task, [2.0, 4.0])
        evaluate(run.ledger, "g0/answer", "chosen on", [1.0, 3.0])
    found = checked(load_run(run.folder), tmp_path)
    rows = [row[:2] for rows in found.tables for row in rows]
    assert ["chosen on: CartPole-v1", "selection"] in rows


@pytest.mark.parametrize("algorithm", ["a2c", "random", "nowhere.at_all:made"])
def test_algorithms_without_a_drift(algorithm: str, tmp_path: Path) -> None:
    base = replace(CONFIG, algorithm_options={}, tasks=(replace(NEAR, numbers={}),))
    named = replace(base, algorithm="a2c" if ":" in algorithm else algorithm)
    with begin(named, tmp_path) as run:
        search(run)
    if ":" in algorithm:  # its code was there when the run was made, and is gone
        path = run.folder / "config.toml"
        path.write_text(path.read_text().replace('algorithm = "a2c"', f'algorithm = "{algorithm}"'))
    found = checked(load_run(run.folder), tmp_path)
    said = "not a drift" if algorithm == "a2c" else "There is no objective to draw"
    assert said in found.text


# Files


def test_the_verb_writes_says_where_and_opens_a_browser_when_asked(
    made: LoadedRun, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []
    monkeypatch.setattr(webbrowser, "open", opened.append)
    monkeypatch.setattr("discovery.display.report.write.draw", lambda *_: Images())  # others draw them
    out = tmp_path / "sub" / "found.html"
    assert main(["report", str(made.folder), "--out", str(out)]) == 0
    assert capsys.readouterr().out.split() == [str(out), str(out.with_suffix(".json"))]
    assert out.read_text(encoding="utf-8").startswith("<!DOCTYPE html>") and not opened
    assert main(["report", str(made.folder), "--out", str(out), "--open", "yes"]) == 0
    assert opened == [out.as_uri()]
    for words, said in (
        (["nothing-here"], "nothing-here"),
        ([str(made.folder), "--out", str(tmp_path / "x.json")], ".html"),
        ([str(made.folder), "--open", "perhaps"], "perhaps"),
    ):
        assert main(["report", *words]) == 2
        assert said in capsys.readouterr().err


def test_where_it_is_written(tmp_path: Path) -> None:
    Run.create(CONFIG, tmp_path, name="new").close()
    run = load_run(tmp_path / "new")
    assert write_report(run) == run.folder / "report.html"
    assert {path.name for path in run.folder.glob("report*")} == {"report.html", "report.json"}
    for path in (tmp_path, tmp_path / "report.json", run.folder / "config.toml" / "x.html"):
        with pytest.raises(BadInput, match=path.stem):
            write_report(run, path)
