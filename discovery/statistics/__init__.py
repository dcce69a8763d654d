"""Statistics of scores, with uncertainty over seeds, tasks and time.

* `samples`: one sample of scores: mean, IQM, median and their intervals
* `curves`: learning curves
* `across`: several tasks
* `significance`: tests, and how many seeds they need
* `sequential`: early stopping
* `text`: intervals as text

There is one score per training seed, and higher is better. All functions are deterministic: resamples are
drawn from a constant seed, so equal scores, in any order, give equal intervals.

A non-finite score is a failed training. No function skips one silently: `settle_failures` decides how they
count, and `Interval.failed` keeps their number.
"""

from discovery.statistics.across import (
    AGGREGATES,
    Aggregate,
    Scores,
    aggregate,
    aggregate_difference,
    normalized,
    performance_profile,
    probability_of_improvement,
)
from discovery.statistics.curves import (
    Band,
    Reached,
    area_under_curve,
    band,
    carry_forward,
    reached,
    steps_to_threshold,
)
from discovery.statistics.samples import (
    Failures,
    Interval,
    Method,
    Statistic,
    apart,
    interval,
    iqm,
    mean,
    median,
    paired_difference,
    settle_failures,
)
from discovery.statistics.sequential import (
    Against,
    clearly_worse,
    filled,
    halving_schedule,
    race_looks,
    survivors,
)
from discovery.statistics.significance import holm, paired_p_value, seeds_needed
from discovery.statistics.text import interval_text, interval_with_failures, rounded

__all__ = [
    "AGGREGATES",
    "Against",
    "Aggregate",
    "Band",
    "Failures",
    "Interval",
    "Method",
    "Reached",
    "Scores",
    "Statistic",
    "aggregate",
    "aggregate_difference",
    "apart",
    "area_under_curve",
    "band",
    "carry_forward",
    "clearly_worse",
    "filled",
    "halving_schedule",
    "holm",
    "interval",
    "interval_text",
    "interval_with_failures",
    "iqm",
    "mean",
    "median",
    "normalized",
    "paired_difference",
    "paired_p_value",
    "performance_profile",
    "probability_of_improvement",
    "race_looks",
    "reached",
    "rounded",
    "seeds_needed",
    "settle_failures",
    "steps_to_threshold",
    "survivors",
]
