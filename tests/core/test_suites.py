"""Suites: what is shipped, what is refused, measuring end to end, and random actions against oracles."""

import importlib.util
import math
import tomllib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tomli_w

from benchmarks import tuning
from discovery.app.commands.suites import random_task
from discovery.core.errors import BadInput
from discovery.core.jobs import AlgorithmSpec, JobResult, Outcome
from discovery.core.suites import (
    FIRST_SEED,
    NOT_MEASURED,
    SPLITS,
    Reference,
    Suite,
    SuiteTask,
    load_suite,
    record_of,
    save_reference,
    suite_names,
)
from discovery.executors.base import no_more
from discovery.executors.inline import Inline
from discovery.inner.loops.on_policy import check_numbers, parts
from discovery.search.requests import report_jobs
from discovery.store.ledger import Ledger
from environments.make import FAMILIES
from environments.task import Setup, Task
from objectives import build

TINY = """# A tiny suite
# Not this line.

[recipe]
total_steps = 2_000
numbers = { learning_rate = 5e-3, value_clip = inf }

[recipe.setup]
environment = "CartPole-v1"
n_envs = 4
n_steps = 16
n_epochs = 4
n_minibatches = 2
hidden = [8]

[[train]]
name = "short"

[[test]]
name = "long"
score = "auc"
numbers = { learning_rate = 1e-2 }
"""


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.toml"
    path.write_text(TINY)
    return path


ABOUT = {"command": "discovery suites tiny.toml --measure"}
ANEW = Reference(1.0, 0.0, 2.0, 9), Reference(3.0, 2.5, 4.0, 9)


@pytest.fixture
def measured(tiny: Path) -> Path:
    """The tiny suite with made-up references."""
    suite = load_suite(tiny, measured=False)
    for task in suite.tasks:
        save_reference(suite, task, Reference(20.0, 19.0, 21.0, 4), Reference(60.0, 50.0, 70.0, 4), ABOUT)
    return tiny


def installed(task: Task) -> bool:
    family = FAMILIES.get(task.setup.environment.partition("/")[0])
    return family is None or not family.requires or importlib.util.find_spec(family.requires) is not None


@pytest.mark.parametrize("name", suite_names())
def test_every_shipped_suite_is_sound(name):
    """It has tasks in every split, whose numbers PPO reads; it loads, or says that references are missing."""
    suite = load_suite(name, measured=False)
    assert suite.summary and all(getattr(suite, split) for split in SPLITS)
    for task in suite.tasks:
        check_numbers(build("ppo"), task.numbers)
        assert "learning_rate" in task.numbers
    if all(record_of(suite, task.name) for task in suite.tasks):
        load_suite(name)
        return
    with pytest.raises(BadInput, match="lacks references"):
        load_suite(name)


