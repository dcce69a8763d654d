"""Where trainings run: the names of executors, and which options go together."""

from discovery.core.errors import BadInput

EXECUTORS = ("inline", "processes", "ray")
"""Names of the executors; see `discovery.executors.make_executor`."""


def check_without_ray(name: str, address: str, gpu_workers: int) -> None:
    """Raise a BadInput if an executor other than Ray is given an option that only Ray has."""
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
    """Raise a BadInput unless these numbers of workers and GPUs are valid."""
    if gpu_workers < 0:
        raise BadInput(f"gpu_workers must be at least 0, got {gpu_workers}")
    if not gpus_per_worker > 0 or (gpus_per_worker > 1 and gpus_per_worker % 1):
        raise BadInput(
            "gpus_per_worker must be a share of a GPU, above 0 and at most 1, or a whole number of them, got "
            f"{gpus_per_worker:g}"
        )
    if gpus_per_worker != 1 and not gpu_workers:
        raise BadInput(
            f"gpus_per_worker={gpus_per_worker:g} has no effect without gpu_workers; set gpu_workers as well"
        )


def check_inline(workers: int | None) -> None:
    """Raise a BadInput if this process is asked to act as several workers."""
    if workers not in (None, 1):
        raise BadInput(f'the executor "inline" is one process, got workers={workers}; use "processes"')
