"""Intervals of a median: ranks by hand, and their coverage worked out without simulation."""

import numpy as np
import pytest
import scipy.stats

from discovery import statistics as st

PROBABILITIES = (np.arange(2000) + 0.5) / 2000


SHAPES = {
    "normal": scipy.stats.norm(),
    "exponential": scipy.stats.expon(),
    "Cauchy": scipy.stats.cauchy(),
}


def ranks(n, level=0.95):
    """k and w of the lower limit (1 - w) X_k + w X_{k+1}, read off scores that are their own ranks."""
    low = st.interval(np.arange(1, n + 1), "median", level).low
    return int(low), low - int(low)


def misses(n, k, w, distances, survival):
    """P((1 - w) X_k + w X_{k+1} > median) of n continuous scores.

    With B of them below the median, it is P(B < k) + P(B = k) P(w X_{k+1} > -(1 - w) X_k), X measured from
    the median: X_k is the largest of k below it and X_{k+1} the smallest of n - k above, independent given B.

    `distances` are how far below the median the quantiles u of a score below it lie, `survival(d)` is the
    probability that one above it lies further away than d.
    """
    beyond = survival(distances * (1 - w) / w) ** (n - k)
    largest = np.diff(np.linspace(0, 1, 2001) ** k)
    return scipy.stats.binom.cdf(k - 1, n, 0.5) + scipy.stats.binom.pmf(k, n, 0.5) * largest @ beyond


@pytest.mark.parametrize("name", SHAPES)
def test_coverage_for_every_number_of_seeds(name):
    """Of n = 30 ... 200, by quadrature: all within 93 to 97%, whatever the shape."""
    shape = SHAPES[name]
    center = shape.ppf(0.5)
    below = center - shape.ppf(PROBABILITIES / 2)
    above = shape.ppf(1 - PROBABILITIES / 2) - center
    for n in range(30, 201):
        k, w = ranks(n)
        low = misses(n, k, w, below, lambda d: 2 * (1 - shape.cdf(center + d)))
        high = misses(n, k, w, above, lambda d: 2 * shape.cdf(center - d))
        assert 0.94 < 1 - low - high < 0.96, n


def test_quadrature_agrees_with_simulation():
    """Guards the oracle above."""
    n, center = 31, np.log(2)
    samples = np.random.default_rng(0).exponential(size=(5000, n))
    hits = [low <= center <= high for low, high in (st.interval(x, "median")[1:3] for x in samples)]
    shape = scipy.stats.expon()
    k, w = ranks(n)
    low = misses(n, k, w, center - shape.ppf(PROBABILITIES / 2), lambda d: 2 * shape.sf(center + d))
    high = misses(n, k, w, shape.ppf(1 - PROBABILITIES / 2) - center, lambda d: 2 * shape.cdf(center - d))
    assert np.mean(hits) == pytest.approx(1 - low - high, abs=3 * 0.0031)


def test_ranks_and_interpolation_by_hand():
    """Of 9 scores, the second and the eighth cover in 1 - 2 (1 + 9) / 512; of 10, ranks 2 and 9 cover in
    1 - 22 / 1024, ranks 3 and 8 in 1 - 112 / 1024.
    """
    scores = np.arange(1.0, 10.0) ** 2
    assert st.interval(scores, "median", 1 - 20 / 512)[:3] == (25.0, 4.0, 64.0)
    share = (1 - 22 / 1024 - 0.95) / (90 / 1024)
    w = 8 * share / (2 + 6 * share)
    scores = np.array([0, 1, 2, 4, 8, 16, 32, 64, 128, 256.0])
    expected = (12, (1 - w) * 1 + w * 2, (1 - w) * 128 + w * 64)
    assert st.interval(scores, "median")[:3] == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("level", [1e-9, 0.1, 0.5, 0.95, 0.999])
def test_limits_enclose_the_estimate_mirror_and_widen(level):
    for n in range(1, 41):
        scores = np.random.default_rng(n).exponential(size=n)
        ours = st.interval(scores, "median", level)
        mirrored = st.interval(-scores, "median", level)
        assert ours.low <= ours.estimate <= ours.high
        assert (-mirrored.high, -mirrored.low) == pytest.approx((ours.low, ours.high), rel=1e-12)
        wider = st.interval(scores, "median", 1 - (1 - level) / 2)
        assert wider.low <= ours.low <= ours.high <= wider.high


def test_too_few_scores_have_infinite_limits():
    """Below 6 scores even the extremes miss the median in more than 5%: 2 / 2^5 = 6.25%."""
    assert st.interval(np.arange(5.0), "median")[:3] == (2.0, -np.inf, np.inf)
    assert np.isfinite(st.interval(np.arange(6.0), "median")[:3]).all()
    assert st.interval(np.arange(5.0), "median", 0.9)[1:3] != (-np.inf, np.inf)


def test_paired_difference_of_medians():
    a, b = np.random.default_rng(0).normal(size=(2, 30))
    assert st.paired_difference(a, b, "median") == st.interval(a - b, "median")
    assert st.interval([7.0] * 30, "median") == (7.0, 7.0, 7.0, 0.95, 30, 0)
