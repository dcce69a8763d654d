"""Early stopping: which candidates of a search need no more seeds.

Scores are ``[P, n]``, candidates in rows and common seeds in columns. There are two ways:

* Racing: after more and more seeds, drop candidates that are clearly worse. It bounds the probability of
  dropping the best candidate.
* Successive halving: drop a fixed share at fixed times. It bounds the cost; benchmarks/races.py bounds the
  probability of dropping the best candidate.
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
    """Which candidates ``[P]`` need no more seeds, given the scores ``[P, n]`` of those that still run.

    Each is compared seed by seed, in a one-sided paired t-test (racing: Maron and Moore 1997):

    * "best": with the leader, which has the highest mean, at level error / (looks (initial - 1)). If
      differences are normal, the truly best candidate is dropped with probability at most `error`: this
      requires an error in one of `looks` tests against one of `initial` - 1 others (Bonferroni; choosing the
      leader by its scores does not matter, because every possible leader is counted).
    * "field": with the field's median on each seed, at level error / looks, for any number of candidates. A
      candidate whose mean is at least the field's, so also the best, is dropped with probability at most
      about `error` (differences from a median are only nearly normal). As the field shrinks, its median
      rises.

    With one seed no candidate is dropped. If all differences are equal, as with capped returns, the t-test is
    undefined: a candidate that is worse by the same amount on at least three seeds is dropped, one that
    equals the leader is not. A candidate with a failed (non-finite) score is dropped at once if another has
    none: failed candidates rank below all others, and no further seed changes that. If all candidates have
    failed, none is dropped. The guarantees hold for candidates that do not fail.

    Args:
        scores: complete, one row per candidate that is still running.
        error: probability, over all looks, of dropping the best (see above).
        looks: total number of looks.
        initial: number of candidates at the start of the race.
        against: what a candidate is compared with.
    """
    scores = np.asarray(scores, np.float64)
    if scores.ndim != 2:
        raise BadInput(f"scores must have shape [candidates, seeds], not {list(scores.shape)}")
    if not 0 < error < 1:
        raise BadInput(f"the probability of an error must lie between 0 and 1, not {error}")
    if looks < 1 or initial < len(scores):
        raise BadInput(f"{looks} looks at {len(scores)} of {initial} candidates are impossible")
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
    """Numbers of seeds at which candidates are compared: `first`, `first` * `factor` ..., and `total`."""
    if not 1 <= first <= total or factor < 2:
        raise BadInput(f"looks need 1 <= first <= total and factor >= 2, not {first}, {total} and {factor}")
    looks = []
    while first < total:
        looks.append(first)
        first *= factor
    return [*looks, total]


def filled(scores: Real[np.ndarray, "P n"]) -> Float[np.ndarray, "P n"]:
    """Fill in missing scores (NaN) of ``[P, n]``, so that candidates that ran on different seeds are
    comparable.

    Means over different seeds are not comparable, because some seeds are easier. In an additive model,
    x[i, s] = a_i + b_s, the missing score is mean_c(x[i, c] - field[c]) + field[s], over candidate i's own
    seeds c, where field[c] is the mean over the candidates that ran on all seeds. Those keep their scores bit
    for bit.
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
    """Indices of the `keep` best of scores ``[P]``, best first; ties by index, failures last."""
    scores = vector(scores)
    if not 1 <= keep <= scores.size:
        raise BadInput(f"{keep} of {scores.size} candidates cannot be kept; keep at least one")
    return np.argsort(-np.where(np.isfinite(scores), scores, -np.inf), kind="stable")[:keep]


def halving_schedule(candidates: int, rungs: int, eta: int = 3) -> list[tuple[float, int]]:
    """(share of the full training, candidates trained so far) for each rung of successive halving.

    Rung r of R has floor(P / eta^r) candidates, each trained for the share eta^(r - R + 1) of the whole,
    counted from its start (Jamieson and Talwalkar 2016; Li et al. 2018). So all rungs cost about the same,
    and the last one is a full training.
    """
    if rungs < 1 or eta < 2 or candidates < eta ** (rungs - 1):
        raise BadInput(
            f"{rungs} rungs that keep one in {eta} need {rungs} >= 1, {eta} >= 2, and at least "
            f"eta^(rungs - 1) candidates, not {candidates}"
        )
    return [(float(eta) ** (rung - rungs + 1), candidates // eta**rung) for rung in range(rungs)]
