"""Several tasks: against hand-computed values, scipy, and the intervals of one task."""

import numpy as np
import pytest
import scipy.stats

from discovery import statistics as st

GENERATOR = np.random.default_rng(0)
FIVE = {f"task {t}": GENERATOR.normal(t / 3, 0.3, 30) for t in range(5)}
OTHER = {task: scores - 0.1 + 0.1 * GENERATOR.normal(size=30) for task, scores in FIVE.items()}
UNEVEN = {"a": np.array([0.0, 2.0]), "b": np.array([0.5, 1.0, 1.5]), "c": np.array([0.2, 0.3, 0.4, 3.0])}


def test_normalized_by_hand():
    np.testing.assert_allclose(st.normalized([-10, 0, 10, 40], -10, 10), [0, 0.5, 1, 2.5])
    assert np.isnan(st.normalized([np.nan], 0, 1)).all()


def test_estimates_by_hand():
    """Means are 1, 1 and 0.975; what is missing to 1 is (1, 0), (0.5, 0, 0) and (0.8, 0.7, 0.6, 0)."""
    assert st.aggregate(UNEVEN, "mean").estimate == pytest.approx((1 + 1 + 0.975) / 3)
    assert st.aggregate(UNEVEN, "median").estimate == pytest.approx(1.0)
    gap = st.aggregate(UNEVEN, "optimality_gap")
    assert gap.estimate == pytest.approx((1 / 2 + 0.5 / 3 + 2.1 / 4) / 3)
    assert (gap.n, gap.level, gap.failed) == (9, 0.95, 0)
    assert st.aggregate({"a": [1.0, 3.0], "b": [5.0, 7.0]}, "median").estimate == 4.0


