"""The process that runs Ray's client: ``python -m discovery.executors.ray.bridge FD PARENT HOW``.

Ray's client ends its process when the cluster's head has been unreachable for a minute. It also prints to the
terminal and replaces signal handlers. So it gets its own process, which starts a local Ray or joins a
cluster, starts actors, passes on messages, and reports when Ray is gone. `cluster.py` is the parent's side.

The parent sends `Settings`, then tuples (verb, number of the worker, payload) with the verbs "start" (the
kind of worker), "work" (a pickled request) and "stop". The bridge sends tuples of the same form:

    up       0        `Cluster`: once at the start, and again whenever nodes come or go
    ready    worker   `Facts`
    reply    worker   a pickled reply
    lost     worker   (typed error, one line)
    gone     0        one line: Ray cannot be reached, or could not be started. The last message.
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
"""Bytes of a local Ray's object store; messages are a few megabytes at most, and larger ones go to disk."""
CHECK_SECONDS = 1.0
HEAD_TIMEOUT_SECONDS = 10.0
"""How long the cluster's head may be unreachable; Ray itself would end this process after 60."""
CONNECT_SECONDS = 5.0
ACCELERATOR = "accelerator_type:"
"""Prefix of the resource that names the kind of a node's GPUs."""


class _NodeDied(Exception):
    """Ray's node on this machine has died, so nothing can be sent."""


class Bridge:
    """Passes messages between a connection and Ray."""

    def __init__(self, connection: Connection, settings: Settings) -> None:
        self._connection, self._settings = connection, settings
        self._lock = threading.Lock()
        self._actors: dict[int, Any] = {}
        self._closed = threading.Event()

    def serve(self) -> None:
        """Start or join Ray, then serve until the parent closes the connection or Ray is gone."""
        try:
            self._cluster = self._join()
        except Exception as error:
            self._send("gone", 0, _one_line(error))
            return
        self._ray_worker = _ray().remote(
            max_restarts=0,
            max_task_retries=0,
            concurrency_groups={"facts": 1, "work": 1, "watchdog": 1},
            scheduling_strategy="SPREAD",
        )(_actor_class())
        self._send("up", 0, self._cluster)
        threading.Thread(target=self._handle_messages, daemon=True).start()
        self._watch()
        _ray().shutdown()

    # Ray --------------------------------------------------------------------------------------

    def _join(self) -> Cluster:
        settings = self._settings
        quiet = {"log_to_driver": False, "configure_logging": False}
        if settings.address:
            _check_reachable(_local_address() if settings.address == "auto" else settings.address)
            try:
                context = _ray().init(address=settings.address, **quiet)  # of "auto", it tries its token
            except ConnectionError as error:
                mode = os.environ.get("RAY_AUTH_MODE", "unset; `export RAY_AUTH_MODE=token` sends a token")
                raise ConnectionError(f"{error}, where somebody listens (RAY_AUTH_MODE is {mode})") from error
        else:
            context = _ray().init(
                address="local",  # else Ray reads RAY_ADDRESS, which may name a cluster
                num_cpus=settings.cpus,
                num_gpus=settings.gpus,  # type: ignore[arg-type]
                object_store_memory=OBJECT_STORE,
                include_dashboard=False,
                **quiet,
            )
        signal.signal(
            signal.SIGTERM, signal.SIG_DFL
        )  # Ray's handler raises an exception that cannot be caught
        self._address = context.address_info["gcs_address"]
        self._node = context.address_info["node_id"]
        return self._read_cluster()

    def _read_cluster(self) -> Cluster:
        """The cluster as it is now.

        Raises:
            _NodeDied: the node of this machine is not among the living ones.
        """
        nodes = [node for node in _ray().nodes() if node["Alive"]]
        if self._node not in [node["NodeID"] for node in nodes]:
            raise _NodeDied("its process on this machine (raylet) has died")
        has = [node["Resources"] for node in nodes]
        cpus, gpus = (sorted(int(there.get(name, 0)) for there in has) for name in ("CPU", "GPU"))
        kinds = {
            name.removeprefix(ACCELERATOR) for there in has for name in there if name.startswith(ACCELERATOR)
        }
        return Cluster(self._address, len(nodes), sum(cpus), tuple(gpus), tuple(sorted(kinds)))

    def _watch(self) -> None:
        """Report nodes that come and go, until the parent closes the connection or Ray is gone."""
        seen = time.monotonic()
        while not self._closed.wait(CHECK_SECONDS):
            try:
                _check_reachable(self._address)
                cluster = self._read_cluster()
            except Exception as error:
                if time.monotonic() - seen > HEAD_TIMEOUT_SECONDS or isinstance(error, _NodeDied):
                    self._send("gone", 0, _one_line(error))
                    os._exit(1)  # ray.shutdown() would wait for the lost cluster
                continue
            seen = time.monotonic()
            if cluster != self._cluster:
                self._cluster = cluster
                self._send("up", 0, cluster)

    # The parent -------------------------------------------------------------------------------

    def _handle_messages(self) -> None:
        try:
            while True:
                verb, worker, payload = self._connection.recv()
                getattr(self, f"_{verb}")(worker, payload)
        except (EOFError, OSError):  # the parent has closed the connection
            self._closed.set()
        except Exception as error:
            self._send("gone", 0, _one_line(error))
            os._exit(1)

    def _start(self, worker: int, kind: str) -> None:
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

    def _stop(self, worker: int, _: None) -> None:
        if actor := self._actors.pop(worker, None):
            _ray().kill(actor)

    def _report(self, worker: int, promised: Any, verb: str) -> None:
        """Send `verb` with the result of `promised` when it is known; "lost" if it raises."""

        def done(future: Any) -> None:
            if error := future.exception():
                # a worker that only raised still runs, and stays known until the parent stops it
                if worker in self._actors:
                    self._send("lost", worker, _loss_of(error))
            else:
                self._send(verb, worker, future.result())

        promised.future().add_done_callback(done)

    def _send(self, verb: str, worker: int, payload: Any) -> None:
        with self._lock, contextlib.suppress(OSError):
            self._connection.send((verb, worker, payload))


