"""What every executor promises."""

import subprocess
import sys
import time
from dataclasses import replace

import jax.tree_util as tree
import numpy as np
import pytest

from discovery.core.errors import BadInput
from discovery.core.jobs import JobKey
from discovery.executors import make_executor
from discovery.executors.base import together
from discovery.executors.inline import Inline
from discovery.executors.processes import Processes
from tests.executors.fakes import RUN_CHUNK, job, key

WAYS = {
    "inline": lambda **options: Inline(**options),
    "processes-1": lambda **options: Processes(1, **options),
    "processes-2": lambda **options: Processes(2, **options),
}


def outcomes(executor, jobs):
    with executor:
        results = list(executor.run(jobs))
    assert sorted(result.id.seed for result in results) == sorted(one.id.seed for one in jobs)
    return {result.id: result for result in results}


def assert_same(outcome, expected):
    for one, other in zip(*map(tree.tree_leaves, (outcome, expected)), strict=True):
        assert np.asarray(one).dtype == np.asarray(other).dtype
        np.testing.assert_array_equal(one, other)


def assert_numbers_and_calls_are_those_of_inline(executor, folder):
    """Of an executor with three lanes; returns its results."""

    def run(executor, log):
        jobs = [job(index, lifetime=1 + 7 * index % 5, log=str(log)) for index in range(7)]
        jobs[3] = job(3, "nan", log=str(log))
        results = list(executor.run(jobs))
        assert len(results) == 7
        return {result.id: result for result in results}, sorted(log.read_text().splitlines())

    reference, calls = run(Inline(3, function=RUN_CHUNK), folder / "reference")
    assert len(calls) == 3 and all(call.startswith("3 ") for call in calls)
    results, same_calls = run(executor, folder / "other")
    assert same_calls == calls and set(results) == set(reference)
    for id, expected in reference.items():
        got = results[id]
        assert (got.error, got.detail, got.attempts) == (expected.error, expected.detail, 1)
        assert got.extra["device"] == "cpu" and got.compile_seconds > 0
        assert_same(got.outcome, expected.outcome)
    return results.values()


@pytest.mark.parametrize("way", ["processes-1", "processes-2"])
def test_the_numbers_are_the_same_everywhere_and_the_calls_too(way, tmp_path):
    with WAYS[way](agents_per_call=3, function=RUN_CHUNK) as executor:
        results = assert_numbers_and_calls_are_those_of_inline(executor, tmp_path)
    assert all(result.worker.startswith("processes") for result in results)


@pytest.mark.parametrize("way", ["inline", "processes-2"])
def test_a_job_that_raises_fails_alone_with_one_line(way):
    faults = {1: "raise", 4: "quit"}
    executor = WAYS[way](agents_per_call=4, function=RUN_CHUNK)
    results = outcomes(executor, [job(index, faults.get(index, "none")) for index in range(6)])
    assert {id for id, result in results.items() if result.error} == {key(1), key(4)}
    assert results[key(1)].error == "failed" and results[key(1)].outcome is None
    assert results[key(1)].detail == "ValueError: this proposal is wrong"
    assert results[key(4)].detail == "SystemExit: 3"
    assert results[key(1)].attempts == 3  # four, two, one: an exception would only come again


@pytest.mark.parametrize("way", WAYS)
def test_further_jobs_come_while_others_run(way, tmp_path):
    """Each result brings two more, until there are enough; those that came first go first."""
    log, known = tmp_path / "log", list[JobKey]()
    waiting = [job(index, log=str(log)) for index in range(9)]
    later = iter([waiting[3:5], waiting[5:9]])

    def more():
        return next(later, ()) if known else ()

    with WAYS[way](agents_per_call=1, function=RUN_CHUNK) as executor:
        for group in together(executor.run(waiting[:3], more)):
            known.extend(result.id for result in group)
    assert set(known) == {key(index) for index in range(9)} and len(known) == 9
    if way in ("inline", "processes-1"):
        calls = [int(line.split()[1]) for line in log.read_text().splitlines()]
        turns = [[one.key[0] for one in waiting[a:b]] for a, b in ((0, 3), (3, 5), (5, 9))]
        assert [sorted(part) for part in (calls[:3], calls[3:5], calls[5:])] == [sorted(t) for t in turns]


