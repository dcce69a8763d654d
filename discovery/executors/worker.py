"""A worker process: ``python -m discovery.executors.worker FD PARENT HOW FUNCTION``.

Reads requests from the connection on the inherited file descriptor FD, answers each with a reply,
and ends with its parent, however that ends. Its environment was prepared before it started (see
`spawn.py`): whoever imports jax first, here by way of FUNCTION, finds one thread and no secrets.
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
"""First message of a worker: imports are done, the clock of a chunk measures the chunk."""

_PR_SET_PDEATHSIG = 1


def main(fd: int, parent: int, by_signal: bool, function_path: str) -> None:
    """Serve until the parent closes the connection or dies."""
    die_with(parent, by_signal)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's affair
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
    """A pickled reply to a pickled request; what cannot be pickled is a failed chunk, not a dead worker."""
    try:
        reply = call(function, pickle.loads(message))
    except Exception as error:  # a module that only the parent can import
        reply = failure(error)
    try:
        return pickle.dumps(reply)
    except Exception as error:
        return pickle.dumps(failure(error, reply.seconds))


def die_with(parent: int, by_signal: bool) -> None:
    """End this process when its parent ends, also by ``kill -9``, also in the middle of a long call.

    The kernel's signal needs no Python to run here, but it comes when the *thread* that started us
    ends: it is asked for only if that was the main thread. The watching thread serves elsewhere;
    compiled calls release the lock that it needs.
    """
    if by_signal:
        with contextlib.suppress(OSError, AttributeError):  # not Linux
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    threading.Thread(target=_watch, args=(parent,), daemon=True).start()


def volunteer_for_out_of_memory() -> None:
    """If the machine runs out of memory, let the kernel end a worker and not the search."""
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
        file.write("500")


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3] == "signal", sys.argv[4])
