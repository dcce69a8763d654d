"""How long a search would take: by hand, and against the chunks that a search makes."""

import json
import shutil
import sqlite3
from collections import defaultdict
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import cluster, losing
from discovery.app.command_line import main
from discovery.app.commands.estimate import estimate
from discovery.app.commands.forecast import ALONE, around, chunks_of, faster, trained
from discovery.app.commands.rates import Rate, rates_of, recorded_rate
from discovery.app.commands.staff import Staff, is_like, staff_of
from discovery.core import presets
from discovery.core.config.evolution import ESConfig
from discovery.core.config.population import PBEConfig
from discovery.core.config.search import SearchConfig, Stopping
from discovery.core.toml import dumps, load
from discovery.executors.chunks import cut
from discovery.executors.cpu import cores
from discovery.executors.schedule import HANDING_SECONDS, longest_first
from discovery.search.requests import jobs_of
from environments.task import Setup, Task
from tests.ids import score_request

STEPS = Setup().steps_per_update
TASKS = Task("a", total_steps=10 * STEPS), Task("b", total_steps=30 * STEPS)
OTHER = Task("c", Setup("Catch-bsuite"), total_steps=20 * STEPS)


def config_of(method: Any = "none", population=16, width=8, tasks=TASKS, **options) -> SearchConfig:
    return SearchConfig(
        generations=3,
        tasks=tasks,
        seeds=3,
        selection_seeds=5,
        agents_per_call=width,
        meta=ESConfig(population=population, mean_every=2),
        stopping=Stopping(method, **({"first_seeds": 2} if method == "racing" else {})),
        **options,
    )


# The chunks --------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["none", "racing", "halving"])
@pytest.mark.parametrize("width", [1, 4, 8])
@pytest.mark.parametrize("selection", [(), (OTHER,)])
def test_chunks_are_those_that_a_search_would_cut(method, width, selection):
    """A search's own plan of stages, of which nobody drops out, cut as its executor cuts it."""
    config = config_of(method, width=width, tasks=TASKS, selection=selection)
    proposals = [score_request(0, i) for i in range(16)]
    mean = score_request(0, -1)
    seen, _ = losing.played([*proposals, mean], config, lambda i, task, seed, share: 1.0)
    alone, _ = losing.played(proposals, config, lambda i, task, seed, share: 1.0)
    expected = []  # the mean in generations 0 and 2, and alone after the last
    for stages, times in ((seen, 2), (alone, 1)):
        expected += [([chunk.cost for chunk in cut([job for job, _ in s], width)], times) for s in stages]
    expected.append(([chunk.cost for chunk in cut(jobs_of(mean, config), width)], 1))
    found = chunks_of(config, {task.name: 1.0 for task in config.seen})

    def comparable(stages):
        return sorted((np.sort(chunks).round(3).tolist(), times) for chunks, times in stages)

    if method != "halving":
        assert comparable(found) == comparable(expected)
        return
    # a rung ends with a whole rollout
    assert [(len(c), t) for c, t in found] == [(len(c), t) for c, t in expected]
    for (chunks, _), (cut_, _) in zip(found, expected, strict=True):
        np.testing.assert_allclose(np.sort(chunks), np.sort(cut_), atol=STEPS * width)


def test_stretches_share_out_what_is_left_over():
    """Three calls of 30 seconds for two workers: two of them after one another, or 45 seconds each."""
    config = replace(config_of("none", population=8, tasks=TASKS[1:]), generations=1)
    config = replace(config, meta=replace(config.meta, mean_every=0), selection_seeds=8)
    rates = {"b": 8.0 * STEPS}
    assert trained(config, rates, 2).seconds == pytest.approx(60 + 30, abs=0.1)
    assert trained(replace(config, stretches=6), rates, 2).seconds == pytest.approx(45 + 30, abs=0.2)


def test_without_a_barrier_all_work_is_shared_out():
    """Six broods of a call of 10 and one of 30 seconds, two means of the same, and the last mean alone."""
    meta = ESConfig(strategy="PBE", population=4, mean_every=2, asynchronous=True, pbe=PBEConfig(parents=2))
    config = replace(config_of(), meta=meta, seeds=4)
    rates = {task.name: 8.0 * STEPS for task in TASKS}
    flowing = trained(config, rates, 2)
    assert flowing.seconds == pytest.approx((6 * 40 + 2 * 40) / 2 + 30, abs=0.1)
    assert flowing.busy == pytest.approx(360 / 2 / 190, abs=0.01)
    # two broods are in flight: of 100 workers, 4 have a call
    assert trained(config, rates, 100).seconds == pytest.approx(320 / 4 + 30, abs=0.1)
    waits = replace(config, meta=replace(meta, asynchronous=False))
    assert trained(waits, rates, 2).seconds > flowing.seconds


