"""How failed trainings count.

A training that failed because of its algorithm counts as the worst score that any subject reached on the
task, so failing never helps. A training that failed because of the machine (`MACHINE_FAILURES`) says nothing
about its subject: it is missing, and a later command repeats it.
"""

from collections.abc import Iterable

import numpy as np
from jaxtyping import Float

from discovery.statistics import Interval, Statistic, interval, settle_failures


def worst_score(samples: Iterable[Float[np.ndarray, " n"]]) -> float:
    """The lowest finite score of all samples; NaN where no sample has one."""
    lowest = [scores[np.isfinite(scores)].min(initial=np.inf) for scores in samples]
    found = min(lowest, default=np.inf)
    return float(found) if np.isfinite(found) else np.nan


def interval_of(scores: Float[np.ndarray, " n"], worst: float, statistic: Statistic = "mean") -> Interval:
    """The interval of a statistic; a failure counts as `worst`.

    There is no estimate if the sample is empty, or if all of it failed: `worst` would be another subject's
    score.
    """
    if scores.size == 0:
        return Interval(np.nan, -np.inf, np.inf, 0.95, 0)
    return interval(scores, statistic, failures=worst if np.isfinite(scores).any() else "drop")


def settled(scores: Float[np.ndarray, " n"], worst: float, random: float) -> Float[np.ndarray, " n"]:
    """Scores with a number for every failure, for aggregates over tasks, which need one.

    Args:
        scores: ``[n]`` of one subject, NaN where a training failed.
        worst: score of the worst training of any subject; NaN where all failed.
        random: score of random actions. It replaces `worst` if the whole sample failed and `worst` is better
            than random, or unknown.
    """
    value = worst if np.isfinite(scores).any() else float(np.fmin(worst, random))
    return settle_failures(scores, value)[0]