@pytest.mark.parametrize("in_brax", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_environments_of_every_task_are_there(in_brax):
    if in_brax:
        pytest.importorskip("brax")
    suites = [load_suite(name, measured=False) for name in suite_names()]
    tasks = {(task.setup, task.name): task for suite in suites for task in suite.tasks}
    for task in filter(installed, tasks.values()):
        if task.setup.environment.startswith("brax/") == in_brax:
            environment, _ = parts(build("ppo"), task.setup)
            assert environment.id == task.setup.environment
            assert random_task(task).setup.actions == ("squash" if environment.continuous else "clip")


def test_a_recipe_is_shared(tiny):
    tiny.write_text(TINY + "setup = { n_envs = 8 }\n")
    suite = load_suite(tiny, measured=False)
    short, long = suite.tasks
    assert (suite.name, suite.summary, suite.selection) == ("tiny", "A tiny suite", ())
    assert short.setup == Setup("CartPole-v1", 4, 16, 4, 2, hidden=(8,))
    assert long.setup == replace(short.setup, n_envs=8)
    assert short.numbers == {"learning_rate": 5e-3, "value_clip": math.inf}
    assert long.numbers == {"learning_rate": 1e-2, "value_clip": math.inf} and long.score == "auc"
    assert suite.test[0] == SuiteTask(long, NOT_MEASURED, NOT_MEASURED)


def test_what_was_measured_is_loaded_and_normalizes_whatever_else_changes(measured):
    entry = load_suite(measured).train[0]
    assert entry.random == Reference(20.0, 19.0, 21.0, 4) and entry.ppo == Reference(60.0, 50.0, 70.0, 4)
    np.testing.assert_allclose(entry.normalized(np.array([20.0, 60.0, 40.0, 100.0])), [0, 1, 0.5, 2])
    measured.write_text(TINY.replace('"auc"', '"auc"\nreference = 3.0'))
    assert load_suite(measured).test[0].ppo.mean == 60.0
    measured.write_text(TINY.replace("[[test]]", "# a remark\n[[selection]]"))
    assert load_suite(measured).selection[0].ppo.mean == 60.0


def test_missing_references_are_refused(tiny, measured):
    path = measured.with_name("tiny.references.toml")
    recorded = tomllib.loads(path.read_text())
    del recorded["long"]["ppo"]
    path.write_text(tomli_w.dumps(recorded))
    with pytest.raises(BadInput, match=r"long: no ppo.*--measure --tasks long"):
        load_suite(tiny)
    assert load_suite(tiny, measured=False).test[0].ppo == NOT_MEASURED
    path.unlink()
    with pytest.raises(BadInput, match="short, long: no random and no ppo"):
        load_suite(tiny)
    path.write_text("x =")
    with pytest.raises(BadInput, match="cannot be read"):
        load_suite(tiny)
    with pytest.raises(BadInput, match="holds references"):
        load_suite(path)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("learning_rate = 1e-2", "learning_rate = 2e-2"),
        ('"auc"', '"auc"\nsetup = { n_envs = 2 }'),
        ('"auc"', '"final"'),
        ('name = "long"', 'name = "long"\ntotal_steps = 3_000'),
    ],
)
def test_references_of_another_recipe_are_refused(old, new, measured):
    assert old in TINY
    measured.write_text(TINY.replace(old, new))
    with pytest.raises(BadInput, match="long: the recipe has changed"):
        load_suite(measured)


def test_ppo_that_is_not_clearly_above_random_actions_is_refused(tiny):
    suite = load_suite(tiny, measured=False)
    for low, high in [(12.5, 20.0), (11.5, 20.0), (5.0, 9.0)]:
        ppo = Reference((low + high) / 2, low, high, 8)
        for task in suite.tasks:
            save_reference(suite, task, Reference(11.0, 10.0, 12.0, 8), ppo, ABOUT)
        if low > 12.0:
            assert load_suite(tiny).train[0].ppo == ppo
            continue
        with pytest.raises(BadInput, match=r"short.*random"):
            load_suite(tiny)


@pytest.mark.parametrize(
    "unsound",
    [
        Reference(60.0, 50.0, 70.0, 1),
        Reference(60.0, -math.inf, math.inf, 4),
        Reference(math.nan, 50.0, 70.0, 4),
        Reference(60.0, 61.0, 70.0, 4),
    ],
)
def test_references_without_a_mean_and_its_interval_are_refused(unsound, measured):
    suite = load_suite(measured)
    save_reference(suite, suite.tasks[1], Reference(20.0, 19.0, 21.0, 4), unsound, ABOUT)
    with pytest.raises(BadInput, match="long: no mean"):
        load_suite(measured)
    save_reference(suite, suite.tasks[1], *ANEW, {})
    with pytest.raises(BadInput, match="long: no command"):
        load_suite(measured)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "has no tasks"),
        ("x", "no valid TOML"),
        ("[[tests]]\nname = 'a'", "did you mean test"),
        ("[test]\nname = 'a'", "test must be a list"),
        ("recipe = 3", "recipe"),
        ("[[test]]\nscore = 'auc'", r"test\[0\]"),
        ("[[test]]\nname = 'a'\nscor = 'auc'", r"did you mean test\[0\].score"),
        ("[[test]]\nname = 'a'\nsetup.n_envs = 0", "n_envs"),
        ("[[train]]\nname = 'a'\n[[test]]\nname = 'a'", "two tasks 'a'"),
        ("[[train]]\nname = 'a'\n[[test]]\nname = 'b'\nsetup.environment = 'a'", "two names, 'a'"),
    ],
)
def test_files_that_are_wrong_are_refused(text, message, tmp_path):
    path = tmp_path / "own.toml"
    path.write_text(text)
    with pytest.raises(BadInput, match=message) as caught:
        load_suite(path, measured=False)
    assert "own" in str(caught.value) and "\n" not in str(caught.value)