def test_sampled_lifetimes_are_expected_ones():
    task = Task("short", total_steps=400 * STEPS, shortest_life=0.1)
    config = config_of(population=16, width=1, tasks=(task,))
    (_, *_), times = chunks_of(config, {"short": 1.0})[0]
    steps = [
        chunk.cost
        for generation in range(300)
        for chunk in cut(jobs_of(score_request(generation, 0), config), 1)
    ]
    proposals = next(chunks for chunks, _ in chunks_of(config, {"short": 1.0}) if len(chunks) == 48)
    assert times == 2 and np.mean(proposals) == pytest.approx(np.mean(steps), rel=0.05)


# The time ----------------------------------------------------------------------------------------


def test_all_tasks_share_the_workers():
    """8 trainings of 3 s and 8 of 2 s, 4 a call, on 3 workers: by rounds of each task it were 5 s."""
    tasks = Task("a", total_steps=30 * STEPS), Task("b", total_steps=20 * STEPS)
    config = SearchConfig(
        generations=2,
        tasks=tasks,
        seeds=1,
        selection_seeds=4,
        agents_per_call=4,
        meta=ESConfig(population=8),
    )
    config = replace(config, meta=replace(config.meta, mean_every=0))
    rates = {"a": 4 * STEPS * 10.0, "b": 4 * STEPS * 10.0}
    h = HANDING_SECONDS
    # each generation: 3 | 3 | 2 2, the fourth handed out when the third has ended; the last mean: 3 | 2
    expected = 2 * (3 * h + 2 + h + 2) + max(h + 3, 2 * h + 2)
    found = trained(config, rates, 3)
    assert found.seconds == pytest.approx(expected)
    assert found.busy == pytest.approx((2 * 10 + 5) / (3 * expected))
    assert around(config, {}) == 4 + 9  # one program: both tasks have one setup
    assert around(replace(config, executor="ray"), {}) == 7 + 9
    two = replace(config, tasks=(tasks[0], OTHER))
    assert around(two, {}) == 4 + 18 and around(two, {"a": 12.0, "c": 20.0}) == 4 + 12 + 20
    assert around(two, {"a": None, "c": 20.0}) == 4 + 20 + 20  # a compiler is as slow elsewhere


def test_fewer_agents_a_call_where_workers_want_for_calls():
    """64 trainings of 100 s (8 a call): 8 calls for 16 workers. With 4 a call, 50 s in place of 100."""
    task = Task("a", total_steps=100 * STEPS)
    meta = ESConfig(population=64, mean_every=0)
    config = SearchConfig(generations=10, tasks=(task,), seeds=1, selection_seeds=8, meta=meta)
    rates = {"a": 8.0 * STEPS}
    advice = faster(config, rates, 16, 13.0)
    assert advice is not None
    width, seconds, idle = advice
    smaller = replace(config, agents_per_call=width)
    assert width == 4 and seconds == pytest.approx(13 + trained(smaller, rates, 16).seconds)
    assert seconds == pytest.approx(10 * 50 + 50 + 13, rel=0.01)
    # 8 of 16 workers work in ten generations, one of them in the last, and all compile
    assert idle == pytest.approx((10 * 8 + 15) * 100 / (16 * (11 * 100 + 13)), rel=0.01)
    assert faster(config, rates, 8, 13.0) is None  # a call each
    assert faster(replace(config, agents_per_call=1), rates, 100, 13.0) is None  # nothing is smaller
    width, seconds, _ = faster(config, rates, 64, 13.0) or (0, 0.0, 0.0)
    assert width == 1 and seconds == pytest.approx((10 + 1) * 12.5 / ALONE + 13, rel=0.06)
    width, _, _ = faster(config, rates, 1000, 13.0) or (0, 0.0, 0.0)  # more workers than trainings
    assert width == 1


# Who works, and how fast ---------------------------------------------------------------------------


def test_devices_by_their_names():
    assert is_like("NVIDIA A100-SXM4-80GB", "A100") and is_like("NVIDIA RTX PRO 6000 Server", "RTX-PRO-6000")
    assert is_like("cpu", "cpu") and not is_like("NVIDIA A100-SXM4-80GB", "A10")
    assert not is_like("NVIDIA H200", "") and not is_like("cpu", "H200")


def test_more_workers_than_cores_are_no_faster():
    (staff,), cluster = staff_of(config_of(executor="processes", workers=cores() + 5))
    assert (staff.workers, staff.asked, cluster) == (cores(), cores() + 5, None)
    (staff,), _ = staff_of(config_of(executor="ray", workers=1))
    assert (staff.workers, staff.asked) == (1, 1)
    assert staff_of(config_of(executor="inline"))[0][0].workers == 1


