"""Who takes which chunk: on a simulated pool, against bounds that are known and optima by enumeration."""

import heapq
import itertools
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from discovery.executors.call import Reply
from discovery.executors.chunks import Chunk
from discovery.executors.throughput import Pace
from tests.executors.fakes import SETUP, TASK, job


def chunk_of(number: int, program: int = 0) -> Chunk:
    """A chunk of a program of its own, as long as its number says."""
    task = replace(TASK, setup=replace(SETUP, n_envs=2 + program), total_steps=10**6)
    return Chunk((job(0, task=task, lifetime=number),), width=1)


def program_of(number: int) -> Any:
    return chunk_of(1, number).program


def taught(seconds_per_update: dict[tuple[str, int], float]) -> Pace:
    """Speeds by kind of worker and program."""
    pace = Pace()
    for (kind, program), seconds in seconds_per_update.items():
        pace.learn(kind, chunk_of(1, program), Reply(None, seconds + 5.0, compile_seconds=5.0))
    return pace


def chosen(pace: Pace, kind: str, pending: list[Chunk], others: list[tuple[str, float]]) -> int | None:
    """As the pool asks, of workers that have compiled everything."""
    if any(other != kind for other, _ in others):
        return pace.choose(kind, pending, others)
    return pace.choose_alike(kind, pending, {chunk.program for chunk in pending}, ())


def finish(pace: Pace, kinds: list[str], chunks: list[Chunk]) -> float:
    """When the last chunk has ended, on workers that are as fast as `pace` says."""
    pending, now = list(chunks), 0.0
    pace.order(kinds[0], pending)
    busy: list[tuple[float, int]] = []
    free = list(range(len(kinds)))
    while pending or busy:
        for worker in list(free):
            others = [(kinds[w], end - now) for end, w in busy]
            others += [(kinds[w], 0.0) for w in free if w != worker]
            if pending and (index := chosen(pace, kinds[worker], pending, others)) is not None:
                chunk = pending.pop(index)
                heapq.heappush(busy, (now + pace.seconds(kinds[worker], chunk), worker))
                free.remove(worker)
        assert busy, "somebody must work"
        now, worker = heapq.heappop(busy)
        free.append(worker)
    return now


def optimum(seconds: list[list[float]]) -> float:
    """The least that the last of the workers can need; ``seconds[chunk][worker]``."""
    workers = range(len(seconds[0]))
    ends = []
    for places in itertools.product(workers, repeat=len(seconds)):
        load = [0.0 for _ in workers]
        for row, place in zip(seconds, places, strict=True):
            load[place] += row[place]
        ends.append(max(load))
    return min(ends)


def test_speeds_leave_out_compilation_and_forget_by_halves():
    pace = Pace()
    assert pace.seconds("cpu", chunk_of(3)) == np.inf
    pace.learn("cpu", chunk_of(2), Reply(None, 9.0, compile_seconds=5.0))
    assert pace.seconds("cpu", chunk_of(3)) == pytest.approx(6.0)
    pace.learn("cpu", chunk_of(2), Reply(None, 2.0))
    assert pace.seconds("cpu", chunk_of(3)) == pytest.approx(4.5)
    assert pace.seconds("gpu", chunk_of(3)) == np.inf
    before = pace.version  # it changes with speeds that matter
    pace.learn("cpu", chunk_of(2), Reply(None, 3.05))
    assert pace.version == before
    pace.learn("cpu", chunk_of(2), Reply(None, 12.0))
    assert pace.version > before


def test_long_is_what_takes_long_and_not_what_has_many_steps():
    pace = taught({("cpu", 0): 1.0, ("cpu", 1): 100.0})
    chunks = [chunk_of(50, 0), chunk_of(1, 1), chunk_of(2, 1)]
    pace.order("cpu", chunks)
    assert [pace.seconds("cpu", chunk) for chunk in chunks] == pytest.approx([50, 100, 200])
    chunks.append(chunk_of(1, 2))
    pace.order("cpu", chunks)
    assert chunks[-1].program == chunk_of(1, 2).program  # nobody knows how long: it may be the longest


@pytest.mark.parametrize("seed", range(8))
def test_equal_workers_end_within_grahams_bound(seed):
    generator = np.random.default_rng(seed)
    workers, lengths = int(generator.integers(1, 4)), generator.integers(1, 60, 8)
    pace = taught({("cpu", 0): 1.0})
    end = finish(pace, ["cpu"] * workers, [chunk_of(int(length)) for length in lengths])
    best = optimum([[float(length)] * workers for length in lengths])
    assert best - 1e-6 <= end <= (4 / 3 - 1 / (3 * workers)) * best + 1e-6


@pytest.mark.parametrize("seed", range(8))
def test_slow_workers_help_and_are_never_waited_for_long(seed):
    generator = np.random.default_rng(seed)
    lengths = [int(length) for length in generator.integers(1, 60, 8)]
    slowness = float(generator.uniform(1.5, 30))
    pace = taught({("fast", 0): 1.0, ("slow", 0): slowness})
    chunks = [chunk_of(length) for length in lengths]
    alone = finish(pace, ["fast"], chunks)
    both = finish(pace, ["fast", "slow"], chunks)
    best = optimum([[float(length), slowness * length] for length in lengths])
    assert best - 1e-6 <= both <= min(1.05 * best, alone) + 1e-6


def test_each_program_is_compiled_by_one_worker_as_long_as_there_is_other_work():
    """Two workers, three programs of four chunks each: A (longest), B, C."""
    a, b, c = (program_of(number) for number in range(3))
    pace = Pace()
    pending = [chunk_of(1, program) for program in (2, 1, 0) for _ in range(4)]

    def choice(compiled: set, running: set) -> Any:
        pace.order("cpu", pending)
        return pending[pace.choose_alike("cpu", pending, compiled, running)].program

    first = choice(set(), set())
    assert choice(set(), {first}) != first  # not the one that is being compiled
    for program, seconds in ((0, 3.0), (1, 2.0)):
        pace.learn("cpu", chunk_of(1, program), Reply(None, seconds))
    assert choice({b}, {a}) == c  # nobody knows how long C takes
    pace.learn("cpu", chunk_of(1, 2), Reply(None, 1.0))
    assert choice({b}, {a}) == b  # its own, though A is longer
    pending = [chunk for chunk in pending if chunk.program == a]
    assert choice({b}, {a}) == a  # better than to wait
    later = replace(chunk_of(1, 1), turn=1)
    pending.insert(0, later)
    assert choice({b}, {a}) == a  # earlier turns go first
