"""Programs of files as subjects: read, checked, trained as the family `programs`, and never executed."""

import shutil
from pathlib import Path

import jax
import numpy as np
import pytest

from discovery.app.loaded import load_run
from discovery.core.config.search import SearchConfig
from discovery.core.errors import BadInput
from discovery.core.jobs import AlgorithmSpec
from discovery.display.pictures.found import draw_found
from discovery.display.pictures.loss import grids
from discovery.inner.compile import build_algorithm
from discovery.meta.base import Proposal
from discovery.results.learned import learned_of
from discovery.results.objective import objective_in
from discovery.results.programs import explain, programs_in, spec_of
from discovery.store.run import Run
from objectives.programs.code import decode
from objectives.programs.known import known
from objectives.programs.source import parse
from tests.results.test_subjects import TASK, jobs_of, one, written

PPO = '''# My loss.
def my_loss(log_ratio, advantage, clip=0.2):
    """PPO's."""
    ratio = jnp.exp(log_ratio)
    return -jnp.minimum(ratio * advantage, jnp.clip(ratio, 1 - clip, 1 + clip) * advantage)
'''
SCHEDULE = "def schedule(progress):\n    return 1 - progress\n"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return written(tmp_path / "my_loss.py", PPO)


def test_a_file_is_the_family_with_the_files_program(file: Path) -> None:
    subject = one(str(file))
    assert (subject.label, subject.source, subject.numbers) == ("my_loss.py", str(file), {})
    assert subject.spec == AlgorithmSpec("programs", (("slots", "policy_loss"),))
    assert decode("policy_loss", subject.meta_params["policy_loss"]).hash == known("policy_loss", "ppo").hash
    subject = one(f"{file}[condition=drift,learning_rate=3]")
    assert subject.label == "my_loss.py[condition=drift,learning_rate=3]"
    assert dict(subject.spec.options) == {"slots": "policy_loss", "condition": "drift"}
    assert subject.numbers == {"learning_rate": 3.0}


@pytest.mark.slow
def test_the_picture_of_a_program_shows_what_that_of_the_known_algorithm_does(file: Path) -> None:
    subject = one(str(file))
    mine, theirs = learned_of(subject.spec, subject.meta_params), learned_of(AlgorithmSpec("ppo"))
    for each in zip(*(grids(objective_in(learned), 0.0) for learned in (mine, theirs)), strict=True):
        np.testing.assert_allclose(*each, rtol=1e-4, atol=1e-5)
    assert draw_found(mine).axes


def test_several_programs_and_larger_ones(tmp_path: Path) -> None:
    def spec(text: str) -> AlgorithmSpec:
        return spec_of(programs_in(written(tmp_path / "mine.py", text)), "mine.py")

    two = spec(f"{SCHEDULE}\n{PPO.replace('my_loss', 'policy_loss')}")
    assert two == AlgorithmSpec("programs", (("slots", "policy_loss,schedule"),))
    assert set(build_algorithm(two).init(jax.random.key(0))) == {"policy_loss", "schedule"}
    lines = [
        "def schedule(kl):",
        "    x = kl",
        *[f"    x = x * {k}.5 + kl" for k in range(13)],
        "    return x",
    ]
    large = {"slots": "schedule", "instructions": 48, "constants": 16}
    assert dict(spec("\n".join(lines)).options) == large
    means = "+".join(f"jnp.mean(log_ratio * {k}.0)" for k in range(3))
    assert dict(spec(f"def policy_loss(log_ratio): return {means}").options)["reductions"] == 4


def test_trainings_of_a_program_are_told_by_what_it_computes(file: Path, tmp_path: Path) -> None:
    (first,) = jobs_of(str(file))
    moved = shutil.copy(file, tmp_path / "elsewhere.py")
    renamed = written(
        tmp_path / "other.py", PPO.replace("ratio", "r").replace("log_r", "log_ratio") + "# end\n"
    )
    for path in (moved, renamed):
        assert [job.id for job in jobs_of(str(path))] == [first.id]
    assert jobs_of(str(written(file, PPO.replace("0.2", "0.3"))))[0].id != first.id