@pytest.fixture
def measured(finished_run, tmp_path, monkeypatch) -> Path:
    """A copy of that run, which had four agents a call."""
    monkeypatch.setattr("discovery.app.commands.rates.LEAST_SECONDS", 0.0)
    folder = tmp_path / "runs" / "tiny"
    shutil.copytree(finished_run.folder, folder)
    config = replace(load(folder / "config.toml"), agents_per_call=4)
    (folder / "config.toml").write_text(dumps(config))
    return folder


def change(folder: Path, statement: str) -> None:
    """Rewrite the record of a run."""
    with closing(sqlite3.connect(folder / "ledger.sqlite")) as database, database:
        database.execute(statement)


def test_rates_count_every_lane_of_a_call(measured):
    config = load(measured / "config.toml")
    with closing(sqlite3.connect(measured / "ledger.sqlite")) as database:
        rows = database.execute("SELECT seconds - compile_seconds FROM evaluations").fetchall()
    # 3 generations of 4 proposals x 2 seeds; 4 of the mean in two of them, and at the end
    assert len(rows) == 36 and config.tasks[0].n_updates == 30
    expected = 36 * 480 / sum(seconds for (seconds,) in rows)
    found = rates_of(config, measured.parent, "cpu")["cart"]
    assert found.steps_per_second == pytest.approx(expected)
    assert found.source == f"measured in {measured}"
    with closing(sqlite3.connect(measured / "ledger.sqlite")) as database:
        compiled = database.execute("SELECT sum(compile_seconds) FROM evaluations").fetchone()
    assert found.compile_seconds == pytest.approx(compiled[0])  # one program, compiled once
    # a lane that ends before the longest of its call makes it no shorter
    change(measured, "UPDATE evaluations SET until = 1 WHERE seed = 0 AND generation = 1")
    assert rates_of(config, measured.parent, "cpu")["cart"].steps_per_second == pytest.approx(expected)


def test_what_no_run_has_measured_is_as_much_slower_as_what_one_has(measured):
    """By the ratio of this algorithm's runs, on tasks that are listed, to what is listed."""
    config, runs = load(measured / "config.toml"), measured.parent
    times = rates_of(config, runs, "cpu")["cart"].steps_per_second / 196_000
    others = Task("catch", Setup("Catch-bsuite")), Task("swing", Setup("Pendulum-v1"))
    config = replace(config, tasks=(*config.tasks, *others), held_out=())
    found = rates_of(config, runs, "cpu")
    assert found["catch"].steps_per_second == pytest.approx(132_000 * times)
    assert found["catch"].source.endswith(f"times {times:.2g}, as other tasks were here")
    assert found["swing"].steps_per_second == pytest.approx(
        176_000 * times
    )  # a guess by its kind, of Acrobot
    ppo = rates_of(replace(config, algorithm="ppo", algorithm_options={}), runs, "cpu")
    assert ppo["catch"].steps_per_second == 132_000 and "as other tasks" not in ppo["catch"].source
    odd = replace(
        config.tasks[0].setup, environment="Pendulum-v1"
    )  # a guess itself, so no measure for others
    (measured / "config.toml").write_text(
        dumps(replace(config, tasks=(replace(config.tasks[0], setup=odd),)))
    )
    found = rates_of(replace(config, tasks=others), runs, "cpu")
    assert found["catch"].steps_per_second == 132_000


def test_slowness_beside_ppo_says_nothing_of_rates_of_the_algorithm_itself():
    """`open-catch` is listed with the rate of its own trainings, other tasks with PPO's."""
    preset, _ = presets.read("open-catch")
    algorithm, options = preset.algorithm, frozenset(preset.algorithm_options.items())
    catch = algorithm, options, preset.tasks[0].setup
    cart, acrobot = ((algorithm, options, Setup(name)) for name in ("CartPole-v1", "Acrobot-v1"))
    half = {cart: Rate(98_000, "measured")}
    assert recorded_rate(acrobot, half).steps_per_second == pytest.approx(88_000)
    assert recorded_rate(catch, half) == recorded_rate(catch, {})
    third = half | {catch: Rate(61_000 / 3, "measured")}
    assert recorded_rate(catch, third).steps_per_second == pytest.approx(61_000 / 3)
    assert recorded_rate(acrobot, third).steps_per_second == pytest.approx(88_000)
    # how fast the machine is, they tell where nothing else does
    alone = {catch: third[catch]}
    assert recorded_rate(acrobot, alone).steps_per_second == pytest.approx(176_000 / 3)


