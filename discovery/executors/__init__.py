"""Executors: one interface, the same numbers (`base.py`). Names map to factories, here and nowhere else."""

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from discovery.core.config.execution import check_inline, check_without_ray
from discovery.core.errors import BadInput, unknown
from discovery.executors.base import Executor
from discovery.executors.cpu import keep_to_cpu

if TYPE_CHECKING:
    from discovery.core.config.search import SearchConfig


class Options(NamedTuple):
    """What an executor can be asked for; see `make_executor`."""

    workers: int | None
    agents_per_call: int
    timeout: float
    memory_limit: int | None
    address: str
    gpu_workers: int
    gpus_per_worker: float


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
        name: "inline" (this process: notebooks, GPUs), "processes" (one worker a core: CPUs) or "ray" (a
            cluster, or this machine by way of Ray).
        workers: on a core each; None for one a core. `inline` has none but this process.
        agents_per_call: W, trainings batched in one compiled call; the numbers depend on it.
        timeout: seconds that one call may take, compilation included; `inline` cannot enforce it.
        memory_limit: resident bytes that one worker may use, None for no limit; for `processes` only.
        address: of a Ray cluster, "host:port" or "auto"; empty for a Ray of our own.
        gpu_workers: Ray's workers with GPUs.
        gpus_per_worker: GPUs of each of these, or a share of one.

    Raises:
        BadInput: an unknown name; options that this executor does not have, or out of range.
    """
    if name not in FACTORIES:
        raise unknown("executor", name, FACTORIES)
    options = Options(workers, agents_per_call, timeout, memory_limit, address, gpu_workers, gpus_per_worker)
    if name != "ray":
        check_without_ray(name, address, gpu_workers)
    return FACTORIES[name](options)


def executor_of(config: "SearchConfig") -> Executor:
    """The executor that a config asks for."""
    ray = config.address, config.gpu_workers, config.gpus_per_worker
    return make_executor(config.executor, config.workers, config.width, config.timeout, None, *ray)


def _inline(options: Options) -> Executor:
    check_inline(options.workers)
    if options.memory_limit is not None:
        raise BadInput(
            f'the executor "inline" cannot limit memory, got {options.memory_limit}; use "processes"'
        )
    from discovery.executors.inline import Inline

    return Inline(options.agents_per_call)


def _processes(options: Options) -> Executor:
    from discovery.executors.processes import Processes

    keep_to_cpu()
    return Processes(options.workers, options.agents_per_call, options.timeout, options.memory_limit)


def _ray(options: Options) -> Executor:
    if options.memory_limit is not None:
        raise BadInput(
            'the executor "ray" cannot limit memory, Ray itself does where a machine runs out of it, got '
            f"memory_limit={options.memory_limit}"
        )
    from discovery.executors.ray.cluster import Ray

    keep_to_cpu()
    return Ray(
        options.workers,
        options.agents_per_call,
        options.timeout,
        address=options.address,
        gpu_workers=options.gpu_workers,
        gpus_per_worker=options.gpus_per_worker,
    )


FACTORIES: dict[str, Callable[[Options], Executor]] = {
    "inline": _inline,
    "processes": _processes,
    "ray": _ray,
}
"""Every executor by name; the heavy imports are theirs."""