@pytest.mark.parametrize(
    ("text", "options", "words"),
    [
        ("import os\nos.abort()\n", "", "line 1: this import is not allowed here"),
        (PPO.replace("jnp.exp", "jnp.exq"), "", "line 4: there is no function jnp.exq; nearest: jnp.exp"),
        (PPO + "for i in range(3): pass\n", "", "line 6: a for loop is not allowed here; write the steps"),
        (
            "def f(log_ratio, advantage):\n    return jnp.sign(log_ratio)",
            "",
            "policy_loss is refused: .*; let",
        ),
        ("def potential(x): return x", "", "a program for potential, and agents are trained with"),
        ("def loss(value): return value\ndef policy_loss(log_ratio): return 1", "", "loss includes policy_l"),
        (PPO, "[instructions=4]", "8 instructions, and 4 are allowed"),
        (PPO, "[slots=loss]", "neither an option nor a number 'slots'"),
        (PPO, "[start=dpo]", "neither an option nor a number 'start'"),
        (PPO, "[condition=drfit]", "condition must be one of drift"),
        ("\xff\xfe", "", "line 1: the character"),
        ("x" * 70_000, "", "64 KiB"),
    ],
)
def test_refusals_name_the_file_and_the_reason(text: str, options: str, words: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(BadInput, match=words) as caught:
        one(f"{path}{options}")
    assert caught.value.exit_code == 2 and "mine.py" in str(caught.value)


HOSTILE = [
    "open({marker!r}, 'w').write('run')\n" + PPO,
    "import pathlib\npathlib.Path({marker!r}).touch()\n" + PPO,
    PPO.replace("clip=0.2", "clip=open({marker!r}, 'w')"),
    PPO.replace("def my_loss", "@print(open({marker!r}, 'w'))\ndef my_loss"),
    PPO.replace('"""PPO\'s."""', "open({marker!r}, 'w')"),
    PPO.replace("advantage, clip", "advantage: open({marker!r}, 'w'), clip"),
    PPO.replace("    return", "    [].__class__.__base__.__subclasses__()\n    return"),
    "NORMALIZED_ADVANTAGE = True\nNEEDS_PROGRESS = open({marker!r}, 'w')\n"
    "def policy_loss(log_prob, old_log_prob, advantage): return advantage\n",
]
"""Files that would write another one if they were imported, or their annotations evaluated."""


@pytest.mark.parametrize("text", HOSTILE)
def test_a_file_without_the_mark_of_an_export_is_never_executed(text: str, tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    path = written(tmp_path / "hostile.py", text.replace("{marker!r}", repr(str(marker))))
    if "advantage: open" in text:  # annotations are left out
        one(str(path))
    else:
        with pytest.raises(BadInput, match=r"hostile\.py: line"):
            one(str(path))
    assert not marker.exists()


# Explanations


def test_an_explanation(file: Path) -> None:
    (program,) = programs_in(file).values()
    found = explain(program)
    assert (found.slot, found.inputs, found.results) == ("policy_loss", ("log_ratio", "advantage"), ("loss",))
    assert (found.primitives, sorted(found.constants), found.couples_batch) == (8, [0.2, 1.0, 1.0], False)
    assert (found.known, found.refusal, found.conditions) == ("ppo", "", {"drift": True})
    assert len(found.passed) == 5 and next(iter(found.distances)) == "ppo"
    assert explain(known("policy_loss", "vsop")).conditions == {"drift": False}


def test_an_explanation_of_what_is_refused() -> None:
    found = explain(parse("def f(log_ratio): return jnp.sign(log_ratio)", "policy_loss"))
    assert found.passed == ("types and size", "cost") and found.refusal.startswith("the result has no deriv")
    assert (found.known, found.distances) == ("", {})


# Runs


def test_programs_of_a_run(file: Path, tmp_path: Path) -> None:
    program = Proposal(one(str(file)).meta_params, AlgorithmSpec("programs"))
    for name, answer in {"own": program, "other": Proposal({}, AlgorithmSpec("dpo"))}.items():
        with Run.create(SearchConfig(tasks=(TASK,)), tmp_path, name=name) as run:
            run.ledger.close_generation(-1, {"x": np.zeros(1)}, {}, answer=answer)
    found = load_run(tmp_path / "own").program("initial")
    assert {slot: each.hash for slot, each in found.items()} == {
        "policy_loss": known("policy_loss", "ppo").hash
    }
    with pytest.raises(BadInput, match="searches no programs but 'lpo'"):
        load_run(tmp_path / "other").program("initial")
