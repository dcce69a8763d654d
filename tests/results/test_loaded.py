"""What a loaded run shows is what the ledger holds, and what was trained."""

import ast
import json
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jax
import numpy as np
import pytest

import discovery
from discovery.app.loaded import LoadedRun, load_run
from discovery.core.config.evolution import ESConfig
from discovery.core.config.search import SearchConfig
from discovery.core.errors import BadInput, LedgerError, RunError
from discovery.core.jobs import AlgorithmSpec, JobResult
from discovery.meta.base import Proposal
from discovery.results.objective import objective_of
from discovery.search.selection import choose
from discovery.store.arrays import digest_of, numbers_of, unpack
from discovery.store.ledger import Evaluation
from discovery.store.run import Run
from objectives import build
from tests.ids import job_key, score_request

KEY = np.array([1, 2], np.uint32)


@pytest.fixture(scope="module")
def run(finished_run: SimpleNamespace) -> LoadedRun:
    return load_run(finished_run.folder)


@pytest.fixture
def young_run(tmp_path: Path) -> LoadedRun:
    """A run that was stopped in its first generation: one training crashed, one ended, others did not."""
    config = SearchConfig(meta=ESConfig(population=2), seeds=2)
    with Run.create(config, tmp_path, name="young") as open_run:
        ledger = open_run.ledger
        ledger.close_generation(-1, {"x": np.zeros(1)}, {}, answer=Proposal({"x": np.zeros(1)}))
        ledger.propose([score_request(0, i, {"x": np.full(1, i)}) for i in range(2)])
        for seed in range(2):
            name = f"g0/p1/search/CartPole-v1/s{seed}"
            what = Evaluation(name, "g0/p1", 0, "search", "CartPole-v1", seed, 97, 97, 0, KEY)
            ledger.record(what, JobResult(job_key(name), None, "crashed"))
    return load_run(tmp_path / "young")


