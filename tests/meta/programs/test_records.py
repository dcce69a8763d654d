"""Scores of programs: what is luck in them by hand and by simulation, who is kept, what was seen."""

import numpy as np
import pytest

from discovery.meta.programs.records import (
    EMPTY,
    FORGOTTEN,
    HALL,
    Records,
    empty_records,
    fill_hall,
    merit_of,
    nothing_seen,
    shrunk_means,
)

ONE, TWO, NAN = {"a": None}, {"a": None, "b": None}, float("nan")


def records_of(*scorings: list, rows: int = 0) -> Records:
    """Programs 100, 101, ..., each with a list of its scorings, ``[T, S]`` each."""
    records = empty_records(rows or len(scorings), {"x": np.zeros(2)}, len(scorings[0][0]))
    for row, each in enumerate(scorings):
        first, *more = (np.asarray(scores, np.float64) for scores in each)
        sums, squares = first.sum(axis=1), (first**2).sum(axis=1)
        numbers = {
            "born": 100 + row,
            "scorings": 1,
            "seeds": first.shape[1],
            "sums": sums,
            "squares": squares,
        }
        records.put(row, {"x": np.full(2, row)}, **numbers)
        for scores in more:
            records.add_scores(100 + row, scores)
    return records


@pytest.mark.parametrize(
    ("scorings", "wanted"),
    [
        # Means 2, 6, 10, whose variance is 32/3; that of seeds is (2 + 2 + 0) / 3, and half of it luck.
        ([[[[1, 3]]], [[[5, 7]]], [[[10, 10]]]], [6 - 4 * 15 / 16, 6, 6 + 4 * 15 / 16]),
        # The variance of seeds is 4/5, luck 1/5, 2/5 and 2/5, and programs differ by 32/3 - 1/3.
        ([[[[1, 3]], [[2, 2]]], [[[5, 7]]], [[[10, 10]]]], [6 - 4 * 155 / 158, 6, 6 + 4 * 155 / 161]),
        ([[[[0, 8]]], [[[1, 9]]]], [4.5, 4.5]),  # seeds differ more than programs: all is luck
        ([[[[4, 4]]], [[[8, 8]]]], [4, 8]),  # seeds do not differ: nothing is
        ([[[[4]]], [[[8]]]], [4, 8]),  # nobody knows
        ([[[[3, 3]]], [[[3, 3]]]], [3, 3]),
        ([[[[1, 3]]]], [2]),
    ],
)
def test_shrunk_means_by_hand(scorings, wanted):
    np.testing.assert_allclose(shrunk_means(records_of(*scorings))[:, 0], wanted, rtol=1e-12)


def test_merit_is_averaged_over_tasks_and_what_failed_or_is_empty_has_no_part():
    tables = [[1, 3], [0, 8]], [[5, 7], [1, 9]], [[10, 10], [2, 10]], [[999, 999], [999, 999]]
    records = records_of(*([table] for table in tables), rows=6)
    records.add_scores(103, np.array([[1.0, NAN], [1.0, 1.0]]))
    found = shrunk_means(records)
    np.testing.assert_allclose(found[:3], [[2.25, 5], [6, 5], [9.75, 5]], rtol=1e-12)
    assert np.isnan(found[3:]).all()
    merit = merit_of(records, "z_score", TWO)
    half = (
        3.75 / np.sqrt(32 / 3) / 2
    )  # in standard deviations of the means 2, 6 and 10; the other task is luck
    np.testing.assert_allclose(merit, [-half, 0, half, *[-np.inf] * 3], atol=1e-9)
    assert merit_of(records, "rank", TWO)[:3].tolist() == [-0.25, 0, 0.25]
    merit = merit_of(records, "reference", {"a": -10.0, "b": 5.0})
    np.testing.assert_allclose(merit[:3], [0.6125, 0.8, 0.9875], rtol=1e-9)
    assert merit_of(records_of([[[1, 2]]], rows=2), "z_score", ONE).tolist() == [0, -np.inf]
    assert merit_of(empty_records(2, {}, 1), "z_score", ONE).tolist() == [-np.inf, -np.inf]


