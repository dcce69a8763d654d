"""Comparing on a suite: aggregates, what is significant, sweeps, the store, the verb."""

import csv
import io
import itertools
import json
import math
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tomli_w
from rich.console import Console
from scipy import stats

from discovery.app import api
from discovery.app.command_line import main
from discovery.app.commands.judging import Plan
from discovery.app.commands.judging import judged as judged_by_evaluate
from discovery.app.loaded import load_run
from discovery.core.errors import BadInput
from discovery.core.suites import Reference, Suite, SuiteTask, fingerprint, load_suite
from discovery.display.pictures.suites import pictures
from discovery.display.progress import Silent
from discovery.judging.comparison import Cell, Comparison
from discovery.judging.evaluate import comparisons, recorded
from discovery.judging.suite import Chosen, chosen_tasks, compare_suite, store, write
from discovery.judging.suite_comparison import SuiteComparison, fewest_seeds
from discovery.judging.sweep import Robustness, check_sweep, parse_sweep, sweep, varied
from discovery.results.subjects import subjects
from discovery.search.progress import Tally
from discovery.statistics import aggregate, iqm, paired_p_value, probability_of_improvement
from discovery.store.ledger import Ledger
from discovery.store.run import Run
from environments.task import Setup, Task
from tests.display.test_plots import boxes
from tests.judging.test_evaluate import Pretender, cell

NAN = np.nan
SETUP = Setup("CartPole-v1", n_envs=2, n_steps=8, n_epochs=1, n_minibatches=2, hidden=(8, 6), curve_points=4)


def entry(name: str, random: float, ppo: float, score: str = "final") -> SuiteTask:
    """A suite's task with references written by hand."""
    low, high = (Reference(mean, mean - 0.1, mean + 0.1, 4) for mean in (random, ppo))
    return SuiteTask(Task(name, SETUP, 512, {"learning_rate": 0.01}, score), low, high)  # type: ignore[arg-type]


ENTRIES = (entry("one", 0.0, 10.0), entry("two", -5.0, -1.0), entry("three", 0.0, 1.0))
SUITE = Suite("hand", "", ENTRIES[:1], ENTRIES[1:2], ENTRIES[2:])


def judged(*cells: Cell, entries: Sequence[SuiteTask] = ENTRIES, sweeps: tuple[Robustness, ...] = ()):
    return SuiteComparison("hand", Comparison(cells), entries, sweeps)


def rng_scores(seed: int, n: int, shift: float) -> list[float]:
    return list(np.random.default_rng(seed).normal(size=n) + shift)


# Normalized scores and failures


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


def test_a_failed_training_counts_as_the_worst_score_of_its_task() -> None:
    found = judged(cell("ppo", "one", [3, 1, 2, 4]), cell("dpo", "one", [5, NAN, 5, NAN]))
    np.testing.assert_array_equal(found.settled("dpo", "one"), [5, 1, 5, 1])
    assert found.judgments[0].difference.estimate == pytest.approx((2 + 0 + 3 - 3) / 4)


def test_who_failed_wholly_counts_as_random_actions_where_that_is_worse() -> None:
    """The worst score of somebody else might be a good one."""
    found = judged(cell("ppo", "one", [9, 10, 11, 9]), cell("dpo", "one", [NAN] * 4))
    np.testing.assert_array_equal(found.settled("dpo", "one"), [0] * 4)
    assert found.aggregates[1].mean.estimate == 0
    below = judged(cell("ppo", "one", [-9, 10, 11, 9]), cell("dpo", "one", [NAN] * 4))
    np.testing.assert_array_equal(below.settled("dpo", "one"), [-9] * 4)
    nobody = judged(cell("ppo", "two", [NAN] * 4), cell("dpo", "two", [NAN] * 4))
    np.testing.assert_array_equal(nobody.settled("ppo", "two"), [-5] * 4)
    assert "All 4 trainings of dpo on two failed." in nobody.verdicts()


def test_a_suite_is_judged_as_a_whole() -> None:
    with pytest.raises(BadInput, match="dpo was not trained on two"):
        judged(cell("ppo", "one", [1]), cell("ppo", "two", [1]), cell("dpo", "one", [1]))
    with pytest.raises(BadInput, match="no task of suite hand named 'four'"):
        judged(cell("ppo", "four", [1]))


# What is significant


