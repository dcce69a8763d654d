"""Trainings on a Ray cluster: actors in place of worker processes, the same numbers.

A Ray of our own, on this machine and its loopback interface alone, is started and stopped with the
executor; a cluster that is there is joined by its address. Ray lives in a process of its own
(`raybridge.py`); here are that process as its parent sees it, and its workers as the pool sees them.
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
"""Ray has started, or the cluster has answered, by then."""
ROOM_SECONDS = 900.0
"""A busy cluster has room for a first worker by then, or has grown."""
WARN_SECONDS = 30.0
FAREWELL_SECONDS = 5.0
"""For a Ray of our own to end by itself."""

log = logging.getLogger(__name__)


class Ray(Pool):
    """Runs chunks in actors of one core each, or with GPUs.

    Args:
        workers: on cores; None: as many as there are cores, now and when nodes come or go, or none where
            `gpu_workers` are asked for.
        agents_per_call: W, trainings batched in one compiled call.
        timeout: seconds that one call may take, its compilation included.
        address: "host:port" of a cluster's head, "auto" for the cluster that this machine is part of; empty
            for a Ray of our own.
        gpu_workers: with GPUs; those beside workers on cores make the numbers depend on who trains what.
        gpus_per_worker: GPUs of each, or a share of one, and of its memory.
        function: what runs a chunk, as "module:function".

    Raises:
        BadInput: for such arguments, or without the package ray.
    """

    _staff: dict[int, "_Actor"]
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
        self._cpus = {cpu()}  # kinds that nobody needs to hear of
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
        """Wait for a cluster of others, and for GPUs; a Ray of our own comes up while the caller goes on.

        Raises:
            BadInput: the cluster cannot be joined, or has fewer GPUs than asked for.
            ExecutorError: a Ray of our own, which is asked for GPUs, does not come up.
        """
        if self._bridge.settings.address or self.gpu_workers:
            self._check_room(self.join())
        else:
            self._hire(self.workers)
        return self

    def join(self) -> Cluster:
        """Wait until Ray is there; what it has.

        Raises:
            BadInput: the cluster cannot be joined.
            ExecutorError: a Ray of our own does not come up.
        """
        while self.cluster is None:
            self._listen(1.0)
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
        """Start all workers; what those say of themselves that are ready by then.

        Raises:
            ExecutorError: one is not like this process; Ray is gone.
        """
        until = time.monotonic() + seconds
        self._hire(self.workers)
        while time.monotonic() < until and not all(worker.ready for worker in self._staff.values()):
            self._collect([])
            self._hire(self.workers)
        return [worker.facts for worker in self._staff.values() if worker.facts]

    def close(self) -> None:
        """End all workers, and a Ray of our own; safe to call twice."""
        super().close()
        self._end()

    def pids(self) -> list[int]:
        """Process ids of the workers that are ready now, each on its machine."""
        return [worker.facts.pid for worker in self._staff.values() if worker.facts]

    def _start(self, place: int) -> "_Actor":
        kind = "gpu" if place < self.gpu_workers else "cpu"
        return _Actor(f"ray/{place}", kind, self._bridge)

    def _listen(self, seconds: float) -> Collection["_Actor"]:
        bridge = self._bridge
        heard = [worker for worker in self._staff.values() if worker.said]
        while wait([bridge.connection], 0.0 if heard else max(seconds, 0.0)):
            verb, number, payload = bridge.receive()
            if verb == "gone":
                raise self._gone(payload)
            if verb == "up":
                bridge.up = True
                self._resize(payload)
                seconds = 0.0  # the pool may have places to fill, once all that was said is heard
            if verb == "ready":
                self._warn_of_cpu(payload)
            for worker in self._staff.values():
                if worker.number == number:  # others were dismissed meanwhile
                    worker.said.append((verb, payload))
                    heard.append(worker)
        if not heard:
            self._warn_of_waiting()
        if self.cluster is None and time.monotonic() > self._until:
            raise ExecutorError(f"Ray did not come up within {CONNECT_SECONDS:g} s{bridge.said()}")
        return heard

    def _warn_of_waiting(self) -> None:
        """Say once that the cluster seems to have no room."""
        staff = self._staff.values()
        if self._warned or not staff or any(worker.ready for worker in staff):
            return
        if time.monotonic() - min(worker.since for worker in staff) > WARN_SECONDS:
            self._warned = True
            log.warning(
                "no worker has started yet: waiting for the cluster to have room, as `ray status` tells"
            )

    def _warn_of_cpu(self, facts: Facts) -> None:
        """Say once of each kind of CPU that it is another than ours, where numbers come from it."""
        kind = facts.versions.get("cpu", cpu())  # without one its versions are not ours, which comes next
        if facts.device == "cpu" and kind not in self._cpus:
            self._cpus.add(kind)
            log.warning(
                "a worker on %s has another kind of CPU (%s) than this machine (%s): scores of both differ "
                "in their last digits, so that numbers depend on who trained what",
                facts.node, kind, cpu(),
            )  # fmt: skip

    def _gone(self, detail: str) -> DiscoveryError:
        address = self._bridge.settings.address
        if self.cluster is not None:
            return ExecutorError(f"Ray is gone: {detail}")
        if not address:
            return ExecutorError(f"Ray cannot be started: {detail}")
        return BadInput(
            f"no Ray cluster can be joined at {address!r}: {detail.rstrip('.')}; is its head up, and this "
            "machine part of it? `--executor processes` does without Ray, --address '' without a cluster"
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
    """The process in which Ray is.

    Attributes:
        up: whether Ray was heard to be there.
    """

    up = False

    def __init__(self, settings: Settings) -> None:
        own = {name: value for name, value in os.environ.items() if name.startswith("RAY_")}
        host = settings.address.rpartition(":")[0].strip("[]")
        inside = host in ("localhost", "::1") or host.startswith("127.")  # else Ray looks for it elsewhere
        ours = LOOPBACK if inside else {} if settings.address else LOOPBACK | EQUAL | LEAN
        environment = worker_environment(os.environ) | QUIET | ours | own
        super().__init__("discovery.executors.ray.bridge", [], environment)
        self.settings = settings
        self._hired = 0
        self.connection.send(settings)

    def hire(self, kind: str) -> int:
        """A new worker's number."""
        self._hired += 1
        self.send("hire", self._hired, kind)
        return self._hired

    def send(self, verb: str, worker: int, payload: Any = None) -> None:
        """Say something; if the bridge is gone, `receive` will tell."""
        with contextlib.suppress(OSError):
            self.connection.send((verb, worker, payload))

    def receive(self) -> tuple[str, int, Any]:
        """What it said.

        Raises:
            ExecutorError: it has ended.
        """
        try:
            return self.connection.recv()
        except (EOFError, OSError) as error:
            raise ExecutorError(f"the process that talks to Ray has ended{self.said()}") from error

    def said(self) -> str:
        """The last that it printed, for messages."""
        return "".join(f"\n  {line}" for line in self.last_lines())


