"""Chunks of trainings: one program for all numbers, and failures that stay in their lane."""

import math
from dataclasses import replace

import jax
import numpy as np
import pytest

from discovery.core.jobs import AlgorithmSpec
from discovery.inner import compile as compiled
from discovery.inner.loops.on_policy import check_numbers
from environments.task import Task
from objectives import build
from tests.inner.states import CATCH, PPO, assert_same_bits
from tests.inner.worlds import STEPS_UNTIL_INFINITY

CALM = 4
"""A key whose level has no infinite reward."""


def chunk(algorithm, task, searched, seeds, lifetimes, *stretch):
    keys = np.stack([jax.random.key_data(jax.random.key(seed)) for seed in seeds])
    return compiled.run_chunk(algorithm, task, searched, keys, np.asarray(lifetimes), *stretch)


def test_no_number_recompiles_and_no_budget_costs_memory():
    """Numbers, proposals, keys, lifetimes and budgets are arguments; the width and the structure are not."""
    spec = AlgorithmSpec("lpo", (("width", 8),))
    task = Task("catch", CATCH, total_steps=320)
    proposals = [build("lpo", {"width": 8}).init(jax.random.key(seed)) for seed in range(2)]
    stacked = jax.tree.map(lambda *x: np.stack(x), *proposals)
    first, _, seconds = chunk(spec, task, stacked, [0, 1], [10, 10])
    assert seconds > 0 and first.curve.shape == (2, CATCH.curve_points)
    before = dict(compiled._executables)
    again, _, seconds = chunk(spec, task, stacked, [0, 1], [10, 10])
    assert seconds == 0.0
    assert_same_bits(tuple(first), tuple(again))

    other = jax.tree.map(lambda x: x + 0.1, stacked)
    recipe = {"learning_rate": 1e-2, "gamma": 0.9, "entropy_coef": 0.01, "clip": 0.3}
    long = replace(task, total_steps=3200, numbers=recipe, score="auc")
    changed, _, seconds = chunk(spec, long, other, [2, 3], [long.n_updates, 37])
    assert seconds == 0.0 and compiled._executables == before
    assert not np.array_equal(changed.curve, first.curve)
    assert np.array_equal(changed.score, changed.auc) and np.array_equal(first.score, first.final)
    (program,) = [p for key, p in before.items() if key[0] == spec]
    memory = program.memory_analysis()
    assert memory.output_size_in_bytes < 4096 and memory.temp_size_in_bytes < 2**20


def counted():
    """PPO whose learning rate grows with an integer leaf of meta_params."""
    made = build("ppo")

    def optimizer(meta_params):
        assert meta_params["opcode"].dtype == np.int32 and meta_params["on"].dtype == bool
        rate = 1e-3 * (1 + meta_params["opcode"].sum() % 2**24) * meta_params["scale"]
        return made.optimizer({**meta_params, "learning_rate": rate})

    return made._replace(name="counted", optimizer=optimizer)


@pytest.fixture(scope="module")
def explosive():
    """Trainings where some levels have an infinite reward. The last two differ by an integer only."""
    setup = replace(CATCH, environment="tests.inner.worlds:explosive", normalize_reward=False)
    searched = {
        "opcode": np.array([[2**24, 0]] * 5 + [[2**24, 1]]),  # float32 cannot tell 2^24 from 2^24 + 1
        "on": np.array([True, False] * 3),
        "scale": np.ones(6),
    }
    spec, seeds = AlgorithmSpec("tests.inner.test_compile:counted"), [0, 1, 2, 3, CALM, CALM]
    return chunk(spec, Task("explosive", setup, 640), searched, seeds, [20] * 6)[0]


