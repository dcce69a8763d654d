"""95% intervals enclose a simulated truth in 93 to 97% of experiments."""

import numpy as np
import pytest

from benchmarks.coverage import KINDS, coverage

SEEDS = 30
CASES = [
    (kind, shape, tasks)
    for kind in KINDS
    for shape in ("normal", "two modes", "skewed")
    for tasks in (1, 5)
    # Intervals are of one task; steps of 1/30 decide for profiles of one, which test_across.py has exactly.
    if (tasks == 1 or not kind.startswith("interval")) and (tasks == 5 or not kind.startswith("profile"))
]


def check(kind, shape, tasks, simulations):
    """Three Monte Carlo errors are allowed on either side."""
    share = coverage(kind, shape, tasks, SEEDS, simulations)
    tolerance = 3 * np.sqrt(0.95 * 0.05 / simulations)
    assert 0.93 - tolerance <= share <= 0.97 + tolerance


@pytest.mark.parametrize(
    ("kind", "shape", "tasks", "simulations"),
    [
        ("interval mean", "skewed", 1, 400),
        ("interval iqm", "two modes", 1, 400),
        ("aggregate median", "two modes", 5, 400),
        ("aggregate iqm", "skewed", 5, 100),
        ("difference mean", "two modes", 5, 400),
        ("profile 0.8", "two modes", 5, 400),
    ],
)
def test_some_intervals_cover(kind, shape, tasks, simulations):
    check(kind, shape, tasks, simulations)


def test_improvement_over_common_seeds_is_not_covered_too_often():
    """Resampled independently, it would be covered in all of these experiments."""
    assert 0.91 < coverage("improvement paired 0.7", "normal", 1, SEEDS, 150) < 0.98


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "shape", "tasks"), CASES)
def test_all_intervals_cover(kind, shape, tasks):
    """`python -m benchmarks.coverage` simulates five times as many experiments, of 64 seeds too."""
    check(kind, shape, tasks, 1000)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "tasks"), [("interval mean", 1), ("aggregate mean", 5), ("interval iqm", 1)]
)
def test_intervals_of_means_cover_without_any_tolerance(kind, tasks):
    """5,000 experiments know the coverage to 0.3%, so the limits are the promised ones."""
    assert 0.93 <= coverage(kind, "skewed", tasks, SEEDS, 5000) <= 0.97
