"""Pictures and files of a run: all that there is data for, and the numbers in them are the run's."""

import dataclasses
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import matplotlib.image
import numpy as np
import pytest

from discovery.app.loaded import LoadedRun, load_run
from discovery.core.errors import BadInput, RunError
from discovery.core.toml import dumps
from discovery.display.pictures import loss
from discovery.display.pictures.loss import ADVANTAGE, LOG_RATIO
from discovery.display.pictures.runs import plot_run
from discovery.export.run import export_run, provenance
from discovery.statistics import interval
from discovery.store.run import CONFIG
from environments.task import Task
from objectives.known import ppo


@pytest.fixture(scope="module")
def run(reported_run: SimpleNamespace) -> LoadedRun:
    return load_run(reported_run.folder)


@pytest.fixture(scope="module")
def bare_run(finished_run: SimpleNamespace) -> LoadedRun:
    """Nothing was evaluated in it."""
    return load_run(finished_run.folder)


# Pictures


def test_plot_run_draws_all_there_is(run: LoadedRun, tmp_path: Path) -> None:
    paths = plot_run(run, tmp_path / "plots")
    assert [path.name for path in paths] == [
        "meta-learning-cart.png",
        "objective.png",
        "learning-curves-cart.png",
        "learning-curves-fast-cart.png",
        "comparison.png",
    ]
    assert sorted(paths) == sorted((tmp_path / "plots").iterdir())
    for path in paths:
        assert matplotlib.image.imread(path).std() > 0.05  # not blank


def test_plot_run_without_reports(bare_run: LoadedRun, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    young = load_run(bare_run.folder)
    young.selection, young._choice = {}, None
    assert [path.name for path in plot_run(young, tmp_path)] == ["meta-learning-cart.png"]
    assert capsys.readouterr().err == ""
    assert [path.name for path in plot_run(bare_run, tmp_path)] == ["meta-learning-cart.png", "objective.png"]
    for draw in (bare_run.plot_learning_curves, bare_run.plot_comparison):
        with pytest.raises(BadInput):
            draw()


def altered(run: LoadedRun, folder: Path, **changes: object) -> LoadedRun:
    """A copy of the run with another config."""
    shutil.copytree(run.folder, folder)
    (folder / CONFIG).write_text(dumps(dataclasses.replace(run.config, **changes)))
    return load_run(folder)


def test_plot_run_says_why_there_is_no_objective(
    bare_run: LoadedRun, tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = SimpleNamespace(algorithm=lambda: ppo()._replace(policy_loss=None))
    monkeypatch.setitem(sys.modules, "lossless", own)
    for number, (algorithm, reason) in enumerate(
        [("no_such_module:mine", "no_such_module:mine"), ("lossless:algorithm", "policy loss")]
    ):
        other = altered(bare_run, tmp_path / str(number), algorithm=algorithm, algorithm_options={})
        assert [path.name for path in plot_run(other, tmp_path)] == ["meta-learning-cart.png"]
        (line,) = capsys.readouterr().err.splitlines()
        assert "objective.png" in line and reason in line


def test_meta_learning_curve(run: LoadedRun, bare_run: LoadedRun) -> None:
    figure = run.plot_meta_learning()
    lines = {str(line.get_label()): np.asarray(line.get_ydata()) for line in figure.axes[0].get_lines()}
    np.testing.assert_array_equal(lines["population, best"], run.scores.max(axis=1))
    means = [run.selection[g]["cart"].mean() for g in (0, 2, 3)]
    np.testing.assert_allclose(lines["search mean on selection seeds, 95%"], means)
    ppo = run.reports_frame().query("subject == 'ppo' and task == 'cart'")["score"].mean()
    np.testing.assert_allclose(lines["ppo (4 held-out seeds)"], ppo)
    bare = bare_run.plot_meta_learning().axes[0].get_lines()
    assert not any("ppo" in str(line.get_label()) for line in bare)
    with pytest.raises(BadInput, match="fast cart"):
        run.plot_meta_learning("fast cart")


def test_heat_maps_hold_the_objective(run: LoadedRun) -> None:
    objective = run.objective("initial")
    for drawn, function in zip(loss.grids(objective, 0.5), (objective.drift, objective.slope), strict=True):
        expected = [np.asarray(function(LOG_RATIO, advantage, 0.5)) for advantage in ADVANTAGE[::20]]
        np.testing.assert_allclose(drawn[::20], expected, atol=1e-6)


def test_held_out_tasks_are_called_so(run: LoadedRun) -> None:
    titles = [axes.get_title() for axes in run.plot_comparison().axes if axes.get_title()]
    assert titles[0] == "cart" and "fast cart (held out)" in titles[-1]


# The file to take away


def test_header_has_the_scores(run: LoadedRun, tmp_path: Path) -> None:
    number = run.choice.generation
    origin = provenance(run, number)
    assert (origin.run, origin.generation) == ("tiny", number)
    assert (origin.config_hash, origin.versions["jax"]) == (run.meta["config_hash"], run.meta["jax"])
    assert [task.name for task in origin.tasks] == ["cart"]
    assert "CLIP = 0.3" in export_run(run, "jax", tmp_path / "found.py").read_text()
    label, selection = run.label(number), interval(run.selection[number]["cart"])
    rows = {(row.algorithm, row.task, row.split): row for row in origin.scores}
    first = rows[label, "cart", "selection seeds"]
    assert (first.mean, first.low, first.high) == (selection.estimate, selection.low, selection.high)
    held_out = [key for key in rows if key[2] == "held-out task"]
    assert {subject for subject, _, _ in held_out} >= {label, "initial mean", "ppo"}
    scores = run.reports_frame().query("subject == 'ppo' and task == 'fast cart'")["score"]
    assert rows["ppo", "fast cart", "held-out task"].mean == pytest.approx(scores.mean())
    assert any("chosen among 3" in note for note in origin.notes)
    other = provenance(run, 1 if number != 1 else 3)
    assert not any("chosen among" in note for note in other.notes)


def test_tasks_that_differ_in_what_the_loss_reads_are_named(run: LoadedRun, tmp_path: Path) -> None:
    """The file can hold one clip range only; it says whose."""
    tasks = (*run.config.tasks, Task("other", run.config.tasks[0].setup, 480, {"learning_rate": 0.5}))
    two = altered(run, tmp_path / "two", tasks=tasks)
    with pytest.raises(RunError, match="no mean scored on its selection seeds"):  # not on the second task
        two.meta_params()
    (note,) = provenance(two, 1).notes
    assert "cart 0.3, other 0.2" in note
