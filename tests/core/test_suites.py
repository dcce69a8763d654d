"""Suites: what is shipped, what is refused, measuring end to end, and random actions against oracles."""

import importlib.util
import math
import tomllib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tomli_w

from benchmarks import tuning
from discovery.app.command_line import main
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
from discovery.inner.compile import build_algorithm
from discovery.inner.loops.on_policy import check_numbers, complete, parts
from discovery.inner.rollout import rollout
from discovery.search.requests import report_jobs
from discovery.store.ledger import Ledger
from environments import vector
from environments.base import Environment
from environments.make import FAMILIES
from environments.task import Setup, Task
from objectives import build
from objectives.base import Progress

TINY = """# A tiny suite
#
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

Says = Callable[..., tuple[int, str, str]]


@pytest.fixture
def says(capfd: pytest.CaptureFixture[str]) -> Says:
    def run(*argv: object) -> tuple[int, str, str]:
        capfd.readouterr()
        code = main([str(word) for word in argv])
        out, err = capfd.readouterr()
        return code, out, err

    return run


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.toml"
    path.write_text(TINY)
    return path


ABOUT = {"command": "discovery suites tiny.toml --measure"}


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
    """It parses, says what it is, and has tasks in every split, whose numbers PPO reads."""
    suite = load_suite(name, measured=False)
    assert suite.name == name and 20 < len(suite.summary) <= 110
    assert all(getattr(suite, split) for split in SPLITS)
    names = [task.name for task in suite.tasks]
    assert len(set(names)) == len(names)
    for task in suite.tasks:
        check_numbers(build("ppo"), task.numbers)
        assert "learning_rate" in task.numbers


EVERY_TASK = {(task.setup, task.name): task for n in suite_names() for task in load_suite(n, False).tasks}
BRAX = [task for task in EVERY_TASK.values() if task.setup.environment.startswith("brax/")]
OTHERS = [task for task in EVERY_TASK.values() if task not in BRAX]


def test_environments_of_every_task_are_there():
    for task in filter(installed, OTHERS):
        environment, _ = parts(build("ppo"), task.setup)
        assert environment.id == task.setup.environment
        assert random_task(task).setup.actions == ("squash" if environment.continuous else "clip")


@pytest.mark.slow
@pytest.mark.parametrize("task", BRAX, ids=lambda task: task.name)
def test_environments_of_every_task_in_brax_are_there(task):
    pytest.importorskip("brax")
    parts(build("ppo"), task.setup)
    assert random_task(task).setup.actions == "squash"


@pytest.mark.parametrize("name", suite_names())
def test_every_suite_that_claims_references_loads(name):
    open_suite = load_suite(name, measured=False)
    if any(not record_of(open_suite, task.name) for task in open_suite.tasks):
        with pytest.raises(BadInput, match="lacks references"):
            load_suite(name)
        return
    for _, entry in load_suite(name).splits():
        assert entry.random.low <= entry.random.mean <= entry.random.high < entry.ppo.mean
        assert (
            entry.ppo.low <= entry.ppo.mean <= entry.ppo.high
            and min(entry.ppo.seeds, entry.random.seeds) >= 2
        )


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


def test_what_was_measured_is_loaded_and_normalizes(measured):
    suite = load_suite(measured)
    entry = suite.train[0]
    assert entry.random == Reference(20.0, 19.0, 21.0, 4) and entry.ppo == Reference(60.0, 50.0, 70.0, 4)
    np.testing.assert_allclose(entry.normalized(np.array([20.0, 60.0, 40.0, 100.0])), [0, 1, 0.5, 2])


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


def test_what_changes_no_number_keeps_the_references(measured):
    measured.write_text(
        TINY.replace("[[test]]", "# a remark\n[[test]]").replace('"auc"', '"auc"\nreference = 3.0')
    )
    assert load_suite(measured).test[0].ppo.mean == 60.0
    moved = TINY.replace("[[test]]", "[[selection]]")
    measured.write_text(moved)
    assert load_suite(measured).selection[0].ppo.mean == 60.0


@pytest.mark.parametrize(
    ("low", "high", "fits"), [(12.5, 20.0, True), (11.5, 20.0, False), (5.0, 9.0, False)]
)
def test_ppo_that_is_not_clearly_above_random_actions_is_refused(low, high, fits, tiny):
    suite = load_suite(tiny, measured=False)
    ppo = Reference((low + high) / 2, low, high, 8)
    for task in suite.tasks:
        save_reference(suite, task, Reference(11.0, 10.0, 12.0, 8), ppo, ABOUT)
    if fits:
        assert load_suite(tiny).train[0].ppo == ppo
        return
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
    save_reference(suite, suite.tasks[1], Reference(1.0, 0.0, 2.0, 9), Reference(3.0, 2.5, 4.0, 9), {})
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


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("clasic", "did you mean classic"),
        ("nowhere/own.toml", r"nowhere/own\.toml"),
        ("classic.references", "did you mean classic"),
    ],
)
def test_unknown_suites_are_refused(name, message):
    with pytest.raises(BadInput, match=message):
        load_suite(name)


def test_what_is_measured_of_one_task_leaves_the_others(measured):
    suite = load_suite(measured)
    before = record_of(suite, "short")
    save_reference(
        suite,
        suite.tasks[1],
        Reference(1.0, 0.0, 2.0, 9),
        Reference(3.0, 2.5, 4.0, 9),
        ABOUT | {"date": "now"},
    )
    assert record_of(suite, "short") == before
    assert record_of(suite, "long")["date"] == "now" and load_suite(measured).test[0].random.seeds == 9
    only = Suite("tiny", "", suite.train, (), (), suite.path)
    save_reference(only, suite.tasks[0], Reference(1.0, 0.0, 2.0, 9), Reference(3.0, 2.5, 4.0, 9), {})
    assert record_of(suite, "long") == {}


class Stopped(Inline):
    """Answers without training: PPO 50 + i, random 20 + i; Ctrl-C after so many jobs."""

    def __init__(self, after: int) -> None:
        super().__init__(1)
        self.after, self.ran = after, 0

    def run(self, jobs, more=no_more):
        for i, job in enumerate(jobs):
            if self.ran == self.after:
                raise KeyboardInterrupt
            self.ran += 1
            x = np.float32((50 if job.algorithm.name == "ppo" else 20) + i)
            yield JobResult(job.id, Outcome(x, x, x, *[np.zeros(2)] * 3, nonfinite_step=-1, metrics={}))


def test_measuring_goes_on_where_it_was_stopped(says, tiny, tmp_path, monkeypatch):
    command = ["suites", tiny, "--measure", "--seeds", 3, "--output", tmp_path / "runs", "--quiet"]
    executors = [Stopped(after=4), Stopped(after=99), Stopped(after=99)]
    given = iter(executors)
    monkeypatch.setattr("discovery.executors.make_executor", lambda *_, **__: next(given))
    code, _, err = says(*command)
    assert code == 130 and "same command" in err
    code, out, _ = says(*command)
    assert code == 0 and "[18.52, 23.48]" in out  # 21 -+ 1 times Student's 4.303 over sqrt(3)
    assert says(*command)[0] == 0
    assert [executor.ran for executor in executors] == [4, 12 - 4, 0]
    assert load_suite(tiny).test[0].ppo.mean == 51.0


def test_a_task_on_which_all_trainings_fail_is_told(says, tiny, tmp_path, monkeypatch):
    class Failing(Inline):
        def run(self, jobs, more=no_more):
            yield from (JobResult(job.id, None, "failed", "no reason") for job in jobs)

    monkeypatch.setattr("discovery.executors.make_executor", lambda *_, **__: Failing(1))
    code, _, err = says("suites", tiny, "--measure", "--seeds", 3, "--output", tmp_path / "runs", "--quiet")
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
    # Student's t with one degree of freedom: 12.706 times the standard error, |a - b| / 2.
    assert (short.ppo.high - short.ppo.low) / 2 > 0 and short.ppo.low < short.ppo.mean < short.ppo.high
    with Ledger.open(tmp_path / "runs" / "tiny") as ledger:
        rows = ledger.reports(outcomes=False)
    assert len(rows) == 16 and {row["seed"] for row in rows} == set(range(FIRST_SEED, FIRST_SEED + 4))
    # Everything is recorded: the same command trains nothing, and writes the same.
    before = tiny.with_name("tiny.references.toml").read_text()
    assert says(*command, "--quiet")[0] == 0
    assert tiny.with_name("tiny.references.toml").read_text() == before
    with Ledger.open(tmp_path / "runs" / "tiny") as ledger:
        assert len(ledger.reports(outcomes=False)) == 16


def test_the_command_lists_and_refuses(says, tiny):
    code, out, _ = says("suites")
    assert code == 0 and all(name in out for name in suite_names())
    code, out, _ = says("suites", "classic")
    assert code == 0 and "DeepSea-bsuite" in out
    for words, message in [
        (["clasic"], "classic"),
        (["--measure"], "--measure"),
        (["classic", "--tasks", "Catch-bsuite"], "--measure"),
        (["classic", "--measure", "--tasks", "Katch-bsuite"], "Catch-bsuite"),
        (["classic", "--measure", "--seeds", "1"], "at least 2"),
    ]:
        code, _, err = says("suites", *words)
        assert code == 2 and message in err, words


def random_actions(task: Task) -> tuple[Environment, np.ndarray]:
    """What the environment receives in one rollout of random actions."""
    setup = random_task(task).setup
    algorithm = build_algorithm(AlgorithmSpec("random"))
    environment, network = parts(algorithm, setup)
    progress = Progress(jnp.int32(0), jnp.int32(1), jnp.int32(0), 1)

    @jax.jit
    def actions(key):
        state = vector.reset(environment, setup, key), network.initial_carry(setup.n_envs)
        numbers, params = complete(algorithm, {}, {}), network.init(key)
        _, experience = rollout(algorithm, environment, setup, network, numbers, params, state, progress, key)
        return vector.bounded(environment, setup, experience.trajectory.action)

    return environment, np.asarray(actions(jax.random.key(0)))


def test_random_on_pendulum_is_uniform_within_its_bounds():
    """Kolmogorov and Smirnov's D of 4,096 actions, against the 1% quantile 1.63 / sqrt(n)."""
    setup = Setup("Pendulum-v1", n_envs=32, n_steps=128, recurrence="gru", sequence_length=64)
    environment, actions = random_actions(Task("Pendulum-v1", setup, 10_000))
    assert environment.action_low is not None and environment.action_high is not None
    low, high = environment.action_low, environment.action_high
    x = np.sort(((actions - low) / (high - low)).ravel().astype(np.float64))
    n = x.size
    assert n == 4096 and low.tolist() == [-2.0] and high.tolist() == [2.0]
    distance = max((np.arange(1, n + 1) / n - x).max(), (x - np.arange(n) / n).max())
    assert 0 < distance < 1.63 / math.sqrt(n)


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


