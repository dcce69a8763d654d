"""The record of a training: windows, curves, scores, and the moment it broke."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from discovery.inner.record import Metrics, add_to_record, empty_record, summarize

ADD = jax.jit(add_to_record)


def one_update(episodes=1.0, total=0.0, length=0.0, kl=0.0):
    """Metrics of a single update."""
    return Metrics(*jnp.array([1.0, episodes, total, length]), named={"kl": jnp.float32(kl)})


def record_of(updates, lifetime, points=5, broken=()):
    """A record of a life; `broken`: updates in which something is not finite."""
    record = empty_record(["kl"], points)
    for n, metrics in enumerate(updates):
        record = ADD(record, jnp.int32(n), jnp.int32(lifetime), metrics, jnp.bool_(n not in broken))
    return record


@pytest.mark.parametrize(
    ("lifetime", "counts"), [(10, [2] * 5), (12, [2, 2, 3, 2, 3]), (3, [0, 1, 0, 1, 1]), (1, [0, 0, 0, 0, 1])]
)
def test_windows_split_the_life_evenly(lifetime, counts):
    """Update n ends in window ceil((n + 1) K / N) - 1; so the last one is never empty."""
    record = record_of([one_update()] * lifetime, lifetime)
    np.testing.assert_array_equal(record.windows.updates, counts)


def test_curve_final_and_area_by_hand():
    """Ten updates in five windows of two; returns per window: 1, (none), 3 and 5, 7, 2."""
    life = [one_update(2, 2.0, 30.0, kl=0.1), one_update(0, kl=0.3)]
    life += [one_update(*numbers) for numbers in [(0,), (0,), (1, 3), (3, 15), (0,), (1, 7), (1, 4), (3, 4)]]
    outcome = summarize(record_of(life, 10), steps_per_update=32)
    np.testing.assert_allclose(outcome.curve, [1.0, np.nan, 4.5, 7.0, 2.0])
    np.testing.assert_allclose(outcome.episodes, [2, 0, 4, 1, 4])
    assert float(outcome.length[0]) == 15.0 and np.isnan(outcome.length[1])
    assert float(outcome.metrics["kl"][0]) == pytest.approx(0.2)
    # The last fifth of the windows is the last one; the gap in the curve counts as the value before it.
    assert float(outcome.final) == float(outcome.score) == 2.0
    assert float(outcome.auc) == pytest.approx((1.0 + 1.0 + 4.5 + 7.0 + 2.0) / 5)
    assert int(outcome.nonfinite_step) == -1


def test_final_weighs_episodes_not_windows():
    """Ten windows: the last fifth are two, with one episode of return 10 and three of return 2."""
    life = [one_update(1, 0.0)] * 8 + [one_update(1, 10.0), one_update(3, 6.0)]
    assert float(summarize(record_of(life, 10, points=10), 1).final) == 4.0


def test_gaps_carry_the_last_value_forward_and_the_first_backward():
    life = [one_update(0), one_update(1, 4.0), one_update(0), one_update(1, 8.0), one_update(0)]
    outcome = summarize(record_of(life, 5), 1)
    np.testing.assert_allclose(outcome.curve, [np.nan, 4.0, np.nan, 8.0, np.nan])
    assert float(outcome.final) == 8.0  # nothing was completed in the last fifth
    assert float(outcome.auc) == pytest.approx((4 + 4 + 4 + 8 + 8) / 5)


def test_no_episode_at_all_is_no_score():
    outcome = summarize(record_of([one_update(0)] * 5, 5), 1)
    assert np.isnan(outcome.final) and np.isnan(outcome.auc) and np.isnan(outcome.curve).all()
    assert int(outcome.nonfinite_step) == -1


def test_first_nonfinite_update_is_remembered_and_spoils_the_scores():
    life = [one_update(1, 1.0, kl=np.nan if n in (3, 4) else 0.0) for n in range(10)]
    outcome = summarize(record_of(life, 10, broken=(3, 4)), steps_per_update=32)
    assert int(outcome.nonfinite_step) == 3 * 32
    assert np.isnan(outcome.final) and np.isnan(outcome.auc)
    np.testing.assert_allclose(outcome.curve, np.ones(5))  # what happened stays readable
