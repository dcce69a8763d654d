"""Stopping early: what is dropped, what it saves, and that the best is lost as rarely as promised."""

import numpy as np
import pytest
import scipy.stats

from benchmarks.losing import halved, kept, raced, scores
from benchmarks.races import halving_loss_bound, race
from discovery import statistics as st
from discovery.core.errors import BadInput

NAN = np.nan


@pytest.mark.parametrize("against", ["best", "field"])
@pytest.mark.parametrize("n", [2, 5, 20])
def test_clearly_worse_is_a_paired_t_test(against, n):
    scores = np.random.default_rng(n).normal(np.linspace(0, 3, 7)[:, None], 1, (7, n))
    reference = scores[scores.mean(1).argmax()] if against == "best" else np.median(scores, axis=0)
    level = 0.1 / (3 * 9) if against == "best" else 0.1 / 3
    expected = [
        bool(scipy.stats.ttest_rel(row, reference, alternative="less").pvalue < level)
        if (row != reference).any()
        else False
        for row in scores
    ]
    ours = st.clearly_worse(scores, 0.1, looks=3, initial=10, against=against)
    assert ours.tolist() == expected
    if n == 20:
        assert any(expected) and not all(expected)


def test_equal_differences():
    """A constant lead counts from three seeds on; a row equal to the leader never goes."""
    noise = np.random.default_rng(0).normal(size=5)
    scores = np.stack([noise, noise - 0.1, noise])
    assert st.clearly_worse(scores[:, :2], 0.05, 1, 3).tolist() == [False, False, False]
    assert st.clearly_worse(scores[:, :3], 0.05, 1, 3).tolist() == [False, True, False]
    assert st.clearly_worse(np.full((3, 8), 500.0), 0.05, 1, 3).tolist() == [False] * 3


def test_one_seed_and_one_candidate_drop_nobody():
    assert not st.clearly_worse(np.array([[0.0], [9.0]]), 0.5, 1, 2).any()
    assert not st.clearly_worse(np.zeros((1, 9)), 0.5, 1, 4).any()


def test_a_failure_is_out_unless_all_failed():
    scores = np.array([[NAN, 9.0, 9.0], [1.0, 1.1, 1.2], [1.0, 1.2, 0.9], [np.inf, 1.0, 1.0]])
    assert st.clearly_worse(scores, 0.05, 1, 4).tolist() == [True, False, False, True]
    assert st.clearly_worse(scores[:, :1], 0.05, 1, 4).tolist() == [True, False, False, True]
    assert not st.clearly_worse(scores[[0, 3]], 0.05, 1, 4).any()


def test_race_looks():
    assert st.race_looks(5, 64, 3) == [5, 15, 45, 64]
    assert st.race_looks(7, 7) == [7]


def run_race(scores, error, against: st.Against = "best"):
    """A race whose first look is at four seeds."""

    def told(alive, columns):
        return scores[np.ix_(alive, columns)]

    return race(told, len(scores), 4, scores.shape[1], error, against)


def test_race_runs_survivors_on_all_seeds_and_others_on_some():
    scores = np.random.default_rng(0).normal(np.array([0, 0, -3, -30])[:, None], 1, (4, 32))
    ours = run_race(scores, 0.05)
    assert ours.survivors.tolist() == [0, 1]
    assert ours.spent.tolist()[:2] == [32, 32]
    assert 4 <= ours.spent[3] <= ours.spent[2] < 32
    for row, told, spent in zip(ours.scores, scores, ours.spent, strict=True):
        np.testing.assert_array_equal(row[:spent], told[:spent])
        assert np.isnan(row[spent:]).all()


FIELDS = {"tied": np.zeros(7), "led": np.full(7, 0.1), "spread": np.linspace(0.1, 2, 7)}


@pytest.mark.parametrize(
    ("against", "field"), [("best", "tied"), ("best", "spread"), ("field", "tied"), ("field", "led")]
)
def test_the_best_is_lost_as_rarely_as_promised(against, field):
    share, _ = raced(scores(FIELDS[field], 32, 1000), 0.05, against)
    assert share <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 1000)


@pytest.mark.parametrize("against", ["best", "field"])
def test_the_error_is_not_spent_for_nothing(against):
    """Among equals some are dropped by mistake: the promise above is not kept by dropping nobody."""
    share, spent = raced(scores(FIELDS["tied"], 32, 500), 0.3, against)
    assert 0.02 < share < 0.3 + 3 * 0.0205
    assert spent < 1


