"""Several tasks: one number for an algorithm, its interval, and comparisons (Agarwal et al. 2021).

Scores map each task to one number per training ``[S]``; S may differ between tasks. They are normalized, 0
for the random policy and 1 for the reference (see `normalized`), because scores of different units cannot be
averaged. Every task has the same total weight. Failed trainings must be replaced or dropped first
(`settle_failures`).

Intervals come from the stratified bootstrap: trainings are resampled within each task, because the tasks are
fixed and not a sample. Plain percentile limits are too narrow with few trainings; see `bootstrap.bca`. A task
with a single training makes the limits infinite. A statistic without any spread (all trainings equal; every a
above every b) has an interval of width 0, because all resamples are equal.
"""

from collections.abc import Mapping
from typing import Literal

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike

from discovery.core.errors import BadInput, unknown
from discovery.statistics.bootstrap import Correction, Functional, Weights, check_level, stratified_limits
from discovery.statistics.curves import Band
from discovery.statistics.samples import Interval, vector

Aggregate = Literal["mean", "median", "iqm", "optimality_gap"]
AGGREGATES = ("mean", "median", "iqm", "optimality_gap")
"""How scores of several tasks become one number; all but the optimality gap are maximized."""

Scores = Mapping[str, ArrayLike]
"""Normalized scores ``[S]`` by task; S may differ."""


def normalized(scores: ArrayLike, low: float, high: float) -> Float[np.ndarray, " S"]:
    """Scores ``[S]`` on the scale where `low` is 0 and `high` is 1: (x - low) / (high - low).

    Args:
        scores: returns; non-finite ones (failed trainings) stay non-finite.
        low: the random policy's mean return.
        high: the reference's, which must be larger.
    """
    if not (np.isfinite(low) and np.isfinite(high) and high > low):
        raise BadInput(
            f"returns from {low} to {high} are not a scale; the reference must lie above the random one"
        )
    return (vector(scores) - low) / (high - low)


def aggregate(scores: Scores, statistic: Aggregate, level: float = 0.95) -> Interval:
    """One number for scores ``[S]`` of several tasks, and its interval.

    * "mean": mean over tasks of the tasks' means;
    * "median": median over tasks of the tasks' means, as in rliable. It depends only on the middle task. Its
      interval is correct if the means differ clearly. It is too wide if they nearly coincide (within two
      standard errors: 98 to 99% coverage), because resampling then adds to the spread of the means;
    * "iqm": mean of the middle half of all scores pooled, each with weight 1 / S of its task, so that every
      task counts the same (for equal S this is `samples.iqm` of the pool);
    * "optimality_gap": mean over tasks of mean(max(0, 1 - x)), the shortfall from 1; lower is better.

    `Interval.n` is the number of scores.
    """
    tasks = [np.sort(x) for x in _tasks(scores)]
    _check(statistic, level)
    return _interval(
        lambda weights: _value(tasks, weights, statistic),
        [x.size for x in tasks],
        level,
        correction="skewness" if statistic == "median" else "full",
    )


def aggregate_difference(a: Scores, b: Scores, statistic: Aggregate, level: float = 0.95) -> Interval:
    """Statistic of `a` minus statistic of `b`, two algorithms on the same tasks with common seeds.

    Pairs of scores are resampled within tasks, so the common effect of a seed cancels. `Interval.n` is the
    number of pairs. For algorithms with different seeds, compare two calls of `aggregate`.
    """
    left, right = _pairs(a, b)
    _check(statistic, level)
    return _interval(
        lambda weights: _value(left, weights, statistic) - _value(right, weights, statistic),
        [x.size for x in left],
        level,
        correction="none",
    )


