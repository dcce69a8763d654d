"""Learning curves: bands, areas and thresholds against hand-computed values, scipy and the record's own."""

import numpy as np
import pytest
import scipy.stats

from discovery import statistics as st

NAN, INF = np.nan, np.inf


def test_band_is_the_t_interval_at_each_point():
    curves = np.random.default_rng(0).normal(size=(9, 5)).cumsum(1)
    ours = st.band(curves, 0.9)
    expected = scipy.stats.t.interval(0.9, 8, curves.mean(0), scipy.stats.sem(curves))
    np.testing.assert_allclose(ours.mean, curves.mean(0), rtol=1e-12)
    np.testing.assert_allclose([ours.low, ours.high], expected, rtol=1e-10)
    assert ours.n.tolist() == [9] * 5


def test_band_carries_the_last_known_value_forward():
    curves = np.array([[NAN, 1.0, NAN, NAN], [NAN, NAN, 3.0, INF], [NAN, 4.0, 5.0, 6.0]])
    filled = [[NAN, 1.0, 1.0, 1.0], [NAN, NAN, 3.0, 3.0], [NAN, 4.0, 5.0, 6.0]]
    np.testing.assert_array_equal(st.carry_forward(curves), filled)
    assert np.isnan(st.band(curves[2:]).low).all()  # one curve alone has no width to show
    ours = st.band(curves)
    assert ours.n.tolist() == [0, 2, 3, 3]
    np.testing.assert_allclose(ours.mean, [NAN, 2.5, 3.0, 10 / 3])
    assert np.isnan([ours.low[0], ours.high[0]]).all()
    assert np.isfinite(ours.low[1:]).all()


def test_area_by_hand():
    curves = np.array([[1.0, 2.0, 3.0, 6.0], [NAN, 2.0, NAN, 6.0], [NAN] * 4, [4.0, INF, NAN, NAN]])
    np.testing.assert_allclose(st.area_under_curve(curves), [3.0, (2 + 2 + 2 + 6) / 4, NAN, 4.0])


def test_area_is_the_record_s():
    import jax.numpy as jnp

    from discovery.inner.record import empty_record, summarize

    generator = np.random.default_rng(0)
    curves = generator.normal(size=(6, 7)).astype(np.float32)
    curves[generator.random(curves.shape) < 0.5] = NAN
    curves[0] = NAN
    expected = []
    for curve in curves:
        record = empty_record((), 7)
        episodes = jnp.asarray(np.isfinite(curve), jnp.float32)
        windows = record.windows._replace(
            episodes=episodes, episode_return=jnp.nan_to_num(jnp.asarray(curve))
        )
        expected.append(float(summarize(record._replace(windows=windows), 1).auc))
    np.testing.assert_allclose(st.area_under_curve(curves), expected, rtol=1e-5, atol=1e-7)


def test_steps_to_threshold_by_hand():
    curves = np.array([[0.0, 5.0, 9.0], [5.0, 0.0, 0.0], [NAN, NAN, 4.9], [INF, NAN, 7.0]])
    steps = st.steps_to_threshold(curves, np.array([10, 20, 30]), 5.0)
    assert steps.tolist() == [20, 10, INF, 30]


def test_reached_by_hand():
    ours = st.reached([10.0, INF, 30.0, 20.0, INF])
    assert (ours.share.estimate, ours.median, ours.n) == (0.6, 30.0, 5)
    assert st.reached([10.0, INF]).median == INF
    assert st.reached([INF, INF, INF])[1:] == (INF, 3)


@pytest.mark.parametrize("level", [0.8, 0.95])
@pytest.mark.parametrize("n", [1, 7, 30])
def test_share_reached_is_clopper_and_pearson_s(n, level):
    for k in range(n + 1):
        expected = scipy.stats.binomtest(k, n).proportion_ci(level, method="exact")
        ours = st.reached([1.0] * k + [INF] * (n - k), level).share
        assert ours[:3] == pytest.approx((k / n, expected.low, expected.high), abs=1e-10)
