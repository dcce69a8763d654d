"""Executors: one interface and equal numbers (`base.py`). `make_executor` makes one by name."""

from typing import TYPE_CHECKING

from discovery.core.config.execution import EXECUTORS, check_inline, check_without_ray
from discovery.core.errors import BadInput, unknown
from discovery.executors.base import Executor
from discovery.executors.cpu import keep_to_cpu

if TYPE_CHECKING:
    from discovery.core.config.search import SearchConfig


def make_executor(
    name: str,
    workers: int | None = None,
    agents_per_call: int = 8,
    timeout: float = 900.0,
    memory_limit: int | None = None,
    address: str = "",
    gpu_workers: int = 0,
    gpus_per_worker: float = 1.0,
) -> Executor:
    """An executor by name.

    Args:
        name: "inline" (this process: notebooks, GPUs), "processes" (one worker per core: CPUs) or "ray" (a
            cluster, or a local Ray on this machine).
        workers: number of CPU workers; None for one per core. `inline` accepts None or 1.
        agents_per_call: W, trainings batched in one compiled call; the numbers depend on it.
        timeout: seconds that one call may take, compilation included; `inline` cannot enforce it.
        memory_limit: resident bytes that one worker may use, None for no limit; for `processes` only.
        address: of a Ray cluster, "host:port" or "auto"; empty for a local Ray.
        gpu_workers: number of Ray workers with GPUs.
        gpus_per_worker: GPUs of each of these, or a share of one.

    Raises:
        BadInput: an unknown name; options that this executor does not have, or out of range.
    """
    if name not in EXECUTORS:
        raise unknown("executor", name, EXECUTORS)
    if name != "ray":
        check_without_ray(name, address, gpu_workers)
    if name == "inline":
        check_inline(workers)
        if memory_limit is not None:
            raise BadInput(f'the executor "inline" cannot limit memory, got {memory_limit}; use "processes"')
        from discovery.executors.inline import Inline

        return Inline(agents_per_call)
    if name == "processes":
        from discovery.executors.processes import Processes

        keep_to_cpu()
        return Processes(workers, agents_per_call, timeout, memory_limit)
    if memory_limit is not None:
        raise BadInput(
            'the executor "ray" cannot limit memory (Ray itself ends workers when a machine runs out), got '
            f"memory_limit={memory_limit}"
        )
    from discovery.executors.ray.cluster import Ray

    keep_to_cpu()
    return Ray(
        workers,
        agents_per_call,
        timeout,
        address=address,
        gpu_workers=gpu_workers,
        gpus_per_worker=gpus_per_worker,
    )


def executor_of(config: "SearchConfig") -> Executor:
    """The executor that a config asks for."""
    ray = config.address, config.gpu_workers, config.gpus_per_worker
    return make_executor(config.executor, config.workers, config.width, config.timeout, None, *ray)