def test_a_run_is_found_after_the_working_directory_changed(young_run, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    run = load_run("young")
    assert run.folder == Path("young")
    monkeypatch.chdir("/")
    assert run.reload().folder.is_relative_to(tmp_path.relative_to("/"))
    assert str(run.folder)[0] != "/" and run.folder.is_dir()


def query(folder: Path, text: str) -> list[dict]:
    """Rows straight from the file, past all of our code."""
    with closing(sqlite3.connect(folder / "ledger.sqlite")) as db, db:
        db.row_factory = sqlite3.Row
        return [dict(row) for row in db.execute(text)]


def same_tree(a, b) -> bool:
    return jax.tree.structure(a) == jax.tree.structure(b) and all(
        x.dtype == y.dtype and x.tobytes() == y.tobytes()
        for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    )


# Frames and arrays


def test_frame_is_the_table(run: LoadedRun) -> None:
    frame, rows = run.frame(), query(run.folder, "SELECT * FROM evaluations ORDER BY rowid")
    assert len(frame) == len(rows) == 3 * 4 * 2 + 3 * 4
    for column in set(rows[0]) - {"outcome"}:
        assert frame[column].to_list() == [row[column] for row in rows], column
    assert set(frame["steps"]) == {480}


def test_proposals_frame_has_means_and_failures(run: LoadedRun, young_run: LoadedRun) -> None:
    frame = run.proposals_frame().set_index("id")
    rows = query(run.folder, "SELECT proposal, avg(score) AS mean FROM evaluations GROUP BY proposal")
    assert set(frame.index) == {row["proposal"] for row in rows}
    for row in rows:
        assert frame.loc[row["proposal"], "score cart"] == pytest.approx(row["mean"], rel=1e-12)
    assert set(frame["failed"]) == {0}
    assert set(frame.loc[["g0/answer", "g2/answer", "g3/answer"], "index"]) == {-1}
    frame = young_run.proposals_frame().set_index("id")
    assert np.isnan(frame.loc["g0/p1", "score CartPole-v1"])
    assert list(frame["failed"]) == [0, 2]


def test_generations_frame_and_scores(run: LoadedRun) -> None:
    frame = run.generations_frame().set_index("generation")
    assert list(frame.index) == [-1, 0, 1, 2]
    for row in query(run.folder, "SELECT * FROM generations"):
        for name, value in json.loads(row["metrics"]).items():
            assert frame.loc[row["generation"], name] == value
    for row in query(run.folder, "SELECT * FROM proposals WHERE split = 'search'"):
        assert run.scores[row["generation"], row["idx"]] == row["fitness"]
    assert run.scores.shape == (3, 4)
    np.testing.assert_array_equal(frame["best"].to_numpy()[1:], run.scores.max(axis=1))
    np.testing.assert_allclose(frame["std"].to_numpy()[1:], run.scores.std(axis=1))
    assert run.task_scores.shape == (3, 4, 1, 2)
    for row in query(run.folder, "SELECT * FROM evaluations WHERE split = 'search'"):
        index = int(row["proposal"].rpartition("/p")[2])
        assert run.task_scores[row["generation"], index, 0, row["seed"]] == row["score"]
    np.testing.assert_allclose(run.task_scores.mean(axis=(2, 3)), run.scores, rtol=1e-12)


def test_curves(run: LoadedRun, young_run: LoadedRun) -> None:
    rows = query(run.folder, "SELECT outcome FROM evaluations WHERE split = 'selection' AND generation = 2")
    outcomes = [numbers_of(unpack(row["outcome"])) for row in rows]
    for field in ("curve", "entropy"):
        curves = run.curves("selection", generation=2, field=field)
        expected = np.array([outcome[field] for outcome in outcomes], np.float64)
        np.testing.assert_array_equal(curves.values, expected)
        np.testing.assert_array_equal(curves.steps, np.tile([96.0, 192, 288, 384, 480], (4, 1)))
        assert list(curves.rows["seed"]) == [0, 1, 2, 3]
    failed = young_run.curves("search")
    assert failed.values.shape == (2, 0) and len(failed.rows) == 2


# What was found


def test_proposals_come_out_bit_for_bit(run: LoadedRun, finished_run: SimpleNamespace) -> None:
    """Against what the executor was given, for every proposal and mean of the search."""
    trained = {str(job.id.owner): job.meta_params for job in finished_run.jobs}
    assert len(trained) == 3 * 4 + 3
    for row in run.proposals():
        again = run.proposal(row["generation"], row["idx"]).meta_params
        assert same_tree(again, trained[row["id"]]), row["id"]
    means: dict[Any, str] = {0: "g0", -1: "g0", "initial": "g0", 2: "g2", "last": "g3"}
    for generation, owner in (means | {None: f"g{run.choice.generation}"}).items():
        assert same_tree(run.meta_params(generation), trained[f"{owner}/answer"]), generation
    with Run.open(run.folder) as open_run:
        assert choose(open_run).generation == run.choice.generation


def test_no_such_generation_or_proposal(run: LoadedRun) -> None:
    for generation in (4, -2, "first"):
        with pytest.raises(BadInput, match=str(generation)):
            run.meta_params(generation)  # type: ignore[arg-type]
    for generation, index in ((0, 4), (1, -1)):  # the mean was not due in generation 1
        with pytest.raises(BadInput, match=f"proposal {index} in generation {generation}"):
            run.proposal(generation, index)


def test_a_proposal_that_differs_is_refused(run: LoadedRun, tmp_path: Path) -> None:
    folder = shutil.copytree(run.folder, tmp_path / "changed")
    with Run.open(folder, write=True):
        assert load_run(folder).n_generations == 3  # it is read while it is written to
    with closing(sqlite3.connect(folder / "ledger.sqlite")) as db, db:
        db.execute("UPDATE proposals SET params_digest = ? WHERE id = 'g1/p0'", [digest_of({})])
    changed = load_run(folder)
    changed.proposal(1, 1)
    with pytest.raises(LedgerError, match="g1/p0 of changed"):
        changed.proposal(1, 0)


def test_objective_with_zero_weights_is_ppo(run: LoadedRun) -> None:
    """The initial mean's output weights are 0: f = relu(f_PPO - xi), with the task's clip of 0.3."""
    log_ratio, advantage = np.linspace(-1.5, 1.5, 31)[None], np.linspace(-2, 2, 9)[:, None]
    old = -np.abs(np.sin(log_ratio * 7))
    ratio = np.exp(log_ratio)
    clipped = np.maximum((ratio - np.clip(ratio, 0.7, 1.3)) * advantage, 0.0)
    drift = np.maximum(clipped - 1e-4, 0.0)
    objective = run.objective("initial")
    for fraction in (0.0, 0.9):
        loss = objective(old + log_ratio, old, advantage, fraction)
        assert loss.shape == (9, 31)
        np.testing.assert_allclose(loss, drift - ratio * advantage, atol=2e-6)
        np.testing.assert_allclose(objective.drift(log_ratio, advantage, fraction), drift, atol=2e-6)
    near_kink = np.abs(clipped - 1e-4) < 1e-3
    slope = np.where(clipped > 1e-4, 0.0, advantage + 0 * ratio)
    found = np.asarray(objective.slope(log_ratio, advantage))
    np.testing.assert_allclose(found[~near_kink], slope[~near_kink], atol=1e-5)


def test_implied_drift_is_zero_at_one() -> None:
    """A2C has no ratio: -log pi A is r A - f with f = A (r - 1 - log r)."""
    log_ratio = np.linspace(-1, 1, 5)
    expected = 2.0 * (np.expm1(log_ratio) - log_ratio)
    np.testing.assert_allclose(objective_of(AlgorithmSpec("a2c")).drift(log_ratio, 2.0), expected, atol=1e-6)


def test_objective_says_what_is_wrong() -> None:
    for name, numbers, word in (("ppo", {"clop": 0.1}, "clop"), ("lpo", {}, "drift"), ("poo", {}, "poo")):
        with pytest.raises(BadInput, match=word):
            objective_of(AlgorithmSpec(name), numbers=numbers)


# As a whole


def test_a_young_run(young_run: LoadedRun) -> None:
    assert young_run.scores.shape == (0, 2)
    assert young_run.task_scores.shape == (0, 2, 1, 2)
    assert list(young_run.generations_frame()["generation"]) == [-1]
    assert young_run.reports_frame().empty
    with pytest.raises(RunError):
        young_run.meta_params()
    np.testing.assert_array_equal(young_run.meta_params("initial")["x"], [0.0])
    with pytest.raises(BadInput, match="generation"):
        young_run.plot_meta_learning()
    with pytest.raises(BadInput, match="not a run"):
        load_run(young_run.folder.parent)


def test_public_names_have_one_home() -> None:
    """The table of homes and the imports for type checkers name the same things."""
    source = ast.parse(Path(discovery.__file__ or "").read_text())
    block = next(node for node in source.body if isinstance(node, ast.If))
    imports = [node for node in block.body if isinstance(node, ast.ImportFrom)]
    assert {alias.name: node.module for node in imports for alias in node.names} == discovery._HOME
    assert set(discovery.__all__) == {*discovery._HOME, "__distribution__"} <= set(dir(discovery))
    assert discovery.build is build
    with pytest.raises(AttributeError, match="serch"):
        discovery.serch  # type: ignore[attr-defined]  # noqa: B018
