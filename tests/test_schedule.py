"""The arithmetic of schedules: by hand, and against every schedule that hands out the longest first."""

import itertools

import numpy as np
import pytest

from benchmarks.schedule import longest_first


def test_by_hand():
    # 3 | 2 2
    assert longest_first([2.0, 3.0, 2.0], 2, 0.0) == (4.0, 7 / 8)
    # handed out at 0.5, 1.0 and, where the second has ended at 3.0, 3.5
    assert longest_first([2.0, 3.0, 2.0], 2, 0.5) == (5.5, 7 / 11)
    # two chunks keep one of three workers idle
    assert longest_first([1.0, 1.0], 3, 0.0) == (1.0, 2 / 3)
    # four free at once are served one after the other
    assert longest_first([1.0] * 4, 4, 0.25).seconds == 2.0


def ends(chunks: list[int], workers: int) -> set[float]:
    """When the last chunk ends, in all schedules that give the longest that is left to who is free first."""
    found = set()
    for places in itertools.product(range(workers), repeat=len(chunks)):
        load = [0.0] * workers
        for seconds, place in zip(sorted(chunks, reverse=True), places, strict=True):
            if load[place] > min(load):
                break  # another was free before
            load[place] += seconds
        else:
            found.add(max(load))
    return found


@pytest.mark.parametrize("seed", range(20))
def test_against_all_schedules(seed):
    generator = np.random.default_rng(seed)
    chunks = generator.integers(1, 10, int(generator.integers(1, 8))).tolist()
    workers = int(generator.integers(1, 4))
    found = longest_first(chunks, workers, 0.0)
    assert {found.seconds} == ends(chunks, workers)
    assert found.busy == pytest.approx(sum(chunks) / (workers * found.seconds))
