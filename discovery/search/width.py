"""The number of trainings in one call (the width), for a config that does not set it.

Scores depend on the width, so it is determined before a run begins and written to its config. Importing this
module does not import jax.
"""

import math
from dataclasses import replace
from typing import TYPE_CHECKING

from discovery.core.config.generations import BatchesConfig
from discovery.core.config.search import SearchConfig
from discovery.core.errors import ExecutorError
from discovery.search.progress import trainings_of

if TYPE_CHECKING:
    from discovery.core.jobs import Job, JobResult

MEASURE_LANES = "discovery.inner.batch_size:measure_lanes"


def with_width(config: SearchConfig) -> SearchConfig:
    """The same search with `agents_per_call` set: as configured, else 8 on CPUs, else by accelerator memory.

    Raises:
        BadInput: the config is invalid, or something that the search needs is missing.
        ExecutorError: not even one training fits into the device's memory, or there is no such device.
    """
    if config.agents_per_call is not None:
        return config
    devices = accelerators(config)
    width = _widest(config, devices) if devices else config.width
    return replace(config, agents_per_call=width)


def even_share(trainings: int, room: int, devices: int = 1, calls: int = 1) -> int:
    """The width W that divides `trainings` over the fewest calls of at most `room` lanes.

    As few lanes as possible stay idle. There are at least `calls` calls, if there are as many trainings.
    `room` and W are multiples of `devices`.
    """
    calls = max(math.ceil(trainings / room), min(calls, trainings))
    return math.ceil(trainings / calls / devices) * devices


def trainings_at_once(config: SearchConfig) -> tuple[int, int]:
    """Trainings on a task that can share calls, and the fewest calls that keep every worker busy.

    A synchronous search needs one call per worker in each generation. An asynchronous one needs two calls in
    flight per worker.
    """
    workers = (config.gpu_workers or 1) if config.executor == "ray" else 1
    meta = config.meta
    if not isinstance(meta, BatchesConfig) or not meta.asynchronous:
        most = max(sum(trainings_of(config, generation)) for generation in range(config.generations + 1))
        return most, math.ceil(workers / len(config.tasks))
    if meta.batch:
        return meta.batch * config.seeds, 1
    return (meta.in_flight or meta.population) * config.seeds, math.ceil(2 * workers / len(config.tasks))


def accelerators(config: SearchConfig) -> int:
    """Number of accelerators that share a call; 0 for CPUs, even if CPU workers run as well."""
    if config.executor == "ray":
        alone = (
            config.gpu_workers and not config.workers
        )  # CPU workers would take too long for such wide calls
        return max(1, int(config.gpus_per_worker)) if alone else 0
    if config.executor != "inline":
        return 0
    from discovery.executors.cpu import ensure_single_thread

    ensure_single_thread()
    import jax

    return 0 if jax.default_backend() == "cpu" else jax.local_device_count()


def _widest(config: SearchConfig, devices: int) -> int:
    """The width with which a generation's trainings on a task take the fewest calls that fit into memory."""
    from discovery.search.check import check

    check(config)
    results = _measure(config, _questions(config))
    for result in results:
        if result.error:
            raise ExecutorError(f"no width of calls can be found: {result.error}: {result.detail}")
    room = min(int(result.extra["lanes"]) for result in results)
    trainings, calls = trainings_at_once(config)
    return even_share(trainings, room, devices, calls)


def _questions(config: SearchConfig) -> "list[Job]":
    """One training of each setup; with checkpoints, which take more memory, if the search uses them."""
    import jax
    import numpy as np

    from discovery.core.jobs import Job, JobKey
    from discovery.inner.compile import build_algorithm

    spec = config.spec
    meta_params = jax.tree.map(np.asarray, build_algorithm(spec).init(jax.random.key(0)))
    key = np.zeros(2, np.uint32)
    stops = config.stopping.method == "halving" or config.stretches > 1
    return [
        Job(
            JobKey(spec.name, "width", task.name, 0),
            spec,
            task,
            meta_params,
            key,
            task.n_updates,
            task.n_updates if stops else None,
        )
        for task in {task.setup: task for task in config.seen}.values()
    ]


def _measure(config: SearchConfig, jobs: "list[Job]") -> "list[JobResult]":
    """Measure each job on the device where the search's trainings will run."""
    if config.executor == "inline":
        from discovery.executors.inline import Inline

        return list(Inline(1, function=MEASURE_LANES).run(jobs))
    from discovery.executors.ray.cluster import Ray

    with Ray(
        0,
        1,
        config.timeout,
        address=config.address,
        gpu_workers=1,
        gpus_per_worker=config.gpus_per_worker,
        function=MEASURE_LANES,
    ) as executor:
        return list(executor.run(jobs))
