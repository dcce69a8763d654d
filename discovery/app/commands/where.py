"""Where the trainings of a verb run, when it is not where the config says."""

from dataclasses import dataclass, replace

from discovery.core.config.search import SearchConfig

CPU = "cpu"
"""What jax calls a CPU, and so do the rows of a ledger."""


@dataclass(frozen=True)
class Where:
    """Flags of the verbs that train outside of a search's config: each in place of what is there."""

    executor: str | None = None
    """Where trainings run: "processes", "ray" or "inline" (this process). Default: as the run; else
    "processes"."""
    workers: int | None = None
    """Workers of one core each. Default: as the run; else one per core, and none beside --gpu-workers."""
    address: str | None = None
    """Of a Ray cluster, "host:port" or "auto"; "" for a Ray of our own. Default: as the run."""
    gpu_workers: int | None = None
    """Ray: workers with GPUs. Default: as the run."""
    gpus_per_worker: float | None = None
    """Ray: GPUs of each of these, or a share of one. Default: as the run; else 1."""


def elsewhere(config: SearchConfig, where: Where) -> SearchConfig:
    """The config with what is given in place of its own.

    Another executor takes over neither the number of workers nor what only Ray has; nor do workers on GPUs
    get company on cores that was not asked for.
    """
    if where.executor not in (None, config.executor):
        config = replace(
            config, executor=where.executor, workers=None, address="", gpu_workers=0, gpus_per_worker=1.0
        )
    given = {name: value for name, value in vars(where).items() if value is not None}
    if where.gpu_workers:
        given.setdefault("workers", None)
    elif where.gpu_workers == 0:
        given.setdefault("gpus_per_worker", 1.0)  # a share of none is refused
    return replace(config, **given)