def test_verdicts_are_corrected_by_holm() -> None:
    """Of three p-values the smallest counts three times, the next one twice."""
    base = rng_scores(0, 10, 0.0)
    gains = {"one": rng_scores(1, 10, 2.0), "two": rng_scores(2, 10, -0.8), "three": rng_scores(3, 10, 0.1)}
    cells = [cell("ppo", task, base) for task in gains]
    cells += [cell("dpo", task, list(np.add(base, gain))) for task, gain in gains.items()]
    found = judged(*cells)
    signs = np.array(list(itertools.product((-1, 1), repeat=10)))
    raw = []
    for judgment, gain in zip(found.judgments, gains.values(), strict=True):
        exact = np.mean(np.abs(signs @ np.abs(gain)) >= abs(np.sum(gain)) - 1e-9)
        assert judgment.p_value == pytest.approx(exact)
        raw.append(exact)
    assert raw[0] < raw[1] < raw[2]
    first, second, third = found.judgments
    assert first.corrected == pytest.approx(3 * raw[0])
    assert second.corrected == pytest.approx(2 * raw[1])
    assert third.corrected == pytest.approx(max(2 * raw[1], raw[2]))
    assert raw[1] < 0.05 < second.corrected  # the correction matters here
    assert [j.relation for j in found.judgments] == ["better", "not distinguishable", "not distinguishable"]
    assert found.verdicts()[0] == (
        "dpo against ppo on 3 tasks: better on 1 (one); worse on 0; not distinguishable on 2 (two, three)."
    )
    assert any("corrected by Holm for all 3 pairs" in line for line in found.verdicts())


def test_worse_is_worse() -> None:
    base = rng_scores(0, 16, 0.0)
    found = judged(cell("ppo", "one", base), cell("dpo", "one", list(np.subtract(base, 2))))
    assert found.judgments[0].relation == "worse"
    assert found.verdicts()[:2] == [
        "dpo against ppo on 1 task: better on 0; worse on 1 (one); not distinguishable on 0.",
        "dpo over all tasks: IQM below ppo's, difference -0.2 [-0.2, -0.2] in normalized scores.",
    ]


def test_seeds_needed_are_those_of_a_t_test() -> None:
    base, gain = rng_scores(0, 20, 0.0), np.array(rng_scores(1, 20, 0.2))
    found = judged(cell("ppo", "one", base), cell("dpo", "one", list(base + gain)))
    (judgment,) = found.judgments
    assert judgment.corrected > 0.05 and judgment.seeds_needed is not None
    effect = abs(gain.mean()) / gain.std(ddof=1)

    def power(n: int) -> float:
        critical = stats.t.ppf(1 - 0.05 / 2, n - 1)
        return float(stats.nct.sf(critical, n - 1, effect * math.sqrt(n)))

    assert power(judgment.seeds_needed - 1) < 0.8 <= power(judgment.seeds_needed)
    assert f"probability 0.8: one {judgment.seeds_needed}." in " ".join(found.verdicts())


def test_a_few_seeds_tell_no_side() -> None:
    """However far apart: two seeds that agree make an interval of no width."""
    for n in (2, 5, 6):
        base = np.array(rng_scores(0, n, 0.0))
        worse = list(base - 2 - 0.01 * np.arange(n))
        found = judged(cell("ppo", "one", list(base)), cell("dpo", "one", worse))
        difference = found.aggregates[1].difference
        assert difference is not None and difference.high < 0
        (over_all,) = [line for line in found.verdicts() if "over all tasks" in line]
        assert ("IQM below ppo's" in over_all) == (n == 6)
        assert (f"{n} seeds are too few to tell a side" in over_all) == (n < 6)
        assert n == 6 or found.judgments[0].seeds_needed == 6  # a t-test would be content with fewer


def test_no_number_of_seeds_where_it_would_be_of_no_use() -> None:
    base, tiny = rng_scores(0, 20, 0.0), np.array(rng_scores(1, 20, 0.0))
    tiny = tiny - tiny.mean() + 1e-4
    same = judged(cell("ppo", "one", base), cell("dpo", "one", base))
    almost = judged(cell("ppo", "one", base), cell("dpo", "one", list(base + tiny)))
    for found in (same, almost):
        assert [j.seeds_needed for j in found.judgments] == [None]
        assert not any("Seeds that would show" in line for line in found.verdicts())


@pytest.mark.parametrize("tests", [1, 4, 28])
def test_fewest_seeds_are_those_that_a_test_can_pass_with(tests: int) -> None:
    n = fewest_seeds(tests)
    steady = np.linspace(1, 2, n)
    assert paired_p_value(steady, 0 * steady) * tests <= 0.05
    assert paired_p_value(steady[1:], 0 * steady[1:]) * tests > 0.05


