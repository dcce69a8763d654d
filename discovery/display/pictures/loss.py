"""The LPO picture of an algorithm: its drift and the slope of its objective, beside known ones."""

import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure

from discovery.core.errors import BadInput
from discovery.core.jobs import AlgorithmSpec
from discovery.display.pictures.drift import drift_picture
from discovery.results.learned import Learned
from discovery.results.objective import Objective, is_temporal, objective_in, objective_of
from objectives import family_of

FRACTIONS = (0.0, 0.33, 0.67, 0.99)
"""Points of a training at which a temporally-aware objective is drawn."""

LOG_RATIO = np.linspace(-1.2, 1.2, 121)
ADVANTAGE = np.linspace(-2.5, 2.5, 101)
"""What the LPO picture shows: ratios of 0.3 to 3.3, and all but 1% of standardized advantages."""


def loss_picture(found: Learned) -> Figure:
    """The LPO picture beside the family's baselines.

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
    shown += [(known, 0.0, name.upper()) for name in baselines if (known := _known(name, found))]
    panels = [(title, *_heat(one, fraction)) for one, fraction, title in shown]
    return drift_picture(LOG_RATIO, ADVANTAGE, panels)


def _heat(objective: Objective, fraction: float) -> tuple[np.ndarray, np.ndarray]:
    """Drift and slope on the grid, each ``[A, R]``."""
    log_ratio, advantage = jnp.asarray(LOG_RATIO), jnp.asarray(ADVANTAGE)[:, None]
    drift, slope = (f(log_ratio, advantage, fraction) for f in (objective.drift, objective.slope))
    return np.asarray(drift), np.asarray(slope)


def _known(name: str, found: Learned) -> Objective | None:
    """A known algorithm's objective under the same recipe; None if it does not read one of its numbers."""
    try:
        return objective_of(AlgorithmSpec(name), numbers=found.numbers)
    except BadInput:
        return None