def test_iqm_gives_each_task_the_same_weight():
    """Repeating scores until all tasks have 12 makes the pool a plain one."""
    pool = np.concatenate([np.repeat(x, 12 // x.size) for x in UNEVEN.values()])
    assert st.aggregate(UNEVEN, "iqm").estimate == pytest.approx(st.iqm(pool), rel=1e-12)
    even = np.concatenate(list(FIVE.values()))
    assert st.aggregate(FIVE, "iqm").estimate == pytest.approx(st.iqm(even), rel=1e-12)


def test_improvement_is_mann_and_whitney_s_statistic():
    a = {task: np.round(x, 1) for task, x in FIVE.items()}  # so that some tie
    b = {task: np.round(x[:20], 1) for task, x in OTHER.items()}
    shares = [scipy.stats.mannwhitneyu(a[t], b[t]).statistic / (30 * 20) for t in a]
    ours = st.probability_of_improvement(a, b)
    assert ours.estimate == pytest.approx(np.mean(shares))
    assert ours.n == 5 * 50
    back = st.probability_of_improvement(b, a)
    assert back.estimate == pytest.approx(1 - ours.estimate)
    b = {task: np.round(x, 1) for task, x in OTHER.items()}
    paired, alone = (st.probability_of_improvement(a, b, paired=p) for p in (True, False))
    assert (paired.estimate, paired.n) == (pytest.approx(alone.estimate), alone.n)


def test_profile_by_hand():
    """Above 0.4, strictly: 1 of 2, 3 of 3, 1 of 4."""
    ours = st.performance_profile(UNEVEN, [-1.0, 0.4, 3.0])
    np.testing.assert_allclose(ours.mean, [1, (1 / 2 + 1 + 1 / 4) / 3, 0])
    assert ours.n.tolist() == [9, 9, 9]
    assert (ours.low[0], ours.high[0], ours.low[2], ours.high[2]) == (1, 1, 0, 0)
    assert 0 <= ours.low[1] < ours.mean[1] < ours.high[1] <= 1


def test_one_task_is_one_sample():
    scores, other = FIVE["task 0"], OTHER["task 0"]
    for statistic in ("mean", "iqm"):
        ours = st.aggregate({"only": scores}, statistic, 0.8)
        assert ours[:3] == pytest.approx(st.interval(scores, statistic, 0.8)[:3], rel=1e-9)
    ours = st.aggregate_difference({"only": scores}, {"only": other}, "mean")
    paired = st.paired_difference(scores, other)
    assert ours.estimate == pytest.approx(paired.estimate)
    assert ours[1:3] == pytest.approx(paired[1:3], abs=0.05 * (paired.high - paired.low))


def test_the_interval_of_a_mean_is_nearly_welch_s():
    """Of normal scores: sqrt(sum_t s_t^2 / n) / T times Student's quantile, up to resampling noise."""
    low, high = st.aggregate(FIVE, "mean")[1:3]
    variances = np.array([x.var(ddof=1) / x.size for x in FIVE.values()])
    freedom = variances.sum() ** 2 / (variances**2 / 29).sum()
    width = 2 * scipy.stats.t.ppf(0.975, freedom) * np.sqrt(variances.sum()) / 5
    assert high - low == pytest.approx(width, rel=0.04)


def test_neither_order_matters():
    shuffled = {task: FIVE[task][::-1] for task in reversed(FIVE)}
    other = {task: OTHER[task][::-1] for task in reversed(FIVE)}

    def intervals(a, b):
        yield from (st.aggregate(a, statistic) for statistic in st.AGGREGATES)
        yield from (st.aggregate_difference(a, b, statistic) for statistic in st.AGGREGATES)
        yield from (st.probability_of_improvement(a, b, paired=paired) for paired in (False, True))

    assert list(intervals(shuffled, other)) == list(intervals(FIVE, OTHER))


@pytest.mark.parametrize("statistic", st.AGGREGATES)
def test_differences_mirror_and_see_through_common_luck(statistic):
    ours = st.aggregate_difference(FIVE, OTHER, statistic)
    back = st.aggregate_difference(OTHER, FIVE, statistic)
    assert (back.estimate, -back.high, -back.low) == pytest.approx((-ours.estimate, ours.low, ours.high))
    a, b = st.aggregate(FIVE, statistic), st.aggregate(OTHER, statistic)
    assert ours.estimate == pytest.approx(a.estimate - b.estimate)
    assert ours.low <= ours.estimate <= ours.high
    assert ours.high - ours.low < (a.high - a.low + b.high - b.low) / 2


def test_improvement_over_common_seeds_has_the_spread_of_its_influence():
    """A seed's pair counts as x_i among all y and as y_i among all x; the sum of both varies by seed."""
    generator = np.random.default_rng(1)
    a, b = ({str(t): generator.normal(t, 1, 64) for t in range(5)} for _ in range(2))
    b = {t: 0.4 * a[t] + 0.9 * b[t] for t in b}
    variance = []
    for x, y in zip(a.values(), b.values(), strict=True):
        wins = x[:, None] > y
        influence = wins.mean(1) + wins.mean(0)
        variance.append(influence.var() / x.size)
    ours = st.probability_of_improvement(a, b, paired=True)
    assert ours.high - ours.low == pytest.approx(2 * 1.96 * np.sqrt(np.sum(variance)) / 5, rel=0.04)


def test_improvement_over_common_seeds_sees_through_common_luck():
    ours, back = (st.probability_of_improvement(*p, paired=True) for p in ((FIVE, OTHER), (OTHER, FIVE)))
    assert ours.low < ours.estimate < ours.high
    assert [1 - back.high, 1 - back.low] == pytest.approx([ours.low, ours.high], abs=1e-9)
    apart = st.probability_of_improvement(FIVE, OTHER)
    assert ours.high - ours.low < 0.5 * (apart.high - apart.low)
    twins = st.probability_of_improvement(FIVE, FIVE, paired=True)
    assert twins[:3] == pytest.approx((0.5, 0.5, 0.5))


@pytest.mark.parametrize("n", [2, 3])
def test_improvement_of_the_fewest_common_seeds_is_finite(n):
    """Resamples of one seed alone have no pair of different ones."""
    scores = {"a": np.arange(n)}, {"a": np.arange(n) + 0.5}
    ours = st.probability_of_improvement(*scores, paired=True)
    assert ours.estimate == pytest.approx((n - 1) / (2 * n))
    assert 0 <= ours.low <= ours.estimate <= ours.high <= 1


def test_one_training_has_infinite_limits_and_no_spread_no_width():
    for statistic in st.AGGREGATES:
        ours = st.aggregate(FIVE | {"task 0": [1.0]}, statistic)
        assert np.isfinite(ours.estimate) and ours[1:3] == (-np.inf, np.inf)
    equal, better = {"a": [1.0] * 5, "b": [3.0] * 4}, {"a": [2.0] * 5, "b": [4.0] * 4}
    assert st.aggregate(equal, "mean")[:3] == st.aggregate(equal, "median")[:3] == (2.0, 2.0, 2.0)
    assert st.aggregate(equal, "optimality_gap")[:3] == (0.0, 0.0, 0.0)
    assert st.probability_of_improvement(better, equal)[:3] == (1.0, 1.0, 1.0)


def test_a_profile_of_one_task_covers_any_share():
    """Worked out for all counts of 30: its limits depend on nothing else, so coverage moves in steps."""
    n = 30
    limits = np.empty((n + 1, 2))
    for k in range(n + 1):
        band = st.performance_profile({"only": np.arange(n) < k}, [0.5])
        limits[k] = band.low[0], band.high[0]
    covered = []
    for p in np.linspace(0.15, 0.85, 200):
        inside = (limits[:, 0] <= p) & (p <= limits[:, 1])
        covered.append(scipy.stats.binom.pmf(np.arange(n + 1), n, p) @ inside)
    assert 0.945 < np.mean(covered) < 0.97
    assert min(covered) > 0.93
