"""What the pool makes of workers that never get ready; other faults are provoked with real workers."""

import time
from multiprocessing import Pipe

import pytest

from discovery.core.errors import ExecutorError
from discovery.core.versions import versions
from discovery.executors import pool
from discovery.executors.call import Reply, call
from discovery.executors.pool import Gone, Pool
from discovery.executors.ray import cluster as ray
from discovery.executors.ray.messages import Cluster, Facts
from discovery.executors.worker import answer
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

    def last_lines(self) -> list[str]:
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

    def _poll(self, seconds: float) -> list:
        time.sleep(0.01)
        return list(self._active.values())


def test_want_of_memory_may_pass_and_is_waited_for(monkeypatch):
    monkeypatch.setattr(pool, "BACKOFF_SECONDS", 0.3)
    ward = Ward("out_of_memory", "out_of_memory", "")
    (result,) = ward.run([job(0)])
    assert result.error is None and result.attempts == 1
    first, second, third = ward.hired
    assert second - first >= 0.3 and third - second >= 0.6


@pytest.mark.parametrize("fate", ["out_of_memory", "crashed"])
def test_three_that_never_get_ready_are_no_accident(fate, monkeypatch):
    monkeypatch.setattr(pool, "BACKOFF_SECONDS", 0.01)
    with pytest.raises(ExecutorError, match=r"(?s)it died.*last words"):
        list(Ward(fate, fate, fate, "").run([job(0)]))


class Quick:
    """In place of the process in which Ray is: all is there at once, and a worker when it is asked for."""

    cpu, jax = versions()["cpu"], versions()["jax"]

    def __init__(self, settings):
        self.settings, self.hired = settings, 0
        self.connection, self._theirs = Pipe()
        self._theirs.send(("up", 0, Cluster("127.0.0.1:1", 1, 1, (1,))))

    def start_worker(self, kind):
        self.hired += 1
        of_it = versions() | {"cpu": self.cpu, "jax": self.jax}
        self._theirs.send(("ready", self.hired, Facts("10.0.0.7", 1, kind, of_it)))
        return self.hired

    def send(self, verb, worker, payload=b""):
        if verb == "work":
            self._theirs.send(("reply", worker, answer(run_chunk, payload)))

    def receive(self):
        return self.connection.recv()

    def kill(self): ...


def test_who_was_ready_while_nobody_listened_is_not_late(monkeypatch):
    """A Ray of our own comes up while its owner does other things, for as long as these take."""
    monkeypatch.setattr(ray, "_Bridge", Quick)
    monkeypatch.setattr(ray, "WARN_SECONDS", 0.1)
    with ray.Ray(1, 2) as executor:
        executor.patience = 0.1
        time.sleep(0.2)
        (result,) = executor.run([job(0)])
    assert result.error is None and not executor._warned


def test_a_cpu_of_another_kind_is_told_once(monkeypatch, caplog):
    monkeypatch.setattr(ray, "_Bridge", Quick)
    caplog.set_level("WARNING", "discovery.executors")
    monkeypatch.setattr(Quick, "cpu", "AMD family 26 model 2, avx512f")
    with ray.Ray(2, 2) as executor:
        assert len(executor.start_workers(5.0)) == 2
        (record,) = caplog.records
    assert "10.0.0.7" in record.getMessage() and Quick.cpu in record.getMessage()


def test_a_worker_of_another_version_is_refused(monkeypatch):
    """At once: it did not crash, and the next one there would be no better."""
    monkeypatch.setattr(ray, "_Bridge", Quick)
    monkeypatch.setattr(Quick, "jax", "0.1")
    refused = pytest.raises(ExecutorError, match=r"10\.0\.0\.7.*jax was 0\.1")
    with refused, ray.Ray(1, 2) as executor:
        executor.start_workers(5.0)
    monkeypatch.setattr(Quick, "jax", versions()["jax"])
    with ray.Ray(1, 2) as executor:
        assert len(executor.start_workers(5.0)) == 1
