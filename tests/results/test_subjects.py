"""Who is judged: names with options and numbers, and exported files."""

import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import jax
import numpy as np
import pytest

from discovery.app.loaded import load_run
from discovery.core.config.search import SearchConfig
from discovery.core.errors import BadInput
from discovery.core.files import EXPORTED
from discovery.core.jobs import AlgorithmSpec, Job
from discovery.executors.inline import Inline
from discovery.export import Provenance, export, verify
from discovery.export.run import export_run
from discovery.export.write import MARK as MARK_OF_EXPORTS
from discovery.inner.compile import build_algorithm, run_chunk
from discovery.judging.evaluate import train_subjects
from discovery.meta.base import Proposal
from discovery.results.exported_file import file_digest, from_file, is_exported
from discovery.results.subjects import FILE, Subject, split_name, subjects
from discovery.store.run import Run
from environments.task import Setup, Task
from tests.judging.fakes import Pretender

SETUP = Setup("CartPole-v1", n_envs=2, n_steps=8, n_epochs=1, n_minibatches=2, hidden=(8,), curve_points=5)
TASK = Task("cart", SETUP, 480, {"learning_rate": 0.01})

MARK = f'"""{EXPORTED}"""\n'
MINIMAL = f"""{MARK}
NORMALIZED_ADVANTAGE = False
NEEDS_PROGRESS = False

def policy_loss(log_prob, old_log_prob, advantage):
    return -log_prob * advantage
"""


def one(name: str) -> Subject:
    (subject,) = subjects([name])
    return subject


def written(path: Path, text: str = MINIMAL) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def jobs_of(*names: str, tasks: tuple[Task, ...] = (TASK,)) -> list[Job]:
    train_subjects(subjects(names), tasks, 1, executor := Pretender())
    return executor.jobs


@pytest.fixture(scope="module")
def exported(finished_run: SimpleNamespace, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = load_run(finished_run.folder)
    return export_run(run, "jax", tmp_path_factory.mktemp("exports") / "found.py")


# Brackets


def test_brackets() -> None:
    for name, expected in (
        ("ppo[]", ("ppo", {})),
        ("f[a=sgd, b-c=no]", ("f", {"a": "sgd", "b_c": "no"})),
        ("m.n:f[width=8,rate=1e-3,flag=true]", ("m.n:f", {"width": 8, "rate": 1e-3, "flag": True})),
        ("runs/x@3", ("runs/x@3", {})),
    ):
        assert split_name(name) == expected


def test_options_and_numbers_are_told_apart() -> None:
    subject = one("a2c[optimizer=sgd,learning_rate=40,critic_rate=0.1]")
    assert subject.spec == AlgorithmSpec("a2c", (("optimizer", "sgd"),))
    assert subject.numbers == {"learning_rate": 40.0, "critic_rate": 0.1}
    assert subject.label == "a2c[critic_rate=0.1,learning_rate=40,optimizer=sgd]"
    assert (subject.source, subject.meta_params) == ("", {})
    subject = one("objectives.known:a2c[normalize_advantage=true]")
    assert subject.spec.options == (("normalize_advantage", True),)
    assert build_algorithm(subject.spec).policy_loss.normalize_advantage  # type: ignore[union-attr]


def test_numbers_replace_the_tasks() -> None:
    plain, changed = jobs_of("ppo", "ppo[learning_rate=0.5,clip=0.1]")
    assert plain.task == TASK
    assert changed.task == replace(TASK, numbers={"learning_rate": 0.5, "clip": 0.1})
    np.testing.assert_array_equal(plain.key, changed.key)  # the same seeds all the same


def test_equal_numbers_are_one_subject_or_one_training() -> None:
    with pytest.raises(BadInput, match="twice"):
        subjects(["ppo[clip=0.1,gamma=0.9]", "ppo[gamma=.9,clip=.10]"])
    assert len(jobs_of("ppo", "ppo[learning_rate=0.01]", "ppo[clip=0.2]")) == 1


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("ppo[clip]", "'clip'"),
        ("ppo[clip=0.1", "option=value"),
        ("ppo[clop=1]", "'clop'"),
        ("a2c[optimizer=sgd,adam_b1=0.5]", "'adam_b1'"),
        ("ppo[clip=true]", "True"),
        ("a2c[optimizer=sdg]", "'sdg'"),
        ("objectives.drift:lpo[width=big]", "'big'"),
        ("lpo[width=4]", "family"),
        ("{run}[clip=0.1]", "options"),
        ("{run}@7", "generation 7"),
        ("{run}@", "generation"),
        ("{run}@g0/p99", "did you mean g0/p"),
        ("{run}/..", "is no run"),
        ("{run}/../tinny", "did you mean .*tiny"),
        ("objectives.known:nothing", "imported"),
        ("nowhere/found.py", "nowhere/found.py"),
    ],
)
def test_bad_subjects(name: str, word: str, finished_run: SimpleNamespace) -> None:
    with pytest.raises(BadInput, match=word):
        one(name.replace("{run}", str(finished_run.folder)))


