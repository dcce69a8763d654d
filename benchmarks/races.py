"""A race on simulated scores, and a bound for successive halving: the decisions of a search without
trainings.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import ArrayLike
from scipy import special

from discovery.core.errors import BadInput
from discovery.statistics import Against, clearly_worse, race_looks

Draw = Callable[[Int[np.ndarray, " A"], Int[np.ndarray, " C"]], Float[np.ndarray, "A C"]]
"""The scores ``[A, C]`` of candidates ``[A]`` on seeds ``[C]``, both given by index."""


class Race(NamedTuple):
    """How a race of P candidates over n seeds ended.

    Attributes:
        survivors: candidates that were never dropped, ascending.
        spent: number of seeds of each candidate.
        scores: NaN where a candidate was not run; see `filled`.
    """

    survivors: Int[np.ndarray, " A"]
    spent: Int[np.ndarray, " P"]
    scores: Float[np.ndarray, "P n"]


def race(
    draw: Draw,
    candidates: int,
    first: int,
    total: int,
    error: float,
    against: Against = "best",
    factor: int = 2,
) -> Race:
    """Run candidates on common seeds, dropping those that are `clearly_worse` at each of `race_looks`.

    At the last look, with all seeds used, no candidate is dropped. A single survivor still gets all seeds, so
    that its score is as accurate as another's.

    Args:
        draw: gives the scores of candidates on seeds.
        candidates: P, how many there are.
        first: number of seeds at the first look; with fewer than 4 hardly any candidate is dropped.
        total: number of seeds of candidates that are never dropped.
        error: probability of dropping the best one, see `clearly_worse`.
        against: what a candidate is compared with.
        factor: from one look to the next, the number of seeds grows by this.
    """
    ends = race_looks(first, total, factor)
    scores = np.full((candidates, total), np.nan)
    spent = np.zeros(candidates, int)
    alive = np.arange(candidates)
    for begin, end in zip([0, *ends], ends, strict=False):
        scores[alive, begin:end] = draw(alive, np.arange(begin, end))
        spent[alive] = end
        if end < total:
            alive = alive[~clearly_worse(scores[alive, :end], error, len(ends) - 1, candidates, against)]
    return Race(alive, spent, scores)


def halving_loss_bound(gaps: ArrayLike, deviation: float, seeds: int, keep: ArrayLike) -> float:
    """Upper bound on the probability that successive halving drops the best of P candidates.

    Rung r keeps the `keep`[r] candidates with the best scores. A score is the mean of `seeds` independent
    normal ones. The j-th other candidate, whose true score there is lower by gap_rj, beats the best with
    probability Phi(-gap_rj sqrt(seeds) / (deviation sqrt(2))), because the difference of two means has the
    standard deviation deviation sqrt(2 / seeds). The best is dropped at rung r if N_r >= keep_r of the
    remaining candidates beat it. By Markov's inequality P(N_r >= keep_r) <= E[N_r] / keep_r, and E[N_r] is at
    most the sum of those probabilities over all others, for any dependence between them. The probability of
    dropping it at any rung is at most the sum over rungs (union bound):

        min(1, sum_r sum_j Phi(-gap_rj sqrt(seeds) / (deviation sqrt(2))) / keep_r).

    The best is the candidate with the best final score. A gap is negative at a rung where another candidate
    is ahead, for example because it learns faster at first. So the bound requires knowing how curves cross.

    Args:
        gaps: ``[P - 1]`` from the best to each other, the same at all rungs, or ``[R, P - 1]``.
        deviation: standard deviation of one seed's score around its candidate's true score.
        seeds: number of seeds over which a score is averaged.
        keep: ``[R]`` numbers of candidates that are kept at the R rungs that drop some; or one number for one
            rung. For a `halving_schedule` these are its numbers from the second on.
    """
    gaps, keep = np.asarray(gaps, np.float64), np.atleast_1d(np.asarray(keep))
    if keep.ndim != 1 or gaps.ndim not in (1, 2) or (gaps.ndim == 2 and len(gaps) != len(keep)):
        raise BadInput(
            f"gaps must have shape [P - 1] or [R, P - 1] for R numbers to keep, not {list(gaps.shape)} for "
            f"{list(keep.shape)}"
        )
    if not np.isfinite(gaps).all():
        raise BadInput("gaps, the best candidate's lead over the others, must be finite")
    if not (np.isfinite(deviation) and deviation > 0) or seeds < 1 or not keep.size or keep.min() < 1:
        raise BadInput(
            f"need a positive deviation, a seed and a candidate to keep, not {deviation}, {seeds} and "
            f"{keep.tolist()}"
        )
    beaten = special.ndtr(-gaps * np.sqrt(seeds) / (deviation * np.sqrt(2))).sum(-1)
    return float(min(1.0, (beaten / keep).sum()))
