"""A search over programs with real trainings: ancestors in text, and its page with and without a control."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import jaxtyping
import numpy as np
import pandas as pd
import pytest

from discovery.app.api import discover
from discovery.app.command_line import main
from discovery.app.loaded import LoadedRun, load_run
from discovery.core.config.programs import ProgramsConfig
from discovery.core.config.search import SearchConfig
from discovery.core.errors import BadInput
from discovery.display.pictures.runs import plot_run
from discovery.display.report import collect, page
from discovery.display.report.control import best_so_far, control_of, trainings_before
from discovery.display.report.figures import Images
from discovery.executors.inline import Inline
from environments.task import Setup, Task
from tests.display.report.pages import Page, checked_file, checked_text

SETUP = Setup("Catch-bsuite", n_envs=2, n_steps=8, n_epochs=1, n_minibatches=1, curve_points=2)
# A schedule is not differentiated, and so compiled in half the time of a loss.
CONFIG = SearchConfig(
    generations=4,
    algorithm="programs",
    algorithm_options={"slots": "schedule", "instructions": 8, "constants": 2},
    meta=ProgramsConfig(population=6, begin="start", islands=1, tuning=0, simplification=1),
    tasks=(Task("Catch", SETUP, 96, {"learning_rate": 0.01}),),
    seeds=1,
    selection_seeds=2,
    selection_doublings=0,
)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimpleNamespace]:
    """A search and its control. Not to be written to."""
    folder = tmp_path_factory.mktemp("programs")
    jaxtyping.config.update("jaxtyping_disable", True)  # the checks take most of the time
    random = replace(CONFIG, seed=1, meta=replace(CONFIG.meta, variation="random"))
    for name, config in {"search": CONFIG, "control": random}.items():
        discover(config, folder, name, Inline(2))
    yield SimpleNamespace(
        folder=folder, search=load_run(folder / "search"), control=load_run(folder / "control")
    )
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.fixture
def without_objective(monkeypatch: pytest.MonkeyPatch) -> None:
    """The picture of a drift and its numbers take the longest."""
    monkeypatch.setattr("discovery.display.report.facts._found", lambda run: (None, "not asked for"))
    monkeypatch.setattr("discovery.display.report.figures._objective", lambda run: ())


def test_the_ancestors_of_a_proposal_are_shown(
    runs: SimpleNamespace, capsys: pytest.CaptureFixture[str]
) -> None:
    run: LoadedRun = runs.search
    programs = run.family_tree.programs
    child = max(programs.values(), key=lambda one: len(run.lineage(one.id)))
    lineage = run.lineage(child.id)
    assert len(lineage) > 1 and lineage[-1] == child
    assert list(pd.DataFrame(lineage)["id"]) == [one.id for one in lineage]
    frame = run.proposals_frame().set_index("id")
    assert lineage[0].scores[0] == pytest.approx(frame.loc[lineage[0].id, "score Catch"])
    at = ["--output", str(runs.folder)]

    assert main(["show", f"search@{child.id}", "--lineage", *at]) == 0
    out = capsys.readouterr().out
    assert all(f"{one.id} " in out for one in lineage) and f"{child.operator} from {child.parents[0]}" in out
    assert "+    " in out and "def schedule(" in out and f"complexity {child.complexity}" in out
    assert main(["show", f"search@{child.id}", "--lineage", "--json", *at]) == 0
    facts = json.loads(capsys.readouterr().out)["lineage"]
    assert [fact["id"] for fact in facts] == [one.id for one in lineage]
    assert facts[-1]["change"].startswith(("-", "+")) and facts[0]["change"] == lineage[0].source
    assert main(["show", "search", "--lineage", *at]) == 0, "that of the answer"
    capsys.readouterr()
    assert main(["show", "search@g9/p9", "--lineage", *at]) == 2
    assert "'g9/p9'" in capsys.readouterr().err
    assert main(["show", "search", *at]) == 0
    shown = capsys.readouterr().out
    assert "   start " in shown and "mean," in shown and "initial mean" not in shown


def test_a_search_without_programs_has_no_family_tree(made: LoadedRun) -> None:
    assert made.family_tree.programs == {}
    with pytest.raises(BadInput, match="makes no programs"):
        made.lineage()


def read(run: LoadedRun) -> Page:
    """The page of a run without pictures."""
    report = collect(run)
    return checked_text(page(report, Images()), json.loads(report.to_json()))


@pytest.mark.usefixtures("without_objective")
def test_the_page_tells_what_was_made_refused_and_scored_again(runs: SimpleNamespace) -> None:
    run: LoadedRun = runs.search
    told, found = read(run), collect(run).programs
    assert found is not None and sum(one.chosen for one in found.improvements) == 1
    assert {"programs", "control", "refused", "falls"} <= set(told.ids)
    assert "--meta.variation random" in told.text and "initial mean" not in told.text
    metrics = run.generations()[-1]["metrics"]
    assert {one.kind: one.count for one in found.refusals} == {
        name.removeprefix("refused_"): n for name, n in metrics.items() if name.startswith("refused_") and n
    }
    assert all(one.meaning in told.text for one in found.refusals)
    scores = run.family_tree.programs[found.falls[0].program].scores
    assert found.falls[0].fall == pytest.approx(scores[0] - np.mean(scores[1:]))
    assert found.fall is not None and found.fall.estimate == pytest.approx(
        np.mean([one.fall for one in found.falls])
    )
    assert all(one.source in told.text for one in found.improvements)


@pytest.mark.usefixtures("without_objective")
def test_a_control_stands_beside_the_search(runs: SimpleNamespace, tmp_path: Path) -> None:
    out = tmp_path / "page.html"
    words = ["report", "search", "--control", "control", "--output", str(runs.folder), "--out", str(out)]
    assert main(words) == 0
    told = checked_file(out)
    assert "best of N" in told.text
    formulas = [value for *_, value in told.attributes if value.startswith("In LaTeX: ")]
    assert len(formulas) == len({one.source for one in runs.search.family_tree.answers})
    control = control_of(runs.search, runs.control)
    assert control.trainings == 24 == trainings_before(runs.search, 4)
    means = {g: scores["Catch"].mean() for g, scores in runs.search.selection.items()}
    assert [step.generation for step in control.search] == [
        g for g in means if all(means[g] > means[other] for other in means if other < g)
    ]
    assert control.search[0].trainings == 0 and control.search == best_so_far(runs.search)
    last = control.table[-1]
    assert last.trainings == 24 and last.search is not None and last.control is not None
    assert last.search.estimate == pytest.approx(max(means.values()))
    assert last.difference == pytest.approx(last.search.estimate - last.control.estimate)


def test_what_is_no_control_is_refused(
    runs: SimpleNamespace, made: LoadedRun, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(BadInput, match="tasks differ: Catch, near"):
        control_of(runs.search, made)
    words = ["report", "search", "--control", "search", "--output", str(runs.folder)]
    assert main(words) == 2 and "its own control" in capsys.readouterr().err


EVIL = "<script>alert(1)</script>"


@pytest.mark.usefixtures("without_objective")
def test_texts_of_programs_are_escaped(runs: SimpleNamespace) -> None:
    """A model may write a text; its operator and its names are no HTML either."""
    run = load_run(runs.folder / "search")
    for row in run._proposals:
        row["operator"] = row["operator"].replace("start", f"start {EVIL}")
        row["source_text"] = row["source_text"] and f"{row['source_text']}# {EVIL}\n"
    for row in run._generations:
        row["answer"] = row["answer"].replace(r"progress\n", rf"progress\n# {EVIL}\n")
    found = read(run)
    assert EVIL in found.text and "script" not in found.tags


def test_pictures_of_the_search_are_plotted(
    runs: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("discovery.display.pictures.runs.found_pictures", lambda *_: iter(()))
    names = [path.name for path in plot_run(runs.search, tmp_path)]
    assert names == ["meta-learning-Catch.png", "family-tree.png", "complexity.png", "falls.png"]
    labels = [line.get_label() for line in runs.search.plot_meta_learning().axes[0].get_lines()]
    assert "search answer on selection seeds, 95%" in labels
