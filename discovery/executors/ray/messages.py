"""What goes to and fro between a search and Ray: see `raybridge.py` for the verbs."""

from typing import NamedTuple

LOOPBACK = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
"""Makes a Ray that starts with it listen on 127.0.0.1 alone; elsewhere it is on by default, on Linux off."""
QUIET = {"RAY_USAGE_STATS_ENABLED": "0"}
EQUAL = {"RAY_worker_niceness": "0"}
"""Workers of a Ray that starts with it have the priority of other processes, not 15 less."""
LEAN = {
    "RAY_LOG_MONITOR_MANY_FILES_THRESHOLD": "0",
    "LOG_NAME_UPDATE_INTERVAL_S": "3600",
    "RAY_enable_metrics_collection": "0",
    "RAY_task_events_report_interval_ms": "0",
}
"""A Ray that starts with it leaves what only its dashboard and its logs on the driver would show: 0.5% of two
cores went into looking for new logs ten times a second."""


class Settings(NamedTuple):
    """What the bridge is to do.

    Attributes:
        address: "host:port" of a cluster, "auto" for that of this machine, "" for a Ray of our own.
        cpus: cores of a Ray of our own.
        gpus: of it; None: those that Ray finds.
        gpus_per_worker: GPUs of each worker that has any.
        function: what runs a chunk, as "module:function".
        import_path: PYTHONPATH of workers.
    """

    address: str
    cpus: int
    gpus: int | None
    gpus_per_worker: float
    function: str
    import_path: str


class Cluster(NamedTuple):
    """What is there: nodes that live, with their cores in all, and where.

    Attributes:
        gpus: of each node.
        accelerators: kinds of its GPUs, as Ray names them: "H200".
    """

    address: str
    nodes: int
    cpus: int
    gpus: tuple[int, ...]
    accelerators: tuple[str, ...] = ()

    def room(self, gpus_per_worker: float) -> int:
        """How many workers with so many GPUs, or such a share of one, and a core each, find room."""
        if gpus_per_worker > 1:
            found = sum(int(gpus // gpus_per_worker) for gpus in self.gpus)
        else:
            found = sum(self.gpus) * int(1 / gpus_per_worker + 1e-9)  # 1 // 0.1 is 9
        return min(found, self.cpus)


class Facts(NamedTuple):
    """What a worker says of itself when it is ready.

    Attributes:
        node: address of its machine.
        pid: of its process.
        device: what jax computes on, "cpu" or the kind of the GPU.
        versions: what its numbers depend on.
    """

    node: str
    pid: int
    device: str
    versions: dict[str, str]
