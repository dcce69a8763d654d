# pyright: reportArgumentType=false
"""What cannot be computed is refused, and what is wrong with it is named."""

import numpy as np
import pytest

from discovery import statistics as st
from discovery.core.errors import BadInput

NAN, INF = np.nan, np.inf
TWO, ONE = {"a": [1.0, 2.0]}, {"a": [1.0]}
TABLE = np.zeros((3, 3))


@pytest.mark.parametrize(
    ("ask", "word"),
    [
        (lambda: st.iqm([1.0, NAN]), "1 of 2"),
        (lambda: st.median([[1.0, 2.0]]), r"\[1, 2\]"),
        (lambda: st.settle_failures([1.0, NAN], "dorp"), "drop"),
        (lambda: st.settle_failures([1.0, NAN], NAN), "finite"),
        (lambda: st.interval([]), "no scores"),
        (lambda: st.interval([1.0, 2.0], level=95), "95"),
        (lambda: st.interval([1.0, 2.0], "iqr"), "iqm"),
        (lambda: st.interval([1.0, 2.0], "median", method="bca"), "ranks"),
        (lambda: st.interval([1.0, NAN]), "1 of 2"),
        (lambda: st.paired_difference([1.0, NAN], [INF, 2.0]), "2 of 2"),
        (lambda: st.paired_difference([1.0, 2.0], [1.0]), "2 and 1 scores"),
        (lambda: st.normalized([1.0], 1.0, 1.0), "scale"),
        (lambda: st.aggregate({}, "mean"), "no tasks"),
        (lambda: st.aggregate({"a": []}, "mean"), "'a'"),
        (lambda: st.aggregate({"a": [1.0, NAN]}, "mean"), "1 of 2 .* 'a'"),
        (lambda: st.aggregate(TWO, "iqr"), "iqm"),
        (lambda: st.aggregate(TWO, "mean", 95), "95"),
        (lambda: st.aggregate_difference(TWO, {**TWO, "b": [1.0, 2.0]}, "mean"), "'b'"),
        (lambda: st.aggregate_difference(TWO, ONE, "mean"), "2 and 1 .* 'a'"),
        (lambda: st.probability_of_improvement(TWO, ONE, paired=True), "2 and 1 .* 'a'"),
        (lambda: st.performance_profile(TWO, [NAN]), "finite"),
        (lambda: st.band(np.zeros(3)), r"\[3\]"),
        (lambda: st.steps_to_threshold(TABLE, np.array([1, 2]), 0.0), "3"),
        (lambda: st.steps_to_threshold(TABLE, np.array([1, 3, 2]), 0.0), "increase"),
        (lambda: st.steps_to_threshold(TABLE, np.array([1, 2, 3]), NAN), "threshold"),
        (lambda: st.reached([]), "per training"),
        (lambda: st.reached([1.0, NAN]), "per training"),
        (lambda: st.paired_p_value([1.0, 2.0], [1.0]), "2 and 1"),
        (lambda: st.paired_p_value([1.0, NAN], [1.0, 2.0]), "settle"),
        (lambda: st.paired_p_value([], []), "0 and 0"),
        (lambda: st.holm([1.1]), "between 0 and 1"),
        (lambda: st.holm([-0.1]), "between 0 and 1"),
        (lambda: st.holm([NAN]), "between 0 and 1"),
        (lambda: st.seeds_needed(0.0, 1.0), "difference of 0"),
        (lambda: st.seeds_needed(1.0, 0.0), "deviation"),
        (lambda: st.seeds_needed(1e-9, 1.0), "10"),
        (lambda: st.clearly_worse(np.zeros(3), 0.05, 1, 3), r"\[3\]"),
        (lambda: st.clearly_worse(TABLE, 5, 1, 3), "5"),
        (lambda: st.clearly_worse(TABLE, 0.05, 1, 2), "3 of 2"),
        (lambda: st.clearly_worse(TABLE, 0.05, 1, 3, "bst"), "best"),
        (lambda: st.filled(np.array([[1.0, NAN], [NAN, 1.0]])), "all seeds"),
        (lambda: st.filled(np.array([[1.0, 1.0], [NAN, NAN]])), "one seed"),
        (lambda: st.filled(np.array([[1.0, INF]])), "infinite"),
        *((lambda look=look: st.race_looks(*look), "first") for look in ((0, 4), (5, 4), (2, 8, 1))),
        *((lambda keep=keep: st.survivors([1.0, 2.0], keep), "kept") for keep in (0, 3)),
        *((lambda rungs=rungs: st.halving_schedule(*rungs), "rungs") for rungs in ((8, 3, 3), (8, 0, 2))),
    ],
)
def test_it_is_refused(ask, word):
    with pytest.raises(BadInput, match=word):
        ask()
