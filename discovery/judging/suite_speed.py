"""How soon subjects learn the tasks of a suite, from their learning curves."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from discovery.statistics import Interval, interval, reached, steps_to_threshold

SHARE = 0.9
"""A task is learned when the learning curve first reaches this. 0 is the score of random actions and 1 that
of tuned PPO: the return at the end, or the mean return over training, as the task is scored."""


@dataclass(frozen=True)
class Speed:
    """One subject on one task.

    Attributes:
        subject, task: labels.
        reached: share of the trainings that reached `SHARE`, with its 95% interval.
        median_steps: median number of environment steps until then, to the end of a window of the curve;
            infinite if half of the trainings or more never reached it.
        area: mean area under the normalized learning curve, with its 95% interval.
    """

    subject: str
    task: str
    reached: Interval
    median_steps: float
    area: Interval

    def columns(self) -> dict[str, float]:
        """For a table that has one number in each column."""
        return {
            "reached": self.reached.estimate,
            "reached low": self.reached.low,
            "reached high": self.reached.high,
            "median steps": self.median_steps,
            "area": self.area.estimate,
            "area low": self.area.low,
            "area high": self.area.high,
        }


def speed(
    subject: str,
    task: str,
    curves: Float[np.ndarray, "S K"],
    steps: Float[np.ndarray, " K"],
    areas: Float[np.ndarray, " S"],
) -> Speed:
    """How soon the trainings of a subject learn a task.

    Args:
        subject: label.
        task: label.
        curves: normalized, 0 for random actions and 1 for tuned PPO; NaN where unknown. Those of failed
            trainings are all NaN, so these never reach `SHARE`.
        steps: environment steps at the windows' ends.
        areas: under the curves, with numbers for failures.
    """
    found = reached(steps_to_threshold(curves, steps, SHARE))
    return Speed(subject, task, found.share, found.median, interval(areas))
