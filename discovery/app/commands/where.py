"""Flags that choose where a verb's trainings run; they override the config."""

from dataclasses import dataclass, replace

from discovery.core.config.search import SearchConfig

CPU = "cpu"
"""The name of CPUs in jax and in the rows of a ledger."""


@dataclass(frozen=True)
class Where:
    """Flags that override the execution settings of a config."""

    executor: str | None = None
    """Where trainings run: "processes", "ray" or "inline" (this process). Default: the run's, else
    "processes"."""
    workers: int | None = None
    """Number of workers, each on one core. Default: the run's, else one per core, or none with
    --gpu-workers."""
    address: str | None = None
    """Address of a Ray cluster, "host:port" or "auto"; "" starts Ray on this machine. Default: the run's."""
    gpu_workers: int | None = None
    """Ray: number of workers with GPUs. Default: the run's."""
    gpus_per_worker: float | None = None
    """Ray: GPUs per such worker, or a fraction of one. Default: the run's, else 1."""


def elsewhere(config: SearchConfig, where: Where) -> SearchConfig:
    """The config with the given flags applied.

    A change of executor drops the number of workers and Ray's settings; --gpu-workers alone drops the
    workers on cores.
    """
    if where.executor not in (None, config.executor):
        config = replace(
            config, executor=where.executor, workers=None, address="", gpu_workers=0, gpus_per_worker=1.0
        )
    given = {name: value for name, value in vars(where).items() if value is not None}
    if where.gpu_workers:
        given.setdefault("workers", None)
    elif where.gpu_workers == 0:
        given.setdefault("gpus_per_worker", 1.0)  # a fraction without GPU workers is refused
    return replace(config, **given)