def test_numbers_of_ppo_that_nobody_reads_are_left_out() -> None:
    """A suite's recipes are PPO's with Adam; any other number that is not read is still an error."""
    task = replace(TASK, numbers={"learning_rate": 0.01, "adam_b2": 0.99})
    (job,) = jobs_of("ppo[optimizer=sgd]", tasks=(task,))
    assert job.task.numbers == {"learning_rate": 0.01}
    (job,) = jobs_of("ppo", tasks=(task,))
    assert job.task.numbers == task.numbers
    with pytest.raises(BadInput, match="klop"):
        jobs_of("ppo[optimizer=sgd]", tasks=(replace(task, numbers={"klop": 1.0}),))


# Exported files


def test_an_exported_file_scores_what_its_run_scores(finished_run: SimpleNamespace, exported: Path) -> None:
    """Bit for bit, on a CPU, although its weights are constants of another program."""
    folder, run = finished_run.folder, load_run(finished_run.folder)
    other = 1 if run.choice.generation != 1 else 2
    who = subjects([str(folder), str(exported), f"{folder}@{other}"])
    found = train_subjects(who, run.config.tasks, 4, Inline(4))
    theirs, ours, others = found.cells
    np.testing.assert_array_equal(ours.scores, theirs.scores)
    np.testing.assert_array_equal(ours.curves, theirs.curves)
    assert not np.allclose(others.curves, theirs.curves, rtol=1e-3, equal_nan=True)


def test_no_config_can_have_a_file_run() -> None:
    with pytest.raises(BadInput, match="exported file"):
        SearchConfig(algorithm=FILE, algorithm_options={"path": "found.py", "digest": ""})


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("x = 1", "policy_loss"),
        ("import no_such_module", "no_such_module"),
        ("def (", "SyntaxError"),
        (MINIMAL.replace("advantage):", "advantage, more):"), "TypeError"),
        ("def policy_loss(*a): ...", "NORMALIZED_ADVANTAGE"),
        ("def score_loss(*a): ...", "NORMALIZED"),
        ("def optimizer(): return 3", "AttributeError"),
    ],
)
def test_files_that_are_no_exports(text: str, word: str, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=word):
        one(str(written(tmp_path / "found.py", f"{MARK}{text}\n")))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("spec", "numbers", "target"),
    [
        (AlgorithmSpec("ampo", (("temporal", True), ("units", 6))), {"eta": 2.0}, "jax"),
        (AlgorithmSpec("open", (("gru_width", 0), ("width", 4))), {"open_scale": 0.1}, "optax"),
    ],
    ids=["mirror map", "optimizer"],
)
def test_every_kind_of_file_trains_as_what_was_exported(
    spec: AlgorithmSpec, numbers: dict[str, float], target: str, tmp_path: Path
) -> None:
    """To rounding: its weights are constants of another program, which is compiled otherwise."""
    noise = np.random.default_rng(0)
    entries = jax.tree.map(
        lambda x: np.float32(x + 0.1 * noise.standard_normal(x.shape)),
        build_algorithm(spec).init(jax.random.key(0)),
    )
    path = written(tmp_path / "found.py", export(spec, entries, numbers, Provenance(), target))
    subject, keys, lives = one(str(path)), np.arange(8, dtype=np.uint32).reshape(4, 2), np.full(4, 30)
    stacked = jax.tree.map(lambda x: np.stack([x] * 4), entries)
    ours, _, _ = run_chunk(spec, replace(TASK, numbers={**TASK.numbers, **numbers}), stacked, keys, lives)
    theirs, _, _ = run_chunk(subject.spec, TASK, {}, keys, lives)
    nothing, _, _ = run_chunk(AlgorithmSpec("random"), replace(TASK, numbers={}), {}, keys, lives)
    np.testing.assert_allclose(theirs.metrics["entropy"], ours.metrics["entropy"], rtol=1e-3)
    np.testing.assert_allclose(theirs.score, ours.score, rtol=1e-3)
    assert not np.allclose(nothing.score, ours.score, rtol=1e-3)
    with pytest.raises(BadInput, match="option optimizer"):
        one(f"{path}[optimizer=sgd]")


