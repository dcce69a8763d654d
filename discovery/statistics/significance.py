"""Tests of a difference, for many comparisons at once, and how many seeds they need."""

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike
from scipy import special

from discovery.core.errors import BadInput
from discovery.statistics.samples import vector

EXACT = 12
"""With at most this many pairs, all 2^n sign flips are enumerated."""

FLIPS = 65_535
_SEED = 20_221_112


def paired_p_value(a: ArrayLike, b: ArrayLike) -> float:
    """Two-sided p-value of the sign-flip test that the mean of a - b is 0, for scores ``[S]`` in pairs.

    Under the null hypothesis, each difference d_i is equally likely to be -d_i. The p-value is the share of
    all 2^n sign flips with abs(sum +-d_i) >= abs(sum d_i) (Fisher 1935). It is exact if the distribution of
    the differences is symmetric. With more than 12 pairs, it is (1 + count) / (1 + B) of B = 65,535 random
    flips from a constant seed, which is also a valid p-value (Phipson and Smyth 2010).

    Fewer than 6 pairs cannot reach 0.05: the smallest p-value is 2^(1 - n).
    """
    a, b = vector(a), vector(b)
    if a.size != b.size or a.size == 0:
        raise BadInput(f"{a.size} and {b.size} scores cannot be paired; give one of each per common seed")
    if not np.isfinite([a, b]).all():
        raise BadInput("there are failed trainings among the scores; settle them first (settle_failures)")
    size = np.sort(np.abs(a - b))
    observed = abs((a - b).sum()) - 1e-12 * size.sum()  # counts ties despite rounding
    if size.size <= EXACT:
        signs = 1.0 - 2.0 * (np.arange(2**size.size)[:, None] >> np.arange(size.size) & 1)
        return float(np.mean(np.abs(signs @ size) >= observed))
    signs = 1.0 - 2.0 * np.random.default_rng(_SEED).integers(0, 2, (FLIPS, size.size), np.int8)
    return float((1 + np.sum(np.abs(signs @ size) >= observed)) / (1 + FLIPS))


def holm(p_values: ArrayLike) -> Float[np.ndarray, " m"]:
    """Adjusted p-values ``[m]`` of m tests (Holm 1979), in the order given.

    With p sorted, the i-th smallest becomes max_{j <= i} min(1, (m - j + 1) p_j). If adjusted p-values of at
    most 0.05 are called significant, the probability of any false claim is at most 0.05, for any dependence
    between the tests.
    """
    p = vector(p_values)
    if not ((p >= 0) & (p <= 1)).all():  # NaN fails either comparison
        raise BadInput("p-values must lie between 0 and 1")
    order = np.argsort(p)
    steps = np.minimum(1.0, (p.size - np.arange(p.size)) * p[order])
    adjusted = np.empty(p.size)
    adjusted[order] = np.maximum.accumulate(steps)
    return adjusted


def seeds_needed(
    difference: float, deviation: float, power: float = 0.8, level: float = 0.05, paired: bool = True
) -> int:
    """The smallest number of seeds with which a two-sided t-test finds a difference with probability `power`.

    The power is that of the noncentral t distribution: P(abs(T) > t) with noncentrality delta sqrt(n) /
    deviation and n - 1 degrees of freedom for pairs, delta sqrt(n / 2) / deviation and 2 (n - 1) for two
    independent groups, where t is Student's quantile at 1 - level / 2 (Cohen 1988).

    Args:
        difference: delta, the smallest difference of means that matters; its sign is ignored.
        deviation: standard deviation of the paired differences; with ``paired=False`` that of one group.
        power: probability of finding it.
        level: probability of a false alarm.
        paired: whether seeds are common. Otherwise the result is per group.
    """
    if not (np.isfinite(difference) and difference):
        raise BadInput(f"a difference of {difference} cannot be found; give one that is finite and not 0")
    if not (np.isfinite(deviation) and deviation > 0):
        raise BadInput(f"the deviation must be positive, not {deviation}")
    if not 0 < level < power < 1:
        raise BadInput(f"need 0 < level < power < 1, not level {level} and power {power}")
    effect = abs(difference) / deviation
    high = 2
    while _power(high, effect, level, paired) < power:
        high *= 2
        if high > 1e9:
            raise BadInput(f"an effect of {effect:.2g} deviations needs more than 10^9 seeds")
    low = high // 2  # not enough, or below 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if _power(middle, effect, level, paired) >= power else (middle, high)
    return high


def _power(n: int, effect: float, level: float, paired: bool) -> float:
    freedom = n - 1 if paired else 2 * (n - 1)
    shift = effect * np.sqrt(n if paired else n / 2)
    t = special.stdtrit(freedom, 1 - level / 2)
    return float(1 - special.nctdtr(freedom, shift, t) + special.nctdtr(freedom, shift, -t))
