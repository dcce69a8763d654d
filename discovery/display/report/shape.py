"""The found objective in numbers: whether it is a drift, its values by quadrant, and its distance to known
drifts.

Everything is computed on the grid of the picture (`discovery.display.pictures.loss`), log-ratios ``[R]`` and
advantages ``[A]``; all cells have the same weight.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float

from discovery.display.pictures.loss import ADVANTAGE, FRACTIONS, LOG_RATIO, Grids, grids, known_objective
from discovery.display.report.formula import Formula, drift_options, formula_of
from discovery.results.loaded import RunData
from discovery.results.objective import Objective, drift_and_slope, is_temporal, objective_of
from objectives import family_of

KNOWN = ("ppo", "dpo", "ppo_kl", "policy_gradient")
"""Known drifts to which the found objective is compared."""

TOLERANCE = 1e-6
"""Values below this count as zero."""

QUADRANTS = {
    "A > 0, r > 1": (1, 1),
    "A > 0, r < 1": (1, -1),
    "A < 0, r > 1": (-1, 1),
    "A < 0, r < 1": (-1, -1),
}


@dataclass(frozen=True)
class Quadrant:
    """Properties of objectives in a quadrant, by name ("found", and its family's baselines).

    Attributes:
        name: which quadrant.
        drift: mean of the drift there.
        rising: share of grid steps away from r = 1 on which the drift does not fall.
        halted: share of cells whose slope d(r A - f)/dr is zero or has the opposite sign of the advantage.
    """

    name: str
    drift: Mapping[str, float]
    rising: Mapping[str, float]
    halted: Mapping[str, float]


@dataclass(frozen=True)
class Distance:
    """Distance to a known drift: root mean square of the differences in drift, and in slope."""

    algorithm: str
    drift: float
    slope: float


@dataclass(frozen=True)
class Shape:
    """The objective at one point of a training.

    Attributes:
        fraction: n/N; None if the objective does not change over a training.
        at_one: largest abs(f(1, A)); it is 0 for a drift.
        slope_at_one: largest abs(df/dr) at r = 1; it is 0 for a drift, which so begins as the policy
            gradient.
        least, largest: smallest and largest drift; a drift has no negative value.
        zero: share of the grid on which the drift is zero.
        is_drift: whether the three conditions hold on this grid.
        quadrants: all four.
        distances: nearest known drift first.
    """

    fraction: float | None
    at_one: float
    slope_at_one: float
    least: float
    largest: float
    zero: float
    is_drift: bool
    quadrants: tuple[Quadrant, ...]
    distances: tuple[Distance, ...]


@dataclass(frozen=True)
class Found:
    """The objective that was found.

    Attributes:
        generation: the generation whose mean it is.
        label: its name in tables.
        shapes: one; several, at different points of a training, if the objective changes over it.
        nearest: the nearest known drift, by the mean over `shapes`; None if none can be compared.
        formula: its formula, if the family has one.
        reduced: largest difference in drift, with all weights 0, from the algorithm that `formula.zero`
            names.
    """

    generation: int
    label: str
    shapes: tuple[Shape, ...]
    nearest: str | None
    formula: Formula | None
    reduced: float | None


def found_objective(run: RunData) -> Found:
    """The chosen objective in numbers.

    Raises:
        BadInput: the algorithm is not an elementwise loss, or its code is not available.
        RunError: nothing has been chosen yet.
    """
    number, objective, task = run.generation_number(), run.objective(), run.config.tasks[0]
    names = dict.fromkeys((*KNOWN, *family_of(run.spec.name).baselines))
    known = {name: one for name in names if (one := known_objective(name, task.numbers))}
    fractions = FRACTIONS if is_temporal(objective) else (None,)
    shapes = tuple(_shape(objective, known, fraction) for fraction in fractions)
    totals = dict.fromkeys(known, 0.0)
    for distance in (distance for shape in shapes for distance in shape.distances):
        totals[distance.algorithm] += distance.drift
    finite = {name: total for name, total in totals.items() if np.isfinite(total)}
    formula = formula_of(run.spec, run.meta_params(number))
    return Found(
        number,
        objective.label,
        shapes,
        min(finite, key=finite.__getitem__) if finite else None,
        formula,
        None if formula is None else _reduced(run, number, known),
    )


def _shape(objective: Objective, known: dict[str, Objective], fraction: float | None) -> Shape:
    at = fraction or 0.0
    advantage = jnp.asarray(ADVANTAGE)
    drift, slope = grids(objective, at)
    at_one = np.asarray(objective(0.0, 0.0, advantage, at) + advantage)
    slope_at_one = np.asarray(
        advantage - drift_and_slope(objective, jnp.zeros_like(advantage), advantage, at)[1]
    )
    value, gradient = (float(np.abs(values).max()) for values in (at_one, slope_at_one))
    least, largest = float(drift.min()), float(drift.max())
    legal = max(value, gradient) <= TOLERANCE * np.abs(ADVANTAGE).max() and least >= -TOLERANCE
    others = {name: grids(one, at) for name, one in known.items()}
    distances = [Distance(name, _rms(drift - f), _rms(slope - s)) for name, (f, s) in others.items()]
    baselines = family_of(objective.spec.name).baselines
    beside = {"found": (drift, slope)} | {name: others[name] for name in baselines if name in others}
    return Shape(
        fraction,
        value,
        gradient,
        least,
        largest,
        float(np.mean(np.abs(drift) <= TOLERANCE)),
        bool(legal),
        tuple(_quadrant(name, beside, *signs) for name, signs in QUADRANTS.items()),
        tuple(sorted(distances, key=lambda d: d.drift)),
    )


def _quadrant(name: str, values: Mapping[str, Grids], good: int, likelier: int) -> Quadrant:
    rows: Bool[np.ndarray, " A"] = ADVANTAGE * good > 0
    columns = np.flatnonzero(LOG_RATIO * likelier > 0)[::likelier]  # away from r = 1
    cut = {one: tuple(grid[np.ix_(rows, columns)] for grid in pair) for one, pair in values.items()}
    return Quadrant(
        name,
        {one: float(f.mean()) for one, (f, _) in cut.items()},
        {one: float(np.mean(np.diff(f, axis=1) >= -TOLERANCE)) for one, (f, _) in cut.items()},
        {one: float(np.mean(good * slope <= TOLERANCE)) for one, (_, slope) in cut.items()},
    )


def _rms(difference: Float[np.ndarray, "A R"]) -> float:
    return float(np.sqrt(np.mean(np.square(difference))))


def _reduced(run: RunData, number: int, known: dict[str, Objective]) -> float | None:
    """Largest difference in drift from PPO (if anchored) or the policy gradient, with all weights 0."""
    options = drift_options(run.spec) or {}
    other = known.get("ppo" if options.get("anchored") else "policy_gradient")
    if other is None:
        return None
    zeros = jax.tree.map(jnp.zeros_like, run.meta_params(number))
    mine = objective_of(run.spec, zeros, run.config.tasks[0].numbers)
    return float(np.abs(grids(mine, 0.0)[0] - grids(other, 0.0)[0]).max())
