"""What the pool makes of workers that never get ready; other faults are provoked with real workers."""

import time

import pytest

from discovery.errors import ExecutorError
from discovery.executors import pool
from discovery.executors.call import Reply, call
from discovery.executors.pool import Gone, Pool
from tests.executors.fakes import job, run_chunk


class Frail:
    """A worker in this process that dies of `fate` before it is ready, unless that is empty."""

    def __init__(self, name: str, fate: str) -> None:
        self.name, self.kind, self.ready, self.chunk = name, "cpu", False, None
        self.since, self._fate = time.monotonic(), fate

    def send(self, message: bytes) -> None: ...

    def receive(self) -> Reply | None:
        if self._fate:
            raise Gone("it died", self._fate)
        return call(run_chunk, self.chunk.request()) if self.chunk else None

    def alive(self) -> bool:
        return True

    def memory(self) -> int:
        return 0

    def last_words(self) -> list[str]:
        return ["last words"]

    def kill(self) -> None: ...


class Ward(Pool):
    """Workers of these fates, one after the other; `hired` says when each was."""

    def __init__(self, *fates: str) -> None:
        super().__init__(1, 2, 60.0, None)
        self.hired: list[float] = []
        self._fates = list(fates)

    def _start(self, place: int) -> Frail:
        self.hired.append(time.monotonic())
        return Frail(f"ward/{place}", self._fates.pop(0))

    def _listen(self, seconds: float) -> list:
        time.sleep(0.01)
        return list(self._staff.values())


def test_want_of_memory_may_pass_and_is_waited_for(monkeypatch):
    monkeypatch.setattr(pool, "REST_SECONDS", 0.3)
    ward = Ward("out_of_memory", "out_of_memory", "")
    (result,) = ward.run([job(0)])
    assert result.error is None and result.attempts == 1
    first, second, third = ward.hired
    assert second - first >= 0.3 and third - second >= 0.6


@pytest.mark.parametrize("fate", ["out_of_memory", "crashed"])
def test_three_that_never_get_ready_are_no_accident(fate, monkeypatch):
    monkeypatch.setattr(pool, "REST_SECONDS", 0.01)
    with pytest.raises(ExecutorError, match=r"(?s)before they can work \(it died\).*last words"):
        list(Ward(fate, fate, fate, "").run([job(0)]))
