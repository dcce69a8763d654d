import itertools
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from discovery.core.jobs import AlgorithmSpec
from discovery.executors.call import Reply, call
from discovery.executors.chunks import Chunk, again, cut, finished, onward
from tests.executors import fakes
from tests.executors.fakes import TASK, job, key


def random_jobs(seed):
    """Jobs of several programs and lifetimes, shuffled."""
    rng = np.random.default_rng(seed)
    other = replace(TASK, numbers={"gamma": 0.9})
    jobs = []
    for index in range(rng.integers(1, 40)):
        one = job(index, task=(TASK, other)[rng.integers(2)], lifetime=int(rng.integers(1, 100)))
        if rng.integers(2):
            one = replace(one, algorithm=AlgorithmSpec("another", (("width", 3),)))
        if rng.integers(4) == 0:
            one = replace(one, meta_params={})
        jobs.append(one)
    return jobs


@pytest.mark.parametrize("seed", range(7))
def test_cut(seed):
    """Every job once, no two programs in a chunk, only a program's last chunk short, lifetimes in order."""
    jobs, width = random_jobs(seed), 1 + seed % 5
    chunks, programs = cut(jobs, width), {}
    assert Counter(one.id for chunk in chunks for one in chunk.jobs) == Counter(one.id for one in jobs)
    for chunk in chunks:
        assert len(chunk.jobs) <= width
        (program,) = {(one.algorithm, one.task == TASK, len(one.meta_params)) for one in chunk.jobs}
        programs.setdefault(program, []).append(chunk)
    for group in programs.values():
        assert sum(len(chunk.jobs) < width for chunk in group) <= 1
        ranges = sorted((chunk.jobs[0].lifetime, chunk.jobs[-1].lifetime) for chunk in group)
        assert all(high <= low for (_, high), (low, _) in itertools.pairwise(ranges))
    costs = [chunk.cost for chunk in chunks]
    assert costs == sorted(costs, reverse=True)


def test_leaves_of_other_shapes_do_not_share_a_chunk():
    jobs = [replace(job(index), meta_params={"w": np.zeros(index)}) for index in range(3)]
    assert len(cut(jobs, 4)) == 3


def test_a_request_has_its_full_width_and_repeats_the_first_job():
    request = Chunk((job(0), job(1), job(2)), width=5).request()
    assert request.meta_params["layers"][0].shape == (5, 3, 2)
    assert request.keys.shape == (5, 2) and request.lifetimes.shape == (5,)
    for lane in (3, 4):
        np.testing.assert_array_equal(request.keys[lane], request.keys[0])
        np.testing.assert_array_equal(
            request.meta_params["layers"][0][lane], request.meta_params["layers"][0][0]
        )


def test_a_lost_chunk_is_tried_again_once_then_cut_then_given_up():
    fresh = Chunk(tuple(job(index) for index in range(3)), width=8)
    (retry,) = again(fresh.started())
    assert retry.jobs == fresh.jobs
    left, right = again(retry.started())
    assert left.jobs + right.jobs == fresh.jobs
    assert left.width == right.width == 8 and left.attempts == 2
    assert len(again(left.started())) == 2 and again(right.started()) == ()
    assert len(again(Chunk((job(0),), width=2).started())) == 1


def test_results_share_time_and_drop_padding():
    chunk = Chunk((job(0), job(1, "nan")), width=4).started()
    reply = call(fakes.run_chunk, chunk.request())
    good, bad = finished(chunk, reply._replace(seconds=3.0), "w")
    assert (good.id, good.seconds, good.compile_seconds, good.attempts) == (key(0), 1.5, 0.125, 1)
    assert good.error is None and good.outcome is not None and good.outcome.curve.shape == (3,)
    assert bad.error == "diverged" and bad.outcome is not None and "step 17" in bad.detail


def test_states_of_stopped_trainings_stay_in_their_lane():
    jobs = [replace(job(index), until=30 + index) for index in range(3)]
    (chunk,) = cut(jobs, 4)
    assert chunk.cost == 4 * 32 * 8  # all lanes, as long as the longest
    stopped = finished(chunk, call(fakes.run_chunk, chunk.request()), "w")
    states = {result.id: result.checkpoint for result in stopped}
    for one in jobs:
        checkpoint = states[one.id]
        assert checkpoint is not None and checkpoint.update == one.until
        np.testing.assert_array_equal(checkpoint.leaves[0], one.key)
        np.testing.assert_array_equal(checkpoint.leaves[1], [one.until])
    going_on = [replace(one, until=one.lifetime, checkpoint=states[one.id]) for one in jobs[1:]]
    going_on_from = {job.id: job.until for job in jobs}
    (chunk,) = cut(going_on, 4)
    assert chunk.cost == 4 * (100 - 31) * 8
    for result, one in zip(
        finished(chunk, call(fakes.run_chunk, chunk.request()), "w"), chunk.jobs, strict=True
    ):
        assert result.checkpoint is not None and result.checkpoint.update == 100
        np.testing.assert_array_equal(result.checkpoint.leaves[1], [going_on_from[one.id], 100])
    assert len(cut([jobs[0], job(7), *going_on], 8)) == 3  # three programs, or three kinds of arguments


def test_stretches_divide_a_life():
    """By hand: lives of 10 and 3 rollouts in 4 stretches."""
    jobs = [replace(job(0, lifetime=10), stretches=4), replace(job(1, lifetime=3), stretches=4)]
    (chunk,) = cut(jobs, 4)
    steps, untils, rests = TASK.setup.steps_per_update, [], []
    while chunk is not None:
        until = chunk.request().until
        assert until is not None
        untils.append(until[:2].tolist())
        rests.append((chunk.cost // (4 * steps), chunk.rest // (4 * steps)))
        checkpoint = (np.arange(4), np.full(4, len(untils)))
        reply = Reply(outcome=None, seconds=1.0, checkpoint=checkpoint)
        chunk = onward(chunk.started(), reply)
        if chunk is not None:
            assert chunk.attempts == 0 and chunk.spent == (len(untils), 0.0)
            checkpoint = chunk.request().checkpoint
            assert checkpoint is not None
            np.testing.assert_array_equal(checkpoint[0], [0, 1, 0, 0])  # padded with the first
    assert untils == [[1, 3], [2, 5], [3, 8], [3, 10]]
    assert rests == [(3, 10), (2, 7), (3, 5), (2, 2)]
    assert onward(Chunk((job(0),), 1), Reply(None, 1.0)) is None