def _ray() -> Any:
    """The package ray; imported late, because it reads the environment when it is imported."""
    return importlib.import_module("ray")


def _actor_class() -> type:
    from discovery.executors.ray.worker import RayWorker

    for name in ("facts", "work", "watchdog"):
        setattr(RayWorker, name, _ray().method(concurrency_group=name)(getattr(RayWorker, name)))
    return RayWorker


def _loss_of(error: BaseException) -> tuple[str, str]:
    """A typed error and one line for a worker that Ray has lost."""
    from ray import exceptions

    text = str(error)
    memory = isinstance(error, exceptions.OutOfMemoryError) or (
        "memory" in text.lower() and "threshold" in text
    )
    return "out_of_memory" if memory else "crashed", _one_line(error)


def _one_line(error: BaseException) -> str:
    """An error as one line; leaves out the lines with identifiers that Ray's errors contain."""
    error = getattr(error, "cause", None) or error  # the worker's exception, without its traceback
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    lines = [line for line in lines if not re.match(r"\w+: ", line)] or lines
    return textwrap.shorten(f"{type(error).__name__}: {' '.join(lines)}", 240, placeholder=" ...")


def _local_address() -> str:
    """The address that Ray finds for "auto". Ray itself would wait for a cluster that ended without cleanup.

    Raises:
        ConnectionError: no cluster runs on this machine, or several run and the choice is ambiguous.
    """
    services = importlib.import_module("ray._private.services")
    try:
        return services.canonicalize_bootstrap_address_or_die("auto")
    except ConnectionError as error:  # its text is about Ray's own flags
        if several := services.find_gcs_addresses():
            raise ConnectionError(f"give one of those here: {', '.join(sorted(several))}") from error
        raise ConnectionError("no Ray runs on this machine, nor does RAY_ADDRESS name one") from error


def _check_reachable(address: str) -> None:
    """Raise an OSError unless a server listens at the address."""
    host, _, port = address.rpartition(":")
    socket.create_connection((host.strip("[]"), int(port)), CONNECT_SECONDS).close()


def main(fd: int, parent: int, by_signal: bool) -> None:
    """Serve the parent until it or Ray is gone."""
    die_with(parent, by_signal)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles Ctrl-C
    os.set_inheritable(fd, False)
    connection = Connection(fd)
    Bridge(connection, connection.recv()).serve()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3] == "signal")
