"""Bootstrap intervals for `samples` and `across`.

A resample is a count of how often each score occurs. The counts are drawn from a constant seed and cached.
Every statistic here is a function of weighted scores, so one matrix of counts serves all of them, and leaving
a score out is a count of 0.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, Literal

import numpy as np
from jaxtyping import Bool, Float, Real
from scipy import special

from discovery.core.errors import BadInput

RESAMPLES = 5000
_SEED = 20_221_112

Weights = Sequence[Float[np.ndarray, "R S"]]
"""R weightings of the scores, one array ``[R, S]`` per stratum (S differs); each row sums to 1."""

Correction = Literal["full", "skewness", "none"]
"""The correction for skewed resamples; see `bca`."""

Functional = Callable[[Weights], Float[np.ndarray, "N R"]]
"""N statistics of weighted scores, for each of R weightings."""


def check_level(level: float) -> None:
    """Raise `BadInput` unless `level` is a coverage."""
    if not 0 < level < 1:
        raise BadInput(f"an interval's level must lie between 0 and 1, not {level}; 0.95 is usual")


def student_quantile(level: float, freedom: Any) -> Any:
    """t with P(|T| < t) = level for Student's T with that many degrees of freedom, elementwise."""
    return special.stdtrit(freedom, (1 + level) / 2)


def trimmed_weights(counts: Real[np.ndarray, "*batch n"], trim: float) -> Float[np.ndarray, "*batch n"]:
    """Weights of n sorted scores in the trimmed mean when score i occurs ``counts[i]`` times.

    Counts may be fractions. The weights are not divided by their sum, (1 - 2 trim) times the sum of the
    counts.
    """
    end = np.cumsum(counts, -1)
    first, last = trim * end[..., -1:], (1 - trim) * end[..., -1:]
    return np.maximum(np.minimum(end, last) - np.maximum(end - counts, first), 0.0)


@lru_cache(maxsize=16)
def _counts(n: int, stratum: int) -> Float[np.ndarray, "R n"]:
    generator = np.random.default_rng(_SEED + stratum)
    counts = generator.multinomial(n, np.full(n, 1 / n), size=RESAMPLES)
    return np.asfortranarray(counts, np.float64)  # read column by column


@lru_cache(maxsize=8)
def _trimmed_resamples(n: int, trim: float) -> Float[np.ndarray, "R n"]:
    return trimmed_weights(_counts(n, 0), trim) / (n * (1 - 2 * trim))


