"""A real rejax PPO trains with an exported file, where our packages cannot be imported."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import discovery.export.probe as probe
from discovery.core.jobs import AlgorithmSpec
from discovery.export import Provenance, export
from environments import Setup, Task
from tests.objectives.open_by_hand import MOMENTUM, descending

pytestmark = pytest.mark.rejax

TEMPORAL = AlgorithmSpec("lpo", (("temporal", True), ("width", 16)))
HOST = Path(__file__).with_name("rejax_host.py")


def open_alone(rate: float) -> str:
    """An exported optimizer: steps of `rate` thousandths against the sign of a momentum, and no Adam."""
    spec = AlgorithmSpec("open", (("gru_width", 0), ("width", 2)))
    return export(spec, {"optimizer": descending(rate, MOMENTUM)}, {}, Provenance(), "optax")


def run_host(folder: Path, found: str, steps: int, *more: str) -> dict:
    """Trains with `found`; the updates of `more`, which are PPO and an optimizer, are looked at as well."""
    files = [folder / f"{index}.py" for index in range(1 + len(more))]
    for file, source in zip(files, (found, *more), strict=True):
        file.write_text(source, encoding="utf-8")
    pytest.importorskip("rejax", reason="rejax is not installed")
    command = [sys.executable, "-I", HOST, probe.__file__, files[0], steps, *files[1:]]
    environment = {**os.environ, "PJRT_NPROC": "1", "JAX_PLATFORMS": "cpu"}
    done = subprocess.run(
        list(map(str, command)), env=environment, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def result(exported, tmp_path_factory):
    found, ppo = (exported(spec, target="rejax") for spec in (TEMPORAL, AlgorithmSpec("ppo")))
    return run_host(tmp_path_factory.mktemp("host"), found, 2048, ppo, open_alone(3.0))


@pytest.mark.slow
def test_a_temporal_drift_trains_from_an_environment_id(result):
    assert result["train"]["global_step"] == 2048
    assert result["train"]["finite"]
    assert len(result["train"]["returns"]) == 1
    assert all(8 <= value <= 500 for value in result["train"]["returns"])
    assert result["train"]["length"] == result["train"]["returns"]
    assert result["train"]["step_values"] == 5
    assert result["train"]["copies"] == ["CartPole"] * 3
    assert result["fractions"] == pytest.approx([0.0, 0.1, 0.9, 0.9])


@pytest.mark.slow
def test_exported_ppo_updates_as_rejaxs_own(result):
    assert result["same"]["actor"] <= 1e-6
    assert result["same"]["critic"] <= 1e-6
    assert result["same"]["moved"] >= 1e-4


def test_the_recipe_is_given_in_rejaxs_words(exported):
    task = Task("Cart", Setup(n_envs=4, n_steps=32, n_minibatches=2), 100_000, {"gamma": 0.9})
    source = exported(AlgorithmSpec("ppo"), target="rejax", provenance=Provenance(tasks=(task,)))
    config = source.partition("CONFIG = ")[2].partition("\n}\n")[0] + "\n}"
    config = eval(config)
    assert config["total_timesteps"] == 781 * 128 and config["total_timesteps"] % config["eval_freq"] == 0
    assert config["num_envs"] == 4 and config["gamma"] == 0.9 and config["clip_eps"] == 0.2
    assert config["agent_kwargs"] == {"hidden_layer_sizes": (64, 64), "activation": "tanh"}


@pytest.mark.slow
def test_rejax_learns_cartpole_with_an_exported_loss(exported, tmp_path):
    anchored = AlgorithmSpec("lpo", (("anchored", True), ("temporal", True), ("width", 16)))
    result = run_host(tmp_path, exported(anchored, target="rejax"), 200_000)
    assert result["train"]["returns"][-1] >= 300


RECURRENT = AlgorithmSpec("open", (("anchored", True), ("gru_width", 4), ("width", 8)))


@pytest.mark.slow
def test_rejax_takes_an_exported_optimizer_as_it_is(result):
    """Two rollouts of 16 steps each; every step is one of 3e-3 at most."""
    result = result["optimizer"]
    assert result["counts"] == [32, 32]
    assert result["finite"] and 1e-2 < min(result["moved"]) <= max(result["moved"]) < 32 * 3.1e-3


@pytest.mark.slow
def test_rejax_learns_cartpole_with_an_exported_optimizer(exported, tmp_path):
    """Adam's step plus a learned one of small random weights."""
    result = run_host(tmp_path, exported(RECURRENT, {"learning_rate": 3e-3}, "optax"), 100)
    assert result["lengths"][0] < 60 and result["lengths"][1] > 120


@pytest.mark.slow
def test_rejax_learns_cartpole_with_open_alone_and_not_with_its_opposite(tmp_path):
    learned, opposite = (run_host(tmp_path, open_alone(rate), 100) for rate in (3.0, -3.0))
    assert learned["lengths"][1] > 120 and opposite["lengths"][1] < 30