def test_what_is_measured_of_one_task_leaves_the_others(measured):
    suite = load_suite(measured)
    before = record_of(suite, "short")
    save_reference(suite, suite.tasks[1], *ANEW, ABOUT | {"date": "now"})
    assert record_of(suite, "short") == before
    assert record_of(suite, "long")["date"] == "now" and load_suite(measured).test[0].random.seeds == 9
    only = Suite("tiny", "", suite.train, (), (), suite.path)
    save_reference(only, suite.tasks[0], *ANEW, {})
    assert record_of(suite, "long") == {}


class Answers(Inline):
    """Answers without training: the score of the i-th job of a call, NaN for a failure. Ctrl-C comes `after`
    so many jobs.
    """

    def __init__(self, score, after=99):
        super().__init__(1)
        self.score, self.after, self.ran = score, after, 0

    def run(self, jobs, more=no_more):
        for i, job in enumerate(jobs):
            if self.ran == self.after:
                raise KeyboardInterrupt
            self.ran += 1
            x = np.float32(self.score(i, job))
            if np.isnan(x):
                yield JobResult(job.id, None, "failed", "no reason")
            else:
                outcome = Outcome(x, x, x, *[np.zeros(2)] * 3, nonfinite_step=-1, metrics={})
                yield JobResult(job.id, outcome)


@pytest.fixture
def measuring(tiny, tmp_path, monkeypatch):
    """Gives the verb that measures, which trains with these executors in order."""

    def measure(*executors):
        given = iter(executors)
        monkeypatch.setattr("discovery.executors.make_executor", lambda *_, **__: next(given))
        return ["suites", tiny, "--measure", "--seeds", 3, "--output", tmp_path / "runs", "--quiet"]

    return measure


def test_measuring_goes_on_where_it_was_stopped(says, tiny, measuring):
    def score(i, job):
        return (50 if job.algorithm.name == "ppo" else 20) + i

    executors = [Answers(score, after) for after in (4, 99, 99)]
    command = measuring(*executors)
    assert says(*command)[0] == 130
    code, out, _ = says(*command)
    assert code == 0 and "[18.52, 23.48]" in out  # 21 -+ 1 times Student's 4.303 over sqrt(3)
    assert says(*command)[0] == 0
    assert [executor.ran for executor in executors] == [4, 12 - 4, 0]
    assert load_suite(tiny).test[0].ppo.mean == 51.0


def test_a_task_on_which_all_trainings_fail_is_told(says, tiny, measuring):
    code, _, err = says(*measuring(Answers(lambda i, job: math.nan)))
    assert code == 1 and "ppo on short failed" in err
    with pytest.raises(BadInput, match="no random and no ppo"):
        load_suite(tiny)


