"""From scores to utilities, which an evolution strategy maximizes.

The scores of one generation, ``{task: [P, S]}`` with one per proposal and seed, become utilities ``[P]``, in
float64 numpy:

1. *Failures.* A proposal with a non-finite score on any seed of a task has failed on that task. A mean over
   its other seeds would hide the divergence.
2. *Seeds.* Mean over the seeds of a task.
3. *Scores of failures.* A failed proposal scores one standard deviation below the worst proposal that did not
   fail. If the scores of those are all equal, it is their absolute value below, but at least 1. On a task on
   which all proposals failed, all get 0.
4. *Tasks.* The scores of each task are normalized, then averaged over tasks with equal weights.
5. *Shaping.* The averages become utilities.

`pairwise_sign` replaces steps 2 to 5: it compares the two members of each pair, per task and seed.
"""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Bool, Float

from discovery.core.config.evolution import ESConfig
from discovery.core.config.generations import TaskNormalization
from discovery.core.errors import BadInput

Scores = Mapping[str, Float[np.ndarray, "P _"]]
"""Task name -> ``[P, S]``; the number of seeds may differ between tasks."""


def failed(scores: Float[np.ndarray, "P S"]) -> Bool[np.ndarray, " P"]:
    """Which proposals have a non-finite score on any seed."""
    return np.logical_not(np.isfinite(scores).all(axis=1))


def seed_means(scores: Float[np.ndarray, "P S"]) -> Float[np.ndarray, " P"]:
    """Mean over seeds, with failed proposals strictly worse than the worst that did not fail.

    All zero when every proposal failed.
    """
    bad = failed(scores)
    if bad.all():
        return np.zeros(len(scores))
    means = np.where(bad, 0.0, np.where(bad[:, None], 0.0, scores).mean(axis=1))
    worst, gap = means[~bad].min(), means[~bad].std()
    if np.ptp(means[~bad]) == 0:
        gap = max(1.0, abs(worst))
    means[bad] = min(worst - gap, np.nextafter(worst, -np.inf))  # rounding may remove the gap
    return means


def centered_ranks(values: Float[np.ndarray, " P"]) -> Float[np.ndarray, " P"]:
    """Ranks in [-0.5, 0.5], best highest, ties averaged: ``(#below + (#equal - 1) / 2) / (P - 1) - 1/2``."""
    below = (values[None, :] < values[:, None]).sum(axis=1)
    equal = (values[None, :] == values[:, None]).sum(axis=1)
    return (below + (equal - 1) / 2) / (len(values) - 1) - 0.5


def z_scores(values: Float[np.ndarray, " P"]) -> Float[np.ndarray, " P"]:
    """``(x - mean) / std`` with the population's own standard deviation; all zero when all are equal.

    Rounded to ten decimals, so that scores that are mathematically equal are also equal in floating point, at
    any scale.
    """
    if np.ptp(values) == 0:
        return np.zeros(len(values))
    return np.round((values - values.mean()) / values.std(), 10)


def task_average(
    scores: Scores,
    normalization: TaskNormalization,
    references: Mapping[str, float | None],
) -> Float[np.ndarray, " P"]:
    """Steps 1 to 4 of the module's docstring: one number per proposal, comparable over tasks.

    Args:
        scores: ``{task: [P, S]}``.
        normalization: "z_score", "rank", "reference" or "none".
        references: reference return per task, read by "reference" only. Scores are divided by its absolute
            value, because a negative one (Pendulum, Acrobot) must not reverse the order.
    """
    columns = []
    for task in sorted(scores):
        means = seed_means(scores[task])
        if normalization == "z_score":
            means = z_scores(means)
        elif normalization == "rank":
            means = centered_ranks(means)
        elif normalization == "reference":
            means = means / abs(_reference(task, references))
        columns.append(means)
    return np.mean(columns, axis=0)


def _reference(task: str, references: Mapping[str, float | None]) -> float:
    """The reference return of `task`."""
    value = references.get(task)
    if not value:
        raise BadInput(f"task {task!r} has no reference return to divide by; give it, or use z_score or rank")
    return value


def pairwise_signs(scores: Scores) -> Float[np.ndarray, " P"]:
    """1 for the winner of each antithetic pair (i, i + P/2), 0 for the loser, 0.5 each for a tie.

    Pairs are compared per task and seed, then averaged over seeds and tasks, so the scale of a task or level
    has no influence. A proposal that failed on a task loses there on every seed; two failures tie.
    """
    columns = []
    for task in sorted(scores):
        score = np.where(failed(scores[task])[:, None], -np.inf, scores[task])
        plus, minus = np.split(score, 2)
        wins = ((plus > minus) + 0.5 * (plus == minus)).mean(axis=1)
        columns.append(np.concatenate([wins, 1.0 - wins]))
    return np.mean(columns, axis=0)


def utilities(
    scores: Scores, config: ESConfig, references: Mapping[str, float | None]
) -> Float[np.ndarray, " P"]:
    """The utilities that the strategy of the resolved `config` maximizes.

    Strategies that use only the order get centered ranks. Random search compares proposals of different
    generations, so it gets the averages themselves, and -inf for a proposal that failed on any task: a score
    relative to the worst of its generation could not be compared.
    """
    if config.shaping == "pairwise_sign":
        return pairwise_signs(scores)
    assert config.task_normalization is not None, "the config must be resolved"
    average = task_average(scores, config.task_normalization, references)
    if config.facts.reads == "best":
        anywhere = np.any([failed(task_scores) for task_scores in scores.values()], axis=0)
        return np.where(anywhere, -np.inf, average)
    if config.facts.reads == "order" or config.shaping == "centered_rank":
        return centered_ranks(average)
    return z_scores(average) if config.shaping == "z_score" else average
