"""The benchmarks are run by hand; what they count and compare is tested here."""

import importlib
import itertools
import json
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks import __main__ as benchmarks
from benchmarks import accelerator, families, learning, peak
from benchmarks.schedule import longest_first
from benchmarks.studies import STUDIES, Study
from benchmarks.timing import ratio
from discovery.core import presets
from discovery.executors import make_executor
from discovery.inner.loops.on_policy import check_numbers, parts
from discovery.results.subjects import subjects
from environments.task import Setup, Task
from objectives import build


def test_a_ratio_is_the_median_of_the_rounds_that_finished():
    found = ratio("a / b", [4.0, 9.0, None, 2.0], [2.0, 3.0, 1.0, 2.0], {}, at_least=2.0)
    assert (found.ratio, found.low, found.high, found.met) == (2.0, 1.0, 3.0, True)
    assert ratio("a / b", [3.0], [2.0], {}, at_most=1.4).met is False
    assert ratio("a / b", [None], [2.0], {}, at_least=1.0).met is None


@pytest.mark.slow
def test_a_study_is_trained_once_and_again_with_another_recipe(monkeypatch, tmp_path):
    setup = Setup("Catch-bsuite", n_envs=2, n_steps=20, n_epochs=1, hidden=(4,), curve_points=4)
    monkeypatch.setattr(learning, "make_executor", lambda _, **options: make_executor("inline"))
    picture = tmp_path / "all.png"
    monkeypatch.setattr("sys.argv", ["learning", "catch", "--out", str(tmp_path), "--picture", str(picture)])

    def results(**numbers):
        study = Study({"PPO": Task("Catch-bsuite", setup, 400, numbers)}, 2, "anything", 2)
        monkeypatch.setitem(STUDIES, "catch", study)  # type: ignore[arg-type]
        learning.main()
        assert min((tmp_path / "catch.png").stat().st_size, picture.stat().st_size) > 1000
        return json.loads((tmp_path / "catch.json").read_text())["results"]["PPO"]

    found = results()
    assert len(found["final"]) == 2 and np.shape(found["curves"]) == (2, 4)
    assert results() == found  # its seconds too
    assert results(learning_rate=0.05)["seconds"] != found["seconds"]


def test_every_part_and_study_can_be_run():
    """Recipes and parts are only run by hand: that all exist and fit is looked at here."""
    assert all(callable(importlib.import_module(f"benchmarks.{part}").measure) for part in benchmarks.PARTS)
    for study in STUDIES.values():
        assert study.seeds >= 4
        for label, task in study.tasks.items():
            algorithm = build("pqn" if label == "PQN" else "ppo")
            if not task.setup.environment.startswith("brax/"):
                parts(algorithm, task.setup)
            check_numbers(algorithm, task.numbers)


@pytest.mark.parametrize("name", families.FAMILIES)
def test_every_family_can_be_searched_and_judged(name):
    """Presets, baselines and what else is searched are only run by hand: that all exist is looked at here."""
    family = families.FAMILIES[name]
    config, _ = presets.read(family.preset)
    build(config.algorithm, config.algorithm_options)
    baselines = subjects(family.baselines)
    assert len(baselines) == len(family.baselines) > 0
    for subject in baselines:
        algorithm = build(subject.spec.name, dict(subject.spec.options))
        for task in (*config.tasks, *config.held_out):
            check_numbers(algorithm, subject.task(task).numbers)
    if family.other:
        other, _ = presets.read(family.other.preset)
        options = {**other.algorithm_options, **family.other.changed}
        assert (other.algorithm, options) != (config.algorithm, config.algorithm_options)
        build(other.algorithm, options)


def test_products_are_counted_through_loops_branches_and_gradients():
    """Against 2 m k n for each product; the gradient of one in both operands has three of that size."""
    x, w = jnp.ones((3, 5)), jnp.ones((5, 5))
    once = 2 * 3 * 5 * 5

    def loop(x):
        return jax.lax.scan(lambda x, _: (jax.jit(lambda y: y @ w)(x), None), x, None, 7)[0]

    def branch(x):
        return jax.lax.cond(x[0, 0] > 0, lambda x: x, lambda x: x @ w @ w, x)

    assert peak.product_flops(loop, x) == 7 * once
    assert peak.product_flops(branch, x) == 2 * once
    assert peak.product_flops(jax.vmap(branch), jnp.ones((4, 3, 5))) == 4 * 2 * once
    assert peak.product_flops(jax.grad(lambda both: (both[0] @ both[1]).sum()), (x, w)) == 3 * once
    flops = (jax.jit(lambda x: x @ w).lower(x).compile().cost_analysis() or {})["flops"]
    assert flops == peak.product_flops(lambda x: x @ w, x)


