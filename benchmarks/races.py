"""A race on scores that are drawn, and what successive halving may lose: the decisions of a search, alone."""

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
        survivors: those never dropped, ascending.
        spent: seeds spent on each candidate.
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

    At the last look, with all seeds spent, nobody is dropped. A single survivor still gets all seeds, so
    that its score is worth as much as another's.

    Args:
        draw: gives the scores of candidates on seeds.
        candidates: P, how many there are.
        first: number of seeds at the first look; with fewer than 4 hardly anything is clear.
        total: number of seeds of those never dropped.
        error: probability of losing the best one, see `clearly_worse`.
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
    """Upper bound on the probability that successive halving loses the best of P candidates.

    Rung r keeps the `keep`[r] best by their scores, means over `seeds` independent normal ones of that
    deviation. The j-th other candidate, whose true score there is lower by gap_rj, beats the best with
    probability Phi(-gap_rj sqrt(seeds) / (deviation sqrt(2))), as the difference of two means has the
    deviation deviation sqrt(2 / seeds). The best is lost at rung r when N_r >= keep_r of those that came so
    far beat it; by Markov's inequality P(N_r >= keep_r) <= E[N_r] / keep_r, and E[N_r] is at most the sum of
    those probabilities over all others, however they depend on one another. It is lost at all with at most
    the sum over rungs, however these depend on one another (union bound):

        min(1, sum_r sum_j Phi(-gap_rj sqrt(seeds) / (deviation sqrt(2))) / keep_r).

    The best is the one to be kept, whoever leads at a rung: a gap is negative where another is ahead of it
    there, as one that learns faster at first. So nothing is promised without knowing how curves cross.

    Args:
        gaps: ``[P - 1]`` from the best to each other, the same at all rungs, or ``[R, P - 1]``.
        deviation: standard deviation of one seed's score around its candidate's true score.
        seeds: number of seeds that a score is the mean of.
        keep: ``[R]`` numbers of candidates that are kept at the R rungs where some are left; or one, of one
            rung. For a `halving_schedule` those are its numbers from the second on.
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
