"""One call of the training function: its request, its reply, and errors as values.

Runs in this process (`inline`) and in workers (`processes`, `ray`); does not import jax itself.
"""

import contextlib
import importlib
import sys
import time
import traceback
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Int32, UInt32

from discovery.core.errors import BadInput

RUN_CHUNK = "discovery.inner.compile:run_chunk"
"""What executors call by default, as "module:function"; see `Request` for the arguments."""


class Request(NamedTuple):
    """Arguments of ``run_chunk(algorithm, task, meta_params, keys, lifetimes, until, checkpoint)``.

    Attributes:
        algorithm: AlgorithmSpec of all lanes.
        task: Task of all lanes.
        meta_params: pytree of ``[W, ...]``.
        keys: raw keys ``[W, 2]``.
        lifetimes: number of rollouts ``[W]``.
        until: rollouts after which to stop and return checkpoints ``[W]``; None: train to the end.
        checkpoint: leaves ``[W, ...]`` of the states to continue from; None: start afresh.
    """

    algorithm: Any
    task: Any
    meta_params: Any
    keys: UInt32[np.ndarray, "W 2"]
    lifetimes: Int32[np.ndarray, " W"]
    until: Int32[np.ndarray, " W"] | None = None
    checkpoint: tuple[np.ndarray, ...] | None = None


class Reply(NamedTuple):
    """The reply to a request: an outcome, or an error with one line of detail.

    Attributes:
        outcome: Outcome of arrays ``[W, ...]``; a dict if the call measured instead of training; or None.
        checkpoint: leaves ``[W, ...]`` of the states where the trainings were stopped, if they were.
        seconds: wall-clock time of the call, compilation included.
        compile_seconds: the part of it spent on compilation.
        device: jax's name of the device: "cpu", or the kind of the accelerator.
        error: None, "out_of_memory", "environment" (its code raised) or "failed" (any other code raised).
        detail: one line.
        trace: the traceback, for logs.
    """

    outcome: Any
    seconds: float
    compile_seconds: float = 0.0
    error: str | None = None
    detail: str = ""
    trace: str = ""
    checkpoint: tuple[np.ndarray, ...] | None = None
    device: str = ""


def resolve(path: str) -> Callable[..., Any]:
    """The function that "module:function" names."""
    module, colon, name = path.partition(":")
    if not (module and colon and name):
        raise BadInput(f'the function to run must be given as "module:function", got {path!r}')
    return getattr(importlib.import_module(module), name)


def call(function: Callable[..., Any], request: Request) -> Reply:
    """Run one chunk; anything that it raises, except Ctrl-C, is returned as a `Reply`."""
    begin = time.perf_counter()
    try:
        outcome, checkpoint, compile_seconds = function(*request)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # SystemExit too: code under trial must not end a search
        return failure(error, time.perf_counter() - begin)
    seconds = time.perf_counter() - begin
    return Reply(outcome, seconds, compile_seconds, checkpoint=checkpoint, device=this_device())


def this_device() -> str:
    """jax's name of the device of this process; "cpu" if jax is not imported."""
    jax: Any = sys.modules.get("jax")
    return jax.devices()[0].device_kind if jax else "cpu"


def failure(error: BaseException, seconds: float = 0.0) -> Reply:
    """An exception as a `Reply`, with the device if memory ran out."""
    text = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
    memory, device = isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in str(error), ""
    if memory:
        with contextlib.suppress(Exception):  # the backend itself may fail to start for lack of memory
            device = this_device()
    return Reply(
        outcome=None,
        seconds=seconds,
        error="out_of_memory" if memory else "environment" if _in_environment(error) else "failed",
        device=device,
        detail=f"{type(error).__name__}: {text}"[:300] if text else type(error).__name__,
        trace="".join(traceback.format_exception(error)),
    )


def _in_environment(error: BaseException) -> bool:
    """Whether an exception was raised by an environment, or in making one."""
    frames = traceback.walk_tb(error.__traceback__)
    return any(frame.f_globals.get("__name__", "").partition(".")[0] == "environments" for frame, _ in frames)
