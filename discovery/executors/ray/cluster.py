"""Trainings on a Ray cluster: actors instead of worker processes, the same numbers.

Without an address, the executor starts and stops a local Ray that listens only on this machine's loopback
interface. With an address, it joins a running cluster. Ray's client runs in its own process (`bridge.py`).
This module has that process as its parent sees it, and Ray's workers as the pool sees them.
"""

import contextlib
import logging
import os
import pickle
import sys
import time
import weakref
from collections.abc import Collection
from importlib.util import find_spec
from multiprocessing.connection import wait
from typing import Any, Self

from discovery.core.config.execution import check_address, check_gpus
from discovery.core.errors import BadInput, DiscoveryError, ExecutorError
from discovery.core.versions import changes, cpu
from discovery.executors.call import RUN_CHUNK, Reply
from discovery.executors.cpu import cores
from discovery.executors.environment import worker_environment
from discovery.executors.pool import Gone, Pool
from discovery.executors.ray.messages import EQUAL, LEAN, LOOPBACK, QUIET, Cluster, Facts, Settings
from discovery.executors.spawn import Child

CONNECT_SECONDS = 90.0
"""How long to wait until Ray has started or the cluster has answered."""
ROOM_SECONDS = 900.0
"""How long to wait until a busy cluster has room for a first worker."""
WARN_SECONDS = 30.0
SHUTDOWN_SECONDS = 5.0
"""How long to wait until a local Ray ends by itself."""

log = logging.getLogger(__name__)


