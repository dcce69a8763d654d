"""Trainings in worker processes, one single-threaded process per core: the default on a CPU."""

from collections.abc import Collection
from multiprocessing.connection import wait

from discovery.executors.call import RUN_CHUNK
from discovery.executors.cpu import cores
from discovery.executors.pool import Pool
from discovery.executors.spawn import WorkerProcess


class Processes(Pool):
    """Runs chunks in worker processes on the CPU.

    Args:
        workers: number of processes; None for one per core.
        agents_per_call: W, trainings batched in one compiled call.
        timeout: seconds that one call may take, its compilation included.
        memory_limit: resident bytes that one worker may use; None for no limit.
        function: what runs a chunk, as "module:function".
    """

    _active: dict[int, WorkerProcess]

    def __init__(
        self,
        workers: int | None = None,
        agents_per_call: int = 8,
        timeout: float = 900.0,
        memory_limit: int | None = None,
        *,
        function: str = RUN_CHUNK,
    ) -> None:
        super().__init__(cores() if workers is None else workers, agents_per_call, timeout, memory_limit)
        self._function = function

    def pids(self) -> list[int]:
        """Process ids of the workers that are alive."""
        return [worker.process.pid for worker in self._active.values()]

    def _start(self, slot: int) -> WorkerProcess:
        return WorkerProcess(f"processes/{slot}", self._function)

    def _poll(self, seconds: float) -> Collection[WorkerProcess]:
        heard = wait([worker.connection for worker in self._active.values()], seconds)
        return [worker for worker in self._active.values() if worker.connection in heard]
