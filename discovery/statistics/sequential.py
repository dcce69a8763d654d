"""Stopping early: which candidates of a search need no more seeds, and what stopping them may cost.

Scores are ``[P, n]``, candidates in rows and the same (common) seeds in columns. Two ways:

* Racing: after more and more seeds, drop what is clearly worse. It bounds the probability that the best
  candidate is lost, however the scores lie.
* Successive halving: drop a fixed share at fixed times. It bounds what is spent; benchmarks/races.py bounds
  what it may lose.
"""

from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Int, Real
from numpy.typing import ArrayLike
from scipy import special

from discovery.core.errors import BadInput, unknown
from discovery.statistics.samples import vector

Against = Literal["best", "field"]


def clearly_worse(
    scores: Real[np.ndarray, "P n"], error: float, looks: int, initial: int, against: Against = "best"
) -> Bool[np.ndarray, " P"]:
    """Which candidates ``[P]`` need no more seeds, for scores ``[P, n]`` so far of those still running.

    Each is compared seed by seed, in a one-sided paired t-test (racing: Maron and Moore 1997):

    * "best": with the leader, the one of the highest mean, at level error / (looks (initial - 1)). Under
      normal differences the truly best candidate is ever dropped with probability at most `error`: it takes
      that one of `looks` tests against one of `initial` - 1 others errs (Bonferroni; that the leader is
      picked by its scores does not matter, as every choice is counted).
    * "field": with the field's median on each seed, at level error / looks, whatever the number of
      candidates. A candidate whose mean is at least the field's is dropped with probability of about
      `error` at most (differences from a median are only nearly normal); so is the best. As the field
      shrinks, its median rises.

    With one seed nobody is out. Where all differences are equal, as on capped returns, the t-test cannot
    be made: a candidate that is worse by the same amount on at least three seeds is out, one that equals
    the leader is not. A candidate with a failed (non-finite) score is out at once when another has none,
    because one failed seed ranks it below all that do not fail, and no further seed changes that; among
    candidates that have all failed nobody is out. The guarantees are for candidates that do not fail.

    Args:
        scores: complete, one row per candidate that is still running.
        error: probability, over all looks, of dropping the best (see above).
        looks: how often one looks, all in all.
        initial: number of candidates that the race began with.
        against: what a candidate is compared with.
    """
    scores = np.asarray(scores, np.float64)
    if scores.ndim != 2:
        raise BadInput(f"scores must have shape [candidates, seeds], not {list(scores.shape)}")
    if not 0 < error < 1:
        raise BadInput(f"the probability of an error must lie between 0 and 1, not {error}")
    if looks < 1 or initial < len(scores):
        raise BadInput(f"{looks} looks at {len(scores)} of {initial} candidates cannot be")
    failed = np.array(~np.isfinite(scores).all(axis=1))
    running = scores[~failed]
    out = failed & ~failed.all()
    if scores.shape[1] < 2 or len(running) < 2:
        return out
    if against == "best":
        reference, level = running[running.mean(1).argmax()], error / (looks * (initial - 1))
    elif against == "field":
        reference, level = np.median(running, axis=0), error / looks
    else:
        raise unknown("reference of a race", against, ("best", "field"))
    out[~failed] = _below(running, reference, level)
    return out


def _below(
    scores: Float[np.ndarray, "P n"], reference: Float[np.ndarray, " n"], level: float
) -> Bool[np.ndarray, " P"]:
    """Rows whose mean difference from `reference` is below 0 in a one-sided t-test at `level`."""
    n = scores.shape[1]
    difference = scores - reference
    rounding = 1e-12 * np.maximum(np.abs(scores).max(1), np.abs(reference).max())
    center, deviation = difference.mean(1), difference.std(axis=1, ddof=1)
    constant = deviation <= rounding
    t = center * np.sqrt(n) / np.where(constant, 1.0, deviation)
    return np.where(constant, (n >= 3) & (center < -rounding), t < special.stdtrit(n - 1, level))


def race_looks(first: int, total: int, factor: int = 2) -> list[int]:
    """Numbers of seeds at which one looks: `first`, `first` * `factor` and so on, and at last `total`."""
    if not 1 <= first <= total or factor < 2:
        raise BadInput(f"looks need 1 <= first <= total and factor >= 2, not {first}, {total} and {factor}")
    looks = []
    while first < total:
        looks.append(first)
        first *= factor
    return [*looks, total]


def filled(scores: Real[np.ndarray, "P n"]) -> Float[np.ndarray, "P n"]:
    """Scores ``[P, n]`` comparable between candidates that ran on different seeds, NaN where they did not.

    A mean over the first seeds alone is not: they may be the easy ones. In an additive model, x[i, s] =
    a_i + b_s, the missing score is mean_c(x[i, c] - field[c]) + field[s], over candidate i's own seeds c,
    where field[c] is the mean over the candidates that ran on all. Those keep their scores bit for bit.
    """
    scores = np.asarray(scores, np.float64)
    if scores.ndim != 2:
        raise BadInput(f"scores must have shape [candidates, seeds], not {list(scores.shape)}")
    known = ~np.isnan(scores)
    if np.isinf(scores).any():
        raise BadInput("there are infinite scores (failed trainings); settle them first (settle_failures)")
    if not known.all(1).any() or not known.any(1).all():
        raise BadInput("filling in scores takes a candidate that ran on all seeds, and one seed of each")
    field = scores[known.all(1)].mean(0)
    own = np.where(known, scores - field, 0.0).sum(1) / known.sum(1)
    return np.where(known, scores, own[:, None] + field)


def survivors(scores: ArrayLike, keep: int) -> Int[np.ndarray, " keep"]:
    """Indices of the `keep` best of scores ``[P]``, best first; ties go by index, failures come last."""
    scores = vector(scores)
    if not 1 <= keep <= scores.size:
        raise BadInput(f"{keep} of {scores.size} candidates cannot be kept; keep at least one")
    return np.argsort(-np.where(np.isfinite(scores), scores, -np.inf), kind="stable")[:keep]


def halving_schedule(candidates: int, rungs: int, eta: int = 3) -> list[tuple[float, int]]:
    """(share of the full training, candidates trained so far) for each rung of successive halving.

    Rung r of R has floor(P / eta^r) candidates, each trained for the share eta^(r - R + 1) of the whole,
    counted from its start (Jamieson and Talwalkar 2016; Li et al. 2018). So each rung costs about as much
    as any other, and the last is a full training.
    """
    if rungs < 1 or eta < 2 or candidates < eta ** (rungs - 1):
        raise BadInput(
            f"{rungs} rungs that keep one in {eta} need {rungs} >= 1, {eta} >= 2, and at least "
            f"eta^(rungs - 1) candidates, not {candidates}"
        )
    return [(float(eta) ** (rung - rungs + 1), candidates // eta**rung) for rung in range(rungs)]