class Ray(Pool):
    """Runs chunks in actors that have one core each, or GPUs.

    Args:
        workers: number of CPU workers; None for one per core of the cluster, also when nodes come or go, or
            for no CPU workers if there are `gpu_workers`.
        agents_per_call: W, trainings batched in one compiled call.
        timeout: seconds that one call may take, its compilation included.
        address: "host:port" of a cluster's head, "auto" for the cluster that this machine is part of; empty
            for a local Ray.
        gpu_workers: number of workers with GPUs; together with CPU workers, the numbers depend on which
            worker trains what.
        gpus_per_worker: GPUs of each of these, or a share of one and of its memory.
        function: what runs a chunk, as "module:function".

    Raises:
        BadInput: an argument is out of range, or the package ray is missing.
    """

    _active: dict[int, "_Actor"]
    patience = ROOM_SECONDS

    def __init__(
        self,
        workers: int | None = None,
        agents_per_call: int = 8,
        timeout: float = 900.0,
        *,
        address: str = "",
        gpu_workers: int = 0,
        gpus_per_worker: float = 1.0,
        function: str = RUN_CHUNK,
    ) -> None:
        check_address(address)
        check_gpus(gpu_workers, gpus_per_worker)
        check_installed()
        self._warned = False
        self._cpus = {cpu()}  # kinds of CPU that need no warning
        self._elastic = workers is None and not gpu_workers
        on_cores = (0 if gpu_workers else cores()) if workers is None else workers
        super().__init__(gpu_workers + on_cores, agents_per_call, timeout, None)
        self.gpu_workers = gpu_workers
        self.cluster: Cluster | None = None
        gpus = None if gpu_workers else 0
        path = os.pathsep.join(os.path.abspath(entry) for entry in sys.path)
        settings = Settings(address, max(on_cores, cores()), gpus, gpus_per_worker, function, path)
        self._bridge, self._until = _Bridge(settings), time.monotonic() + CONNECT_SECONDS
        self._end = weakref.finalize(self, _end, self._bridge, os.getpid())

    def __enter__(self) -> Self:
        """Wait for a cluster with an address, or for GPUs; a local Ray without GPUs starts in the background.

        Raises:
            BadInput: the cluster cannot be joined, or has fewer GPUs than asked for.
            ExecutorError: a local Ray that needs GPUs does not start.
        """
        if self._bridge.settings.address or self.gpu_workers:
            self._check_room(self.join())
        else:
            self._fill_slots(self.workers)
        return self

    def join(self) -> Cluster:
        """Wait until Ray is up; returns its nodes and resources.

        Raises:
            BadInput: the cluster cannot be joined.
            ExecutorError: a local Ray does not start.
        """
        while self.cluster is None:
            self._poll(1.0)
        return self.cluster

    def _check_room(self, cluster: Cluster) -> None:
        share = self._bridge.settings.gpus_per_worker
        if (room := cluster.room(share)) < self.gpu_workers:
            raise BadInput(
                f"there is room for {room} workers with {share:g} of a GPU and a core each on the "
                f"{sum(cluster.gpus)} GPUs and {cluster.cpus} cores of the cluster, {self.gpu_workers} are "
                "asked for; lower gpu_workers, or leave them out"
            )

    def start_workers(self, seconds: float) -> list[Facts]:
        """Start all workers; returns the facts of those that are ready after `seconds`.

        Raises:
            ExecutorError: a worker's versions differ from those of this process; or Ray is gone.
        """
        until = time.monotonic() + seconds
        self._fill_slots(self.workers)
        while time.monotonic() < until and not all(worker.ready for worker in self._active.values()):
            self._collect([])
            self._fill_slots(self.workers)
        return [worker.facts for worker in self._active.values() if worker.facts]

    def close(self) -> None:
        super().close()
        self._end()

    def pids(self) -> list[int]:
        """Process ids of the ready workers, each on its own machine."""
        return [worker.facts.pid for worker in self._active.values() if worker.facts]

    def _start(self, place: int) -> "_Actor":
        kind = "gpu" if place < self.gpu_workers else "cpu"
        return _Actor(f"ray/{place}", kind, self._bridge)

    def _poll(self, seconds: float) -> Collection["_Actor"]:
        bridge = self._bridge
        heard = [worker for worker in self._active.values() if worker.inbox]
        while wait([bridge.connection], 0.0 if heard else max(seconds, 0.0)):
            verb, number, payload = bridge.receive()
            if verb == "gone":
                raise self._gone(payload)
            if verb == "up":
                bridge.up = True
                self._resize(payload)
                seconds = (
                    0.0  # read the messages that are there and return: the pool may have to start workers
                )
            if verb == "ready":
                self._warn_of_cpu(payload)
            for worker in self._active.values():
                if worker.number == number:  # else it was removed in the meantime
                    worker.inbox.append((verb, payload))
                    heard.append(worker)
        if not heard:
            self._warn_of_waiting()
        if self.cluster is None and time.monotonic() > self._until:
            raise ExecutorError(f"Ray did not come up within {CONNECT_SECONDS:g} s{bridge.last_output()}")
        return heard

    def _warn_of_waiting(self) -> None:
        """Warn once that the cluster seems to have no room."""
        staff = self._active.values()
        if self._warned or not staff or any(worker.ready for worker in staff):
            return
        if time.monotonic() - min(worker.since for worker in staff) > WARN_SECONDS:
            self._warned = True
            log.warning("no worker has started yet: waiting until the cluster has room; see `ray status`")

    def _warn_of_cpu(self, facts: Facts) -> None:
        """Warn once about each kind of CPU that differs from this machine's, if it computes numbers."""
        kind = facts.versions.get("cpu", cpu())  # if it is missing, `receive` reports other versions
        if facts.device == "cpu" and kind not in self._cpus:
            self._cpus.add(kind)
            log.warning(
                "a worker on %s has another kind of CPU (%s) than this machine (%s): their scores differ "
                "in the last digits, so the numbers depend on which worker trained what",
                facts.node, kind, cpu(),
            )  # fmt: skip

    def _gone(self, detail: str) -> DiscoveryError:
        address = self._bridge.settings.address
        if self.cluster is not None:
            return ExecutorError(f"Ray is gone: {detail}")
        if not address:
            return ExecutorError(f"Ray cannot be started: {detail}")
        return BadInput(
            f"no Ray cluster can be joined at {address!r}: {detail.rstrip('.')}; is its head up, and is this "
            "machine part of it? Use `--executor processes` to run without Ray, or --address '' to run "
            "without a cluster"
        )

    def _resize(self, cluster: Cluster) -> None:
        if self.cluster is not None:
            log.warning(
                "the cluster has %d nodes and %d cores now, %d and %d before",
                cluster.nodes, cluster.cpus, self.cluster.nodes, self.cluster.cpus,
            )  # fmt: skip
        self.cluster = cluster
        if self._elastic:
            self.workers = max(cluster.cpus, 1)


