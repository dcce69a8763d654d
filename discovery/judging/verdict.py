"""The rule by which a subject counts as better or worse than another.

On a task, this requires that

* both were trained on at least `LEAST_SEEDS` common seeds,
* the 95% interval of the paired difference excludes 0, and
* the sign-flip test has a p-value of at most `LEVEL` after Holm's correction for all tests of the comparison.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Float

from discovery.core.errors import BadInput
from discovery.statistics import (
    Interval,
    holm,
    paired_difference,
    paired_p_value,
    seeds_needed,
    settle_failures,
)

Relation = Literal["better", "worse", "not distinguishable", "too few seeds"]
Status = Literal["confirmed", "not confirmed", "inconclusive", "not yet judged"]

LEVEL = 0.05
"""Probability of one false claim or more among all tests of one comparison."""

LEAST_SEEDS = 16
"""Fewest common seeds for a verdict: bootstrap intervals are not tested below."""

FEW_SEEDS = 30
"""Fewest seeds without a warning: from here on the measured coverage of 95% intervals is 93 to 97%."""

POWER = 0.8
MANY_SEEDS = 10_000
"""Larger numbers of seeds are not suggested."""


class Pair(NamedTuple):
    """Scores of two subjects on a task.

    Attributes:
        subject, baseline, task: labels.
        own, others: ``[n]`` scores of the subject and the baseline on their common seeds; NaN for a failure.
        worst: what a failure counts as.
    """

    subject: str
    baseline: str
    task: str
    own: Float[np.ndarray, " n"]
    others: Float[np.ndarray, " n"]
    worst: float = math.nan


@dataclass(frozen=True)
class Judgment:
    """A subject against a baseline on one task.

    Attributes:
        subject, baseline, task: labels.
        difference: mean of the subject's scores minus the baseline's on the same seeds, not normalized.
        p_value: of the sign-flip test that the mean difference is 0.
        corrected: the p-value after Holm's correction for all tests that were made together.
        relation: the verdict.
        seeds_needed: how many seeds would show a difference as large with power 0.8, at the level of the
            strictest test; None if it is already shown, or if 10,000 seeds would not suffice.
    """

    subject: str
    baseline: str
    task: str
    difference: Interval
    p_value: float
    corrected: float
    relation: Relation
    seeds_needed: int | None


@dataclass(frozen=True)
class Verdict:
    """Whether a subject is better than others on several tasks.

    Confirmed: better on at least one task and worse on none. Not confirmed: worse on at least one.
    Inconclusive: neither better nor worse on any. Not yet judged: there are no tasks.
    """

    status: Status
    judgments: tuple[Judgment, ...]
    better: int
    worse: int
    least_seeds: int = LEAST_SEEDS

    @classmethod
    def of(cls, judgments: Sequence[Judgment]) -> "Verdict":
        """The verdict on the subject of these judgments."""
        better, worse = (sum(one.relation == word for one in judgments) for word in ("better", "worse"))
        status: Status = "not confirmed" if worse else "confirmed" if better else "inconclusive"
        return cls(status if judgments else "not yet judged", tuple(judgments), better, worse)


def judge(pairs: Iterable[Pair]) -> tuple[Judgment, ...]:
    """Judge all pairs of one comparison together; pairs without common seeds are left out."""
    pairs = [pair for pair in pairs if pair.own.size]
    if not pairs:
        return ()
    settled = [tuple(settle_failures(x, pair.worst)[0] for x in (pair.own, pair.others)) for pair in pairs]
    p_values = [paired_p_value(own, others) for own, others in settled]
    judgments = []
    for pair, (own, others), p, corrected in zip(pairs, settled, p_values, holm(p_values), strict=True):
        difference = paired_difference(pair.own, pair.others, failures=pair.worst)
        found = relation(difference, own.size, float(corrected))
        needed = None
        if found not in ("better", "worse"):
            needed = _seeds_needed(own - others, len(pairs))
        names = pair.subject, pair.baseline, pair.task
        judgments.append(Judgment(*names, difference, p, float(corrected), found, needed))
    return tuple(judgments)


def relation(difference: Interval, seeds: int, p_value: float = 0.0) -> Relation:
    """The rule for one difference; without a p-value, only the interval counts."""
    if seeds < LEAST_SEEDS:
        return "too few seeds"
    if p_value > LEVEL or difference.low <= 0 <= difference.high:
        return "not distinguishable"
    return "better" if difference.low > 0 else "worse"


def rule(tests: int) -> str:
    """The rule in words."""
    return (
        f"Better and worse: on at least {LEAST_SEEDS} common seeds, the 95% interval of the paired "
        f"difference excludes 0, and the sign-flip test has a p-value of at most {LEVEL:g} after Holm's "
        f"correction for {tests} test{'s' * (tests != 1)}."
    )


def fewest_seeds(tests: int) -> int:
    """Fewest common seeds at which the strictest of `tests` tests can pass.

    The smallest p-value of a sign-flip test on n pairs is 2^(1 - n); Holm multiplies it by `tests`.
    """
    return max(LEAST_SEEDS, math.ceil(1 + math.log2(tests / LEVEL)))


def _seeds_needed(difference: Float[np.ndarray, " n"], tests: int) -> int | None:
    if difference.size < 2 or not difference.mean() or not difference.std():
        return None
    effect = float(difference.mean()), float(difference.std(ddof=1))
    try:
        found = seeds_needed(*effect, POWER, LEVEL / tests)
    except BadInput:  # more than can be trained
        return None
    return max(found, difference.size + 1, fewest_seeds(tests)) if found < MANY_SEEDS else None
