"""A worker process: ``python -m discovery.executors.worker FD PARENT HOW FUNCTION``.

Reads requests from the connection on the inherited file descriptor FD, answers each with a reply, and ends
when its parent ends for any reason. `spawn.py` prepares its environment (one thread, no secrets) before it
starts, because jax reads the environment when FUNCTION imports it.
"""

import contextlib
import ctypes
import os
import pickle
import signal
import sys
import threading
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

from discovery.executors.call import call, failure, resolve

READY = "ready"
"""First message of a worker: its imports are done, so they do not count as time of its first chunk."""

_PR_SET_PDEATHSIG = 1


def main(fd: int, parent: int, by_signal: bool, function_path: str) -> None:
    """Serve until the parent closes the connection or dies."""
    die_with(parent, by_signal)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles Ctrl-C
    volunteer_for_out_of_memory()
    os.set_inheritable(fd, False)
    connection = Connection(fd)
    function = resolve(function_path)
    connection.send(READY)
    while True:
        try:
            message = connection.recv_bytes()
        except EOFError:
            return
        connection.send_bytes(answer(function, message))


def answer(function: Callable[..., Any], message: bytes) -> bytes:
    """A pickled reply to a pickled request; what cannot be pickled fails the chunk and not the worker."""
    try:
        reply = call(function, pickle.loads(message))
    except Exception as error:  # for example, only the parent can import a module
        reply = failure(error)
    try:
        return pickle.dumps(reply)
    except Exception as error:
        return pickle.dumps(failure(error, reply.seconds))


def die_with(parent: int, by_signal: bool) -> None:
    """End this process when its parent ends, also by ``kill -9`` or during a long call.

    The kernel's signal works without running Python here. But the kernel sends it when the *thread* that
    started this process ends, so it is used only if that was the main thread. In all cases a thread watches
    the parent; compiled calls release the lock that it needs.
    """
    if by_signal:
        with contextlib.suppress(OSError, AttributeError):  # not Linux
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    threading.Thread(target=_watch, args=(parent,), daemon=True).start()


def volunteer_for_out_of_memory() -> None:
    """If the machine runs out of memory, the kernel should end a worker and not the search."""
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
        file.write("500")


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3] == "signal", sys.argv[4])
