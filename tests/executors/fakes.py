"""A stand-in for compiled trainings: quick arithmetic, and every fault on demand. No jax."""

import ctypes
import os
import signal
import sys
import time
import types
from pathlib import Path
from typing import Any

import numpy as np

from discovery.core.jobs import AlgorithmSpec, Job, JobKey, Outcome
from environments.task import Setup, Task

RUN_CHUNK = "tests.executors.fakes:run_chunk"
SETUP = Setup(n_envs=2, n_steps=4, n_minibatches=1, curve_points=3)
TASK = Task("fake", SETUP, total_steps=800)

_GPU = types.SimpleNamespace(devices=lambda: [types.SimpleNamespace(device_kind="a made-up GPU")])

FAULTS = (
    "none",
    "die",
    "die_once",
    "hang",
    "hold_lock",
    "swell",
    "memory_error",
    "exhausted",
    "exhausted_gpu",
    "raise",
    "quit",
    "nan",
)


def key(index: int) -> JobKey:
    """The id of job `index`."""
    return JobKey("fake", "search", "task", index)


def job(
    index: int, fault: str = "none", task: Task = TASK, lifetime: int | None = None, **options: Any
) -> Job:
    """Job `index`; `options` reach the fake through the algorithm's."""
    rng = np.random.default_rng(index)
    return Job(
        id=key(index),
        algorithm=AlgorithmSpec("fake", tuple(sorted(options.items()))),
        task=task,
        meta_params={
            "layers": [rng.normal(size=(3, 2)).astype(np.float32), rng.normal(size=2).astype(np.float32)],
            "fault": np.int32(FAULTS.index(fault)),
        },
        key=rng.integers(2**32, size=2, dtype=np.uint32),
        lifetime=task.n_updates if lifetime is None else lifetime,
    )


def run_chunk(algorithm, task, meta_params, keys, lifetimes, until=None, checkpoint=None):
    """What `discovery.inner.compile.run_chunk` does, in form: outcomes depend on their own lane alone."""
    width = len(keys)
    assert keys.shape == (width, 2) and keys.dtype == np.uint32
    assert lifetimes.shape == (width,) and lifetimes.dtype == np.int32
    assert "jax" not in sys.modules or "pytest" in sys.modules
    options = dict(algorithm.options)
    if "log" in options:  # what ran: one line a call
        with open(options["log"], "a") as file:
            file.write(f"{width} {' '.join(str(key) for key in keys[:, 0])}\n")
    time.sleep(options.get("seconds", 0.0))
    faults = {FAULTS[code] for code in meta_params["fault"]}
    for fault in sorted(faults):
        _commit(fault, options)
    noise = np.stack([np.random.default_rng(key).normal(size=task.setup.curve_points) for key in keys])
    curve = noise * meta_params["layers"][0].sum((1, 2))[:, None] + lifetimes[:, None]
    curve[meta_params["fault"] == FAULTS.index("nan")] = np.nan
    score = curve.mean(1).astype(np.float32)
    bad = np.where(np.isfinite(score), -1, 17)
    zeros = np.zeros_like(curve)
    return (
        Outcome(score, score, score, curve, zeros, zeros, bad, {"kl": zeros}),
        _states(keys, until, checkpoint),
        0.25,
    )


def _states(keys, until, checkpoint):
    """The state of a lane: its key, and where it was stopped so far."""
    if until is None:
        assert checkpoint is None
        return None
    assert until.dtype == np.int32 and (checkpoint is None or np.array_equal(checkpoint[0], keys))
    stops = np.zeros((len(keys), 0), np.int32) if checkpoint is None else checkpoint[1]
    return keys, np.concatenate([stops, until[:, None]], axis=1)


def environment_chunk(algorithm, task, meta_params, keys, lifetimes, until, checkpoint):
    """Writes this worker's environment to the file of option "log"."""
    text = "\n".join(f"{name}={value}" for name, value in os.environ.items())
    options = dict(algorithm.options)
    Path(options.pop("log")).write_text(text)
    return run_chunk(AlgorithmSpec("fake", tuple(options.items())), task, meta_params, keys, lifetimes)


def unpicklable_chunk(algorithm, task, meta_params, keys, lifetimes, until, checkpoint):
    return (lambda: None), None, 0.0


def _commit(fault: str, options: dict[str, Any]) -> None:
    if fault == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    elif fault == "die_once" and not os.path.exists(options["marker"]):
        Path(options["marker"]).touch()
        print("a last word", file=sys.stderr, flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
    elif fault == "hang":
        time.sleep(1000)
    elif fault == "hold_lock":  # no Python thread runs meanwhile
        ctypes.PyDLL(None).sleep(1000)
    elif fault == "swell":
        hoard = np.ones(400 * 2**17)  # 400 MiB
        time.sleep(1000)
        del hoard
    elif fault == "memory_error":
        raise MemoryError("no room")
    elif fault == "exhausted_gpu":
        sys.modules["jax"] = _GPU  # type: ignore[assignment] - as a worker with a GPU knows its device
        raise RuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 123 bytes.\nmore lines")
    elif fault == "exhausted":
        raise RuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 123 bytes.\nmore lines")
    elif fault == "raise":
        raise ValueError("\n  this proposal is wrong  \nand more")
    elif fault == "quit":
        sys.exit(3)
