"""What was found is drawn by what was searched: in plots, notebooks and reports, for every family."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import matplotlib.image
import numpy as np
import pytest
from matplotlib.figure import Figure

from discovery.app.command_line import main
from discovery.app.loaded import LoadedRun, load_run
from discovery.core.errors import BadInput
from discovery.core.jobs import AlgorithmSpec
from discovery.display.pictures import found as pictures
from discovery.display.pictures.found import draw_found, pictures_of
from discovery.display.pictures.runs import plot_run
from discovery.display.report import write_report
from discovery.results.learned import Learned, learned_of
from objectives import build
from objectives.base import Algorithm
from objectives.family import Picture
from objectives.known import drift_loss, ppo_drift
from objectives.parts import actor_critic
from tests.display.report.fabricated import CONFIG, FAR, NEAR, begin, search
from tests.display.report.pages import Page

FAMILIES: dict[str, tuple[str, dict[str, Any], str, str]] = {
    "ampo": ("ampo", {"units": 6}, "potential", "mirror-map.png"),
    "open": ("open", {"gru_width": 2, "width": 2}, "optimizer", "optimizer.png"),
    "optim4rl": ("optim4rl", {"width": 2}, "optimizer", "optimizer.png"),
    "ta_lpg": ("lpg", {"width": 2, "embedding": 2, "targets": 2, "temporal": True}, "lpg", "targets.png"),
}
"""Name to algorithm, options, what is searched, and the file of its picture."""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> LoadedRun:
    """A fabricated run that searched an optimizer."""
    algorithm, options, *_ = FAMILIES["open"]
    near, far = (replace(task, numbers={"learning_rate": 0.02}) for task in (NEAR, FAR))
    changes = {"algorithm": algorithm, "algorithm_options": options, "tasks": (near,), "held_out": (far,)}
    with begin(replace(CONFIG, **changes), tmp_path_factory.mktemp("runs")) as run:
        search(run)
    return load_run(run.folder)


def test_a_plot_and_the_report_show_what_was_searched(made: LoadedRun, tmp_path: Path, capsys: Any) -> None:
    paths = plot_run(made, tmp_path / "plots")
    assert [path.name for path in paths] == ["meta-learning-near.png", "optimizer.png"]
    assert matplotlib.image.imread(paths[1]).std() > 0.05  # not blank
    assert capsys.readouterr().err == ""
    ((drawn, picture),) = pictures_of(made.learned()).items()
    assert (drawn, picture.name) == ("optimizer", "optimizer")
    assert (made.learned().label, made.learned().n_updates) == ("discovered", 2)
    page = Page(write_report(made, tmp_path / "page.html").read_text(encoding="utf-8"))
    assert ("img", "alt", picture.alt) in page.attributes


def test_notebooks_get_any_mean_and_are_told_of_unknown_parts(made: LoadedRun) -> None:
    assert made.generation_number() != 0
    assert isinstance(made.plot_objective("initial", "optimizer"), Figure)
    first, last = (made.learned(number).meta_params["optimizer"] for number in ("initial", None))
    assert any(np.any(a != b) for a, b in zip(_leaves(first), _leaves(last), strict=True))
    with pytest.raises(BadInput, match="'drift'"):
        made.plot_objective(part="drift")
    with pytest.raises(BadInput, match="no elementwise policy loss"):
        made.objective()


def _leaves(tree: Any) -> list[Any]:
    return [leaf for item in tree.values() for leaf in _leaves(item)] if isinstance(tree, dict) else [tree]


def both() -> Learned:
    """A drift and an optimizer, searched together."""
    spec = AlgorithmSpec("lpo+open", (("lpo_width", 2), ("open_gru_width", 0), ("open_width", 2)))
    return learned_of(spec, build(spec.name, dict(spec.options)).init(jax.random.key(0)), {}, "joined")


def test_parts_that_are_searched_together_are_drawn_apart() -> None:
    found = both()
    assert {entry: picture.name for entry, picture in pictures_of(found).items()} == {
        "drift": "objective",
        "optimizer": "optimizer",
    }
    with pytest.raises(BadInput, match="driftt"):
        draw_found(found, "driftt")


def two_entries() -> Algorithm:
    """PPO's drift times one searched number plus another."""

    def init(key: Any) -> dict[str, Any]:
        return {"slope": jnp.ones(()), "shift": jnp.zeros(())}

    def drift(meta_params: Any, log_ratio: Any, advantage: Any, progress: Any) -> Any:
        base = ppo_drift(meta_params, log_ratio, advantage, progress)
        return meta_params["slope"] * base + meta_params["shift"]

    return actor_critic("two_entries", drift_loss(drift), init)


