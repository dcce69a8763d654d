"""How failures count: an algorithm's own as the worst score; the machine's as missing, to be retried."""

from pathlib import Path

import numpy as np
import pytest

from discovery.app.api import evaluate
from discovery.core.errors import RunError
from discovery.core.jobs import MACHINE_FAILURES
from discovery.judging.comparison import Cell, Comparison, Training
from discovery.judging.failures import interval_of, settled, worst_score
from discovery.judging.sentences import cautions
from discovery.judging.suite import chosen_tasks, train_on_suite
from discovery.results.subjects import subjects
from discovery.statistics import interval
from discovery.store.ledger import Ledger
from tests.judging.fakes import NAN, SUITE, Pretender, cell, judged


def test_worst_and_settled_scores() -> None:
    assert worst_score([np.array([3.0, NAN, 2.0]), np.array([NAN]), np.array([5.0])]) == 2
    assert np.isnan(worst_score([np.array([NAN]), np.array([])]))
    assert np.isnan(worst_score([]))
    np.testing.assert_array_equal(settled(np.array([3.0, NAN]), 1.0, 0.0), [3, 1])
    np.testing.assert_array_equal(settled(np.array([NAN, NAN]), 1.0, 0.0), [0, 0])  # as random actions
    np.testing.assert_array_equal(settled(np.array([NAN, NAN]), -1.0, 0.0), [-1, -1])
    np.testing.assert_array_equal(settled(np.array([NAN]), NAN, 0.5), [0.5])


def test_intervals_of_samples_with_failures() -> None:
    scores = np.array([5.0, NAN, 5.0, NAN])
    assert interval_of(scores, 1.0) == interval([5, 1, 5, 1])._replace(failed=2)
    lost = interval_of(np.array([NAN, NAN]), 1.0)
    assert np.isnan(lost.estimate) and lost.failed == 2
    assert np.isnan(interval_of(np.array([]), 1.0).estimate)


@pytest.mark.parametrize("error", sorted(MACHINE_FAILURES))
def test_what_the_machine_made_fail_is_missing(error: str) -> None:
    lost, failed = Training(2, NAN, None, error, "why"), Training(0, NAN, None, "failed", "own")
    found = Cell.of("ppo", "one", [lost, Training(1, 4.0, np.ones(3), None, ""), failed], 300)
    assert (found.missing, found.seeds.tolist()) == (1, [0, 1])
    np.testing.assert_array_equal(found.scores, [NAN, 4])
    np.testing.assert_array_equal(found.steps, [100, 200, 300])
    assert error in found.reason and "why" in found.reason


def test_missing_seeds_take_no_part_in_differences() -> None:
    own = Cell.of("dpo", "one", [Training(s, 9.0, None, "timeout" if s == 1 else None, "") for s in range(4)])
    found = Comparison((own, cell("ppo", "one", [1, 100, 2, 3])))
    row = found.row("dpo", "one")
    assert row is not None and (row.n, row.failed, row.missing) == (3, 0, 1)
    assert row.difference is not None and row.difference.estimate == pytest.approx((8 + 7 + 6) / 3)
    assert any("1 trainings of dpo on one" in line for line in cautions(found))


def test_evaluate_retries_the_machine_and_keeps_the_record(copy: Path) -> None:
    """After time-outs the next command trains again; own failures stay until they are asked for."""

    def trained(executor: Pretender, expected: tuple[int, int, int], retry_failed: bool = False) -> int:
        found = evaluate(copy, ("ppo", "dpo"), "cart", 2, executor, retry_failed=retry_failed)
        ppo, dpo = ((row.n, row.failed, row.missing) for row in found.rows if row.subject != "discovered")
        assert (ppo, dpo) == ((2, 0, 0), expected)
        return [job.algorithm.name for job in executor.jobs].count("dpo")

    assert trained(Pretender(failing=("dpo",), error="timeout"), (0, 0, 2)) == 2
    assert trained(again := Pretender(failing=("dpo",), error="failed"), (2, 2, 0)) == 2
    assert len(again.jobs) == 2
    assert trained(Pretender(), (2, 2, 0)) == 0  # an algorithm's own failure is a result
    assert trained(Pretender(), (2, 0, 0), retry_failed=True) == 2
    with Ledger.open(copy) as ledger:
        retries = [(row["error"], row["detail"], row["attempts"]) for row in ledger.retries()]
        assert {row["attempts"] for row in ledger.reports() if row["subject"] == "dpo"} == {3}
    assert retries == [("timeout", "why", 1)] * 2 + [("failed", "why", 2)] * 2


def test_compare_counts_common_seeds_and_retries(tmp_path: Path) -> None:
    """On a suite, missing trainings are no scores of 0 inside intervals."""
    who, chosen = subjects(["ppo", "dpo"]), chosen_tasks(SUITE)
    whole = train_on_suite(SUITE, chosen, who, 4, Pretender(), None)
    with pytest.raises(RunError, match=r"nothing to compare.*crashed: why"):
        train_on_suite(SUITE, chosen, who, 4, Pretender(failing=("dpo",), error="crashed"), tmp_path / "kept")
    again = train_on_suite(SUITE, chosen, who, 4, executor := Pretender(), tmp_path / "kept")
    assert {job.algorithm.name for job in executor.jobs} == {"dpo"}
    assert again.to_dict() == whole.to_dict()


def test_a_seed_that_one_subject_lacks_counts_for_nobody() -> None:
    lacking = Cell.of("dpo", "one", [Training(s, 5.0, np.ones(3), None, "") for s in (0, 2, 3)])
    found = judged(cell("ppo", "one", [1, 100, 2, 3]), lacking)
    np.testing.assert_array_equal(found.settled("ppo", "one"), [1, 2, 3])
    assert found.judgments[0].difference.estimate == 3
