"""Where the trainings of a verb run, when it is not where the config says."""

import dataclasses

from discovery.config import SearchConfig


def elsewhere(
    config: SearchConfig, executor: str | None = None, workers: int | None = None, address: str | None = None
) -> SearchConfig:
    """The config with what is given in place of its own.

    Another executor takes over neither the number of workers nor what only Ray has.
    """
    if executor in (None, config.executor):
        workers = config.workers if workers is None else workers
        address = config.address if address is None else address
        return dataclasses.replace(config, workers=workers, address=address)
    return dataclasses.replace(
        config,
        executor=executor,
        workers=workers,
        address=address or "",
        gpu_workers=0,
        gpus_per_worker=1.0,  # a share of none is refused
    )
