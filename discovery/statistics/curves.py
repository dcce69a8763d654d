"""Learning curves: a score per window of training, as bands, areas and steps to a threshold.

Curves are ``[S, K]``: S seeds, K windows of equal length. A non-finite point means that no episode ended in
that window, which can also happen because the training failed. Only its score tells whether it failed.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int, Real
from numpy.typing import ArrayLike
from scipy import special

from discovery.core.errors import BadInput
from discovery.statistics.bootstrap import check_level, student_quantile
from discovery.statistics.samples import Interval, vector


class Band(NamedTuple):
    """A statistic at each of K points and its pointwise interval, each ``[K]``.

    `n` is the number of curves (or runs) known at that point; `mean` is NaN where it is 0, and `low` and
    `high` are NaN where it is below 2.
    """

    mean: Float[np.ndarray, " K"]
    low: Float[np.ndarray, " K"]
    high: Float[np.ndarray, " K"]
    level: float
    n: Int[np.ndarray, " K"]


class Reached(NamedTuple):
    """How many trainings reached a threshold, and how soon.

    Attributes:
        share: share of the trainings that reached it, with its interval.
        median: median number of steps; infinite for trainings that never reached it.
        n: number of trainings.
    """

    share: Interval
    median: float
    n: int


def band(curves: Real[np.ndarray, "S K"], level: float = 0.95) -> Band:
    """Pointwise mean over curves ``[S, K]`` and its t-interval, mean +- t_{n-1} s / sqrt(n).

    At a non-finite point, where no episode ended in the window, the curve keeps its last known value, also
    after a training failed (`settle_failures` on the scores counts those). Before its first known value, a
    curve is left out; `Band.n` is the number of curves at each point.
    """
    check_level(level)
    curves = carry_forward(_curves(curves))
    known = np.isfinite(curves)
    n = known.sum(0)
    total = np.where(known, curves, 0.0).sum(0)
    center = np.divide(total, n, out=np.full(n.shape, np.nan), where=n > 0)
    square = np.where(known, (curves - center) ** 2, 0.0).sum(0)
    variance = np.divide(square, n - 1, out=np.full(n.shape, np.nan), where=n > 1)
    half = student_quantile(level, np.maximum(n - 1, 1)) * np.sqrt(variance / np.maximum(n, 1))
    return Band(center, center - half, center + half, level, n)


def carry_forward(curves: Real[np.ndarray, "S K"]) -> Float[np.ndarray, "S K"]:
    """Curves ``[S, K]`` with each non-finite point replaced by the last finite one before it, else NaN."""
    finite = np.isfinite(curves)
    last = np.maximum.accumulate(np.where(finite, np.arange(curves.shape[1]), -1), axis=1)
    filled = np.take_along_axis(curves, np.maximum(last, 0), axis=1)
    return np.where(last >= 0, filled, np.nan)


def area_under_curve(curves: Real[np.ndarray, "S K"]) -> Float[np.ndarray, " S"]:
    """Mean of each curve ``[S, K]`` over its windows, ``[S]``; NaN where nothing is known.

    A window without a value takes the last known value, or the first known value if there is none before,
    because the first episodes to end are the best estimate of the windows before. Leaving those windows out
    would favor algorithms whose first episodes end late, because their poor start would count less. The
    result equals `auc` of `discovery.core.jobs.Outcome`, except that `auc` is NaN for a failed training.
    """
    filled = carry_forward(_curves(curves))
    known = np.isfinite(filled)
    first = np.take_along_axis(filled, known.argmax(1)[:, None], axis=1)  # NaN where nothing is known
    return np.where(known, filled, first).mean(1)


def steps_to_threshold(
    curves: Real[np.ndarray, "S K"], steps: Real[np.ndarray, " K"], threshold: float
) -> Float[np.ndarray, " S"]:
    """Steps at the end of the first window whose value is at least `threshold`, ``[S]``; else ``inf``.

    A window without a value does not reach it; a curve that falls again later still counts as having reached
    it.

    Args:
        curves: one per seed.
        steps: environment steps at the end of each window, increasing.
        threshold: in the unit of the curves.
    """
    curves, steps = _curves(curves), np.asarray(steps, np.float64)
    if steps.shape != curves.shape[1:]:
        raise BadInput(f"curves of {curves.shape[1]} windows need as many steps, not {list(steps.shape)}")
    if not np.isfinite(steps).all() or (np.diff(steps) <= 0).any():
        raise BadInput("steps must be finite and increase from window to window")
    if not np.isfinite(threshold):
        raise BadInput(f"a threshold of {threshold} is not finite; give a finite one")
    there = np.isfinite(curves) & (curves >= threshold)
    return np.where(there.any(1), steps[there.argmax(1)], np.inf)


def reached(steps: ArrayLike, level: float = 0.95) -> Reached:
    """Summary of `steps_to_threshold` ``[S]``: the share that reached it, and the median number of steps.

    The interval of the share is Clopper and Pearson's (1934): with k of n, its limits are the (1 - level) / 2
    quantile of Beta(k, n - k + 1) and the (1 + level) / 2 quantile of Beta(k + 1, n - k). It covers any share
    in at least `level` of all experiments, typically in 96 to 98% at 95%. Intervals that are correct only on
    average cover too rarely near 1, where most shares lie. The median is infinite if at least half of the
    trainings never reached the threshold.
    """
    check_level(level)
    steps = vector(steps)
    n = steps.size
    if n == 0 or np.isnan(steps).any():
        raise BadInput("steps must be one number per training, infinite for never, and at least one")
    there = int(np.isfinite(steps).sum())
    tail = (1 - level) / 2
    low = float(special.betaincinv(there, n - there + 1, tail)) if there else 0.0
    high = float(special.betaincinv(there + 1, n - there, 1 - tail)) if there < n else 1.0
    share = Interval(there / n, low, high, level, n)
    return Reached(share, float(np.median(steps)), n)


def _curves(curves: Real[np.ndarray, "S K"]) -> Float[np.ndarray, "S K"]:
    curves = np.asarray(curves, np.float64)
    if curves.ndim != 2 or curves.shape[1] == 0:
        raise BadInput(f"curves must have shape [seeds, points], not {list(curves.shape)}")
    return curves
