"""On a suite: normalized scores, aggregates, how soon subjects learn, frames, JSON, pictures, files."""

import csv
import io
import json
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from discovery.app.comparisons import SuiteComparison
from discovery.core.errors import BadInput
from discovery.judging.comparison import Cell, Comparison
from discovery.judging.robustness import Robustness
from discovery.judging.sentences import suite_sentences
from discovery.statistics import aggregate, iqm, probability_of_improvement
from tests.judging.fakes import ENTRIES, NAN, cell, judged, rng_scores


def test_normalized_by_hand() -> None:
    found = judged(cell("ppo", "one", [0, 5, 10, 20]), cell("ppo", "two", [-5, -3, -1, -7]))
    np.testing.assert_allclose(found.normalized("ppo")["one"], [0, 0.5, 1, 2])
    np.testing.assert_allclose(found.normalized("ppo")["two"], [0, 0.5, 1, -0.5])
    row = found.aggregates[0]
    assert row.mean.estimate == pytest.approx((3.5 / 4 + 1 / 4) / 2)
    assert row.median.estimate == pytest.approx((3.5 / 4 + 1 / 4) / 2)
    # sorted pool: -0.5 0 0 [0.5 0.5 1 1]... the middle half of eight is 0, 0.5, 0.5, 1
    assert row.iqm.estimate == pytest.approx((0 + 0.5 + 0.5 + 1) / 4)
    assert row.optimality_gap.estimate == pytest.approx(((1 + 0.5 + 0 + 0) / 4 + (1 + 0.5 + 0 + 1.5) / 4) / 2)
    assert (row.difference, row.improvement) == (None, None)


def test_aggregates_against_the_baseline_by_hand() -> None:
    found = judged(
        cell("dpo", "one", [10, 20, 30, 40]), cell("ppo", "one", [0, 10, 20, 30]),
        cell("dpo", "two", [-1, -1, -1, -1]), cell("ppo", "two", [-5, -5, -1, -1]),
    )  # fmt: skip
    dpo, ppo = found.aggregates
    assert found.baseline == "ppo" and ppo.difference is None
    # one: of 16 pairs 10 are above and 3 equal; two: 8 are above and 8 equal
    assert dpo.improvement and dpo.improvement.estimate == pytest.approx(((10 + 1.5) / 16 + (8 + 4) / 16) / 2)
    pools = [np.concatenate(list(found.normalized(s).values())) for s in ("dpo", "ppo")]
    assert dpo.difference and dpo.difference.estimate == pytest.approx(iqm(pools[0]) - iqm(pools[1]))
    assert dpo.iqm == aggregate(found.normalized("dpo"), "iqm")
    both = found.normalized("dpo"), found.normalized("ppo")
    assert dpo.improvement == probability_of_improvement(*both, paired=True)  # seeds are common
    assert dpo.improvement != probability_of_improvement(*both)


def test_who_failed_wholly_counts_as_random_actions_where_that_is_worse() -> None:
    """The worst score of somebody else might be a good one."""
    found = judged(cell("ppo", "one", [9, 10, 11, 9]), cell("dpo", "one", [NAN] * 4))
    np.testing.assert_array_equal(found.settled("dpo", "one"), [0] * 4)
    assert found.aggregates[1].mean.estimate == 0
    nobody = judged(cell("ppo", "two", [NAN] * 4), cell("dpo", "two", [NAN] * 4))
    np.testing.assert_array_equal(nobody.settled("ppo", "two"), [-5] * 4)
    assert any("4 trainings of dpo on two" in line for line in suite_sentences(nobody))


def test_a_suite_is_judged_as_a_whole() -> None:
    with pytest.raises(BadInput, match="dpo was not trained on two"):
        judged(cell("ppo", "one", [1]), cell("ppo", "two", [1]), cell("dpo", "one", [1]))
    with pytest.raises(BadInput, match="'four'"):
        judged(cell("ppo", "four", [1]))


def learner(subject: str, curves: list[list[float]], scores: Sequence[float] | None = None) -> Cell:
    """Trainings on "two": random actions have -5, tuned PPO -1, and nine tenths of the way are -1.4."""
    last = [curve[-1] for curve in curves] if scores is None else scores
    steps = np.array([10.0, 20, 30])
    return Cell(subject, "two", np.arange(len(curves)), np.array(last), np.array(curves), steps)


def test_how_soon_by_hand() -> None:
    curves = [[-5, -1.4, -1], [-5, -1.41, -1.3], [-1, -5, -5], [-5, -5, -3]]
    found = judged(learner("ppo", curves), learner("dpo", [[NAN, -3, -3]] * 4))
    ppo, dpo = found.speeds
    assert (ppo.subject, ppo.task, ppo.reached.estimate, ppo.reached.n) == ("ppo", "two", 0.75, 4)
    assert ppo.median_steps == 25  # of 10, 20, 30 and never
    areas = [1.9 / 3, (3.59 + 3.7) / 12, 1 / 3, 0.5 / 3]
    assert ppo.area.estimate == pytest.approx(np.mean(areas))
    assert (dpo.reached.estimate, dpo.median_steps, dpo.area.estimate) == (0, math.inf, 0.5)
    exact = stats.binomtest(3, 4).proportion_ci(0.95, method="exact")
    assert ppo.reached[1:3] == pytest.approx((exact.low, exact.high))


