"""Who would train, were a search to begin now: cores of this machine, or what a Ray cluster has."""

import re
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

from discovery.core.config.search import SearchConfig
from discovery.executors.call import this_device
from discovery.executors.cpu import cores

if TYPE_CHECKING:
    from discovery.executors.ray.messages import Cluster

CPU = "cpu"
"""What jax calls a core, and rows of the ledger with it."""


@dataclass(frozen=True)
class Staff:
    """Workers of one kind, as many as can work at once.

    Attributes:
        workers: of those asked for, all that there is room for.
        asked: all that are asked for.
        device: "cpu", or the kind of GPU as Ray or jax names it; empty where that is not one kind.
    """

    workers: int
    asked: int
    device: str


def staff_of(config: SearchConfig) -> "tuple[list[Staff], Cluster | None]":
    """Workers that a search would have now, those on GPUs first; and the cluster, where one had to be asked.

    A cluster is asked as the search itself would, and left again without a worker having been started.

    Raises:
        BadInput: the cluster cannot be joined, or has fewer GPUs than asked for; Ray is not installed.
        ExecutorError: a Ray of our own, which is asked for GPUs, does not come up.
    """
    if config.executor == "inline":
        return [Staff(1, 1, this_device())], None
    cluster = _ask(config) if config.executor == "ray" else None
    found = []
    if cluster and config.gpu_workers:
        device = cluster.accelerators[0] if len(cluster.accelerators) == 1 else ""
        found.append(Staff(config.gpu_workers, config.gpu_workers, device))  # more are refused
    if config.workers or not config.gpu_workers:
        room = max(cluster.cpus, 1) if cluster and config.address else cores()
        asked = config.workers or room
        found.append(Staff(min(asked, room), asked, CPU))
    return found, cluster


def _ask(config: SearchConfig) -> "Cluster | None":
    """What a cluster has now; None for a Ray of our own without GPUs, which has the cores of this machine."""
    from discovery.executors.ray.cluster import Ray, check_installed

    if not config.address and not config.gpu_workers:
        check_installed()
        return None
    ray = Ray(
        config.workers,
        address=config.address,
        gpu_workers=config.gpu_workers,
        gpus_per_worker=config.gpus_per_worker,
    )
    with closing(ray), ray:
        return ray.cluster


def is_like(device: str, wanted: str) -> bool:
    """Whether a device, as jax calls it ("NVIDIA A100-SXM4-80GB"), is one that Ray or jax calls `wanted`."""
    wanted, device = (name.replace(" ", "-") for name in (wanted, device))
    return bool(wanted and re.search(rf"(?<!\w){re.escape(wanted)}(?!\w)", device))
