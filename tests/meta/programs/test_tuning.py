"""Tuning of constants: towards a known optimum in spite of noise, with their signs, and past failures."""

import numpy as np

from discovery.meta.programs.genome import Genome
from discovery.meta.programs.tuning import SIGMA, n_constants, nothing_tuned, with_factors
from objectives.programs.source import parse
from tests.meta.programs.conftest import program

NAN, ONE, TWO = float("nan"), {"a": None}, {"a": None, "b": None}


def test_constants_converge_on_the_optimum_of_a_noisy_quadratic():
    """14 updates of 12 samples; the optimum is at half to twice the constants."""
    before, after = [], []
    for seed in range(10):
        rng = np.random.default_rng(seed)
        target, tuning = rng.uniform(-0.7, 0.7, 3), nothing_tuned(2, 3, 12, 1)
        for _ in range(14 * 12):
            z = rng.normal(size=3)
            distance = np.sum((tuning.mean[0] + tuning.sigma(0) * z - target) ** 2)
            tuning.add(0, z, np.array([0.1 * rng.normal() - distance]), "z_score", ONE)
        before.append(np.linalg.norm(target))
        after.append(np.linalg.norm(tuning.mean[0] - target))
        assert tuning.updates.tolist() == [14, 0] and not tuning.mean[1].any()
    assert np.mean(after) < 0.25 * np.mean(before)


def test_an_update_by_hand():
    """Of five samples the better two, with weights log 3 and log(3/2), in any order."""
    noise = np.array([[1.0, 0], [0, 1], [2, 2], [-4, 0], [0, -4]])
    scores = np.array([[3.0, 30], [4, 40], [1, 10], [0, 0], [-9, -90]])
    means = set()
    for seed in range(10):
        tuning = nothing_tuned(1, 2, 5, 2)
        for i in np.random.default_rng(seed).permutation(5):
            assert not tuning.mean.any()
            tuning.add(0, noise[i], scores[i], "rank", TWO)
        np.testing.assert_allclose(tuning.mean[0], SIGMA * np.log([1.5, 3]) / np.log(4.5), rtol=1e-12)
        means.add(tuning.mean.tobytes())
    assert len(means) == 1


def test_failures_rank_last():
    tuning = nothing_tuned(1, 1, 6, 1)
    for z, score in zip([9.0, 1, 9, 2, 9, 3], [NAN, -1e9, NAN, -1e9, NAN, -1e9], strict=True):
        tuning.add(0, np.array([z]), np.array([score]), "z_score", ONE)
    assert SIGMA < tuning.mean[0, 0] < 3 * SIGMA


def test_factors_keep_signs_and_structure_and_go_from_slot_to_slot():
    schedule = parse("def f(progress): return 1.0 - 3.0 * progress", "schedule")
    programs = {"policy_loss": program("-2.0 * x * y + 0.5"), "schedule": schedule}
    both = Genome(programs, np.zeros(0, np.float32))
    assert n_constants(both) == 4
    found = with_factors(both, np.log([2.0, 3.0, 4.0, 5.0])).programs
    for slot, factors in (("policy_loss", [2, 3]), ("schedule", [4, 5])):
        np.testing.assert_allclose(found[slot].constants, np.multiply(programs[slot].constants, factors))
        assert found[slot].structure == programs[slot].structure
    extreme = with_factors(both, np.array([1e9, -1e9, 0, 0])).programs["policy_loss"].constants
    assert np.isfinite(extreme).all() and np.prod(np.sign(extreme)) == -1
