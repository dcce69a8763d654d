"""95% intervals enclose a simulated truth in 93 to 97% of experiments."""

import numpy as np
import pytest

from benchmarks.coverage import KINDS, SIZES, coverage

CASES = [
    (kind, shape, tasks, n)
    for kind in KINDS
    for shape in ("normal", "two modes", "skewed")
    for tasks, n in SIZES
    if tasks == 1 or not kind.startswith("interval")
    # Steps of 1/30 decide there; test_across.py has it exactly.
    if not (kind.startswith("profile") and (tasks, n) == (1, 30))
]


def check(kind, shape, tasks, n, simulations):
    """Three Monte Carlo errors are allowed on either side."""
    share, tolerance = coverage(kind, shape, tasks, n, simulations), 3 * np.sqrt(0.95 * 0.05 / simulations)
    print(f"{kind}, {shape}, {tasks} tasks, {n} seeds: {100 * share:.1f}%")
    assert 0.93 - tolerance <= share <= 0.97 + tolerance


@pytest.mark.parametrize(
    ("kind", "shape", "n", "simulations"),
    [
        ("aggregate median", "two modes", 30, 400),
        ("aggregate iqm", "skewed", 30, 100),
        ("difference mean", "two modes", 30, 400),
        ("profile 0.8", "two modes", 30, 400),
    ],
)
def test_intervals_over_five_tasks_cover(kind, shape, n, simulations):
    check(kind, shape, 5, n, simulations)


def test_improvement_over_common_seeds_is_not_covered_too_often():
    """Resampled independently, it would be covered in all of these experiments."""
    assert 0.91 < coverage("improvement paired 0.7", "normal", 1, 30, 300) < 0.98


def test_the_median_of_tasks_that_coincide_is_covered_too_often():
    """Within two standard errors of one another, it errs on the careful side."""
    assert coverage("aggregate median", "normal", 5, 30, 300, 0.0) > 0.95


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "shape", "tasks", "n"), [case for case in CASES if case[3] == 30])
def test_all_intervals_cover(kind, shape, tasks, n):
    """`python -m benchmarks.coverage` simulates five times as many experiments, of 64 seeds too."""
    check(kind, shape, tasks, n, 1000)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "tasks"), [("interval mean", 1), ("aggregate mean", 5), ("interval iqm", 1)]
)
def test_intervals_of_means_cover_without_any_tolerance(kind, tasks):
    """5,000 experiments know the coverage to 0.3%, so the limits are the promised ones."""
    assert 0.93 <= coverage(kind, "skewed", tasks, 30, 5000) <= 0.97