def _end(bridge: _Bridge, owner: int) -> None:
    """End the bridge, unless we are a fork of the process that started it."""
    if os.getpid() != owner:
        return
    bridge.connection.close()
    with contextlib.suppress(Exception):
        bridge.process.wait(FAREWELL_SECONDS if bridge.up else 0.0)  # it reads nothing before it is up
    bridge.kill()


class _Actor:
    """A worker on the cluster: a `pool.Worker`."""

    def __init__(self, name: str, kind: str, bridge: _Bridge) -> None:
        self.name, self.kind, self.ready, self.chunk = name, kind, False, None
        self.since = time.monotonic()
        self.facts: Facts | None = None
        self.said: list[tuple[str, Any]] = []
        self._bridge = bridge
        self.number = bridge.hire(kind)

    def send(self, message: bytes) -> None:
        self._bridge.send("work", self.number, message)

    def receive(self) -> Reply | None:
        """What it said, None for that it is ready.

        Raises:
            Gone: it was lost.
            ExecutorError: its versions are not ours, so that its numbers would not be.
        """
        verb, payload = self.said.pop(0)
        if verb == "lost":
            error, detail = payload
            raise Gone(detail, error)
        if verb == "reply":
            return pickle.loads(payload)
        if changed := changes({name: said for name, said in payload.versions.items() if name != "cpu"}):
            raise ExecutorError(
                f"a worker on {payload.node} is not like this process: {'; '.join(changed)}; install the "
                "same everywhere"
            )
        self.facts = payload
        self.kind = f"{payload.device} {payload.node}"
        self.name += f" {self.kind}"
        return None

    def alive(self) -> bool:
        return True  # its end is heard of

    def memory(self) -> int:
        return 0  # Ray watches the memory of its nodes

    def last_lines(self) -> list[str]:
        return ["`ray status` tells what the cluster has; the logs of its nodes, what happened"]

    def kill(self) -> None:
        self._bridge.send("dismiss", self.number)
