"""The process in which Ray is a guest: ``python -m discovery.executors.ray.bridge FD PARENT HOW``.

Ray's client ends its process, from threads of its own, when the cluster's head has been away for a minute;
it prints what it likes and takes over signals. So it has a process to itself, which starts a local Ray or
joins a cluster, hires actors, carries messages, and says so when Ray is gone. `ray.py` is its parent's side.

From the parent: `Settings`, then (verb, number of the worker, payload), verbs "hire" (kind of worker),
"work" (a pickled request), "dismiss". To the parent, the same form:

    up       0        `Cluster`: once at first, and again whenever nodes come or go
    ready    worker   `Facts`
    reply    worker   a pickled reply
    lost     worker   (typed error, one line)
    gone     0        one line: Ray cannot be reached, or was never there. The last message.
"""

import contextlib
import importlib
import os
import re
import signal
import socket
import sys
import textwrap
import threading
import time
from multiprocessing.connection import Connection
from typing import Any

from discovery.executors.environment import SINGLE_THREAD
from discovery.executors.ray.messages import Cluster, Settings
from discovery.executors.worker import die_with

OBJECT_STORE = 128 * 2**20
"""Bytes of a local Ray's object store; messages are a few megabytes at most, and more goes to disk."""
HEALTH_SECONDS = 1.0
GONE_SECONDS = 10.0
"""The cluster's head may be away for so long; Ray itself would end us after 60."""
CONNECT_SECONDS = 5.0
KIND = "accelerator_type:"
"""Before the kind of a node's GPUs, among its resources."""


class _NodeDied(Exception):
    """Nothing can be sent from this machine any more."""


class Bridge:
    """Between a connection and Ray."""

    def __init__(self, connection: Connection, settings: Settings) -> None:
        self._connection, self._settings = connection, settings
        self._lock = threading.Lock()
        self._actors: dict[int, Any] = {}
        self._over = threading.Event()

    def serve(self) -> None:
        """Start or join Ray, then serve until the parent closes the connection or Ray is gone."""
        try:
            self._cluster = self._join()
        except Exception as error:
            self._say("gone", 0, _line(error))
            return
        self._ray_worker = _ray().remote(
            max_restarts=0,
            max_task_retries=0,
            concurrency_groups={"facts": 1, "work": 1, "watchdog": 1},
            scheduling_strategy="SPREAD",
        )(_actor_class())
        self._say("up", 0, self._cluster)
        threading.Thread(target=self._obey, daemon=True).start()
        self._watch()
        _ray().shutdown()

    # Ray --------------------------------------------------------------------------------------

    def _join(self) -> Cluster:
        settings = self._settings
        quiet = {"log_to_driver": False, "configure_logging": False}
        if settings.address:
            _knock(_of_this_machine() if settings.address == "auto" else settings.address)
            try:
                context = _ray().init(address=settings.address, **quiet)  # of "auto", it tries its token
            except ConnectionError as error:
                mode = os.environ.get("RAY_AUTH_MODE", "unset; `export RAY_AUTH_MODE=token` sends a token")
                raise ConnectionError(f"{error}, where somebody listens (RAY_AUTH_MODE is {mode})") from error
        else:
            context = _ray().init(
                address="local",  # RAY_ADDRESS may name a cluster
                num_cpus=settings.cpus,
                num_gpus=settings.gpus,  # type: ignore[arg-type]
                object_store_memory=OBJECT_STORE,
                include_dashboard=False,
                **quiet,
            )
        signal.signal(signal.SIGTERM, signal.SIG_DFL)  # Ray's own handler raises where it cannot be caught
        self._address = context.address_info["gcs_address"]
        self._node = context.address_info["node_id"]
        return self._look()

    def _look(self) -> Cluster:
        """What is there now.

        Raises:
            _NodeDied: the node that we are on.
        """
        nodes = [node for node in _ray().nodes() if node["Alive"]]
        if self._node not in [node["NodeID"] for node in nodes]:
            raise _NodeDied("its process on this machine (raylet) has died")
        has = [node["Resources"] for node in nodes]
        cpus, gpus = (sorted(int(there.get(name, 0)) for there in has) for name in ("CPU", "GPU"))
        kinds = {name.removeprefix(KIND) for there in has for name in there if name.startswith(KIND)}
        return Cluster(self._address, len(nodes), sum(cpus), tuple(gpus), tuple(sorted(kinds)))

    def _watch(self) -> None:
        """Report nodes that come and go, until it is over."""
        seen = time.monotonic()
        while not self._over.wait(HEALTH_SECONDS):
            try:
                _knock(self._address)
                cluster = self._look()
            except Exception as error:
                if time.monotonic() - seen > GONE_SECONDS or isinstance(error, _NodeDied):
                    self._say("gone", 0, _line(error))
                    os._exit(1)  # ray.shutdown() would wait for what is not there
                continue
            seen = time.monotonic()
            if cluster != self._cluster:
                self._cluster = cluster
                self._say("up", 0, cluster)

    # The parent -------------------------------------------------------------------------------

    def _obey(self) -> None:
        try:
            while True:
                verb, worker, payload = self._connection.recv()
                getattr(self, f"_{verb}")(worker, payload)
        except (EOFError, OSError):  # the parent has closed the connection
            self._over.set()
        except Exception as error:
            self._say("gone", 0, _line(error))
            os._exit(1)

    def _hire(self, worker: int, kind: str) -> None:
        gpus = self._settings.gpus_per_worker if kind == "gpu" else 0
        environment = SINGLE_THREAD | {"PYTHONPATH": self._settings.import_path}
        if gpus:
            environment |= {
                "JAX_PLATFORMS": "cuda,cpu",
                "XLA_CLIENT_MEM_FRACTION": f"{0.9 * min(gpus, 1.0):.3f}",
                "XLA_PYTHON_CLIENT_MEM_FRACTION": "",  # its former name; jax refuses to be given both
            }
        options = {"num_cpus": 1, "num_gpus": gpus, "runtime_env": {"env_vars": environment}}
        actor = self._ray_worker.options(**options).remote(self._settings.function)
        self._actors[worker] = actor
        self._report(worker, actor.facts.remote(), "ready")
        self._report(worker, actor.watchdog.remote(), "lost")

    def _work(self, worker: int, message: bytes) -> None:
        if actor := self._actors.get(worker):
            self._report(worker, actor.work.remote(message), "reply")

    def _dismiss(self, worker: int, _: None) -> None:
        if actor := self._actors.pop(worker, None):
            _ray().kill(actor)

    def _report(self, worker: int, promised: Any, verb: str) -> None:
        """Say it when a promise is kept, or that the worker was lost."""

        def done(future: Any) -> None:
            if error := future.exception():
                # one that only raised is still there, and stays known until the parent dismisses it
                if worker in self._actors:
                    self._say("lost", worker, _loss(error))
            else:
                self._say(verb, worker, future.result())

        promised.future().add_done_callback(done)

    def _say(self, verb: str, worker: int, payload: Any) -> None:
        with self._lock, contextlib.suppress(OSError):
            self._connection.send((verb, worker, payload))