def test_cautions() -> None:
    few = judged(cell("ppo", "one", [1, 2, 3]), cell("dpo", "one", [11, 12, NAN])).verdicts()
    assert "With 3 seeds none of these tests can show a difference; 6 are the fewest that can." in few
    assert any(line.startswith("Only 3 seeds") for line in few)
    assert any(line.startswith("A failed training counts as the worst") for line in few)
    alone = judged(cell("ppo", "one", rng_scores(0, 30, 1)))
    assert (alone.judgments, alone.verdicts()) == ((), [])


# How soon


def learner(subject: str, curves: list[list[float]], scores: Sequence[float] | None = None) -> Cell:
    """Trainings on "two": random actions have -5, tuned PPO -1, and nine tenths of the way are -1.4."""
    last = [curve[-1] for curve in curves] if scores is None else scores
    return Cell(
        subject, "two", np.arange(len(curves)), np.array(last), np.array(curves), np.array([10.0, 20, 30])
    )


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


# Tables, frames, JSON, pictures


def result_of_all_kinds(seeds: int = 12) -> SuiteComparison:
    labels = ("ppo", "a2c[optimizer=sgd]", "found.py")
    scores = {
        (s, e.task.name): np.array(rng_scores(i + 7 * j, seeds, i / 2)) * 10.0 ** (4 * j)
        for i, s in enumerate(labels)
        for j, e in enumerate(ENTRIES)
    }
    scores["found.py", "two"][:2] = NAN
    cells = [cell(s, t, list(values)) for (s, t), values in scores.items()]
    comparison = Comparison(
        tuple(cells),
        {"ppo": "", "a2c[optimizer=sgd]": "", "found.py": "exports/found.py"},
        frozenset({"three"}),
        {e.task.name: e.task.score for e in ENTRIES},
    )
    factors = (0.1, 1.0, 10.0)
    swept = {
        f: tuple(cell(s, t, list(x * (NAN if (f, s) == (10, "ppo") else 1))) for (s, t), x in scores.items())
        for f in factors
    }
    robust = Robustness("learning_rate", factors, swept, comparison.held_out, comparison.measures)
    return SuiteComparison("hand", comparison, ENTRIES, (robust,), ("A note.",))


def test_table() -> None:
    out = Console(file=io.StringIO(), width=160)
    out.print(result_of_all_kinds().table())
    text = out.file.getvalue()  # type: ignore[attr-defined]
    for words in (
        "three (held out): mean return, last fifth of training",
        "Normalized scores over 3 tasks: 0 as random actions, 1 as tuned PPO",
        "optimality gap",
        "P(above ppo)",
        "How soon learning curves come to 0.9 of tuned PPO's normalized score",
        "median steps",
        "Robustness to learning_rate: mean scores at factors of its value",
        "x 0.1",
        "all 12 failed",
        "(2 failed)",
    ):
        assert words in text, words
    assert "…" not in text


def test_frame_and_json_agree() -> None:
    found = result_of_all_kinds()
    frame, said = found.frame(), json.loads(json.dumps(found.to_dict(), default=str))
    assert len(frame) == len(said["rows"]) == 9
    row = frame.query("subject == 'found.py' and task == 'two'").iloc[0]
    judgment = next(j for j in found.judgments if (j.subject, j.task) == ("found.py", "two"))
    assert (row["verdict"], row["p corrected"]) == (judgment.relation, judgment.corrected)
    assert row["normalized mean"] == pytest.approx(found.normalized("found.py")["two"].mean())
    told = next(j for j in said["judgments"] if (j["subject"], j["task"]) == ("found.py", "two"))
    assert (told["p_value"], told["relation"]) == (judgment.p_value, judgment.relation)
    speed = next(s for s in found.speeds if (s.subject, s.task) == ("found.py", "two"))
    assert (row["reached"], row["median steps"]) == (speed.reached.estimate, speed.median_steps)
    assert [row["area low"], row["area high"]] == [speed.area.low, speed.area.high]
    told = next(s for s in said["speeds"] if (s["subject"], s["task"]) == ("found.py", "two"))
    assert (told["reached"]["low"], told["median_steps"]) == (speed.reached.low, speed.median_steps)
    assert said["robustness"][0]["levels"][0]["factor"] == 0.1
    assert said["references"]["one"]["ppo"]["mean"] == 10
    assert "A note." in said["verdicts"]


