"""docs/families/toy.md: one line makes its example a family that is searched, drawn, distilled, exported."""

import re
import shutil
import sys
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

import objectives
from discovery.app.loaded import load_run
from discovery.inner import compile as compiled
from objectives.base import Progress
from tests.app.support import TINY

DOCS = Path(__file__).parents[1] / "docs"
SEARCH = TINY.replace("{ width = 4 }", '{ start = 1.5 }\nalgorithm = "split_kl"')


@pytest.fixture(autouse=True)
def applied(tmp_path, monkeypatch):
    """The change of the page: the file in the package, and the added line in `FAMILIES`."""
    folder = tmp_path / "added"
    folder.mkdir()
    shutil.copy(DOCS / "examples" / "split_kl.py", folder / "split_kl.py")
    monkeypatch.setattr(objectives, "__path__", [*objectives.__path__, str(folder)])
    page = (DOCS / "families" / "toy.md").read_text(encoding="utf-8")
    ((name, place),) = re.findall(r'^\+    "(\w+)": "([\w.:]+)",$', page, re.MULTILINE)
    monkeypatch.setitem(objectives.FAMILIES, name, place)
    compiled.build_algorithm.cache_clear()
    yield
    compiled.build_algorithm.cache_clear()
    sys.modules.pop("objectives.split_kl", None)


def test_it_is_listed_and_described(says):
    assert re.search(r"^split_kl +searched ", says("objectives")[1], re.MULTILINE)
    code, out, _ = says("objectives", "split_kl")
    assert code == 0 and "start: float = 1.0" in out and "kl_scale = 1" in out


def test_its_penalty_by_hand():
    policy_loss = objectives.build("split_kl").policy_loss
    ratio, advantage = jnp.array([1.5, 0.5]), jnp.array([1.0, -2.0])
    numbers = {"kl_scale": 0.5, "log_strength": jnp.log(jnp.array([2.0, 3.0]))}
    loss = policy_loss.per_sample(numbers, jnp.log(ratio), jnp.zeros(2), advantage, Progress(0, 1))
    penalty = 0.5 * np.array([2.0, 3.0]) * (np.array([0.5, -0.5]) - np.log([1.5, 0.5]))
    np.testing.assert_allclose(loss, penalty - np.array([1.5, -1.0]), rtol=1e-5)


def test_it_is_searched_drawn_and_exported(says, tmp_path):
    (tmp_path / "tiny.toml").write_text(SEARCH)
    search, at = ["search", tmp_path / "tiny.toml"], ["--output", tmp_path]
    code, _, err = says(*search, "--dry-run", "--tasks.0.numbers", "kl_scale=-1", *at)
    assert code == 2 and "kl_scale" in err and "-1" in err
    assert says(*search, "--generations", 2, "--name", "found", *at)[0] == 0
    assert "penalties.png" in {Path(line).name for line in says("plot", "found", *at)[1].splitlines()}
    file = tmp_path / "found.py"
    assert says("export", "found", "--out", file, "--verify", *at)[0] == 0
    assert "objectives" not in file.read_text()


@pytest.mark.slow
def test_it_is_distilled(says, tmp_path):
    (tmp_path / "tiny.toml").write_text(SEARCH)
    search, at = ["search", tmp_path / "tiny.toml"], ["--output", tmp_path]
    ppo_kl = ["--generations", 0, "--start.sources", "ppo_kl", "--start.steps", 300]
    assert says(*search, *ppo_kl, "--name", "distilled", *at)[0] == 0
    mean = load_run(tmp_path / "distilled").meta_params()
    np.testing.assert_allclose(np.exp(mean["log_strength"]), 1.0, atol=0.05)  # what ppo_kl has
