"""Bad input: exit code 2 and one message that names what is wrong or nearest; nothing is written."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from discovery.app.commands.failure import unexpected
from tests.app.support import ROOT, TINY, Says, tree

LINES = {
    "serch": "search",
    "search": "preset",
    "search lpo-cach": "lpo-catch",
    "search nosuch.toml": "nosuch.toml",
    "search lpo-catch --generatins 3": "--generations",
    "search lpo-catch --algorithm-options widht=4": "width",
    "search lpo-catch --tasks.0.total-steps 5": "256",
    f"search lpo-catch --name {'a' * 300}": "100 letters",
    "search lpo-catch --dry-run --agents-per-call 1e9": "1000000",
    "search lpo-catch --dry-run --seed 1e30": "seed",
    "search lpo-catch --dry-run --executor inline --workers 4": "inline",
    "list --output f\udcff": "UTF-8",
    "list --output nope": "nope",
    "resume nope": "nope",
    "resume .": "config.toml",
    "export nope --to torhc": "torch",
    "evaluate": "runs/NAME",
    "evaluate ppo": "--tasks",
    "evaluate ppo@12 --tasks Catch-bsuite": "is an algorithm, not a run",
    "evaluate ppo --tasks Catch-bsuite --executor inline --seeds 1e9": "100000",
    "evaluate ppo --tasks Catc": "Catch-bsuite",
    "envs CartPol": "CartPole-v1",
    "quickstart --generations 0": "generations",
}


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to stand in."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("line", LINES)
def test_a_bad_line_is_refused(line: str, says: Says, here: Path) -> None:
    code, out, err = says(*line.split())
    assert (code, out) == (2, "")
    assert LINES[line] in err and "Traceback" not in err
    assert not list(here.iterdir())


CONFIGS = {
    ("[meta]", "[meta"): "TOML",
    ("Catch-bsuite", "Catsh-bsuite"): "Catch-bsuite",
    ("Catch-bsuite", "no.such:place"): "no.such",
    ("width = 4", "width = 0"): "width=0",
    ("population = 4", 'population = 4\ntask_normalization = "reference"'): "reference",
    ("generations = 6", 'generations = 6\nalgorithm = "lpoo"'): "lpo",
    ("{ width = 4 }", '{}\nalgorithm = "ppo"'): "nothing to search",
    ("n_steps = 8", "n_steps = 8\nactivation = 'gelu'"): "tasks[0].setup.activation",
    (TINY, ""): "empty",
}


@pytest.mark.parametrize("change", CONFIGS, ids=lambda change: change[1][:30])
def test_a_bad_file_is_refused(change: tuple[str, str], says: Says, here: Path) -> None:
    Path("bad.toml").write_text(TINY.replace(*change))
    code, out, err = says("search", "bad.toml")
    assert (code, out) == (2, "")
    assert CONFIGS[change] in err and err.count("\n") == 1
    assert tree(here) == {"bad.toml"}


def test_code_of_ones_own_that_raises_is_told_before_a_run_is_made(
    says: Says, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(here))
    Path("mine.py").write_text(
        "from environments.make import make\n"
        "def raises():\n    raise RuntimeError('not\\ntoday')\n"
        "def step(*_):\n    raise IndexError('in step')\n"
        "def steps_badly():\n    return make('Catch-bsuite')._replace(step=step)\n"
    )
    for function, words in (("raises", "RuntimeError: not today"), ("steps_badly", "IndexError: in step")):
        Path("own.toml").write_text(TINY.replace("Catch-bsuite", f"mine:{function}"))
        code, _, err = says("search", "own.toml")
        assert code == 2 and words in err and err.count("\n") == 1
    assert not Path("runs").exists()


def test_output_that_cannot_be_written(says: Says) -> None:
    Path("tiny.toml").write_text(TINY)
    code, _, err = says("search", "tiny.toml", "--output", "tiny.toml")
    assert code == 2 and "--output" in err and err.count("\n") == 1


def test_an_error_that_nobody_foresaw_is_one_line_and_a_file(here: Path) -> None:
    try:
        raise ZeroDivisionError("a\nmistake of ours")
    except ZeroDivisionError as error:
        text = str(unexpected(error, here))
    trace = re.search(r"traceback is in (\S+)$", text)
    assert "ZeroDivisionError: a mistake of ours" in text and "\n" not in text
    assert trace and "test_misuse.py" in Path(trace[1]).read_text()


def run(command: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **variables}
    command = command.replace("discovery", f"{sys.executable} -m discovery")
    words = ["/bin/bash", "-c", command]
    return subprocess.run(words, env=environment, text=True, timeout=60, capture_output=True)


def test_what_reads_the_output_may_leave_or_not_be_there() -> None:
    for command in ("discovery envs | head -1; exit ${PIPESTATUS[0]}", "discovery list >&-"):
        done = run(command)
        assert (done.returncode, done.stderr) == (0, "")


def test_a_device_that_jax_does_not_have_is_named() -> None:
    done = run("discovery objectives", JAX_PLATFORMS="cuda")
    assert done.returncode == 2 and "cuda" in done.stderr and done.stderr.count("\n") == 1
