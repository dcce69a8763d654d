"""Executors: one interface, the same numbers (`base.py`). Names map to factories, here and nowhere else."""

from collections.abc import Callable

from discovery.errors import BadInput, unknown
from discovery.executors.base import Executor


def make_executor(
    name: str,
    workers: int | None = None,
    agents_per_call: int = 8,
    timeout: float = 900.0,
    memory_limit: int | None = None,
) -> Executor:
    """An executor by name.

    Args:
        name: "inline" (this process: notebooks, GPUs) or "processes" (one worker a core: CPUs).
        workers: worker processes; None for one a core. `inline` has none but this process.
        agents_per_call: W, trainings batched in one compiled call; the numbers depend on it.
        timeout: seconds that one call may take, compilation included; `inline` cannot enforce it.
        memory_limit: resident bytes that one worker may use, None for no limit; not for `inline`.
    """
    if name not in FACTORIES:
        raise unknown("executor", name, FACTORIES)
    return FACTORIES[name](workers, agents_per_call, timeout, memory_limit)


def _inline(workers: int | None, agents_per_call: int, timeout: float, memory_limit: int | None) -> Executor:
    del timeout  # a default that always comes along
    if workers not in (None, 1):
        raise BadInput(f'the executor "inline" is one process, got workers={workers}; use "processes"')
    if memory_limit is not None:
        raise BadInput(f'the executor "inline" cannot limit memory, got {memory_limit}; use "processes"')
    from discovery.executors.inline import Inline

    return Inline(agents_per_call)


def _processes(
    workers: int | None, agents_per_call: int, timeout: float, memory_limit: int | None
) -> Executor:
    from discovery.executors.processes import Processes

    return Processes(workers, agents_per_call, timeout, memory_limit)


FACTORIES: dict[str, Callable[[int | None, int, float, int | None], Executor]] = {
    "inline": _inline,
    "processes": _processes,
}
"""Every executor by name; the heavy imports are theirs."""
