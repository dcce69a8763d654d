"""The one rule: when a subject counts as better or worse, after correction for all tests made together."""

import math

import numpy as np
import pytest
from numpy.typing import ArrayLike
from scipy import stats

from discovery.judging.comparison import Comparison
from discovery.judging.sentences import cautions
from discovery.judging.verdict import LEAST_SEEDS, Pair, Verdict, fewest_seeds, judge, relation
from discovery.statistics import Interval, paired_difference, paired_p_value
from tests.judging.fakes import NAN, cell, judged, rng_scores


def pair(own: ArrayLike, others: ArrayLike, task: str = "one", worst: float = NAN) -> Pair:
    return Pair("dpo", "ppo", task, np.asarray(own, float), np.asarray(others, float), worst)


@pytest.mark.parametrize(
    ("low", "high", "seeds", "p", "expected"),
    [
        (0.1, 0.3, 16, 0.01, "better"),
        (-0.3, -0.1, 16, 0.05, "worse"),
        (0.1, 0.3, 15, 0.001, "too few seeds"),
        (0.1, 0.3, 16, 0.051, "not distinguishable"),
        (0.0, 0.3, 16, 0.01, "not distinguishable"),
        (-0.1, 0.3, 16, 0.01, "not distinguishable"),
    ],
)
def test_the_rule(low: float, high: float, seeds: int, p: float, expected: str) -> None:
    assert relation(Interval((low + high) / 2, low, high, 0.95, seeds), seeds, p) == expected


def test_judgments_are_corrected_by_holm() -> None:
    """Of three p-values the smallest counts three times, the next one twice."""
    base = np.array(rng_scores(0, 16, 0.0))
    gains = {"one": rng_scores(1, 16, 2.0), "two": rng_scores(2, 16, -0.52), "three": rng_scores(3, 16, 0.1)}
    found = judge(pair(base + gain, base, task) for task, gain in gains.items())
    raw = [paired_p_value(base + gain, base) for gain in gains.values()]
    assert raw[0] < raw[1] < raw[2]
    assert [one.p_value for one in found] == raw
    corrected = [3 * raw[0], 2 * raw[1], max(2 * raw[1], raw[2])]
    np.testing.assert_allclose([one.corrected for one in found], corrected)
    assert raw[1] < 0.05 < corrected[1]  # the correction matters here
    assert [one.relation for one in found] == ["better", "not distinguishable", "not distinguishable"]
    assert found[1].difference == paired_difference(base + gains["two"], base)


def test_a_failure_counts_as_the_worst_score() -> None:
    (found,) = judge([pair([5, NAN, 5, NAN], [3, 1, 2, 4], worst=1.0)])
    assert (found.difference.estimate, found.difference.failed) == (pytest.approx((2 + 0 + 3 - 3) / 4), 2)


@pytest.mark.parametrize("tests", [1, 4, 28, 5000])
def test_with_the_fewest_seeds_the_strictest_test_can_pass(tests: int) -> None:
    n = fewest_seeds(tests)
    assert n >= LEAST_SEEDS
    assert 2.0 ** (1 - n) * tests <= 0.05  # smallest p-value of n pairs, times Holm's factor
    assert n == LEAST_SEEDS or 2.0 ** (2 - n) * tests > 0.05


def test_seeds_needed_are_those_of_a_t_test() -> None:
    gain = np.array(rng_scores(1, 20, 0.2))
    (found,) = judge([pair(gain, np.zeros(20))])
    assert found.relation == "not distinguishable" and found.seeds_needed is not None
    effect = abs(gain.mean()) / gain.std(ddof=1)

    def power(n: int) -> float:
        critical = stats.t.ppf(1 - 0.05 / 2, n - 1)
        return float(stats.nct.sf(critical, n - 1, effect * math.sqrt(n)))

    assert power(found.seeds_needed - 1) < 0.8 <= power(found.seeds_needed)


def test_no_number_of_seeds_where_it_would_be_of_no_use() -> None:
    noise = np.array(rng_scores(1, 20, 0.0))
    for gain in (np.zeros(20), noise - noise.mean() + 1e-4):
        assert judge([pair(gain, np.zeros(20))])[0].seeds_needed is None


@pytest.mark.parametrize(
    ("shifts", "status"),
    [
        ((5, 0), "confirmed"),
        ((5, -5), "not confirmed"),
        ((0, 0), "inconclusive"),
        ((), "not yet judged"),
    ],
)
def test_status_over_several_tasks(shifts: tuple[float, ...], status: str) -> None:
    noise = np.array(rng_scores(0, 30, 0.0))
    found = Verdict.of(judge(pair(noise + x, noise[::-1], str(i)) for i, x in enumerate(shifts)))
    assert found.status == status
    assert (found.better, found.worse) == (sum(x > 0 for x in shifts), sum(x < 0 for x in shifts))


def test_evaluate_compare_and_report_judge_alike() -> None:
    """The same trainings as a comparison and on a suite: the same difference, p-value and relation."""
    cells = [cell("dpo", "one", rng_scores(0, 20, 1.0)), cell("ppo", "one", rng_scores(1, 20, 0.0))]
    (one,), (other,) = Comparison(tuple(cells)).judgments, judged(*cells).judgments
    assert one == other
    report = Verdict.of(judge([Comparison(tuple(cells)).pair("dpo", "ppo", "one") or pair([], [])]))
    assert report.judgments == (one,)
    few = Comparison(tuple(cell(subject, "one", [1.0, 2, 3]) for subject in ("dpo", "ppo")))
    assert any("unreliable" in line for line in cautions(few))