def test_a_picture_that_fails_is_an_error_of_ours_or_bad_input_of_the_users() -> None:
    def draw(found: Any, plots: Any) -> Any:
        raise KeyError("eta")

    broken, own = Picture("x", draw, "", ""), AlgorithmSpec(f"{__name__}:two_entries")
    with pytest.raises(KeyError):
        pictures.draw(broken, both())
    with pytest.raises(BadInput, match="eta"):
        pictures.draw(broken, learned_of(own, build(own.name).init(jax.random.key(0))))


def searched_tiny(
    folder: Path, algorithm: str, options: dict[str, Any], meta: str = "", task: str = ""
) -> list[str]:
    """Search two generations from the command line; returns where, as the other commands want it."""
    text = ", ".join(f"{name} = {json.dumps(value)}" for name, value in options.items())
    passes = 1 if algorithm == "lpg" else 2
    (folder / "tiny.toml").write_text(f"""
algorithm = "{algorithm}"
algorithm_options = {{ {text} }}
generations = 2
seeds = 1
selection_seeds = 2
executor = "inline"
agents_per_call = 2

[meta]
population = 4
mean_every = 1
{meta}

[[tasks]]
name = "Catch"
total_steps = 256
{task}

[tasks.setup]
environment = "Catch-bsuite"
n_envs = 2
n_steps = 8
n_epochs = {passes}
n_minibatches = 1
hidden = [4]
curve_points = 2
""")
    at = ["--output", str(folder / "runs")]
    assert main(["search", str(folder / "tiny.toml"), *at, "--name", "done", "--quiet"]) == 0
    return at


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_searched_and_plotted_from_the_command_line(
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
    assert picture.alt in (tmp_path / "runs" / "done" / "report.html").read_text(encoding="utf-8")


@pytest.mark.slow
def test_two_parts_are_searched_at_once_from_the_command_line(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    """Both entries leave their start, the optimizer's numbers in steps a tenth as long as the drift's."""
    options = {"lpo_width": 2, "open_gru_width": 2, "open_width": 2, "open_start": "random"}
    meta = "scales = { optimizer = 0.1 }\nlearning_rate = 0.2"
    # Steps so large that proposals differ in what they score, which moves the mean.
    at = searched_tiny(tmp_path, "lpo+open", options, meta, "numbers = { open_scale = 1.0 }")
    run = load_run(tmp_path / "runs" / "done")
    first, last = run.meta_params("initial"), run.meta_params("last")
    moved = {
        entry: [np.abs(a - b).max() for a, b in zip(_leaves(last[entry]), _leaves(first[entry]), strict=True)]
        for entry in ("drift", "optimizer")
    }
    assert min(moved["drift"]) > 0.1 and min(moved["optimizer"]) > 0.01, moved
    assert max(moved["drift"]) < 0.45 and max(moved["optimizer"]) < 0.045, "Adam's steps, two of them"
    assert main(["plot", "done", *at]) == 0
    names = {Path(line).name for line in capsys.readouterr().out.splitlines()}
    assert {"optimizer.png", "objective.png"} < names
    for verb in ("show", "report"):
        assert main([verb, "done", *at]) == 0