def test_who_failed_was_not_there_before() -> None:
    """Not even when its curve was: a failed training counts as the smallest area of all."""
    good, poor = [-1.0, -1, -1], [-5.0, -5, -9]
    found = judged(learner("ppo", [good, good], [-1, NAN]), learner("dpo", [poor, good], [-9, -1]))
    ppo, dpo = found.speeds
    assert (ppo.reached.estimate, ppo.median_steps) == (0.5, math.inf)
    assert ppo.area.estimate == pytest.approx((1 - 1 / 3) / 2)
    assert dpo.area.estimate == ppo.area.estimate
    lost = judged(learner("ppo", [good, good]), learner("dpo", [good, good], [NAN, NAN])).speeds[1]
    assert (lost.reached.estimate, lost.area.estimate) == (0, 0)  # as random actions, which is worse


def result_of_all_kinds(seeds: int = 12) -> SuiteComparison:
    """Three subjects on three tasks at three factors; some trainings failed."""
    sources = {"ppo": "", "a2c[optimizer=sgd]": "", "found.py": "exports/found.py"}
    scores = {
        (s, e.task.name): np.array(rng_scores(i + 7 * j, seeds, i / 2)) * 10.0 ** (4 * j)
        for i, s in enumerate(sources)
        for j, e in enumerate(ENTRIES)
    }
    scores["found.py", "two"][:2] = NAN
    own = tuple(cell(s, t, list(values)) for (s, t), values in scores.items())
    lost = tuple(cell(s, t, list(x * (NAN if s == "ppo" else 1))) for (s, t), x in scores.items())
    comparison = Comparison(own, sources, frozenset({"three"}))
    swept = {0.1: own, 1.0: own, 10.0: lost}
    robust = Robustness("learning_rate", tuple(swept), swept, comparison.held_out)
    return SuiteComparison("hand", comparison, ENTRIES, (robust,), ("A note.",))


def test_frame_and_files_agree(tmp_path: Path) -> None:
    found = result_of_all_kinds()
    paths = found.write(tmp_path / "new", "discovery compare x")
    tables = ["comparison.json", "scores.csv", "table.csv"]
    pictures = ["intervals.png", "profiles.png", "learning-curves.png", "robustness-learning_rate.png"]
    assert [path.name for path in paths] == tables + pictures

    frame, said = found.frame(), json.loads(paths[0].read_text())
    assert (said["command"], said["suite"]) == ("discovery compare x", "hand")
    assert said["versions"]["jax"] and said["date"] and "A note." in said["verdicts"]
    table, lines = (list(csv.DictReader(io.StringIO(path.read_text()))) for path in (paths[2], paths[1]))
    assert len(frame) == len(said["rows"]) == len(table) == 9
    row = frame.query("subject == 'found.py' and task == 'two'").iloc[0]
    judgment = next(one for one in found.judgments if (one.subject, one.task) == ("found.py", "two"))
    speed = next(one for one in found.speeds if (one.subject, one.task) == ("found.py", "two"))
    told, soon = (
        next(one for one in said[name] if (one["subject"], one["task"]) == ("found.py", "two"))
        for name in ("judgments", "speeds")
    )
    assert (row["verdict"], row["p corrected"]) == (judgment.relation, judgment.corrected)
    assert (told["p_value"], told["relation"]) == (judgment.p_value, judgment.relation)
    assert row["normalized mean"] == pytest.approx(found.normalized("found.py")["two"].mean())
    assert (row["reached"], row["median steps"]) == (speed.reached.estimate, speed.median_steps)
    assert [row["area low"], row["area high"]] == [speed.area.low, speed.area.high]
    assert (soon["reached"]["low"], soon["median_steps"]) == (
        speed.reached.low,
        speed.median_steps,
    )
    assert said["robustness"][0]["levels"][0]["factor"] == 0.1
    assert said["references"]["one"]["ppo"]["mean"] == 10

    assert len(lines) == 3 * 9 * 12  # as it is and two factors, of three subjects on three tasks
    assert {line["subject"] for line in lines if line["score"] == ""} == {"found.py", "ppo"}
    score = found.comparison.cells[0].scores[0]
    assert (float(lines[0]["score"]), float(lines[0]["normalized"])) == (score, pytest.approx(score / 10))
    assert (lines[0]["variant"], lines[-1]["variant"]) == ("", "learning_rate x 10")
