"""Workers and the process that started them: beginnings and ends."""

import os
import signal
import subprocess
import sys
import threading
import time
import weakref
from pathlib import Path

import pytest

from discovery.executors.processes import Processes
from tests.executors.fakes import RUN_CHUNK, job, key

ROOT = Path(__file__).parents[2]

SCRIPT = """
import sys, threading
sys.path.insert(0, {root!r})
from discovery.executors.processes import Processes
from tests.executors.fakes import RUN_CHUNK, job

def work():
    executor = Processes(2, 1, function=RUN_CHUNK)
    results = executor.run([job(index, fault, log={log!r}) for index, fault in enumerate({faults!r})])
    next(results)
    print(*executor.pids(), flush=True)
    next(results)

{start}
"""


def start_parent(log, fault, start="work()"):
    """A process with two workers in calls that never end; returns it and the workers' pids."""
    code = SCRIPT.format(root=str(ROOT), log=str(log), faults=["none", fault, fault], start=start)
    parent = subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert parent.stdout is not None
    pids = [int(pid) for pid in parent.stdout.readline().split()]
    assert len(pids) == 2
    wait_for_calls(log, 3)
    return parent, pids


def wait_for_calls(log, number):
    """Until so many calls have begun."""
    end = time.monotonic() + 30.0
    while time.monotonic() < end:
        if log.exists() and len(log.read_text().splitlines()) >= number:
            return
        time.sleep(0.02)
    raise AssertionError(f"{number} calls did not begin")


def wait_gone(pids, seconds=10.0):
    """Whether all processes end in time (a zombie has ended)."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if not any(alive(pid) for pid in pids):
            return True
        time.sleep(0.05)
    return False


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] not in "ZX"
    except OSError:
        return False


@pytest.mark.parametrize(
    ("fault", "start"),
    [
        ("hang", "work()"),
        ("hold_lock", "work()"),
        ("hang", "threading.Thread(target=work).start()"),  # the kernel's signal is not asked for here
    ],
)
def test_workers_die_with_a_parent_killed_at_work(fault, start, tmp_path):
    parent, pids = start_parent(tmp_path / "log", fault, start)
    parent.kill()
    parent.communicate()
    assert wait_gone(pids)


def test_ctrl_c_ends_all_and_only_the_parent_speaks(tmp_path):
    parent, pids = start_parent(tmp_path / "log", "hang")
    os.killpg(parent.pid, signal.SIGINT)  # what a terminal does
    _, errors = parent.communicate(timeout=10)
    assert wait_gone(pids)
    assert parent.returncode == -signal.SIGINT
    assert errors.count("Traceback") == 1 and errors.rstrip().endswith("KeyboardInterrupt")


def test_workers_end_with_a_program_that_never_closed_them(tmp_path):
    log = str(tmp_path / "log")
    code = SCRIPT.format(root=str(ROOT), log=log, faults=["none"] * 3, start="work()")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert wait_gone([int(pid) for pid in done.stdout.split()]) and not done.stderr


def test_a_dropped_executor_ends_its_workers():
    executor = Processes(1, 1, function=RUN_CHUNK)
    list(executor.run([job(0)]))
    pids, reference = executor.pids(), weakref.ref(executor)
    del executor
    assert reference() is None and wait_gone(pids)


def test_a_run_that_is_left_early_leaves_a_clean_executor():
    with Processes(2, 1, function=RUN_CHUNK) as executor:
        for _ in executor.run([job(0), job(1, "hang"), job(2, "hang"), job(3)]):
            break
        again = {result.id: result for result in executor.run([job(4), job(5)])}
        assert set(again) == {key(4), key(5)} and all(result.error is None for result in again.values())


def test_a_new_run_ends_one_that_was_forgotten():
    with Processes(2, 1, function=RUN_CHUNK) as executor:
        forgotten = executor.run([job(0), job(1, "hang"), job(2, "hang")])
        assert next(forgotten).id == key(0)
        assert [result.id for result in executor.run([job(3)])] == [key(3)]
        assert list(forgotten) == []


def test_ctrl_c_in_the_middle_of_a_run_leaves_a_clean_executor(tmp_path):
    log = tmp_path / "log"

    def interrupt():
        wait_for_calls(log, 1)
        os.kill(os.getpid(), signal.SIGINT)

    with Processes(1, 1, function=RUN_CHUNK) as executor:
        thread = threading.Thread(target=interrupt)
        thread.start()
        with pytest.raises(KeyboardInterrupt):
            list(executor.run([job(0, "hang", log=str(log))]))
        thread.join()
        assert executor.pids() == []
        assert [result.error for result in executor.run([job(1)])] == [None]


def test_close_ends_busy_workers():
    executor = Processes(2, 1, function=RUN_CHUNK)
    results = executor.run([job(0), job(1, "hang"), job(2, "hang")])
    next(results)
    pids = executor.pids()
    executor.close()
    assert wait_gone(pids, 1.0) and executor.pids() == []


def test_a_worker_has_one_thread_and_no_secrets(tmp_path, monkeypatch):
    secrets = ("OPENAI_API_KEY", "GITHUB_TOKEN", "my_secret", "DB_PASSWORD", "AWS_CREDENTIALS", "APIKEY")
    for name in secrets:
        monkeypatch.setenv(name, "hush")
    monkeypatch.setenv("PJRT_NPROC", "7")
    monkeypatch.setenv("JAX_DEBUG_KEY_REUSE", "0")
    log = tmp_path / "environment"
    with Processes(1, 1, function="tests.executors.fakes:environment_chunk") as executor:
        (result,) = executor.run([job(0, log=str(log))])
    assert result.error is None
    environment = dict(line.split("=", 1) for line in log.read_text().splitlines() if "=" in line)
    assert "hush" not in environment.values() and not set(secrets) & set(environment)
    assert environment["PJRT_NPROC"] == environment["OMP_NUM_THREADS"] == "1"
    assert environment["JAX_PLATFORMS"] == "cpu" and environment["JAX_DEBUG_KEY_REUSE"] == "0"
    assert environment["PATH"] == os.environ["PATH"]