def test_less_of_the_shrunk_means_is_luck():
    """100 tables of 30 programs, whose values differ by sd 1 and whose 4 or 20 trainings by sd 2."""
    rng, found = np.random.default_rng(0), []
    for _ in range(100):
        values = rng.normal(5, 1, 30)
        draws = [rng.normal(value, 2, (1, 4 + 16 * (i % 2))) for i, value in enumerate(values)]
        raw = np.array([draw.mean() for draw in draws])
        shrunk = shrunk_means(records_of(*([draw] for draw in draws)))[:, 0]
        for means in (raw, shrunk):
            best = int(np.argmax(means))
            found.append([np.square(means - values).mean(), means[best] - values[best], values[best]])
    raw, shrunk = np.reshape(found, (100, 2, 3)).mean(axis=0)
    # Expected errors are w and b w / (b + w): 1 and 1/5, 1/2 and 1/6.
    assert abs(raw[0] - 0.6) < 0.04 and abs(shrunk[0] - 1 / 3) < 0.04
    assert raw[1] > 0.5 and abs(shrunk[1]) < 0.15, "the largest mean is too large, unless it is shrunk"
    assert shrunk[2] > raw[2] + 0.1, "and its program is better"


def test_scores_of_a_program_are_added_wherever_it_stands():
    records = records_of([[[1, 3]]], [[[5, 7]]], rows=4)
    records.copy_row(0, 2, island=HALL, entered=7)
    assert (records.born[2], records.island[2], records.entered[2]) == (100, HALL, 7)
    records.add_scores(100, np.array([[2.0, 4.0]]))
    assert records.scorings.tolist() == [2, 1, 2, 0] and records.seeds.tolist() == [4, 2, 4, 0]
    assert records.means[:3, 0].tolist() == [2.5, 6, 2.5] and records.squares[2, 0] == 1 + 9 + 4 + 16
    for scores in ([np.inf, 4.0], [9.0, 9.0]):  # the second is too late
        records.add_scores(100, np.array([scores]))
        assert records.sound.tolist() == [False, True, False, False]
        assert records.scorings.tolist() == [2, 1, 2, 0] and records.means[0, 0] == 2.5


def test_the_hall_has_the_best_that_were_scored_twice_once_each():
    records = records_of(*([[[x]]] * (1 + x % 2) for x in range(12)), rows=20)  # odd ones twice
    for source, target in ((11, 12), (3, 13), (0, 14)):
        records.copy_row(source, target, island=1, entered=50)
    records.add_scores(109, np.array([[NAN]]))
    for _ in range(2):  # filling it again changes nothing
        fill_hall(records, merit_of(records, "z_score", ONE), 4)
        assert records.born[-4:].tolist() == [111, 107, 105, 103] and (records.island[-4:] == HALL).all()
        assert records.genes["x"][-4:, 0].tolist() == [11, 7, 5, 3]
    for row in range(15):
        records.put(row, records.genes_of(row), born=EMPTY)  # all died of old age
    fill_hall(records, merit_of(records, "z_score", ONE), 4)
    assert records.born[-4:].tolist() == [111, 107, 105, 103]
    records.add_scores(107, np.full((1, 9), -5.0))
    records.add_scores(105, np.array([[NAN]]))
    fill_hall(records, merit_of(records, "z_score", ONE), 4)
    assert records.born[-4:].tolist() == [111, 103, 107, EMPTY]


def test_of_programs_that_are_not_told_apart_the_one_with_the_larger_mean_is_best():
    records = records_of(*([[[x, x + 8]]] * 2 for x in (0, 2, 1)), rows=4)
    merit = merit_of(records, "z_score", ONE)
    assert np.ptp(merit[:3]) == 0
    fill_hall(records, merit, 1)
    assert records.born[-1] == 101


def test_duplicates_are_counted_and_forgotten():
    seen = nothing_seen(3)
    for behavior in (5, 6, 7):
        assert not seen.is_duplicate(np.uint64(behavior))
        seen.add(np.uint64(behavior))
    assert seen.is_duplicate(np.uint64(5)) and seen.hits.tolist() == [1, 0, 0]
    seen.add(np.uint64(8))  # in the place of the oldest, 5
    assert not seen.is_duplicate(np.uint64(5)) and seen.hits.tolist() == [0, 0, 0]
    found = [seen.is_duplicate(np.uint64(6)) for _ in range(FORGOTTEN + 2)]
    assert found == [True] * FORGOTTEN + [False] * 2 and FORGOTTEN == 100
    assert seen.is_duplicate(np.uint64(7))