def test_an_infinite_reward_is_noticed_where_it_happens(explosive):
    """In lanes whose level has one, at the update of that step; the others go on and have a score."""
    exploded = np.asarray(explosive.nonfinite_step) >= 0
    assert 0 < exploded.sum() < 6
    # The 40th step of each instance is in the fifth rollout of 8 steps, which begins at 4 * 32.
    assert STEPS_UNTIL_INFINITY == 40 and set(explosive.nonfinite_step[exploded]) == {128}
    assert np.isnan(explosive.score[exploded]).all() and np.isnan(explosive.auc[exploded]).all()
    np.testing.assert_array_equal(explosive.score[~exploded], 4.0)
    np.testing.assert_array_equal(explosive.length[~exploded], 4.0)


def test_integers_and_booleans_of_meta_params_stay_what_they_are(explosive):
    one, other = explosive.metrics["kl"][-2:]
    assert np.isfinite([one, other]).all() and not np.array_equal(one, other)
    assert compiled.as_trained(np.float64(0.5)).dtype == np.float32
    with pytest.raises(ValueError, match="32 bits"):
        compiled.as_trained(np.array([0, 2**40]))


def test_only_so_many_programs_are_kept(monkeypatch):
    """The one that was not used for longest goes."""
    monkeypatch.setattr(compiled, "_executables", {})
    monkeypatch.setattr(compiled, "MAX_PROGRAMS", 2)
    monkeypatch.setattr(compiled, "_program", lambda *_: jax.jit(lambda *arguments: arguments[2]))
    spec, task = AlgorithmSpec("ppo"), Task("catch", CATCH, 320)

    def seconds(width):
        lanes = np.zeros((width, 2)), np.ones(width)
        return compiled.executable(spec, CATCH, compiled.arguments_of(spec, task, {}, *lanes))[1]

    found = [seconds(width) > 0 for width in (1, 2, 1, 3, 1, 2)]
    assert found == [True, True, False, True, False, True]
    assert len(compiled._executables) == 2


@pytest.mark.parametrize(
    ("numbers", "said"),
    [
        ({"learning_rat": 1.0}, "learning_rat; it reads: adam_b1"),
        ({"learning_rate": -1.0}, "learning_rate"),
        ({"gamma": 1.5}, "gamma"),
        ({"clip": -0.1}, "clip"),
        ({"entropy_coef": math.nan}, "entropy_coef"),
        ({"adam_b1": 1.0}, "adam_b1"),
    ],
)
def test_numbers_that_nothing_reads_or_that_make_no_sense_are_refused(numbers, said):
    with pytest.raises(ValueError, match=said):
        chunk(AlgorithmSpec("ppo"), Task("catch", CATCH, 320, numbers), {}, [0], [1])
    check_numbers(PPO, {"value_clip": math.inf, "entropy_coef": -1.0})


@pytest.mark.slow
def test_a_stopped_training_goes_on_to_the_same_bits():
    """Stopped twice or never, beside others or repeated: the outcome is that of a whole life; see ADR 12."""
    spec, task, lifetimes = AlgorithmSpec("ppo"), Task("catch", CATCH, 320), [10, 8]

    def stretch(until, checkpoint=None):
        return chunk(spec, task, {}, [5, 6], lifetimes, np.asarray(until), checkpoint)

    once, end, _ = stretch([10, 8])
    assert end is not None
    first, checkpoint, _ = stretch([3, 2])
    assert np.isfinite(first.score).all() and np.isnan(first.curve[:, -2:]).all()  # the rest is not lived
    before = dict(compiled._executables)
    middle, checkpoint, seconds = stretch([7, 8], checkpoint)
    assert seconds == 0.0 and compiled._executables == before
    np.testing.assert_array_equal(middle.curve[0, :3], once.curve[0, :3])
    twice, same, _ = stretch([10, 8], checkpoint)
    assert_same_bits(tuple(once), tuple(twice))
    assert_same_bits(end, same)
    whole, nothing, _ = chunk(spec, task, {}, [5, 6], lifetimes)
    assert nothing is None
    np.testing.assert_allclose(once.curve, whole.curve, rtol=1e-5)  # another program: close, not equal
    np.testing.assert_allclose(once.score, whole.score, rtol=1e-5)