def _ray() -> Any:
    """The package; imported late, as what it does depends on the environment."""
    return importlib.import_module("ray")


def _actor_class() -> type:
    from discovery.executors.ray.worker import RayWorker

    for name in ("facts", "work", "watchdog"):
        setattr(RayWorker, name, _ray().method(concurrency_group=name)(getattr(RayWorker, name)))
    return RayWorker


def _loss(error: BaseException) -> tuple[str, str]:
    """A typed error and a line for a worker that Ray has lost."""
    from ray import exceptions

    text = str(error)
    memory = isinstance(error, exceptions.OutOfMemoryError) or (
        "memory" in text.lower() and "threshold" in text
    )
    return "out_of_memory" if memory else "crashed", _line(error)


def _line(error: BaseException) -> str:
    """What happened, in one line: Ray's errors have many, and tables in between, which say who it was."""
    error = getattr(error, "cause", None) or error  # what a worker raised, without its traceback
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    lines = [line for line in lines if not re.match(r"\w+: ", line)] or lines
    return textwrap.shorten(f"{type(error).__name__}: {' '.join(lines)}", 240, placeholder=" ...")


def _of_this_machine() -> str:
    """Where "auto" leads, as Ray finds it, which itself would wait for one that ended and left its address.

    Raises:
        ConnectionError: no cluster is here, or several are and nothing tells which is meant.
    """
    services = importlib.import_module("ray._private.services")
    try:
        return services.canonicalize_bootstrap_address_or_die("auto")
    except ConnectionError as error:  # whose text is about Ray's own flags
        if several := services.find_gcs_addresses():
            raise ConnectionError(f"give one of those here: {', '.join(sorted(several))}") from error
        raise ConnectionError("no Ray runs on this machine, nor does RAY_ADDRESS name one") from error


def _knock(address: str) -> None:
    """Raise an OSError unless somebody listens there."""
    host, _, port = address.rpartition(":")
    socket.create_connection((host.strip("[]"), int(port)), CONNECT_SECONDS).close()


def main(fd: int, parent: int, by_signal: bool) -> None:
    """Serve the parent until it or Ray is gone."""
    die_with(parent, by_signal)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's affair
    os.set_inheritable(fd, False)
    connection = Connection(fd)
    Bridge(connection, connection.recv()).serve()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3] == "signal")
