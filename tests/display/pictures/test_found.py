"""What was found is drawn by what was searched: in plots, notebooks and reports, for every family."""

import html
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import matplotlib.image
import numpy as np
import pytest
from matplotlib.figure import Figure

from discovery.app.api import discover
from discovery.app.command_line import main
from discovery.app.loaded import LoadedRun, load_run
from discovery.core.config.evolution import ESConfig
from discovery.core.config.search import SearchConfig
from discovery.core.errors import BadInput
from discovery.core.jobs import AlgorithmSpec
from discovery.display.pictures import found as pictures
from discovery.display.pictures.found import draw_found, pictures_of
from discovery.display.pictures.runs import plot_run
from discovery.display.report import write_report
from discovery.executors.inline import Inline
from discovery.results.learned import learned_of
from environments.task import Setup, Task
from objectives import build
from objectives.family import Picture
from tests.display.report.fabricated import CONFIG, FAR, NEAR, begin, search
from tests.display.report.pages import Page

FAMILIES: dict[str, tuple[str, dict[str, Any], str, str]] = {
    "ampo": ("ampo", {"units": 6}, "potential", "mirror-map.png"),
    "open": ("open", {"gru_width": 2, "width": 2}, "optimizer", "optimizer.png"),
    "optim4rl": ("optim4rl", {"width": 2}, "optimizer", "optimizer.png"),
    "ta_lpg": ("lpg", {"width": 2, "embedding": 2, "targets": 2, "temporal": True}, "lpg", "targets.png"),
}
"""Name to algorithm, options, what is searched, and the file of its picture."""


@pytest.fixture
def made(tmp_path: Path) -> LoadedRun:
    """A fabricated run that searched an optimizer."""
    algorithm, options, *_ = FAMILIES["open"]
    near, far = (replace(task, numbers={"learning_rate": 0.02}) for task in (NEAR, FAR))
    changes = {"algorithm": algorithm, "algorithm_options": options, "tasks": (near,), "held_out": (far,)}
    with begin(replace(CONFIG, **changes), tmp_path) as run:
        search(run)
    return load_run(run.folder)


@pytest.mark.slow
def test_a_plot_a_notebook_and_the_report_show_what_was_searched(
    made: LoadedRun, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    paths = plot_run(made, tmp_path / "plots")
    assert [path.name for path in paths] == ["meta-learning-near.png", "optimizer.png"]
    assert matplotlib.image.imread(paths[1]).std() > 0.05  # not blank
    assert capsys.readouterr().err == ""
    ((drawn, picture),) = pictures_of(made.learned()).items()
    assert (drawn, picture.name) == ("optimizer", "optimizer")
    assert (made.learned().label, made.learned().n_updates) == ("discovered", 2)
    page = Page(write_report(made, tmp_path / "page.html").read_text(encoding="utf-8"))
    assert ("img", "alt", picture.alt) in page.attributes

    assert isinstance(made.plot_objective("initial", "optimizer"), Figure)
    first, last = (made.learned(number).meta_params["optimizer"] for number in ("initial", None))
    assert any(np.any(a != b) for a, b in zip(jax.tree.leaves(first), jax.tree.leaves(last), strict=True))
    with pytest.raises(BadInput, match="'drift'"):
        made.plot_objective(part="drift")
    with pytest.raises(BadInput, match="policy loss"):
        made.objective()


def test_parts_that_are_searched_together_are_drawn_apart() -> None:
    spec = AlgorithmSpec("lpo+open", (("lpo_width", 2), ("open_gru_width", 0), ("open_width", 2)))
    found = learned_of(spec, build(spec.name, dict(spec.options)).init(jax.random.key(0)), {}, "joined")
    drawn = {entry: picture.name for entry, picture in pictures_of(found).items()}
    assert drawn == {"drift": "objective", "optimizer": "optimizer"}
    with pytest.raises(BadInput, match="driftt"):
        draw_found(found, "driftt")


def test_a_picture_that_fails_is_an_error_of_ours_or_bad_input_of_the_users() -> None:
    def draw(found: Any, plots: Any) -> Any:
        raise KeyError("eta")

    broken = Picture("x", draw, "", "")
    with pytest.raises(KeyError):
        pictures.draw(broken, learned_of(AlgorithmSpec("ppo")))
    with pytest.raises(BadInput, match="eta"):
        pictures.draw(broken, learned_of(AlgorithmSpec("objectives.known:ppo")))


def searched_tiny(folder: Path, algorithm: str, options: dict[str, Any], **changes: Any) -> list[str]:
    """Search two generations; returns where, as verbs want it."""
    n_epochs = 1 if algorithm == "lpg" else 2
    setup = Setup(
        "Catch-bsuite", n_envs=2, n_steps=8, n_epochs=n_epochs, n_minibatches=1, hidden=(4,), curve_points=2
    )
    config = SearchConfig(
        generations=2,
        algorithm=algorithm,
        algorithm_options=options,
        meta=ESConfig(population=4, answer_every=1, **changes.pop("meta", {})),
        tasks=(Task("Catch", setup, 256, **changes),),
        seeds=1,
        selection_seeds=2,
    )
    discover(config, folder / "runs", "done", Inline(2))
    return ["--output", str(folder / "runs")]


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_what_was_searched_is_plotted_shown_and_reported(
    family: str, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    algorithm, options, entry, file = FAMILIES[family]
    at = searched_tiny(tmp_path, algorithm, options)
    assert main(["plot", "done", *at]) == 0
    said = capsys.readouterr()
    paths = [Path(line) for line in said.out.splitlines()]
    assert [path.name for path in paths] == ["meta-learning-Catch.png", file]
    assert matplotlib.image.imread(paths[1]).std() > 0.05 and said.err == ""
    assert main(["show", "done", *at]) == 0
    assert file in capsys.readouterr().out
    assert main(["report", "done", *at]) == 0
    picture = pictures_of(load_run(tmp_path / "runs" / "done").learned())[entry]
    page = (tmp_path / "runs" / "done" / "report.html").read_text(encoding="utf-8")
    assert picture.alt in html.unescape(page)


@pytest.mark.slow
def test_two_parts_are_searched_at_once(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """Both entries leave their start, the optimizer's numbers in steps a tenth as long as the drift's."""
    options = {"lpo_width": 2, "open_gru_width": 2, "open_width": 2, "open_start": "random"}
    meta = {"scales": {"optimizer": 0.1}, "learning_rate": 0.2}
    # Steps so large that proposals differ in what they score, which moves the mean.
    at = searched_tiny(tmp_path, "lpo+open", options, meta=meta, numbers={"open_scale": 1.0})
    run = load_run(tmp_path / "runs" / "done")
    first, last = run.meta_params("initial"), run.meta_params("last")
    moved = {
        entry: jax.tree.leaves(jax.tree.map(lambda a, b: np.abs(a - b).max(), last[entry], first[entry]))
        for entry in ("drift", "optimizer")
    }
    assert min(moved["drift"]) > 0.1 and min(moved["optimizer"]) > 0.01, moved
    assert max(moved["drift"]) < 0.45 and max(moved["optimizer"]) < 0.045, "Adam's steps, two of them"
    assert main(["plot", "done", *at]) == 0
    names = {Path(line).name for line in capsys.readouterr().out.splitlines()}
    assert {"optimizer.png", "objective.png"} < names
    for verb in ("show", "report"):
        assert main([verb, "done", *at]) == 0
