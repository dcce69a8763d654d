"""What a search tells: counts, rows, and the four views."""

import io
import json
import logging
import math
from dataclasses import replace

import numpy as np
import pytest

from discovery.core.config.evolution import ESConfig
from discovery.core.config.search import SearchConfig
from discovery.core.jobs import AlgorithmSpec, Job, JobResult
from discovery.display.formats import rows, status
from discovery.display.progress import Json, View, view
from discovery.meta.base import RequestId, Result, ScoreResult
from discovery.search.progress import SearchProgress, expected_steps, final_row, planned, trainings_of
from discovery.search.requests import jobs_of
from discovery.statistics import interval
from environments.task import Setup, Task
from tests.ids import job_key, request_id, score_request

TASK = Task("Catch", Setup("Catch-bsuite", n_envs=2, n_steps=8, n_minibatches=1, hidden=(8,)), 160)
CONFIG = SearchConfig(
    generations=3, tasks=(TASK,), seeds=2, selection_seeds=4, meta=ESConfig(population=4, answer_every=2)
)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def job(name: str = "g0/p0/search/Catch/s0", lifetime: int = 10) -> Job:
    return Job(job_key(name), AlgorithmSpec("lpo"), TASK, {}, np.zeros(2, np.uint32), lifetime)


def result(error: str | None = None, seconds: float = 1.0, compiling: float = 0.0) -> JobResult:
    key = job_key("g0/p0/search/Catch/s0")
    return JobResult(key, None, error, seconds=seconds, compile_seconds=compiling, worker="inline")


def results(generation: int = 0, mean: bool = True) -> dict[RequestId, Result]:
    values = {f"p{i}": [i, i + 1.0] for i in range(3)} | {"p3": [np.nan, 1.0]}
    if mean:
        values["answer"] = [1.0, 2.0, 3.0, np.nan]
    return scores_of({f"g{generation}/{name}": {"Catch": np.array(v)} for name, v in values.items()})


def scores_of(scores: dict[str, dict[str, np.ndarray]]) -> dict[RequestId, Result]:
    ids = {name: request_id(name) for name in scores}
    return {ids[name]: ScoreResult(ids[name], each) for name, each in scores.items()}


def test_plan_counts_trainings_and_steps() -> None:
    assert [trainings_of(CONFIG, g) for g in range(4)] == [(8, 4), (8, 0), (8, 4), (0, 4)]
    assert planned(CONFIG) == (36, 36 * 160)
    assert planned(CONFIG, 3) == (4, 4 * 160)
    assert planned(CONFIG, 4) == (0, 0)
    task = replace(TASK, shortest_life=0.1)
    assert expected_steps(task) == expected_steps(TASK, True) == 160
    jobs = jobs_of(score_request(0, 0), replace(CONFIG, tasks=(task,), seeds=200))
    steps = np.mean([j.lifetime * TASK.setup.steps_per_update for j in jobs])
    assert steps == pytest.approx(expected_steps(task, True), rel=0.1)


def test_tally_tells_speed_and_time_left() -> None:
    clock = Clock()
    progress = SearchProgress(CONFIG, clock)
    progress.started(0, [job()] * 12, 0)
    assert progress.seconds_left is None and math.isnan(progress.steps_per_second)
    clock.now = 10.0
    progress.finished(job(), result(seconds=10.0, compiling=8.0))  # 160 steps in 2 s of a worker
    assert progress.steps_per_second == pytest.approx(80)
    assert progress.seconds_left == pytest.approx(35 * 160 / 80)
    for _ in range(11):
        clock.now += 4.0  # slower on the wall than by the worker's own clock
        progress.finished(job(), result("diverged", seconds=2.0))
    assert progress.steps_per_second == pytest.approx(40)
    assert progress.seconds_left == pytest.approx(24 * 160 / 40)
    row = progress.row(results())
    assert row.steps == 12 * 160 and row.seconds == 54.0 and row.failures == {"diverged": 11}
    assert row.steps_per_second == pytest.approx(12 * 160 / 54)
    # without a barrier a row may take no time: its speed is that of the session
    progress.config = replace(CONFIG, meta=replace(CONFIG.meta, asynchronous=True))
    assert progress.row(results()).steps_per_second == pytest.approx(40)