def test_the_field_needs_no_winner():
    """Five equals and three far below: these go at the second look, without a leader to stand out."""
    scores = np.random.default_rng(0).normal(np.repeat([0.0, -5.0], [5, 3])[:, None], 1, (8, 32))
    ours = run_race(scores, 0.05, "field")
    assert ours.spent[5:].max() <= 8
    assert ours.survivors.size >= 4
    assert ours.survivors.max() < 5


def test_filled_recovers_an_additive_grid():
    generator = np.random.default_rng(0)
    complete = generator.normal(size=(6, 1)) + 5 * generator.normal(size=16)
    partial = complete.copy()
    partial[1, 4:], partial[3, 1:], partial[4, ::2] = NAN, NAN, NAN
    ours = st.filled(partial)
    np.testing.assert_allclose(ours, complete, rtol=1e-12, atol=1e-12)
    known = ~np.isnan(partial)
    np.testing.assert_array_equal(ours[known], partial[known])


def test_filled_by_hand():
    ours = st.filled(np.array([[1.0, 2.0, 6.0], [3.0, 4.0, 8.0], [1.0, 5.0, NAN]]))
    np.testing.assert_allclose(ours[2], [1.0, 5.0, 7 + (-1 + 2) / 2])


def test_survivors_are_the_best_ties_by_index():
    assert st.survivors([1.0, 3.0, 2.0, 3.0, 0.0], 3).tolist() == [1, 3, 2]
    assert st.survivors([NAN, 1.0, np.inf, -5.0], 3).tolist() == [1, 3, 0]


def test_halving_schedule_by_hand():
    assert st.halving_schedule(16, 3, 2) == [(0.25, 16), (0.5, 8), (1.0, 4)]
    assert st.halving_schedule(29, 3) == [(1 / 9, 29), (1 / 3, 9), (1.0, 3)]
    assert st.halving_schedule(5, 1) == [(1.0, 5)]


# Two rivals with the same noise, ahead together or not at all, where two are kept; then one, where one is.
CLOSE = np.array([[1.0, 1.0, 9.0], [1.0, 9.0, 9.0], [1.0, 9.0, 9.0]])


@pytest.mark.slow
def test_the_bound_over_three_rungs_is_nearly_reached():
    """In stages, as a search has them. Each of two rungs loses the best with probability p; the bound is 2 p.

    A sum that left a rung out, or noise of another size, would be found out.
    """
    drawn = scores(CLOSE, 2, 1500)
    drawn[:, :, 2] = drawn[:, :, 1]
    drawn[:, 1:, 2] -= 8.0
    p = scipy.stats.norm.sf(1.0)  # the difference of two means over two seeds has deviation 1
    assert kept(4) == [2, 1]
    assert halving_loss_bound(CLOSE[:-1], 1.0, 2, kept(4)) == pytest.approx(2 * p, rel=1e-6)
    share, spent = halved(drawn)
    assert share == pytest.approx(1 - (1 - p) ** 2, abs=float(3 * np.sqrt(2 * p / 1500)))
    assert 0.8 * 2 * p < share < 2 * p
    assert spent == pytest.approx((4 * 1 + 2 * 1 + 1 * 2) / 16)


def test_the_bound_is_exact_for_two():
    """One rival, one place: P(rival ahead) = Phi(-gap sqrt(seeds) / (deviation sqrt(2)))."""
    expected = scipy.stats.norm.sf(1.0, scale=2 * np.sqrt(2 / 9))
    assert halving_loss_bound([1.0], 2.0, 9, 1) == pytest.approx(expected)
    assert halving_loss_bound([0.0] * 9, 1.0, 1, 1) == 1.0
    assert halving_loss_bound([-1.0], 2.0, 9, 1) == pytest.approx(1 - expected)  # ahead for now
    gaps = np.array([[1.0, 2.0, 3.0], [2.0, 2.5, 4.0]])  # over rungs it is the sum of theirs, at most 1
    one, two = halving_loss_bound(gaps[0], 1.0, 4, 2), halving_loss_bound(gaps[1], 1.0, 4, 1)
    assert halving_loss_bound(gaps, 1.0, 4, [2, 1]) == pytest.approx(one + two)
    assert halving_loss_bound(-gaps, 1.0, 4, [2, 1]) == 1.0
    for wrong in (([NAN], 1.0, 1, 1), ([1.0], 0.0, 1, 1), ([1.0], 1.0, 1, []), ([[1.0]], 1.0, 1, [2, 1])):
        with pytest.raises(BadInput):
            halving_loss_bound(*wrong)