def test_a_simulated_cluster_has_the_chunks_that_are_on_record(measured):
    """Of four trainings each, or less: which share a chunk is told by their equal shares of its seconds."""
    config, totals = load(measured / "config.toml"), defaultdict(float)
    with closing(sqlite3.connect(measured / "ledger.sqlite")) as database:
        columns = "seconds, compile_seconds, proposals.split"
        query = f"SELECT {columns} FROM evaluations JOIN proposals ON proposal = proposals.id"
        for seconds, compiled, split in database.execute(query):
            totals[seconds] += 0.0 if compiled or split != "search" else seconds
    expected = [total for total in totals.values() if total]
    found = cluster.recorded(measured)
    assert len(expected) in (5, 6)  # of two in each of three generations, of which one may have compiled
    assert sorted(found["cart"]) == pytest.approx(sorted(expected))
    chunks = {times: cluster.generation(found, config, times) for times in cluster.TIMES}
    assert [len(chunks[times]) for times in cluster.TIMES] == [2, 20, 200]  # 4 proposals on 2 seeds, 4 a call
    assert set(chunks[100]) <= set(found["cart"])
    schedules = {times: [longest_first(c, n) for n in cluster.WORKERS] for times, c in chunks.items()}
    picture = cluster.overview(schedules, {times: 4 * times for times in cluster.TIMES})
    seconds, busy = picture.axes
    assert [np.asarray(line.get_xdata())[-1] for line in seconds.get_lines()] == [10_000] * 3
    assert np.asarray(busy.get_lines()[0].get_ydata())[0] == pytest.approx(schedules[1][0].busy)


def test_gpus_have_rates_of_runs_on_such_gpus_alone(measured):
    change(measured, "UPDATE evaluations SET device = 'NVIDIA H200'")
    config, runs = load(measured / "config.toml"), measured.parent
    assert rates_of(config, runs, "H200")["cart"].source == f"measured in {measured} on NVIDIA H200"
    for other, device in (
        (config, "H100"),
        (config, ""),
        (replace(config, agents_per_call=64), "H200"),
        (replace(config, executor="ray", gpu_workers=2, gpus_per_worker=0.5), "H200"),
    ):
        assert rates_of(other, runs, device) == {}
    assert rates_of(config, runs, "cpu")["cart"].source.startswith("measured on another machine")


def test_what_is_known_is_predicted_and_nothing_else(measured, monkeypatch):
    """Two GPUs and three cores: the GPUs count where a run tells how fast those are, else the cores."""
    config, runs = load(measured / "config.toml"), measured.parent
    gpus, three = Staff(2, 2, "H200"), Staff(3, 3, "cpu")
    monkeypatch.setattr("discovery.app.commands.estimate.staff_of", lambda config: ([gpus, three], None))
    plan = estimate(config, runs)
    assert (plan.workers, plan.device) == (3, "cpu") and plan.seconds is not None
    assert plan.notes == ["not counted: 2 workers on H200 GPUs, with which it is sooner"]
    change(measured, "UPDATE evaluations SET device = 'NVIDIA H200'")
    plan = estimate(config, runs)
    assert (plan.workers, plan.device) == (2, "H200") and plan.seconds is not None
    assert plan.notes == ["not counted: 3 workers on cores, with which it is sooner"]
    assert "of it to start and to compile; at these rates per worker:" in plan.text(config)
    assert plan.seconds_before is not None and 0 < plan.seconds_before < plan.seconds
    monkeypatch.setattr("discovery.app.commands.estimate.staff_of", lambda config: ([gpus], None))
    plan = estimate(replace(config, agents_per_call=64), runs)
    assert plan.seconds is None and "is not known: no run in" in plan.notes[-1]
    assert "about" not in plan.text(config)


# The command line --------------------------------------------------------------------------------


def test_the_command_says_what_is_counted(tmp_path, capfd):
    (tmp_path / "many.toml").write_text(dumps(config_of(executor="processes", workers=1000)))
    argv = ["search", str(tmp_path / "many.toml"), "--dry-run", "--output", str(tmp_path / "runs")]
    assert main(argv) == 0
    said = capfd.readouterr().out
    assert f"# 1000 workers are asked for; there is room for {cores()} now" in said
    assert main([*argv, "--json"]) == 0
    plan = json.loads(capfd.readouterr().out)
    assert (plan["workers"], plan["device"], plan["cluster"]) == (cores(), "cpu", None)
    assert plan["seconds"] == estimate(load(tmp_path / "many.toml"), tmp_path / "runs").seconds
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--address", "127.0.0.1:1"], "no Ray cluster can be joined at '127.0.0.1:1'"),
        (
            ["--address", "ray://head:1"],
            "a search runs on a machine of the cluster, not through Ray's client",
        ),
    ],
)
def test_a_cluster_that_cannot_be_joined_is_bad_input(arguments, words, tmp_path, capfd):
    argv = ["search", "lpo-catch", "--executor", "ray", *arguments, "--output", str(tmp_path / "runs")]
    assert main([*argv, "--dry-run"]) == 2
    out, err = capfd.readouterr()
    assert words in err and err.count("\n") == 1 and out == ""
    assert not (tmp_path / "runs").exists()