@pytest.mark.parametrize("name", ["intervals", "profiles", "learning-curves", "robustness-learning_rate"])
@pytest.mark.parametrize("tasks", [1, 3])
def test_pictures(name: str, tasks: int) -> None:
    found = result_of_all_kinds()
    if tasks == 1:
        cells = tuple(c for c in found.comparison.cells if c.task == "one")
        swept = {
            f: tuple(c for c in listed if c.task == "one") for f, listed in found.robustness[0].cells.items()
        }
        found = judged(*cells, sweeps=(Robustness("learning_rate", (0.1, 1.0, 10.0), swept),))
    figure = pictures(found)[name]
    groups = boxes(figure)
    assert any(groups.values())
    titles = [axes.title.get_window_extent() for axes in figure.axes if axes.get_title()]
    heading = [figure._suptitle.get_window_extent()] if figure._suptitle else []  # type: ignore[attr-defined]
    legends = [each.get_window_extent() for each in figure.legends]
    labels = [axes.xaxis.label.get_window_extent() for axes in figure.axes if axes.get_xlabel()]
    for group in [*groups.values(), [*titles, *heading, *legends, *labels]]:
        assert not any(a.overlaps(b) for a, b in itertools.combinations(group, 2))
        for extent in group:
            assert figure.bbox.x0 <= extent.x0 < extent.x1 <= figure.bbox.x1
            assert figure.bbox.y0 <= extent.y0 < extent.y1 <= figure.bbox.y1


def test_profiles_show_shares() -> None:
    found = judged(cell("ppo", "one", [0, 5, 10, 20]), cell("ppo", "two", [-5, -3, -1, -7]))
    band = found.profile("ppo", np.array([-1.0, 0.25, 0.75, 3]))
    np.testing.assert_allclose(band.mean, [1, (3 / 4 + 2 / 4) / 2, (2 / 4 + 1 / 4) / 2, 0])


# Sweeps


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("learning_rate=1,0.1,10", ("learning_rate", (0.1, 1.0, 10.0))),
        ("n-envs=2,2", ("n_envs", (2.0,))),
    ],
)
def test_sweeps_are_read(text: str, expected: tuple) -> None:
    assert parse_sweep(text) == expected


@pytest.mark.parametrize(
    "text", ["learning_rate", "=1,2", "clip=", "clip=a", "clip=0,1", "clip=-1", "clip=inf"]
)
def test_what_is_no_sweep(text: str) -> None:
    with pytest.raises(BadInput, match=r"sweep is given as NAME=FACTOR|must be positive and finite"):
        parse_sweep(text)


def test_what_is_varied() -> None:
    (ppo, own) = subjects(["ppo", "ppo[learning_rate=0.5]"])
    task = ENTRIES[0].task
    assert varied(ppo, task, "learning_rate", 3).numbers == {"learning_rate": 0.03}
    assert varied(own, task, "learning_rate", 3).numbers == {"learning_rate": 1.5}
    assert varied(ppo, task, "clip", 0.5).numbers == {"learning_rate": 0.01, "clip": 0.1}
    assert varied(ppo, task, "clip", 1) == task
    assert varied(ppo, task, "hidden", 0.25).setup.hidden == (2, 2)
    assert varied(ppo, task, "hidden", 0.01).setup.hidden == (1, 1)
    assert varied(ppo, task, "n_envs", 1.5).setup.n_envs == 3
    assert varied(ppo, task, "n_envs", 2).total_steps == task.total_steps
    assert varied(ppo, task, "n_envs", 2).name == task.name


@pytest.mark.parametrize(
    ("parameter", "factor", "message"),
    [
        ("lerning_rate", 2, "ppo cannot be swept over it: .* did you mean learning_rate"),
        ("entropy_coef", 2, "entropy_coef x 2 of ppo on one: it is 0, of which every factor is the same"),
        ("gamma", 2, "gamma x 2 of ppo on one: number gamma must be between 0 and 1, got 1.98"),
        ("n_envs", 16, "n_envs x 16 of ppo on one: total_steps .* at least one rollout"),
        (
            "n_envs",
            0.5,
            "n_envs x 0.5 of ppo on one: n_minibatches must divide n_envs \\* n_steps = 15, got 2",
        ),
    ],
)
def test_variants_that_make_no_sense(parameter: str, factor: float, message: str) -> None:
    setup = Setup("CartPole-v1", n_envs=2, n_steps=15, n_epochs=1, n_minibatches=2, hidden=(8,))
    task = Task("one", setup, 400)
    with pytest.raises(BadInput, match=message):
        check_sweep(parameter, (factor,), subjects(["ppo"]), [task])


