"""From scores to utilities: what an evolution strategy maximizes.

Scores of one generation arrive as ``{task: [P, S]}``, one per proposal and seed, and leave as
utilities ``[P]``, in float64 numpy:

1. *Failures.* A proposal with any non-finite seed on a task failed there. Averaging over the seeds
   that survived would reward an objective for hiding its divergences.
2. *Seeds.* Mean over the seeds of a task.
3. *Failures again.* A failed proposal scores one standard deviation below the worst that did not
   fail (where those are all equal: by their size, at least 1). A task on which all failed tells
   nothing, and everyone gets 0 for it.
4. *Tasks.* Each task is normalized, then tasks are averaged with equal weights.
5. *Shaping.* The averages become utilities.

`pairwise_sign` replaces steps 2 to 5: it compares within each pair, per task and seed.
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
    """Which proposals have a non-finite seed."""
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
    means[bad] = min(worst - gap, np.nextafter(worst, -np.inf))  # where the gap vanishes in rounding
    return means


def centered_ranks(values: Float[np.ndarray, " P"]) -> Float[np.ndarray, " P"]:
    """Ranks in [-0.5, 0.5], best highest, ties averaged: ``(#below + (#equal - 1) / 2) / (P - 1) - 1/2``."""
    below = (values[None, :] < values[:, None]).sum(axis=1)
    equal = (values[None, :] == values[:, None]).sum(axis=1)
    return (below + (equal - 1) / 2) / (len(values) - 1) - 0.5


def z_scores(values: Float[np.ndarray, " P"]) -> Float[np.ndarray, " P"]:
    """``(x - mean) / std`` with the population's own standard deviation; all zero when all are equal.

    Rounded to ten decimals, so that proposals that tie on paper tie in floating point, whatever
    the scale of the scores.
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
        references: reference return per task, read by "reference" only. Its absolute value divides,
            since a negative one (Pendulum, Acrobot) must not turn the order around.
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
    """The reference return of `task`, which must be there."""
    value = references.get(task)
    if not value:
        raise BadInput(f"task {task!r} has no reference return to divide by; give it, or use z_score or rank")
    return value


def pairwise_signs(scores: Scores) -> Float[np.ndarray, " P"]:
    """1 for the winner of each antithetic pair (i, i + P/2), 0 for the loser, 0.5 each for a tie.

    Compared per task and seed, which a pair shares, then averaged over seeds and tasks: the scale
    of a task or level has no influence. A proposal that failed on a task loses there on every seed;
    two failures tie.
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
    """What the strategy of `config` (resolved) maximizes.

    Strategies that read only the order get centered ranks. Random search, which compares across
    generations, gets the averages themselves, and -inf for a proposal that failed anywhere: how
    bad "worst of its generation" is depends on the generation.
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
