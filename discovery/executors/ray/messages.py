"""Messages between a search and the process that runs Ray's client; see `bridge.py` for the verbs."""

from typing import NamedTuple

LOOPBACK = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
"""Makes Ray listen only on 127.0.0.1, which is the default everywhere but on Linux."""
QUIET = {"RAY_USAGE_STATS_ENABLED": "0"}
EQUAL = {"RAY_worker_niceness": "0"}
"""Gives Ray's workers the priority of other processes; the default is lower by 15."""
LEAN = {
    "RAY_LOG_MONITOR_MANY_FILES_THRESHOLD": "0",
    "LOG_NAME_UPDATE_INTERVAL_S": "3600",
    "RAY_enable_metrics_collection": "0",
    "RAY_task_events_report_interval_ms": "0",
}
"""Disables work for Ray's dashboard and for logs on the driver: looking for new logs ten times a second took
0.5% of two cores."""


class Settings(NamedTuple):
    """Settings of the bridge.

    Attributes:
        address: "host:port" of a cluster, "auto" for the cluster of this machine, "" for a local Ray.
        cpus: cores of a local Ray.
        gpus: GPUs of a local Ray; None for those that Ray finds.
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
    """A cluster's address and the resources of its living nodes.

    Attributes:
        cpus: cores of all nodes together.
        gpus: GPUs of each node.
        accelerators: kinds of its GPUs, as Ray names them: "H200".
    """

    address: str
    nodes: int
    cpus: int
    gpus: tuple[int, ...]
    accelerators: tuple[str, ...] = ()

    def room(self, gpus_per_worker: float) -> int:
        """How many workers fit if each takes one core and `gpus_per_worker` GPUs, or such a share of one."""
        if gpus_per_worker > 1:
            found = sum(int(gpus // gpus_per_worker) for gpus in self.gpus)
        else:
            found = sum(self.gpus) * int(1 / gpus_per_worker + 1e-9)  # 1 // 0.1 is 9
        return min(found, self.cpus)


class Facts(NamedTuple):
    """What a worker reports about itself when it is ready.

    Attributes:
        node: address of its machine.
        pid: id of its process.
        device: the device that jax uses, "cpu" or the kind of the GPU.
        versions: versions of everything that its numbers depend on.
    """

    node: str
    pid: int
    device: str
    versions: dict[str, str]