def test_no_hidden_layers_to_widen() -> None:
    with pytest.raises(BadInput, match="no hidden layers"):
        varied(subjects(["ppo"])[0], Task("one", Setup(hidden=())), "hidden", 2)


def test_a_sweep_trains_variants_on_the_same_seeds(tmp_path: Path) -> None:
    who, tasks = subjects(["ppo", "dpo"]), [ENTRIES[0].task]
    with store(tmp_path / "kept") as ledger:
        first = sweep(
            "learning_rate", (1, 3), who, tasks, comparisons(who, tasks, 2, one := Pretender(), ledger)
        )
        again = sweep(
            "learning_rate", (3, 1, 0.1), who, tasks, comparisons(who, tasks, 2, two := Pretender(), ledger)
        )
        rows = ledger.reports()
    assert (len(one.jobs), len(two.jobs)) == (8, 4)
    assert {tuple(job.key) for job in one.jobs} == {tuple(job.key) for job in two.jobs}
    assert {row["variant"] for row in rows} == {"", "learning_rate x 3", "learning_rate x 0.1"}
    assert {row["task"] for row in rows} == {"one"}
    rates = {row["id"]: row["variant"] for row in rows}
    for job in (*one.jobs, *two.jobs):
        factor = job.task.numbers["learning_rate"] / 0.01
        assert rates[job.id] == ("" if factor == 1 else f"learning_rate x {factor:g}")
    assert again.factors == (0.1, 1.0, 3.0)
    assert first.scores("ppo", "one") == again.scores("ppo", "one")[1:]


def test_who_has_no_such_number_is_left_out_of_its_sweep() -> None:
    """Of the sweep alone; and not where nobody has it."""
    who, tasks = subjects(["ppo", "dpo"]), [ENTRIES[0].task]
    compared = comparisons(who, tasks, 2, executor := Pretender())
    found = sweep("dpo_alpha", (0.5, 1, 2), who, tasks, compared)
    assert (found.subjects, found.left_out) == (("dpo",), ("ppo",))
    assert [level.subject for level in found.levels] == ["dpo"] * 3
    assert [job.algorithm.name for job in executor.jobs].count("ppo") == 2  # as it is, once for each seed
    assert json.loads(json.dumps(found.to_dict()))["left_out"] == ["ppo"]
    both = sweep("learning_rate", (1, 2), who, tasks, compared)
    assert (both.subjects, both.left_out) == (("ppo", "dpo"), ())
    with pytest.raises(BadInput, match=r"ppo cannot be swept over it: .*dpo_alpha"):
        check_sweep("dpo_alpha", (2.0,), who[:1], tasks)


def test_failures_in_a_sweep_count_as_the_worst_at_any_factor() -> None:
    cells = {
        0.1: (cell("ppo", "one", [1, 2, 3, 4]),),
        1.0: (cell("ppo", "one", [5, NAN, 5, NAN]),),
        10.0: (cell("ppo", "one", [NAN] * 4),),
    }
    low, own, high = Robustness("clip", (0.1, 1.0, 10.0), cells).scores("ppo", "one")
    assert (low.estimate, low.failed) == (2.5, 0)
    assert (own.estimate, own.failed) == (3.0, 2)
    assert np.isnan(high.estimate) and high.failed == 4


def test_recorded_leaves_variants_out(reported_run: SimpleNamespace, tmp_path: Path) -> None:
    folder = shutil.copytree(reported_run.folder, tmp_path / reported_run.folder.name)
    before = recorded(load_run(folder))
    with Run.open(folder, write=True) as run:
        who, tasks = subjects([str(folder), "ppo"]), run.config.tasks[:1]
        sweep("learning_rate", (0.5, 2), who, tasks, comparisons(who, tasks, 6, Pretender(), run.ledger))
        assert len(run.ledger.reports()) > 20
    after = recorded(load_run(folder))
    assert after.rows == before.rows


# On a suite


def chosen(*names: str, test: bool = False) -> Chosen:
    return chosen_tasks(SUITE, names, test)


def test_which_tasks() -> None:
    assert [task.name for task in chosen().tasks] == ["one", "two"]
    assert [task.name for task in chosen(test=True).tasks] == ["one", "two", "three"]
    assert (chosen("two").hidden, chosen("three", test=True).hidden) == ((), ("three",))
    with pytest.raises(BadInput, match="three is held out by suite hand, for the last word; --test"):
        chosen("three")
    with pytest.raises(BadInput, match="no task of suite hand named 'on'; did you mean one"):
        chosen("on")
    with pytest.raises(BadInput, match="has held-out tasks only"):
        chosen_tasks(Suite("last", "", (), (), ENTRIES))