def test_exported_files_have_a_mark(exported: Path) -> None:
    assert EXPORTED == MARK_OF_EXPORTS and is_exported(exported)


def test_what_a_file_declares(exported: Path, tmp_path: Path) -> None:
    temporal = build_algorithm(one(str(exported)).spec).policy_loss
    plain = build_algorithm(one(str(written(tmp_path / "plain.py"))).spec).policy_loss
    assert temporal and temporal.normalize_advantage
    assert plain and not plain.normalize_advantage
    assert float(plain.per_sample({}, np.float32(-2), np.float32(-1), np.float32(3), None)) == 6.0  # type: ignore[arg-type]


def test_a_file_has_options_and_numbers(tmp_path: Path) -> None:
    path = written(tmp_path / "mine.py")
    subject = one(f"{path}[optimizer=sgd,learning_rate=3]")
    assert subject.label == "mine.py[learning_rate=3,optimizer=sgd]"
    assert (subject.source, subject.numbers) == (str(path), {"learning_rate": 3.0})
    assert "critic_rate" in dict(build_algorithm(subject.spec).defaults)
    with pytest.raises(BadInput, match="'path'"):
        one(f"{path}[path=x]")


def test_trainings_of_a_file_are_told_by_its_content(tmp_path: Path) -> None:
    path = written(tmp_path / "a" / "mine.py")
    (first,) = jobs_of(str(path))
    (moved,) = jobs_of(str(shutil.copy(path, tmp_path / "elsewhere.py")))
    assert moved.id == first.id
    digest = file_digest(path)
    assert one(str(path)).spec == AlgorithmSpec(FILE, (("digest", digest), ("path", str(path))))
    (changed,) = jobs_of(str(written(path, MINIMAL + "\nWEIGHT = 2\n")))
    assert changed.id != first.id
    with pytest.raises(BadInput, match="has changed"):  # workers build it from its specification
        from_file(str(path), digest)
    written(path, MINIMAL.replace(MARK, ""))
    with pytest.raises(BadInput, match="is not run"):
        from_file(str(path), file_digest(path))


# Answers


def test_an_answer_with_its_own_algorithm_is_judged_and_exported_as_such(tmp_path: Path) -> None:
    config = SearchConfig(tasks=(TASK,))  # searches "lpo"
    with Run.create(config, tmp_path, name="own") as run:
        answer = Proposal({}, AlgorithmSpec("dpo"))
        run.ledger.close_generation(-1, {"x": np.zeros(1)}, {}, answer=answer)
    found = load_run(tmp_path / "own")
    assert config.spec.name == "lpo"
    assert one(f"{found.folder}@initial").spec == found.learned("initial").spec == AlgorithmSpec("dpo")
    file = export_run(found, "jax", tmp_path / "found.py", "initial")
    verify(file, AlgorithmSpec("dpo"), {}, TASK.numbers)
