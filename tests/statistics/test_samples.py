"""One sample: against hand-computed values, scipy, and simulated truths."""

import itertools

import numpy as np
import pytest
import scipy.stats

from discovery import statistics as st
from discovery.statistics import Interval
from discovery.statistics.bootstrap import trimmed_mean_limits
from discovery.statistics.samples import TRIM

SKEWED = np.random.default_rng(3).exponential(size=24)


@pytest.mark.parametrize("n", [1, 2, 3, 5, 6, 7, 8, 16, 33])
def test_iqm_is_the_trimmed_mean_of_four_copies(n):
    """Four copies of each score make every quarter a whole number, where all definitions agree."""
    scores = np.random.default_rng(n).normal(size=n)
    assert st.iqm(scores) == pytest.approx(scipy.stats.trim_mean(np.repeat(scores, 4), 0.25), abs=1e-13)
    if n % 4 == 0:
        assert st.iqm(scores) == pytest.approx(scipy.stats.trim_mean(scores, 0.25), abs=1e-13)


def test_intervals_report_failures():
    scores = [*range(20), np.nan, -np.inf]
    dropped = st.interval(scores, failures="drop")
    assert (dropped.n, dropped.failed, dropped.estimate) == (20, 2, 9.5)
    worst = st.interval(scores, failures=0.0)
    assert (worst.n, worst.failed, worst.estimate) == (22, 2, pytest.approx(190 / 22))
    nothing = st.interval([np.nan] * 3, failures="drop")
    assert np.isnan(nothing.estimate)
    assert nothing[1:] == (-np.inf, np.inf, 0.95, 0, 3)


@pytest.mark.parametrize("level", [0.8, 0.95])
def test_t_interval(level):
    ours = st.interval(SKEWED, "mean", level, "t")
    freedom, center, error = len(SKEWED) - 1, SKEWED.mean(), scipy.stats.sem(SKEWED)
    assert ours[1:3] == pytest.approx(scipy.stats.t.interval(level, freedom, center, error), rel=1e-10)
    trimmed = st.interval(SKEWED, "iqm", level, "t")
    expected = scipy.stats.mstats.trimmed_mean_ci(SKEWED, (0.25, 0.25), alpha=1 - level)
    assert trimmed[1:3] == pytest.approx(np.asarray(expected), rel=1e-10)


@pytest.mark.parametrize("statistic", ["mean", "iqm"])
@pytest.mark.parametrize("method", ["bca", "percentile"])
def test_bootstrap_interval(statistic, method):
    """Scipy's with its own resamples: equal up to their noise, when BCa is asked for the wider level."""
    n, level = len(SKEWED), 0.95
    if method == "bca":
        z = np.sqrt(n / (n - 1)) * scipy.stats.t.ppf(0.975, n - 1)
        level = float(2 * scipy.stats.norm.cdf(z) - 1)
    oracle = np.mean if statistic == "mean" else lambda x, axis: scipy.stats.trim_mean(x, 0.25, axis=axis)
    expected = scipy.stats.bootstrap(
        (SKEWED,), oracle, confidence_level=level, method=method, n_resamples=20_000, rng=0
    ).confidence_interval
    ours = st.interval(SKEWED, statistic, method=method)
    assert [ours.low, ours.high] == pytest.approx(list(expected), abs=0.04 * (expected.high - expected.low))


def test_differences_of_pairs_cover_without_a_correction_for_skewness():
    """One training in ten fails, independently of its partner: the skew of few failures is luck."""
    covered = []
    for part in range(4):
        generator = np.random.default_rng([1, part])
        failures = generator.random((2, 500, 30)) < 0.1
        pairs = np.sort(failures[0] - 1.0 * failures[1] + 0.1 * generator.normal(size=(500, 30)), axis=1)
        low, high = trimmed_mean_limits(pairs, 0.0, 0.95, "none")
        covered.append((low <= 0) & (high >= 0))
    assert 0.925 < np.mean(covered) < 0.97


@pytest.mark.parametrize("statistic", ["mean", "iqm"])
@pytest.mark.parametrize("method", ["bca", "t", "percentile"])
def test_intervals_are_deterministic_in_any_order_scale_and_shift(statistic, method):
    first = st.interval(SKEWED, statistic, method=method)
    assert st.interval(SKEWED[::-1], statistic, method=method) == first
    moved = st.interval(1e6 * SKEWED - 1e7, statistic, method=method)
    assert moved[:3] == pytest.approx([1e6 * value - 1e7 for value in first[:3]], rel=1e-9)