@pytest.mark.parametrize("asynchronous", [False, True])
def test_further_selection_seeds_are_counted_with_the_last_mean(asynchronous: bool) -> None:
    clock = Clock()
    meta = replace(CONFIG.meta, asynchronous=asynchronous)
    progress = SearchProgress(replace(CONFIG, meta=meta), clock)
    progress.started(3, [job()] * 4, 0)
    for _ in range(4):
        clock.now += 4.0
        progress.finished(job(), result(seconds=4.0))
    assert progress.seconds_left == 0.0
    progress.started(3, [job()] * 12, 4)
    said = status(progress)
    assert "8 of 16" in said and "40 steps/s" in said and "0:32" in said


def test_rows_leave_failed_proposals_out() -> None:
    progress = SearchProgress(CONFIG)
    progress.started(0, [], 0)
    row = progress.row(results()).tasks["Catch"]
    assert (row.mean, row.best) == (1.5, 2.5) and row.spread == pytest.approx(np.std([0.5, 1.5, 2.5]))
    assert [(g, m.estimate, m.failed) for g, m in row.means.items()] == [(0, 2.0, 1)]
    nothing = scores_of({"g0/p0": {"Catch": np.array([np.nan])}})
    row = progress.row(nothing).tasks["Catch"]
    assert math.isnan(row.mean) and not row.means


def test_means_that_no_row_had_come_with_the_last() -> None:
    progress = SearchProgress(CONFIG)
    progress.started(1, [], 0)
    for name in ("g0/answer/selection", "g1/p0/search", "g2/answer/selection", "g0/answer/selection"):
        progress.finished(job(f"{name}/Catch/s0"), result())
    progress.row(scores_of({"g0/answer": {"Catch": np.ones(2)}}))
    progress.finished(job("g12/answer/selection/Catch/s0"), result())
    assert progress.unseen == {2, 12}
    one = interval(np.array([1.0, 3.0]))
    (line, late) = rows(final_row(CONFIG, {3: {"Catch": one}, 2: {"Catch": one}}), CONFIG)
    assert "3/3" in line and "generation 2" in late


def play(shown: View) -> None:
    """A generation, as a search tells it."""
    with shown:
        shown.say("run", "runs/x: a search", run="runs/x")
        shown.started(0, [job()] * 12, 3)
        shown.finished(job(), result("diverged"))
        logging.getLogger("discovery.executors.processes").warning("%s was %s", "processes/0", "replaced")
        shown.closed(0, results(), {"sigma": 0.3})
        shown.say("result", "Found: generation 0", generation=0, scores={"Catch": float("nan")})


def test_json_is_one_object_a_line() -> None:
    out = io.StringIO()
    play(Json(SearchProgress(CONFIG), out))
    _, started, warning, generation, result = (json.loads(line) for line in out.getvalue().splitlines())
    assert started == {"event": "started", "generation": 0, "trainings": 12, "finished_before": 3}
    assert (warning["event"], warning["text"]) == ("warning", "processes/0 was replaced")
    assert generation["tasks"]["Catch"]["selection"][0]["mean"] == 2.0
    assert generation["metrics"] == {"sigma": 0.3}
    assert (result["event"], result["scores"]) == ("result", {"Catch": None})


def test_quiet_says_only_warnings(capsys: pytest.CaptureFixture[str]) -> None:
    logger, out = logging.getLogger("discovery.executors"), io.StringIO()
    before = list(logger.handlers), logger.propagate
    play(View(SearchProgress(CONFIG), out))
    assert out.getvalue() == ""
    assert capsys.readouterr().err.count("processes/0 was replaced") == 1
    assert (list(logger.handlers), logger.propagate) == before  # warnings go where they went before


def test_trainings_without_a_search_are_shown() -> None:
    out = io.StringIO()
    with view(None, out=out) as shown:
        shown.started(-1, [job()] * 2, 1)
        shown.finished(job(), result())
    assert out.getvalue().startswith("1 of 2")
