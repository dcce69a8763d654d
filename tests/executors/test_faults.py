"""Workers that die, hang and swell; what becomes of the innocent."""

import os
import signal
import time

import pytest

from discovery.core.errors import ExecutorError
from discovery.executors.inline import Inline
from discovery.executors.processes import Processes
from tests.executors.fakes import RUN_CHUNK, job, key


def run(jobs, workers=2, width=4, function=RUN_CHUNK, **options):
    with Processes(workers, width, function=function, **options) as executor:
        return {result.id: result for result in executor.run(jobs)}


def test_a_worker_that_dies_once_costs_one_more_attempt(tmp_path):
    marker = str(tmp_path / "died")
    results = run([job(0, "die_once", marker=marker), job(1, marker=marker), job(2)])
    assert {result.error for result in results.values()} == {None}
    assert [results[key(index)].attempts for index in range(3)] == [2, 2, 1]


def test_what_always_kills_fails_alone():
    bad = {2, 5}
    results = run([job(index, "die" if index in bad else "none") for index in range(8)], width=8)
    assert {id for id, result in results.items() if result.error} == {key(index) for index in bad}
    assert results[key(2)].error == "crashed" and "SIGKILL" in results[key(2)].detail
    assert results[key(2)].attempts == 5  # eight twice, four, two, one
    assert results[key(0)].outcome is not None


def test_what_hangs_is_stopped_and_fails_alone():
    started = time.monotonic()
    results = run([job(0, "hang"), job(1)], width=2, timeout=1.0)
    assert (results[key(0)].error, results[key(0)].attempts) == ("timeout", 3)
    assert results[key(0)].seconds >= 1.0
    assert results[key(1)].error is None
    assert time.monotonic() - started < 30


def test_a_caller_who_takes_his_time_makes_nobody_late():
    with Processes(1, 1, timeout=1.0, function=RUN_CHUNK) as executor:
        for result in executor.run([job(0), job(1)]):
            time.sleep(1.2 if result.id == key(0) else 0.0)
            assert (result.error, result.attempts) == (None, 1)


def test_what_swells_is_stopped_and_fails_alone():
    results = run([job(0), job(1, "swell")], width=2, workers=1, memory_limit=300 * 2**20)
    assert results[key(0)].error is None
    assert results[key(1)].error == "out_of_memory" and "300 MiB" in results[key(1)].detail


def test_an_exception_for_want_of_memory_gets_a_fresh_worker():
    result = run([job(0, "memory_error")], width=2)[key(0)]
    assert (result.error, result.attempts) == ("out_of_memory", 2)
    assert "\n" not in result.detail and result.detail


@pytest.mark.parametrize(
    ("way", "fault", "calls"), [(Inline, "exhausted", 1), (Processes, "exhausted_gpu", 2)]
)
def test_want_of_a_devices_memory_is_not_tried_in_halves_that_are_as_wide(way, fault, calls, tmp_path):
    log = tmp_path / "log"
    jobs = [job(index, fault if index == 2 else "none", log=str(log)) for index in range(4)]
    with way(agents_per_call=4, function=RUN_CHUNK) as executor:
        results = list(executor.run(jobs))
    assert [(result.error, result.attempts) for result in results] == [("out_of_memory", calls)] * 4
    assert "RESOURCE_EXHAUSTED" in results[0].detail and len(log.read_text().splitlines()) == calls


def test_workers_are_kept_between_runs_and_one_that_was_killed_is_replaced():
    with Processes(3, 2, function=RUN_CHUNK) as executor:

        def scores():
            found = {result.id: result.outcome for result in executor.run([job(0), job(1), job(2)])}
            return {id: outcome.score for id, outcome in found.items() if outcome is not None}

        first, pids = scores(), executor.pids()
        assert len(first) == 3 and len(pids) == 2  # two chunks
        assert scores() == first and executor.pids() == pids
        os.kill(pids[0], signal.SIGKILL)
        time.sleep(0.2)
        assert scores() == first
        assert pids[0] not in executor.pids() and len(executor.pids()) == 2


class Unpicklable:
    def __reduce__(self):
        raise TypeError("cannot pickle this")


def test_what_cannot_travel_is_a_failed_job():
    reply = run([job(0)], function="tests.executors.fakes:unpicklable_chunk")[key(0)]
    assert reply.error == "failed" and "unpicklable_chunk" in reply.detail
    requests = run([job(0, log=Unpicklable()), job(1)])
    assert requests[key(0)].error == "failed" and "pickle" in requests[key(0)].detail
    assert requests[key(1)].error is None


def test_workers_that_cannot_start_end_the_run_with_their_last_words():
    with pytest.raises(ExecutorError, match="nowhere_at_all"):
        run([job(0)], function="nowhere_at_all:run_chunk")
