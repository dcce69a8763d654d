"""Workers and the process that started them: beginnings and ends."""

import os
import signal
import subprocess
import sys
import threading
import time
import weakref

import pytest

from discovery.core.errors import ExecutorError
from discovery.executors.environment import NUMERICS
from discovery.executors.processes import Processes
from tests.executors.conftest import ROOT, wait_gone
from tests.executors.fakes import RUN_CHUNK, job, key

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


def test_a_run_that_is_left_early_or_forgotten_leaves_a_clean_executor():
    with Processes(2, 1, function=RUN_CHUNK) as executor:
        for _ in executor.run([job(0), job(1, "hang"), job(2, "hang"), job(3)]):
            break
        forgotten = executor.run([job(4), job(5, "hang"), job(6, "hang")])
        assert next(forgotten).id == key(4)
        again = {result.id: result.error for result in executor.run([job(7), job(8)])}
        assert again == {key(7): None, key(8): None}
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


def test_close_ends_busy_workers_and_can_be_repeated():
    executor = Processes(2, 1, function=RUN_CHUNK)
    results = executor.run([job(0), job(1, "hang"), job(2, "hang")])
    next(results)
    pids = executor.pids()
    for _ in range(2):
        executor.close()
        assert wait_gone(pids, 1.0) and executor.pids() == []
        with pytest.raises(ExecutorError, match="closed"):
            executor.run([job(0)])


def test_a_worker_has_one_thread_no_secrets_and_the_settings_of_the_search(tmp_path, monkeypatch):
    secrets = ("OPENAI_API_KEY", "GITHUB_TOKEN", "my_secret", "DB_PASSWORD", "AWS_CREDENTIALS", "APIKEY")
    for name in secrets:
        monkeypatch.setenv(name, "hush")
    kept = {"JAX_DEBUG_KEY_REUSE": "0", "JAX_COMPILATION_CACHE_DIR": "/a", "PATH": os.environ["PATH"]}
    for name, value in {"PJRT_NPROC": "7", "JAX_DEFAULT_PRNG_IMPL": "rbg", **kept}.items():
        monkeypatch.setenv(name, value)
    log = tmp_path / "environment"
    with Processes(1, 1, function="tests.executors.fakes:environment_chunk") as executor:
        (result,) = executor.run([job(0, log=str(log))])
    assert result.error is None
    environment = dict(line.split("=", 1) for line in log.read_text().splitlines() if "=" in line)
    assert "hush" not in environment.values() and not set(secrets) & set(environment)
    expected = {"PJRT_NPROC": "1", "OMP_NUM_THREADS": "1", "JAX_PLATFORMS": "cpu", **NUMERICS, **kept}
    assert expected.items() <= environment.items()