def test_products_of_a_training_are_those_of_its_network():
    """CartPole: 4 inputs, 8 units, 2 actions or a value. Forwards at each step, at the state reached and in
    learning; backwards twice that, without gradients in inputs.
    """
    task = accelerator.tiny(accelerator.TASKS["cartpole"])
    assert task.n_updates * task.setup.steps_per_update == 16 and task.setup.n_epochs == 1
    inputs, outputs = 2 * 4 * 8, 8 * 2 + 8 * 1
    forwards, backwards = 2 * (inputs + outputs), 2 * inputs + 4 * outputs
    dots = accelerator.flops_of(task) / 16
    assert 0 <= dots - (3 * forwards + backwards) < 0.2 * dots  # and orthogonal beginnings, once


def test_peaks_are_known_by_name_or_measured():
    for kind, flops in {"NVIDIA H200": 67.0, "NVIDIA H100 PCIe": 51.2, "NVIDIA H100 80GB HBM3": 66.9}.items():
        found, source = peak.peak(SimpleNamespace(device_kind=kind, platform="gpu"), "float32")
        assert found == flops * 1e12 and "data sheet" in source
    assert peak.peak(SimpleNamespace(device_kind="NVIDIA A40", platform="gpu"), "bfloat16")[0] == 149.7e12
    found, source = peak.peak(SimpleNamespace(device_kind="NVIDIA RTX A4000", platform="cpu"), "float32")
    assert "measured" in source and 1e8 < found < 1e14


@pytest.mark.slow
def test_an_accelerator_is_measured_from_end_to_end(monkeypatch, tmp_path, capsys):
    found = tmp_path / "found.json"
    words = ["accelerator", "--tiny", "--tasks", "cartpole", "--rounds", "2", "--json", str(found)]
    monkeypatch.setattr("sys.argv", [*words, "--profile", str(tmp_path / "traces"), "--matmul", "bfloat16"])
    accelerator.main()
    assert "unverified: ran on a CPU" in capsys.readouterr().out
    result = json.loads(found.read_text())
    assert result["matmul"] == "bfloat16" and result["steps"] == 2 * 16
    assert len(result["ours"]["seconds"]) == len(result["rejax"]["seconds"]) == 2
    assert min(result["ours"]["bytes"], result["rejax"]["bytes"], result["flops"]) > 0


def test_a_schedule_with_time_for_handing_out_by_hand():
    # handed out at 0.5, 1.0 and, where the second has ended at 3.0, 3.5
    assert longest_first([2.0, 3.0, 2.0], 2, 0.5) == (5.5, 7 / 11)
    # four free at once are served one after the other
    assert longest_first([1.0] * 4, 4, 0.25).seconds == 2.0


def ends(chunks: list[int], workers: int) -> set[float]:
    """When the last chunk ends, in all schedules that give the longest that is left to who is free first."""
    found = set()
    for places in itertools.product(range(workers), repeat=len(chunks)):
        load = [0.0] * workers
        for seconds, place in zip(sorted(chunks, reverse=True), places, strict=True):
            if load[place] > min(load):
                break  # another was free before
            load[place] += seconds
        else:
            found.add(max(load))
    return found


@pytest.mark.parametrize("seed", range(5))
def test_a_schedule_is_one_of_all_that_hand_out_the_longest_first(seed):
    generator = np.random.default_rng(seed)
    chunks = generator.integers(1, 10, int(generator.integers(1, 8))).tolist()
    workers = int(generator.integers(1, 4))
    found = longest_first(chunks, workers, 0.0)
    assert {found.seconds} == ends(chunks, workers)
    assert found.busy == pytest.approx(sum(chunks) / (workers * found.seconds))