def test_tasks_held_out_by_a_run(finished_run: SimpleNamespace) -> None:
    """The run was searched on "cart" and holds out "fast cart"."""
    mine = Suite("mine", "", (entry("fast cart", 0, 1),), (), (entry("cart", 0, 1), entry("new", 0, 1)))
    with pytest.raises(BadInput, match=r"fast cart is held out by .*tiny"):
        chosen_tasks(mine, runs=[finished_run.folder])
    found = chosen_tasks(mine, test=True, runs=[finished_run.folder])
    assert found.runs == {finished_run.folder: ("fast cart", "new")}
    assert found.notes == ("cart is held out by the suite, but tiny was searched on it.",)


def test_a_second_call_runs_nothing(tmp_path: Path) -> None:
    folder, who = tmp_path / "kept", subjects(["ppo", "dpo"])
    sweeps = {"clip": (0.5, 1)}
    first = compare_suite(SUITE, chosen(), who, 3, one := Pretender(), folder, sweeps=sweeps)
    again = compare_suite(SUITE, chosen(), who, 3, two := Pretender(), folder, sweeps=sweeps)
    more = compare_suite(SUITE, chosen(), subjects(["ppo", "vsop"]), 4, three := Pretender(), folder)
    assert (len(one.jobs), len(two.jobs)) == (24, 0)
    assert len(three.jobs) == 2 + 8  # one more seed of ppo, four of vsop
    assert first.to_dict() == again.to_dict()
    np.testing.assert_array_equal(more.settled("ppo", "one")[:3], first.settled("ppo", "one"))