class Answers(Inline):
    """Answers jobs by their learning rate, without training: the first seed fails, the others vary."""

    def run(self, jobs, more=no_more):
        for i, job in enumerate(jobs):
            x = np.float32(1e4 * job.task.numbers["learning_rate"] + i)
            outcome = Outcome(x, x, x, *[np.zeros(2)] * 3, nonfinite_step=-1, metrics={})
            yield JobResult(job.id, outcome) if i else JobResult(job.id, None, "crashed")


def test_tuning_marks_the_recipe_and_the_best():
    task = Task("x", Setup(), 640, {"learning_rate": 2e-3})
    assert tuning.rates(task, (1e-3, 3e-3)) == [1e-3, 2e-3, 3e-3]
    scores = {rate: tuning.score(task, rate, 3, Answers(1)) for rate in tuning.rates(task, (1e-3, 3e-3))}
    # Scores 10 + 1 and 10 + 2, and the worst of them for the failure.
    assert scores[1e-3].estimate == pytest.approx((11 + 12 + 11) / 3) and scores[1e-3].failed == 1
    lines = tuning.report(task, scores).splitlines()
    assert ["recipe" in line for line in lines[1:]] == [False, True, False] and "best" in lines[3]


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_tuning_takes_published_numbers_for_its_recipe(optimizer):
    tasks = {task.name: task for task in load_suite("minatar", measured=False).tasks}
    found = tuning.published(tasks, optimizer)
    assert list(found) == [name for name in tasks if not name.startswith("pgx/")]
    for name, task in found.items():
        check_numbers(build("ppo", {"optimizer": optimizer}), task.numbers)
        assert replace(task, numbers={}) == replace(tasks[name], numbers={})