@pytest.mark.parametrize("way", ["inline", "processes-2"])
def test_lives_in_stretches_are_calls_that_hand_on_their_states(way, tmp_path):
    log, marker = tmp_path / "log", tmp_path / "marker"
    whole = outcomes(Inline(2, function=RUN_CHUNK), [job(index, lifetime=7 + index) for index in range(5)])
    jobs = [
        replace(job(index, lifetime=7 + index, log=str(log), marker=str(marker)), stretches=3)
        for index in range(5)
    ]
    if way != "inline":
        jobs[4] = replace(jobs[4], meta_params=job(4, "die_once").meta_params)
    results = outcomes(WAYS[way](agents_per_call=2, function=RUN_CHUNK), jobs)
    assert len(log.read_text().splitlines()) == 3 * 3 + (way != "inline")
    for id, result in results.items():
        assert result.checkpoint is None and result.error is None
        assert result.attempts == 1 + (id == key(4) and way != "inline")
        assert result.compile_seconds == pytest.approx(3 * whole[id].compile_seconds)
        assert_same(result.outcome, whole[id].outcome)


@pytest.mark.parametrize("way", ["inline", "processes-1"])
def test_no_jobs_are_no_results_and_those_of_a_call_come_in_one_go(way):
    with WAYS[way](agents_per_call=3, function=RUN_CHUNK) as executor:
        assert list(executor.run([])) == []
        groups = list(together(executor.run([job(index) for index in range(7)])))
    assert [len(group) for group in groups] == [3, 3, 1]
    assert [[result.more for result in group] for group in groups] == [[True, True, False]] * 2 + [[False]]


@pytest.mark.parametrize("way", ["inline", "processes-2"])
def test_utilization_is_the_share_of_their_time_in_which_workers_have_a_chunk(way):
    with WAYS[way](agents_per_call=1, function=RUN_CHUNK) as executor:
        assert np.isnan(executor.worker_use().utilization)
        list(executor.run([job(index, seconds=0.4) for index in range(4)]))
        workers, busy = executor.worker_use()
        assert workers == int(way[-1]) if way[-1].isdigit() else workers == 1
        assert 0.8 < busy <= 1
        time.sleep(4 * 0.4 / workers)
        assert 0.4 * busy < executor.worker_use().utilization < 0.6 * busy


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": "proceses"}, r"'proceses'.*processes"),
        ({"name": "inline", "workers": 2}, "workers=2"),
        ({"name": "inline", "memory_limit": 10}, "memory"),
        ({"name": "inline", "agents_per_call": 0}, "agents_per_call"),
        ({"name": "processes", "workers": 0}, "workers"),
        ({"name": "processes", "timeout": 0.0}, "timeout"),
        ({"name": "processes", "memory_limit": 0}, "memory_limit"),
        ({"name": "processes", "address": "auto"}, "address"),
        ({"name": "inline", "gpu_workers": 1}, "gpu_workers"),
        ({"name": "ray", "memory_limit": 10**9}, "memory"),
        ({"name": "ray", "address": "ray://head:10001"}, "address"),
        ({"name": "ray", "address": "head"}, "address"),
        ({"name": "ray", "address": ":6379"}, "address"),
        ({"name": "ray", "address": "a:70000"}, "address"),
        ({"name": "ray", "gpus_per_worker": 1.5}, r"gpus_per_worker.*1\.5"),
        ({"name": "ray", "gpus_per_worker": 0.5}, "without gpu_workers"),
    ],
)
def test_bad_options_are_named(options, message):
    with pytest.raises(BadInput, match=message):
        make_executor(**options)


def test_importing_our_light_packages_imports_no_jax():
    packages = "executors", "export", "core.config.evolution", "core.config.population"
    code = "import sys; " + "".join(f"import discovery.{package}; " for package in packages)
    subprocess.run([sys.executable, "-c", f"{code} sys.exit('jax' in sys.modules)"], check=True)
