"""Ctrl-C, SIGTERM and kill -9: a search ends at once and loses nothing that was recorded."""

import contextlib
import gc
import json
import os
import random
import shlex
import signal
import sys
import time
from pathlib import Path

import pytest

from benchmarks.executors import family
from discovery.app.command_line import main
from discovery.app.commands.failure import interruptible, stop_if_interrupted
from discovery.store.ledger import Ledger
from tests.app.support import FLOWING, PROGRAMS, Says, at, differences, recorded, start, wait_for

RUNS = ("--output", "runs")


def test_an_interrupt_that_a_callback_swallowed_is_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    reported = []
    monkeypatch.setattr(sys, "unraisablehook", reported.append)

    def callback(phase: str, info: dict[str, int]) -> None:
        if phase == "start":
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.1)

    with interruptible():
        stop_if_interrupted()
        gc.callbacks.append(callback)
        with contextlib.suppress(KeyboardInterrupt):  # Python may raise it after the callback instead
            gc.collect(0)
        gc.callbacks.remove(callback)
        with pytest.raises(KeyboardInterrupt):
            stop_if_interrupted()
    assert not reported
    with interruptible():
        stop_if_interrupted()


@pytest.mark.slow
def test_ctrl_c_ends_workers_and_a_second_one_kills(home: Path) -> None:
    """The search itself answers the first within seconds, its workers end with it, and nothing is lost."""
    folder, flags = home / "runs" / "stopped", ("--executor", "processes", "--workers", "1")
    process = start(home, "search", "tiny.toml", *RUNS, "--name", "stopped", *flags)
    wait_for(lambda: recorded(folder) > 0, process)
    workers = family(process.pid).keys() - {process.pid}
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (130, "")
    assert workers and not any(family(pid) for pid in workers)
    command = shlex.split(out.splitlines()[-1])
    assert command == ["discovery", "resume", "runs/stopped"]
    done = recorded(folder)

    process = start(home, "search", "tiny.toml", *RUNS, "--name", "killed-twice", *flags)
    wait_for(lambda: recorded(home / "runs" / "killed-twice") > 0, process)
    workers = family(process.pid).keys() - {process.pid}
    for _ in range(2):
        process.send_signal(signal.SIGINT)
        time.sleep(0.02)
    process.communicate(timeout=60)
    assert process.returncode in (-signal.SIGINT, 130)
    end = time.monotonic() + 30
    while any(family(pid) for pid in workers):
        assert time.monotonic() < end
        time.sleep(0.1)

    # elsewhere, and as one process: the same numbers
    assert main(["resume", str(folder), "--executor", "inline", "--quiet"]) == 0
    assert recorded(folder) > done > 0
    assert differences(folder, home / "runs" / "done") == []


@pytest.mark.slow
def test_sigterm_is_ctrl_c(home: Path) -> None:
    process = start(home, "search", "tiny.toml", *RUNS, "--name", "ended", "--json", "--generations", "500")
    wait_for(lambda: recorded(home / "runs" / "ended") > 4, process)
    process.terminate()
    out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (130, "")
    last = json.loads(out.splitlines()[-1])
    assert last == {"event": "interrupted", "resume": "discovery resume runs/ended"}


@pytest.mark.slow
@pytest.mark.parametrize("flags", [[], FLOWING, PROGRAMS], ids=["generations", "asynchronous", "programs"])
def test_killed_at_random_moments_it_ends_as_if_it_had_not_been(
    flags: list[str], home: Path, says: Says
) -> None:
    name = f"killed-{len(flags)}"
    folder, moments = home / "runs" / name, random.Random()
    seed = moments.randrange(10**6)
    moments.seed(seed)
    process = start(home, "search", "tiny.toml", *RUNS, "--name", name, "--quiet", *flags)
    kills = 0
    for _ in range(2):
        goal = recorded(folder) + moments.randint(1, 10)
        wait_for(lambda goal=goal: recorded(folder) >= goal, process)
        time.sleep(moments.random() * 0.03)
        process.kill()
        process.communicate()
        kills += process.returncode == -signal.SIGKILL
        process = start(home, "resume", name, *RUNS, "--quiet")
    assert process.communicate() == ("", ""), seed
    assert process.returncode == 0 and kills >= 1, seed
    if flags:  # once more in the same order, at one go
        assert says("repeat", name, *at(home), "--quiet")[0] == 0, seed
    else:
        assert differences(folder, home / "runs" / "done") == [], seed
    with Ledger.open(folder) as ledger:
        assert all(row["attempts"] == 1 for row in ledger.evaluations(outcomes=False))
