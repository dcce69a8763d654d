"""Tests of differences: against scipy, enumeration by hand and published tables."""

import numpy as np
import pytest
import scipy.stats

from discovery import statistics as st


def test_sign_flips_by_hand():
    """Differences 1, 2, 4: of the 8 sums only 7 and -7 are as large as 7; 5 is reached by 4 of them."""
    assert st.paired_p_value([1.0, 2.0, 4.0], [0.0] * 3) == 2 / 8
    assert st.paired_p_value([-1.0, 2.0, 4.0], [0.0] * 3) == 4 / 8
    assert st.paired_p_value([3.0], [1.0]) == 1.0
    assert st.paired_p_value([3.0] * 20, [3.0] * 20) == 1.0


@pytest.mark.parametrize("n", [5, 12])
def test_sign_flips_enumerated(n):
    a, b = np.random.default_rng(n).normal([[0.6], [0.0]], 1, (2, n))
    expected = scipy.stats.permutation_test(
        (a, b),
        lambda x, y, axis: (x - y).mean(axis),
        permutation_type="samples",
        n_resamples=2**n,
        vectorized=True,
    ).pvalue
    assert st.paired_p_value(a, b) == pytest.approx(expected, abs=1e-12)
    assert st.paired_p_value(b, a) == st.paired_p_value(a, b)


def test_ties_count_in_spite_of_rounding():
    """0.1 + 0.2 - 0.3 is not 0 in floating point; all four flips of (0.3, 0.1 + 0.2) tie or are 0."""
    assert st.paired_p_value([0.3, 0.1 + 0.2], [0.0, 0.0]) == 0.5


def test_many_pairs_are_sampled():
    """For normal differences the t-test's p-value is close."""
    for seed in range(5):
        a, b = np.random.default_rng(seed).normal([[0.4], [0.0]], 1, (2, 40))
        ours, t = st.paired_p_value(a, b), scipy.stats.ttest_rel(a, b).pvalue
        assert ours == pytest.approx(t, rel=0.1, abs=0.003)
        assert st.paired_p_value(a[::-1], b[::-1]) == ours
    assert st.paired_p_value(a + 100, b) == 1 / 65_536


def test_holm_by_hand():
    """Sorted: 4 * 0.005, 3 * 0.01, 2 * 0.03, and 1 * 0.04, which the one before it lifts to 0.06."""
    np.testing.assert_allclose(st.holm([0.01, 0.04, 0.03, 0.005]), [0.03, 0.06, 0.06, 0.02])
    np.testing.assert_allclose(st.holm([0.6, 0.7]), [1, 1])
    assert st.holm([]).size == 0


@pytest.mark.parametrize(("effect", "pairs", "per_group"), [(0.2, 199, 394), (0.5, 34, 64), (0.8, 15, 26)])
def test_seeds_needed_of_published_tables(effect, pairs, per_group):
    """Cohen (1988), tables 2.4.1 and 2.3.5 with power 0.8 and alpha 0.05, as G*Power prints them."""
    assert st.seeds_needed(1e4, 1.0) == 2
    assert st.seeds_needed(effect, 1.0) == pairs
    assert st.seeds_needed(-3 * effect, 3.0, paired=False) == per_group