@pytest.mark.slow
def test_measuring_end_to_end(says, tiny, tmp_path):
    command = ["suites", tiny, "--measure", "--seeds", 4, "--executor", "inline", "--agents-per-call", 4]
    command += ["--output", tmp_path / "runs"]
    code, _, err = says(*command, "--tasks", "short")
    assert code == 0, err
    with pytest.raises(BadInput, match="long: no random and no ppo"):
        load_suite(tiny)
    code, _, err = says(*command)
    assert code == 0, err
    suite = load_suite(tiny)
    record = record_of(suite, "long")
    assert record["score"] == "auc" and record["first_seed"] == FIRST_SEED and "jax" in record["versions"]
    assert "--tasks long --seeds 4" in record["command"]
    short, long = suite.train[0], suite.test[0]
    # The numbers are those of the trainings, taken by hand from jobs of their own.
    for name, reference, task in [
        ("ppo", short.ppo, short.task),
        ("random", short.random, random_task(short.task)),
        ("ppo", long.ppo, long.task),
    ]:
        jobs = report_jobs(name, AlgorithmSpec(name), {}, [task], 4, FIRST_SEED)
        scores = [float(result.outcome.score) for result in Inline(4).run(jobs) if result.outcome is not None]
        assert reference.mean == pytest.approx(np.mean(scores), rel=1e-6) and reference.seeds == 4
        assert reference.low < reference.mean < reference.high
    # Everything is recorded: the same command trains nothing, and writes the same.
    before = tiny.with_name("tiny.references.toml").read_text()
    assert says(*command, "--quiet")[0] == 0
    assert tiny.with_name("tiny.references.toml").read_text() == before
    with Ledger.open(tmp_path / "runs" / "tiny") as ledger:
        rows = ledger.reports(outcomes=False)
    assert len(rows) == 16 and {row["seed"] for row in rows} == set(range(FIRST_SEED, FIRST_SEED + 4))


def test_the_command_lists_and_refuses(says, tiny):
    code, out, _ = says("suites")
    assert code == 0 and all(name in out for name in suite_names())
    code, out, _ = says("suites", "classic")
    assert code == 0 and "DeepSea-bsuite" in out
    for words, message in [
        (["clasic"], "classic"),
        (["nowhere/own.toml"], "nowhere/own.toml"),
        (["classic.references"], "classic"),
        (["--measure"], "--measure"),
        (["classic", "--tasks", "Catch-bsuite"], "--measure"),
        (["classic", "--measure", "--tasks", "Katch-bsuite"], "Catch-bsuite"),
        (["classic", "--measure", "--seeds", "1"], "at least 2"),
    ]:
        code, _, err = says("suites", *words)
        assert code == 2 and message in err, words


@pytest.mark.slow
def test_random_reaches_what_is_expected_of_it():
    """Catch, by enumeration: the ball falls 9 rows, the paddle walks on 5 columns with walls at both ends."""
    row = np.full((5, 5), 0.0)
    for column in range(5):
        for move in (-1, 0, 1):
            row[column, min(max(column + move, 0), 4)] += 1 / 3
    paddle = np.linalg.matrix_power(row, 9)[2]
    expected = float(sum((2 * paddle[ball] - 1) / 5 for ball in range(5)))
    task = random_task(Task("Catch-bsuite", Setup("Catch-bsuite", n_envs=32, n_steps=90), 32 * 90 * 20))
    jobs = report_jobs("random", AlgorithmSpec("random"), {}, [task], 4)
    outcomes = [result.outcome for result in Inline(4).run(jobs)]
    scores = np.array([float(outcome.auc) for outcome in outcomes if outcome is not None])
    # 4 x 6,400 episodes of +-1: a standard error of at most 0.00625.
    assert expected == pytest.approx(-0.6) and scores.mean() == pytest.approx(expected, abs=4 * 0.00625)
    assert scores.size == 4 and np.unique(scores).size == 4


def test_tuning_counts_a_failure_as_the_worst_score():
    task = Task("x", Setup(), 640, {"learning_rate": 2e-3})
    assert tuning.rates(task, (1e-3, 3e-3)) == [1e-3, 2e-3, 3e-3]

    def score(i, job):
        return 1e4 * job.task.numbers["learning_rate"] + i if i else math.nan

    found = tuning.score(task, 1e-3, 3, Answers(score))
    assert found.estimate == pytest.approx((11 + 12 + 11) / 3) and found.failed == 1
