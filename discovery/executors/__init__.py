"""Executors: one interface, the same numbers (`base.py`). Names map to factories, here and nowhere else."""

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

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


def check_without_ray(name: str, address: str, gpu_workers: int) -> None:
    """Raise a BadInput where an executor other than Ray is given what only Ray has."""
    for option, value in (("address", address), ("gpu_workers", gpu_workers)):
        if value:
            raise BadInput(
                f'{option} is for the executor "ray", not for {name!r}, got {value!r}; add --executor ray'
            )


def check_address(address: str) -> None:
    """Raise a BadInput unless it is empty, "auto" or "host:port"."""
    host, _, port = address.rpartition(":")
    is_port = port.isdecimal() and len(port) <= 5 and 0 < int(port) < 2**16
    if address in ("", "auto") or (host and "/" not in host and is_port):
        return
    hint = "; a search runs on a machine of the cluster, not through Ray's client" if "://" in address else ""
    raise BadInput(f'address must be "host:port" of a Ray cluster\'s head, or "auto", got {address!r}{hint}')


def check_gpus(gpu_workers: int, gpus_per_worker: float) -> None:
    """Raise a BadInput unless there can be such workers."""
    if gpu_workers < 0:
        raise BadInput(f"gpu_workers must be at least 0, got {gpu_workers}")
    if not gpus_per_worker > 0 or (gpus_per_worker > 1 and gpus_per_worker % 1):
        raise BadInput(
            "gpus_per_worker must be a share of a GPU, above 0 and at most 1, or a whole number of them, got "
            f"{gpus_per_worker:g}"
        )
    if gpus_per_worker != 1 and not gpu_workers:
        raise BadInput(
            f"gpus_per_worker={gpus_per_worker:g} has no effect without gpu_workers; say how many of those"
        )


def check_inline(workers: int | None) -> None:
    """Raise a BadInput where this process is asked to be several workers."""
    if workers not in (None, 1):
        raise BadInput(f'the executor "inline" is one process, got workers={workers}; use "processes"')


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
