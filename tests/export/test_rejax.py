"""A real rejax PPO trains with an exported file, where our packages cannot be imported."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import discovery.export.probe as probe
from discovery.core.jobs import AlgorithmSpec
from discovery.export import Provenance
from environments import Setup, Task

pytestmark = pytest.mark.rejax

HOST = Path(__file__).with_name("rejax_host.py")


def run_host(folder: Path, found: str, steps: int, *more: str) -> dict:
    """Trains with `found`; the updates of `more`, which is PPO, are looked at as well."""
    files = [folder / f"{index}.py" for index in range(1 + len(more))]
    for file, source in zip(files, (found, *more), strict=True):
        file.write_text(source, encoding="utf-8")
    pytest.importorskip("rejax", reason="rejax is not installed")
    command = [sys.executable, "-I", HOST, probe.__file__, files[0], str(steps), *files[1:]]
    environment = {**os.environ, "PJRT_NPROC": "1", "JAX_PLATFORMS": "cpu"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.slow
def test_an_exported_drift_trains_and_exported_ppo_updates_as_rejaxs_own(exported, tmp_path):
    """A temporal drift, from the id of an environment."""
    temporal = AlgorithmSpec("lpo", (("temporal", True), ("width", 16)))
    found, ppo = (exported(spec, target="rejax") for spec in (temporal, AlgorithmSpec("ppo")))
    result = run_host(tmp_path, found, 2048, ppo)
    trained, same = result["train"], result["same"]
    assert trained["global_step"] == 2048 and trained["finite"]
    (returns,) = trained["returns"]
    assert 8 <= returns <= 500 and trained["length"] == trained["returns"]
    assert trained["step_values"] == 5 and trained["copies"] == ["CartPole"] * 3
    assert result["fractions"] == pytest.approx([0.0, 0.1, 0.9, 0.9])
    assert max(same["actor"], same["critic"]) <= 1e-6 and same["moved"] >= 1e-4


def test_the_recipe_is_given_in_rejaxs_words(exported):
    task = Task("Cart", Setup(n_envs=4, n_steps=32, n_minibatches=2), 100_000, {"gamma": 0.9})
    source = exported(AlgorithmSpec("ppo"), target="rejax", provenance=Provenance(tasks=(task,)))
    config = eval(source.partition("CONFIG = ")[2].partition("\n}\n")[0] + "\n}")
    assert config["total_timesteps"] == 781 * 128 and config["total_timesteps"] % config["eval_freq"] == 0
    assert config["num_envs"] == 4 and config["gamma"] == 0.9 and config["clip_eps"] == 0.2
    assert config["agent_kwargs"] == {"hidden_layer_sizes": (64, 64), "activation": "tanh"}


@pytest.mark.slow
def test_rejax_learns_cartpole_with_an_exported_loss(exported, tmp_path):
    anchored = AlgorithmSpec("lpo", (("anchored", True), ("temporal", True), ("width", 16)))
    result = run_host(tmp_path, exported(anchored, target="rejax"), 200_000)
    assert result["train"]["returns"][-1] >= 300
