"""Tuning the constants of the best programs by an evolution strategy, all of them at once.

Each survivor has a mean of its constants, and samples around it, c exp(sigma z) with z ~ N(0, 1): constants
keep their signs, and change by shares of themselves. When L samples are scored, the better half is
recombined,

    m <- m exp(sigma sum_i w_i z_(i)),   w_i ~ log(L/2 + 1/2) - log(i),

and the new mean is scored as a program of its own. Sigma shrinks from update to update.

Source: the (mu/mu_w, lambda) strategy of Hansen 2016, arXiv 1604.00772, section 2, with a fixed schedule.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int32, Int64

from discovery.core.config.generations import TaskNormalization
from discovery.meta.evolution.shaping import task_average
from discovery.meta.programs.genome import Genome

SIGMA, DECAY = 0.3, 0.85
"""Sigma in the first update, and its factor from update to update."""


class Tuning(NamedTuple):
    """The state of the strategies, one for each of N survivors.

    Attributes:
        born: int64 ``[N]``, number of the proposal that is tuned; -1 without one.
        mean: float64 ``[N, C]``, logarithms of the factors on its constants.
        updates: int32 ``[N]``.
        announced: int32 ``[N]``, updates whose mean was proposed.
        counted: int32 ``[N]``, samples that were scored since the last update.
        noise: float64 ``[N, L, C]``, z of these.
        scores: float64 ``[N, L, T]``, NaN for a failure.
    """

    born: Int64[np.ndarray, " N"]
    mean: Float[np.ndarray, "N C"]
    updates: Int32[np.ndarray, " N"]
    announced: Int32[np.ndarray, " N"]
    counted: Int32[np.ndarray, " N"]
    noise: Float[np.ndarray, "N L C"]
    scores: Float[np.ndarray, "N L T"]

    def sigma(self, survivor: int) -> float:
        """The current standard deviation."""
        return SIGMA * DECAY ** int(self.updates[survivor])

    def add(
        self,
        survivor: int,
        noise: Float[np.ndarray, " C"],
        scores: Float[np.ndarray, " T"],
        normalization: TaskNormalization,
        references: Mapping[str, float | None],
    ) -> None:
        """Take the scores of a sample; update the mean when there are L."""
        place = int(self.counted[survivor])
        self.noise[survivor, place], self.scores[survivor, place] = noise, scores
        self.counted[survivor] += 1
        length = self.noise.shape[1]
        if self.counted[survivor] < length:
            return
        self.counted[survivor] = 0
        sound = np.flatnonzero(np.isfinite(self.scores[survivor]).all(axis=1))
        if len(sound) < 2:  # nothing can be learned of these
            return
        columns = dict(zip(references, self.scores[survivor, sound].T[:, :, None], strict=True))
        merit = task_average(columns, normalization, references)
        best = sound[np.argsort(-merit, kind="stable")[: max(1, length // 2)]]
        weights = np.log(length / 2 + 0.5) - np.log(np.arange(1, len(best) + 1))
        step = weights / weights.sum() @ self.noise[survivor, best]
        self.mean[survivor] += self.sigma(survivor) * step
        self.updates[survivor] += 1


def nothing_tuned(survivors: int, constants: int, length: int, tasks: int) -> Tuning:
    """No strategy yet."""
    counts = {name: np.zeros(survivors, np.int32) for name in ("updates", "announced", "counted")}
    return Tuning(
        born=np.full(survivors, -1, np.int64),
        mean=np.zeros((survivors, constants)),
        noise=np.zeros((survivors, length, constants)),
        scores=np.zeros((survivors, length, tasks)),
        **counts,
    )


def n_constants(genome: Genome) -> int:
    """Number of constants of all programs."""
    return sum(len(program.constants) for program in genome.programs.values())


def with_factors(genome: Genome, logs: Float[np.ndarray, " C"]) -> Genome:
    """The genome with its constants multiplied by the exponentials of `logs`, slot after slot."""
    left, programs = np.exp(np.clip(logs, -20, 20)), {}
    for slot, program in genome.programs.items():
        n = len(program.constants)
        programs[slot] = program.with_constants((np.asarray(program.constants) * left[:n]).tolist())
        left = left[n:]
    return genome._replace(programs=programs)