def probability_of_improvement(a: Scores, b: Scores, level: float = 0.95, paired: bool = False) -> Interval:
    """Mean over tasks of P(X > Y) + P(X = Y) / 2, for X a training of `a` and Y one of `b`.

    It is estimated by the share of all pairs of trainings (Agarwal et al. 2021, section 4.3), for any seeds.
    1/2 means that neither is better. `Interval.n` is the number of scores of both.

    Args:
        a: normalized scores by task.
        b: normalized scores of the other algorithm.
        level: nominal coverage.
        paired: whether score i of both comes from the same seed. Then seeds are resampled for both together,
            and the interval is narrower the more the scores correlate. It is computed from pairs of different
            seeds, because the one pair in S of equal seeds is not independent. It is widened like intervals
            of means, because the plain one is too narrow with 30 seeds of one task. If not paired, `a` and
            `b` are resampled independently, and may have different numbers of scores.
    """
    left, right = _pairs(a, b) if paired else _same_tasks(a, b)
    check_level(level)
    if not paired:
        left, right = [np.sort(x) for x in left], [np.sort(y) for y in right]
    wins = [(np.sign(x[:, None] - y) + 1) / 2 for x, y in zip(left, right, strict=True)]
    statistic, strata = (_share_of_others, left) if paired else (_share, left + right)
    limits = _interval(
        lambda weights: statistic(wins, weights), [x.size for x in strata], level, widened=paired
    )
    share, count = float(np.mean([win.mean() for win in wins])), sum(x.size for x in left + right)
    return Interval(share, min(limits.low, share), max(limits.high, share), level, count)


def performance_profile(scores: Scores, thresholds: ArrayLike, level: float = 0.95) -> Band:
    """Share of trainings with a score above each of thresholds ``[K]``; every task has the same weight.

    The limits hold at each threshold by itself, not for the whole curve. They have width 0 where no training
    or every training is above the threshold.
    """
    tasks = _tasks(scores)
    check_level(level)
    thresholds = vector(thresholds)
    if not np.isfinite(thresholds).all():
        raise BadInput("thresholds must be finite")
    above = [(np.sort(x) > thresholds[:, None]).astype(np.float64) for x in tasks]
    sizes = [x.size for x in tasks]
    step = 1 / (len(tasks) * max(sizes))
    share, low, high = stratified_limits(
        lambda weights: _mean(above, weights), sizes, level, widened=False, step=step
    )
    return Band(share, low.clip(0), high.clip(max=1), level, np.full(thresholds.size, sum(sizes)))


def _interval(
    statistic: Functional,
    sizes: list[int],
    level: float,
    widened: bool = True,
    correction: Correction = "full",
) -> Interval:
    estimate, low, high = stratified_limits(statistic, sizes, level, widened, correction)
    return Interval(float(estimate[0]), float(low[0]), float(high[0]), level, sum(sizes))


def _value(
    tasks: list[Float[np.ndarray, " S"]], weights: Weights, statistic: Aggregate
) -> Float[np.ndarray, "1 R"]:
    """The statistic of weighted scores, for each of R weightings."""
    if statistic == "iqm":
        return _pooled_iqm(tasks, weights)
    if statistic == "optimality_gap":
        tasks = [np.maximum(0.0, 1 - x) for x in tasks]
    if statistic == "median":
        return np.median([w @ x for x, w in zip(tasks, weights, strict=True)], axis=0)[None]
    return _mean([x[None] for x in tasks], weights)


def _share(wins: list[Float[np.ndarray, "S Z"]], weights: Weights) -> Float[np.ndarray, "1 R"]:
    """Weighted share of pairs that `a` wins; `weights` has all tasks of `a`, then all tasks of `b`."""
    both = zip(wins, weights[: len(wins)], weights[len(wins) :], strict=True)
    return np.mean([_won(win, w, v) for win, w, v in both], axis=0)[None]


def _share_of_others(wins: list[Float[np.ndarray, "S S"]], weights: Weights) -> Float[np.ndarray, "1 R"]:
    """The same over pairs of different seeds, with common weights; over all pairs if there is one seed."""
    shares = []
    for win, w in zip(wins, weights, strict=True):
        every, same, rest = _won(win, w, w), w**2 @ np.diag(win), 1 - (w**2).sum(1)
        lonely = rest < 1e-9
        shares.append(np.where(lonely, every, (every - same) / np.where(lonely, 1.0, rest)))
    return np.mean(shares, axis=0)[None]


