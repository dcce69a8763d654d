"""The cache of compiled programs that workers, later commands and later runs share."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ENABLE = "from discovery.inner.compilation_cache import enable; print(enable())"

COMPILE = """
import time, sys
import numpy as np
from discovery.core.jobs import AlgorithmSpec
from discovery.inner.compile import run_chunk
from environments.task import Setup, Task
setup = Setup("CartPole-v1", n_envs=4, n_steps=8, n_epochs=2, n_minibatches=2, hidden=(8,), curve_points=2)
keys = np.array([[0, 1]], np.uint32)
outcome, _, seconds = run_chunk(AlgorithmSpec("ppo"), Task("a", setup, 640), {}, keys, np.array([3]))
print(seconds, float(outcome.score[0]).hex())
"""


def started(code: str, home: Path, **settings: str) -> subprocess.Popen:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("JAX_", "XLA_"))}
    environment = kept | {"XDG_CACHE_HOME": str(home), "JAX_PLATFORMS": "cpu", "PJRT_NPROC": "1"} | settings
    return subprocess.Popen([sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE, text=True)


def said(process: subprocess.Popen) -> str:
    out, _ = process.communicate(timeout=600)
    assert process.returncode == 0
    return out.strip()


def test_it_is_in_the_users_cache_folder_and_can_be_turned_off_or_moved(tmp_path: Path) -> None:
    usual = Path(said(started(ENABLE, tmp_path)))
    assert usual.parent == tmp_path / "rl-discovery" and usual.is_dir()
    assert said(started(ENABLE, tmp_path, JAX_ENABLE_COMPILATION_CACHE="0")) == "None"
    mine = str(tmp_path / "mine")
    assert said(started(ENABLE, tmp_path, JAX_COMPILATION_CACHE_DIR=mine)) == mine


@pytest.mark.slow
def test_two_processes_compile_a_program_once_and_a_later_one_not_at_all(tmp_path: Path) -> None:
    first, second = started(COMPILE, tmp_path), started(COMPILE, tmp_path)
    outputs = [said(first), said(second)]
    outputs.append(said(started(COMPILE, tmp_path)))
    kept = [path.name for path in tmp_path.rglob("*-cache") if "lane" in path.name]
    assert len(kept) == 1, kept
    seconds = [float(output.split()[0]) for output in outputs]
    assert seconds[2] < 0.5 * max(seconds[:2])
    assert len({output.split()[1] for output in outputs}) == 1, "the numbers are the same"