def check_installed() -> None:
    """Raise a BadInput without the package ray."""
    if find_spec("ray") is None:
        raise BadInput("the executor \"ray\" needs the package ray: pip install 'rl-discovery[ray]'")


class _Bridge(Child):
    """The process that runs Ray's client.

    Attributes:
        up: whether it has reported that Ray is up.
    """

    up = False

    def __init__(self, settings: Settings) -> None:
        own = {name: value for name, value in os.environ.items() if name.startswith("RAY_")}
        host = settings.address.rpartition(":")[0].strip("[]")
        inside = host in ("localhost", "::1") or host.startswith("127.")  # else Ray needs other interfaces
        ours = LOOPBACK if inside else {} if settings.address else LOOPBACK | EQUAL | LEAN
        environment = worker_environment(os.environ) | QUIET | ours | own
        super().__init__("discovery.executors.ray.bridge", [], environment)
        self.settings = settings
        self._started = 0
        self.connection.send(settings)

    def start_worker(self, kind: str) -> int:
        """Start a worker; returns its number."""
        self._started += 1
        self.send("start", self._started, kind)
        return self._started

    def send(self, verb: str, worker: int, payload: Any = None) -> None:
        """Send a message; if the bridge is gone, `receive` reports it."""
        with contextlib.suppress(OSError):
            self.connection.send((verb, worker, payload))

    def receive(self) -> tuple[str, int, Any]:
        """Its next message.

        Raises:
            ExecutorError: it has ended.
        """
        try:
            return self.connection.recv()
        except (EOFError, OSError) as error:
            raise ExecutorError(f"the process that talks to Ray has ended{self.last_output()}") from error

    def last_output(self) -> str:
        """The last lines that it printed, for error messages."""
        return "".join(f"\n  {line}" for line in self.last_lines())


def _end(bridge: _Bridge, owner: int) -> None:
    """End the bridge, unless this process is a fork of the one that started it."""
    if os.getpid() != owner:
        return
    bridge.connection.close()
    with contextlib.suppress(Exception):
        bridge.process.wait(SHUTDOWN_SECONDS if bridge.up else 0.0)  # before, it does not read
    bridge.kill()


class _Actor:
    """A worker on the cluster: a `pool.Worker`."""

    def __init__(self, name: str, kind: str, bridge: _Bridge) -> None:
        self.name, self.kind, self.ready, self.chunk = name, kind, False, None
        self.since = time.monotonic()
        self.facts: Facts | None = None
        self.inbox: list[tuple[str, Any]] = []
        self._bridge = bridge
        self.number = bridge.start_worker(kind)

    def send(self, message: bytes) -> None:
        self._bridge.send("work", self.number, message)

    def receive(self) -> Reply | None:
        verb, payload = self.inbox.pop(0)
        if verb == "lost":
            error, detail = payload
            raise Gone(detail, error)
        if verb == "reply":
            return pickle.loads(payload)
        if changed := changes({name: version for name, version in payload.versions.items() if name != "cpu"}):
            raise ExecutorError(
                f"a worker on {payload.node} is not like this process: {'; '.join(changed)}; install the "
                "same versions everywhere"
            )
        self.facts = payload
        self.kind = f"{payload.device} {payload.node}"
        self.name += f" {self.kind}"
        return None

    def alive(self) -> bool:
        return True  # the bridge reports its end

    def memory(self) -> int:
        return 0  # Ray watches the memory of its nodes

    def last_lines(self) -> list[str]:
        return ["see `ray status` for the cluster's resources, and the logs of its nodes for the cause"]

    def kill(self) -> None:
        self._bridge.send("stop", self.number)
