"""Scores to utilities, against values worked out by hand."""

import numpy as np
import pytest

from discovery.core.config.evolution import ESConfig
from discovery.core.config.strategies import TaskNormalization
from discovery.core.errors import BadInput
from discovery.meta.evolution.shaping import (
    centered_ranks,
    failed,
    pairwise_signs,
    seed_means,
    task_average,
    utilities,
    z_scores,
)

NAN = np.nan


def column(*values: float) -> np.ndarray:
    return np.array(values, np.float64)[:, None]


def shaped(scores, references=None, **options) -> np.ndarray:
    population = len(next(iter(scores.values())))
    return utilities(scores, ESConfig(population=population, **options).resolved(), references or {})


def test_centered_ranks_average_ties():
    values = np.array([3.0, 1.0, 3.0, 0.0, 7.0])
    np.testing.assert_allclose(centered_ranks(values), [0.125, -0.25, 0.125, -0.5, 0.5])
    np.testing.assert_array_equal(centered_ranks(np.full(6, 2.5)), np.zeros(6))


def test_z_scores():
    z = z_scores(np.array([0.0, 0.0, 3.0]))
    np.testing.assert_allclose(z, np.array([-1, -1, 2]) / np.sqrt(2), atol=1e-10)
    np.testing.assert_array_equal(z_scores(np.full(3, 0.1)), np.zeros(3))


def test_a_proposal_with_any_failed_seed_has_failed():
    scores = np.array([[1.0, 2.0], [NAN, 9.0], [np.inf, 9.0], [-np.inf, 9.0]])
    np.testing.assert_array_equal(failed(scores), [False, True, True, True])


def test_failures_score_one_standard_deviation_below_the_worst():
    means = seed_means(np.array([[1.0, 3.0], [NAN, 100.0], [4.0, 4.0], [6.0, 6.0]]))
    std = np.std([2.0, 4.0, 6.0])
    np.testing.assert_allclose(means, np.array([2.0, 2.0 - std, 4.0, 6.0]))


@pytest.mark.parametrize("survivor", [0.0, -1e30])
def test_failures_are_strictly_worst_even_when_the_others_tie(survivor):
    means = seed_means(column(survivor, NAN, survivor))
    assert means[1] < means[0] == means[2] == survivor
    np.testing.assert_allclose(z_scores(means)[1], -np.sqrt(2))


def test_a_task_on_which_all_failed_tells_nothing():
    lost = {"a": column(1, 2, 3), "lost": column(NAN, NAN, NAN)}
    for normalization in ("z_score", "rank", "none"):
        alone = task_average({"a": lost["a"]}, normalization, {})
        np.testing.assert_allclose(task_average(lost, normalization, {}), alone / 2)


def test_task_average_by_hand():
    scores = {"small": column(1.0, 2.0, 3.0), "large": column(3000.0, 1000.0, 2000.0)}
    z = np.sqrt(1.5)
    expected: dict[TaskNormalization, list[float]] = {
        "none": [1500.5, 501.0, 1001.5],
        "rank": [0.0, -0.25, 0.25],
        "z_score": [0.0, -z / 2, z / 2],
        "reference": [(1 / 2 + 3) / 2, (2 / 2 + 1) / 2, (3 / 2 + 2) / 2],
    }
    for normalization, values in expected.items():
        average = task_average(scores, normalization, {"small": 2.0, "large": 1000.0})
        np.testing.assert_allclose(average, values, atol=1e-9)


def test_a_negative_reference_keeps_the_order_and_a_missing_one_is_named():
    average = task_average({"Pendulum": column(-1200.0, -200.0)}, "reference", {"Pendulum": -400.0})
    np.testing.assert_allclose(average, [-3.0, -0.5])
    with pytest.raises(BadInput, match="'Pendulum'"):
        task_average({"Pendulum": column(1.0, 2.0)}, "reference", {"CartPole": 500.0})


def test_pairwise_signs_by_hand():
    for scores, expected in (
        # pairs (0, 3), (1, 4), (2, 5): a win, a tie, a loss
        ({"a": column(2.0, 5.0, 1.0, 1.0, 5.0, 9.0)}, [1, 0.5, 0, 0, 0.5, 1]),
        # the average over seeds and tasks
        ({"a": np.array([[1.0, 2.0], [2.0, 1.0]]), "b": column(3.0, 1.0)}, [0.75, 0.25]),
        # failure loses, on every seed of the task; two failures tie
        ({"a": np.array([[NAN, 9.0], [NAN, 9.0], [1.0, 1.0], [9.0, NAN]])}, [0, 0.5, 1, 0.5]),
    ):
        np.testing.assert_allclose(pairwise_signs(scores), expected)


@pytest.mark.parametrize("shaping", ["centered_rank", "z_score", "pairwise_sign", "none"])
def test_utilities_are_finite_and_failures_lowest(shaping):
    scores = {"a": column(1.0, NAN, 3.0, 2.0, 5.0, 6.0), "b": column(1.0, NAN, 3.0, 2.0, 5.0, 6.0)}
    utility = shaped(scores, shaping=shaping)
    assert np.isfinite(utility).all() and utility[1] == utility.min()


def test_some_strategies_get_ranks_and_random_search_compares_across_generations():
    np.testing.assert_allclose(shaped({"a": column(5.0, 1.0, 100.0)}, strategy="SNES"), [0.0, -0.5, 0.5])
    scores = {"a": column(-5.0, NAN, -7.0), "b": column(NAN, 2.0, 3.0)}
    np.testing.assert_array_equal(shaped(scores, strategy="RandomSearch"), [-np.inf, -np.inf, -2.0])