def _won(
    win: Float[np.ndarray, "S Z"], w: Float[np.ndarray, "R S"], v: Float[np.ndarray, "R Z"]
) -> Float[np.ndarray, " R"]:
    return ((win.T @ w.T) * v.T).sum(0)


def _mean(tasks: list[Float[np.ndarray, "N S"]], weights: Weights) -> Float[np.ndarray, "N R"]:
    return sum((x @ w.T for x, w in zip(tasks, weights, strict=True)), start=np.zeros(())) / len(tasks)


def _pooled_iqm(tasks: list[Float[np.ndarray, " S"]], weights: Weights) -> Float[np.ndarray, "1 R"]:
    """The mean over [T/4, 3T/4], where sorted score i of T tasks fills the interval from c_{i-1} to c_i.

    c_i is the running sum of the weights. With c clipped to [T/4, 3T/4], sum_i (c_i - c_{i-1}) x_i is
    c_n x_n - c_0 x_1 - sum_i c_i (x_{i+1} - x_i).
    """
    pool, columns = np.concatenate(tasks), [column for w in weights for column in w.T]
    order = np.argsort(pool)
    pool, first, last = pool[order], len(tasks) / 4, len(tasks) * 3 / 4
    end, clipped, total = np.zeros((3, len(weights[0])))
    # Score by score: a few vectors fit into the processor's cache, which is five times faster than a matrix.
    for i, gap in zip(order, np.diff(pool), strict=False):
        end += columns[i]
        total += np.multiply(np.clip(end, first, last, out=clipped), gap, out=clipped)
    return ((last * pool[-1] - first * pool[0] - total) / (last - first))[None]


def _check(statistic: str, level: float) -> None:
    if statistic not in AGGREGATES:
        raise unknown("statistic over tasks", statistic, AGGREGATES)
    check_level(level)


def _same_tasks(a: Scores, b: Scores) -> tuple[list[Float[np.ndarray, " S"]], list[Float[np.ndarray, " S"]]]:
    if set(a) != set(b):
        raise BadInput(f"both need scores of the same tasks; only one has {sorted(set(a) ^ set(b))}")
    return _tasks(a), _tasks(b)


def _pairs(a: Scores, b: Scores) -> tuple[list[Float[np.ndarray, " S"]], list[Float[np.ndarray, " S"]]]:
    """Scores of common seeds, sorted so that neither seed order nor exchanging `a` and `b` matters."""
    left, right = _same_tasks(a, b)
    for task, x, y in zip(sorted(a), left, right, strict=True):
        if x.size != y.size:
            raise BadInput(
                f"{x.size} and {y.size} scores of {task!r} cannot be paired; give one per common seed"
            )
    order = [np.lexsort((x, np.abs(x - y), x + y)) for x, y in zip(left, right, strict=True)]
    return [x[i] for x, i in zip(left, order, strict=True)], [y[i] for y, i in zip(right, order, strict=True)]


def _tasks(scores: Scores) -> list[Float[np.ndarray, " S"]]:
    """The scores of each task, sorted by task name, so that the order of the mapping does not matter."""
    if not scores:
        raise BadInput("there are no tasks; give the scores of at least one")
    tasks = {task: vector(scores[task]) for task in sorted(scores)}
    for task, x in tasks.items():
        if x.size == 0:
            raise BadInput(f"there are no scores of {task!r}; give at least one, or leave the task out")
        if not np.isfinite(x).all():
            count = int((~np.isfinite(x)).sum())
            raise BadInput(
                f"{count} of {x.size} scores of {task!r} are not finite (failed trainings); "
                "settle them first: settle_failures(scores, <the score a failure is worth>)"
            )
    return list(tasks.values())