def test_default_method_follows_the_number_of_scores():
    scores = np.random.default_rng(0).exponential(size=1001)
    expected: list[tuple[int, st.Method]] = [(15, "t"), (16, "bca"), (300, "bca"), (1001, "t")]
    for n, method in expected:
        assert st.interval(scores[:n]) == st.interval(scores[:n], method=method)
        paired: st.Method = "expanded" if method == "bca" else method
        zeros = np.zeros(n)
        assert st.paired_difference(scores[:n], zeros) == st.interval(scores[:n], method=paired)


def test_interval_equals_one_row_of_many():
    samples = np.sort(np.random.default_rng(0).normal(size=(7, 20)), axis=1)
    low, high = trimmed_mean_limits(samples, TRIM["iqm"], 0.95, "full")
    for row, limits in zip(samples, zip(low, high, strict=True), strict=True):
        assert st.interval(row, "iqm")[1:3] == pytest.approx(limits, rel=1e-12)


@pytest.mark.parametrize("method", ["bca", "t", "percentile"])
def test_intervals_contain_their_estimate(method):
    generator = np.random.default_rng(0)
    for n, level, statistic in itertools.product((2, 4, 17), (0.5, 0.999), ("mean", "iqm")):
        ours = st.interval(generator.exponential(size=n) ** 4, statistic, level, method)
        assert ours.low <= ours.estimate <= ours.high


@pytest.mark.parametrize("statistic", ["mean", "iqm"])
def test_capped_returns_give_finite_limits_within_the_cap(statistic):
    """Most resamples of nearly equal scores have no spread at all, which breaks a bootstrap-t."""
    scores = [500.0] * 28 + [300.0, 310.0]
    ours = st.interval(scores, statistic)
    assert 300 < ours.low <= ours.estimate <= ours.high <= 500
    if statistic == "mean":
        assert ours.low < 480 < 495 < ours.high


@pytest.mark.parametrize("method", [None, "bca", "t", "percentile"])
def test_equal_scores_have_no_width_and_too_few_infinite_limits(method):
    for statistic in ("mean", "iqm"):
        for n in (4, 16):
            assert st.interval([7.0] * n, statistic, method=method) == (7.0, 7.0, 7.0, 0.95, n, 0)
        for n in (1,) if statistic == "mean" else (1, 3):
            assert st.interval(np.arange(n), statistic, method=method)[1:] == (-np.inf, np.inf, 0.95, n, 0)


def test_paired_difference_sees_through_common_noise():
    noise = 100 * np.random.default_rng(0).normal(size=20)
    a, b = noise + 1 + 0.1 * np.random.default_rng(1).normal(size=20), noise
    paired = st.paired_difference(a, b)
    assert paired == st.interval(a - b, method="expanded")
    assert 0.9 < paired.low < paired.high < 1.1
    assert not st.apart(st.interval(a), st.interval(b))


def test_paired_difference_settles_pairs():
    a, b = [1.0, np.nan, 3.0, np.inf, 5.0], [0.0, 1.0, np.nan, np.inf, 1.0]
    assert st.paired_difference(a, b, failures="drop")[::3] == (2.5, 0.95)
    assert st.paired_difference(a, b, failures="drop")[4:] == (2, 3)
    given = st.paired_difference(a, b, failures=0.0)
    assert given.estimate == pytest.approx(np.mean([1, -1, 3, 0, 4]))
    assert (given.n, given.failed) == (5, 3)


def test_apart():
    def span(low: float, high: float) -> Interval:
        return Interval((low + high) / 2, low, high, 0.95, 16)

    assert st.apart(span(0, 1), span(1.5, 2)) and st.apart(span(1.5, 2), span(0, 1))
    assert not st.apart(span(0, 1), span(1, 2)) and not st.apart(span(0, 3), span(1, 2))
    for nothing_known in (st.interval([1.0]), st.interval([np.nan], failures="drop")):
        assert not st.apart(nothing_known, span(50, 60))


def test_intervals_as_text_have_two_significant_digits_of_their_width():
    for numbers, expected in (
        ((1.23456, 1.1, 1.4), "1.23 [1.10, 1.40]"),
        ((-85.04, -86.66, -83.34), "-85.0 [-86.7, -83.3]"),
        ((3.0, 3.0, 3.0), "3 [3, 3]"),
        ((1.5, -np.inf, np.inf), "1.5"),
    ):
        assert st.interval_text(Interval(*numbers, 0.95, 16)) == expected