def trimmed_mean_limits(
    ordered: Float[np.ndarray, "N n"], trim: float, level: float, correction: Correction | None
) -> tuple[Float[np.ndarray, " N"], Float[np.ndarray, " N"]]:
    """`bca` limits of N samples, each of n sorted scores; plain percentiles if `correction` is None."""
    n = ordered.shape[1]
    center = ordered[:, [n // 2]]
    scale = np.maximum(np.ptp(ordered, axis=1, keepdims=True), np.finfo(np.float64).tiny)
    ordered = (ordered - center) / scale
    resampled = np.sort(ordered @ _trimmed_resamples(n, trim).T, axis=1)
    if correction:
        estimate = ordered @ trimmed_weights(np.ones(n), trim) / (n * (1 - 2 * trim))
        left_out = ordered @ trimmed_weights(1 - np.eye(n), trim).T / ((n - 1) * (1 - 2 * trim))
        low, high = bca(resampled, estimate, [left_out], level, correction=correction)
    else:
        low, high = (
            row_quantiles(resampled, np.full(len(ordered), share))
            for share in ((1 - level) / 2, (1 + level) / 2)
        )
    return low * scale[:, 0] + center[:, 0], high * scale[:, 0] + center[:, 0]


def stratified_limits(
    statistic: Functional,
    sizes: Sequence[int],
    level: float,
    widened: bool = True,
    correction: Correction = "full",
    step: float = 0.0,
) -> tuple[Float[np.ndarray, " N"], Float[np.ndarray, " N"], Float[np.ndarray, " N"]]:
    """Estimates and `bca` limits of N statistics of independent strata, which are resampled separately.

    Args:
        statistic: gives N values for each of R weightings of the scores.
        sizes: number of scores in each stratum. A size of 1 makes the limits infinite, because the variance
            of that stratum is unknown.
        level: nominal coverage.
        widened: see `bca`.
        correction: see `bca`.
        step: step width of a discrete statistic, such as a share. Each resampled value is spread over its
            step, because limits at discrete values cover too rarely or too often.
    """
    estimate = statistic([np.full((1, n), 1 / n) for n in sizes])[:, 0]
    if min(sizes) < 2:
        return estimate, np.full(estimate.shape, -np.inf), np.full(estimate.shape, np.inf)
    resampled = statistic([_counts(n, stratum) / n for stratum, n in enumerate(sizes)])
    varies = np.ptp(resampled, axis=1, keepdims=True) > 0
    resampled = np.sort(resampled + step * varies * ((np.arange(RESAMPLES) + 0.5) / RESAMPLES - 0.5), axis=1)
    starts = np.cumsum([0, *sizes])
    without = []  # leaves out one score at a time: first those of the first stratum, then of the second ...
    for start, n in zip(starts, sizes, strict=False):
        weights = np.full((starts[-1], n), 1 / n)
        weights[start : start + n] = (1 - np.eye(n)) / (n - 1)
        without.append(weights)
    left_out = np.split(statistic(without), starts[1:-1], axis=1)
    low, high = bca(resampled, estimate, left_out, level, widened, correction)
    return estimate, np.minimum(low, estimate), np.maximum(high, estimate)


def bca(
    resampled: Float[np.ndarray, "N R"],
    estimate: Float[np.ndarray, " N"],
    left_out: Sequence[Float[np.ndarray, "N S"]],
    level: float,
    widened: bool = True,
    correction: Correction = "full",
) -> tuple[Float[np.ndarray, " N"], Float[np.ndarray, " N"]]:
    """Bias-corrected and accelerated limits (Efron 1987), widened for small samples (Hesterberg 2015).

    The limits are the resamples' quantiles at Phi(z0 + (z0 + z) / (1 - a (z0 + z))), with z0 the normal
    score of the share of resamples below the estimate, a = sum u^3 / 6 (sum u^2)^1.5 over all strata, and
    z the normal quantiles. A stratum of n scores gives u_i = (mean_j estimate_{-j} - estimate_{-i})
    (n - 1) / n (Davison and Hinkley 1997, section 5.4).

    Args:
        resampled: N rows of sorted resampled estimates.
        estimate: N estimates.
        left_out: per stratum, the estimates without each of its scores in turn.
        level: nominal coverage.
        widened: take z from `_widened`. Intervals of means need it; those of shares are correct without.
        correction: "full" is for statistics that are smooth functions of the scores. A median of means is
            not: it jumps from one task to the next, and z0 then measures the distance to neighboring tasks
            and not the bias. "skewness" sets z0 = a instead; for a mean both are equal. "none" sets z0 = a =
            0 for differences of pairs: most of the skew cancels in them, and the rest is estimated too
            inaccurately (with 30 pairs, the correction costs up to 2 of 95% coverage).
    """
    rounding = 1e-12 * np.maximum(np.abs(resampled[:, 0]), np.abs(resampled[:, -1]))
    difference = resampled - estimate[:, None]
    below, equal = (
        (difference < -rounding[:, None]).mean(1),
        (np.abs(difference) <= rounding[:, None]).mean(1),
    )
    u = [(x.mean(1, keepdims=True) - x) * (x.shape[1] - 1) / x.shape[1] for x in left_out]
    square = sum(((x**2).sum(1) for x in u), start=np.zeros(len(estimate)))
    cube = sum(((x**3).sum(1) for x in u), start=np.zeros(len(estimate)))
    flat = square <= (rounding / 100) ** 2
    acceleration = np.where(flat, 0.0, cube / (6 * np.where(flat, 1.0, square) ** 1.5))
    share = np.clip(below + equal / 2, 1 / RESAMPLES, 1 - 1 / RESAMPLES)
    z0 = special.ndtri(share) if correction == "full" else acceleration
    if correction == "none":
        z0 = acceleration = np.zeros(len(estimate))
    z = _widened(u, flat, level) if widened else student_quantile(level, np.inf)
    limits = []
    for side in (z0 - z, z0 + z):
        room = np.maximum(1 - acceleration * side, 1e-6)
        limits.append(row_quantiles(resampled, special.ndtr(z0 + side / room)))
    return limits[0], limits[1]


def _widened(
    u: Sequence[Float[np.ndarray, "N S"]], flat: Bool[np.ndarray, " N"], level: float
) -> Float[np.ndarray, " N"]:
    """sqrt(sum v / sum v (n - 1) / n) times Student's quantile, from the jackknife of each stratum.

    v = n / (n - 1) sum u^2 estimates the variance that a stratum of n scores contributes to the statistic;
    the resamples have the variance v (n - 1) / n. The degrees of freedom are (sum v)^2 / sum (v^2 / (n - 1))
    (Welch and Satterthwaite). For one stratum, the factor is sqrt(n / (n - 1)) with n - 1 degrees of freedom.
    In rows that are `flat`, u is 0.
    """
    n = np.array([x.shape[1] for x in u])[:, None]
    v = np.stack([(x**2).sum(1) for x in u]) * n / (n - 1)
    v = np.where(flat, 1.0, v)
    freedom = v.sum(0) ** 2 / (v**2 / (n - 1)).sum(0)
    return np.sqrt(v.sum(0) / (v * (n - 1) / n).sum(0)) * student_quantile(level, freedom)


def row_quantiles(
    ordered: Float[np.ndarray, "N R"], share: Float[np.ndarray, " N"]
) -> Float[np.ndarray, " N"]:
    """Quantile ``share[i]`` of sorted row i, interpolated between the values at j / (R + 1)."""
    position = np.clip(share * (ordered.shape[1] + 1) - 1, 0, ordered.shape[1] - 1)
    below = np.floor(position).astype(int)
    above = np.minimum(below + 1, ordered.shape[1] - 1)
    rows = np.arange(len(ordered))
    return ordered[rows, below] + (position - below) * (ordered[rows, above] - ordered[rows, below])