def test_an_interrupted_comparison_goes_on(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        compare_suite(SUITE, chosen(), subjects(["ppo"]), 4, Pretender(breaks_after=5), tmp_path / "kept")
    compare_suite(SUITE, chosen(), subjects(["ppo"]), 4, rest := Pretender(), tmp_path / "kept")
    assert len(rest.jobs) == 3


def test_every_look_at_held_out_tasks_is_recorded(tmp_path: Path) -> None:
    folder = tmp_path / "kept"
    for _ in range(2):
        compare_suite(SUITE, chosen(test=True), subjects(["ppo"]), 2, Pretender(), folder, command="c")
    compare_suite(SUITE, chosen(), subjects(["ppo"]), 2, Pretender(), folder)
    with Ledger.open(folder) as ledger:
        looks = [(row["command"], row["subjects"], row["tasks"], row["seeds"]) for row in ledger.tests()]
    assert looks == [("c", ["ppo"], ["three"], 2)] * 2


def test_looks_are_recorded_in_runs_too(finished_run: SimpleNamespace, tmp_path: Path) -> None:
    """Whether `compare` or `evaluate` looks; the run was searched on "cart", which the suite holds out."""
    folder = shutil.copytree(finished_run.folder, tmp_path / "tiny")
    mine = Suite("mine", "", (entry("fast cart", 0, 1),), (), (entry("cart", 0, 1), entry("new", 0, 1)))
    picked, who = chosen_tasks(mine, test=True, runs=[folder]), subjects([str(folder), "ppo"])
    found = compare_suite(mine, picked, who, 2, Pretender(), None, command="one")
    assert found.verdicts()[-1] == "cart is held out by the suite, but tiny was searched on it."
    plan = Plan([str(folder)], picked.tasks, picked.runs, 2, test=True, hidden=picked.hidden, options=["two"])
    judged_by_evaluate(plan, Pretender(), Silent(Tally(None), io.StringIO()))
    with Ledger.open(folder) as ledger:
        looks = [(row["command"].split()[-1], row["tasks"]) for row in ledger.tests()]
    assert looks == [("one", ["fast cart", "new"]), ("two", ["fast cart", "new"])]


def test_nothing_is_written_for_bad_input(tmp_path: Path) -> None:
    folder = tmp_path / "kept"
    for sweeps, first_seed in (({"gamma": (2.0,)}, 0), ({}, -1), ({}, 9_999)):
        with pytest.raises(BadInput):
            compare_suite(
                SUITE, chosen(), subjects(["ppo"]), 2, Pretender(), folder,
                first_seed=first_seed, sweeps=sweeps,
            )  # fmt: skip
    assert not folder.exists()


def test_a_store_that_cannot_be_made_is_bad_input(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    words = "cannot be kept in .*file/compared: .*; choose another folder with --output"
    with pytest.raises(BadInput, match=words), store(tmp_path / "file" / "compared"):
        pass


def test_a_run_is_no_store(finished_run: SimpleNamespace) -> None:
    with pytest.raises(BadInput, match="is the run of a search"), store(finished_run.folder):
        pass


def test_files(tmp_path: Path) -> None:
    found = result_of_all_kinds()
    paths = write(found, tmp_path / "new", "discovery compare x")
    assert [path.name for path in paths] == [
        "comparison.json", "scores.csv", "table.csv",
        "intervals.png", "profiles.png", "learning-curves.png", "robustness-learning_rate.png",
    ]  # fmt: skip
    said = json.loads(paths[0].read_text())
    assert (said["command"], said["suite"]) == ("discovery compare x", "hand")
    assert said["versions"]["jax"] and said["date"]
    lines = list(csv.DictReader(io.StringIO(paths[1].read_text())))
    assert len(lines) == 3 * 9 * 12  # as it is and two factors, of three subjects on three tasks
    failed = [line for line in lines if line["score"] == ""]
    assert {line["subject"] for line in failed} == {"found.py", "ppo"}
    first = lines[0]
    score = found.comparison.cells[0].scores[0]
    assert (float(first["score"]), float(first["normalized"])) == (score, pytest.approx(score / 10))
    assert (first["variant"], lines[-1]["variant"]) == ("", "learning_rate x 10")
    assert len(list(csv.DictReader(io.StringIO(paths[2].read_text())))) == 9


# The verbs and the API

TINY = """
[recipe]
total_steps = 128
numbers = { learning_rate = 0.01 }
setup = { n_envs = 2, n_steps = 8, n_epochs = 1, n_minibatches = 2, hidden = [4], curve_points = 2 }

[[train]]
name = "Catch-bsuite"

[[test]]
name = "late"
setup = { environment = "Catch-bsuite" }
numbers = { learning_rate = 0.02 }
"""

Says = Callable[..., tuple[int, str, str]]


@pytest.fixture
def says(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Says:
    """Runs a command line in a folder with a suite and its references: exit code, output, errors."""
    monkeypatch.chdir(tmp_path)
    Path("tiny.toml").write_text(TINY)
    references = {
        task.name: {
            "fingerprint": fingerprint(task),
            "command": "discovery suites tiny.toml --measure",
            "random": vars(Reference(-1.0, -1.1, -0.9, 4)),
            "ppo": {"algorithm": "ppo", **vars(Reference(0.5, 0.4, 0.6, 4))},
        }
        for task in load_suite("tiny.toml", measured=False).tasks
    }
    Path("tiny.references.toml").write_text(tomli_w.dumps(references))

    def run(*words: object) -> tuple[int, str, str]:
        capsys.readouterr()
        code = main([str(word) for word in words])
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


def events(out: str, kind: str) -> list[dict]:
    return [event for event in map(json.loads, out.splitlines()) if event["event"] == kind]


@pytest.fixture
def pretending(monkeypatch: pytest.MonkeyPatch) -> None:
    """No command trains anything; see `Pretender`."""
    monkeypatch.setattr("discovery.executors.make_executor", lambda *_, **__: Pretender())


COMPARE = ("compare", "ppo", "ppo[learning_rate=1]", "--suite", "tiny.toml", "--seeds", 4)


def test_compare_on_the_command_line(says: Says, pretending: None) -> None:
    code, out, err = says(*COMPARE)
    assert (code, err) == (0, "")
    for expected in (
        "Catch-bsuite: mean return, last fifth of training",
        "Normalized scores over 1 task",
        "ppo[learning_rate=1] against ppo on 1 task: ",
        "With 4 seeds none of these tests can show a difference; 6 are the fewest that can.",
        "runs/compare-tiny: comparison.json, scores.csv",
    ):
        assert expected in out
    code, out, err = says(*COMPARE, "--sweep", "learning_rate=1,10", "--test", "--json")
    assert (code, err) == (0, "")
    # as it is: both tasks, of which one was there; then ten times the rate
    assert [(e["trainings"], e["finished_before"]) for e in events(out, "started")] == [(16, 8), (16, 0)]
    (result,) = events(out, "comparison")
    held_out = [(row["task"], row["held_out"]) for row in result["rows"][::2]]
    assert held_out == [("Catch-bsuite", False), ("late", True)]
    assert result["folder"] == "runs/compare-tiny"
    assert Path("runs/compare-tiny/robustness-learning_rate.png").stat().st_size > 1000
    with Ledger.open("runs/compare-tiny") as ledger:
        (look,) = ledger.tests()
    assert look["tasks"] == ["late"] and "--test" in look["command"]


def test_evaluate_on_a_suite(says: Says, pretending: None) -> None:
    words = ("evaluate", "ppo", "--suite", "tiny.toml", "--seeds", 2, "--name", "aside")
    code, out, _ = says(*words, "--csv", "table.csv", "--sweep", "clip=0.5,1")
    assert code == 0 and "Robustness to clip" in out and "Left out" not in out
    code, out, _ = says(*words[:2], "dpo", *words[2:], "--sweep", "dpo_alpha=0.5,1")
    assert code == 0 and "Left out, without a number of that name: ppo\n" in out
    lines = list(csv.DictReader(io.StringIO(Path("table.csv").read_text())))
    assert [(line["n"], line["variant"]) for line in lines] == [("2", ""), ("2", "clip x 0.5")]
    assert all(float(line["mean low"]) <= float(line["mean"]) <= float(line["mean high"]) for line in lines)
    out = says(*words, "--json")[1]
    assert events(out, "started")[0]["finished_before"] == 2
    assert says("evaluate", "ppo", "--suite", "tiny.toml", "--seeds", 2, "--test")[0] == 0
    assert [path.name for path in Path("runs").iterdir()] == ["aside"]  # nothing is recorded without a name


def test_the_api_is_the_verb(says: Says) -> None:
    executor = Pretender()
    found = api.compare_suite(["ppo", "dpo"], "tiny.toml", seeds=4, executor=executor, name="mine")
    again = api.compare_suite(["ppo"], "tiny.toml", seeds=4, executor=executor, name="mine")
    assert len(executor.jobs) == 8
    np.testing.assert_array_equal(found.settled("ppo", "Catch-bsuite"), again.settled("ppo", "Catch-bsuite"))
    assert Path("runs/mine/comparison.json").is_file()
    assert len(found.verdicts()) == 5 and len(found.frame()) == 2


@pytest.mark.slow
def test_compare_trains(says: Says) -> None:
    inline = ("--executor", "inline", "--agents-per-call", 4, "--json")
    (first,) = events(says(*COMPARE, *inline)[1], "comparison")
    shutil.rmtree("runs")
    code, out, _ = says(*COMPARE, *inline)
    (again,) = events(out, "comparison")
    assert code == 0 and first == again
    scores = [row["scores"] for row in first["rows"]]
    assert np.isfinite(scores).all() and scores[0] != scores[1]


BAD = {
    "compare --suite tiny.toml": "what shall be judged?",
    "compare ppo": "on which suite?",
    "compare ppo --suite clasic": "did you mean classic",
    "compare ppo --suite tiny.toml --seeds 0": "seeds must be at least 1, got 0",
    "compare ppo --suite tiny.toml --tasks late": "late is held out by suite tiny",
    "compare ppo --suite tiny.toml --sweep clip": "a sweep is given as NAME=FACTOR",
    "compare ppo --suite tiny.toml --sweep clip=1,2 --sweep clip=3": "--sweep clip is there twice",
    "compare ppo --suite tiny.toml --name a/b": "--name has letters, digits",
    "compare ppo[clip=0.1 --suite tiny.toml": "options of a subject are given as",
    "compare ppo here.py --suite tiny.toml": "there is no file here.py",
    "compare ppo --suite tiny.toml --executor threads": "no executor named 'threads'",
    "evaluate ppo --suite tiny.toml --tasks late": "late is held out by suite tiny",
    "evaluate ppo --suite tiny.toml --sweep gamma=2": "number gamma must be between 0 and 1",
}


@pytest.mark.parametrize("line", BAD)
def test_bad_input_is_one_clear_line(line: str, says: Says) -> None:
    code, out, err = says(*line.split())
    assert (code, out) == (2, "")
    assert BAD[line] in err and err.startswith("error: ") and err.count("\n") == 1
    assert not Path("runs").exists()


def test_ctrl_c_says_how_to_go_on(says: Says, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("discovery.executors.make_executor", lambda *_, **__: Pretender(breaks_after=3))
    code, _, err = says("compare", "ppo", "--suite", "tiny.toml", "--seeds", 5)
    assert code == 130
    assert err == "\nStopped; what was finished is recorded, and the same command goes on from there\n"
    with Ledger.open("runs/compare-tiny") as ledger:
        assert len(ledger.reports()) == 3
