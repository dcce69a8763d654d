"""docs/families/toy.md: one line makes its example a family that is searched, drawn, distilled, exported."""

import re
import shutil
import sys
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

import objectives
from discovery.app.command_line import main
from discovery.app.loaded import load_run
from discovery.inner import compile as compiled
from objectives.base import Progress

DOCS = Path(__file__).parents[1] / "docs"
TINY = """
algorithm = "split_kl"
algorithm_options = { start = 1.5 }
generations = 2
seeds = 1
selection_seeds = 2
executor = "inline"
agents_per_call = 2

[meta]
population = 4
mean_every = 1

[[tasks]]
name = "Catch"
total_steps = 256

[tasks.setup]
environment = "Catch-bsuite"
n_envs = 2
n_steps = 8
n_epochs = 2
n_minibatches = 1
hidden = [4]
curve_points = 2
"""


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


def test_it_is_listed_and_described(capfd):
    assert main(["objectives"]) == 0
    assert re.search(r"^split_kl +searched +PPO with a penalty", capfd.readouterr().out, re.MULTILINE)
    assert main(["objectives", "split_kl"]) == 0
    out = capfd.readouterr().out
    assert "start: float = 1.0" in out and "kl_scale = 1" in out and "Compare with: ppo, ppo_kl" in out


def test_its_penalty_by_hand():
    policy_loss = objectives.build("split_kl").policy_loss
    ratio, advantage = jnp.array([1.5, 0.5]), jnp.array([1.0, -2.0])
    numbers = {"kl_scale": 0.5, "log_strength": jnp.log(jnp.array([2.0, 3.0]))}
    loss = policy_loss.per_sample(numbers, jnp.log(ratio), jnp.zeros(2), advantage, Progress(0, 1))
    penalty = 0.5 * np.array([2.0, 3.0]) * (np.array([0.5, -0.5]) - np.log([1.5, 0.5]))
    np.testing.assert_allclose(loss, penalty - np.array([1.5, -1.0]), rtol=1e-5)


def test_its_numbers_have_limits(tmp_path, capfd):
    (tmp_path / "tiny.toml").write_text(
        TINY.replace("[tasks.setup]", "numbers = { kl_scale = -1.0 }\n\n[tasks.setup]")
    )
    assert main(["search", str(tmp_path / "tiny.toml"), "--output", str(tmp_path), "--dry-run"]) == 2
    assert "number kl_scale must be between 0 and inf, got -1" in capfd.readouterr().err


def test_it_is_searched_drawn_distilled_and_exported(tmp_path, capfd):
    (tmp_path / "tiny.toml").write_text(TINY)
    search, at = ["search", str(tmp_path / "tiny.toml"), "--quiet"], ["--output", str(tmp_path)]
    assert main([*search, "--name", "found", *at]) == 0
    capfd.readouterr()
    assert main(["plot", "found", *at]) == 0
    assert "penalties.png" in {Path(line).name for line in capfd.readouterr().out.splitlines()}
    file = tmp_path / "found.py"
    assert main(["export", "found", "--out", str(file), "--verify", *at]) == 0
    assert "verified at 10,000 points" in capfd.readouterr().out and "objectives" not in file.read_text()

    ppo_kl = ["--generations", "0", "--start.sources", "ppo_kl", "--start.steps", "300"]
    assert main([*search, *ppo_kl, "--name", "distilled", *at]) == 0
    mean = load_run(tmp_path / "distilled").meta_params()
    np.testing.assert_allclose(np.exp(mean["log_strength"]), 1.0, atol=0.05)  # what ppo_kl has
