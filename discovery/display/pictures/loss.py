"""The LPO picture of an algorithm: its drift and the slope of its objective, next to known algorithms."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure

from discovery.core.errors import BadInput
from discovery.core.jobs import AlgorithmSpec
from discovery.display.pictures.drift import drift_picture
from discovery.results.learned import Learned
from discovery.results.objective import (
    Objective,
    drift_and_slope,
    is_temporal,
    objective_in,
    objective_of,
)
from objectives import family_of

FRACTIONS = (0.0, 0.33, 0.67, 0.99)
"""Points of a training at which a temporally-aware objective is drawn."""

Grids = tuple[Float[np.ndarray, "A R"], Float[np.ndarray, "A R"]]
"""Drift and slope at advantages ``[A]`` and log-ratios ``[R]``."""

LOG_RATIO = np.linspace(-1.2, 1.2, 121)
ADVANTAGE = np.linspace(-2.5, 2.5, 101)
"""Axes of the LPO picture: ratios of 0.3 to 3.3, and all but 1% of standardized advantages."""


def loss_picture(found: Learned) -> Figure:
    """The LPO picture of an algorithm and of its family's baselines.

    A temporally-aware objective is drawn at several points of a training.

    Raises:
        BadInput: the algorithm has no elementwise policy loss.
    """
    objective = objective_in(found)
    if is_temporal(objective):
        shown = [(objective, fraction, f"{found.label}, n/N = {fraction:g}") for fraction in FRACTIONS]
    else:
        shown = [(objective, 0.0, found.label)]
    baselines = family_of(found.spec.name).baselines
    numbers = found.numbers
    shown += [(known, 0.0, name.upper()) for name in baselines if (known := known_objective(name, numbers))]
    panels = [(title, *grids(one, fraction)) for one, fraction, title in shown]
    return drift_picture(LOG_RATIO, ADVANTAGE, panels)


def grids(objective: Objective, fraction: float) -> Grids:
    """Drift and slope on the grid of the picture."""
    drift, slope = drift_and_slope(objective, LOG_RATIO, ADVANTAGE[:, None], fraction)
    return np.asarray(drift, np.float64), np.asarray(slope, np.float64)


def known_objective(name: str, numbers: Mapping[str, float]) -> Objective | None:
    """A known algorithm's objective with the numbers of a recipe; None if it does not use one of them."""
    try:
        return objective_of(AlgorithmSpec(name), numbers=numbers)
    except BadInput:
        return None
