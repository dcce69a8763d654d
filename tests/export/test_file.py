"""The exported file as a file: header, cleanliness, what it imports; and what cannot be exported."""

import ast
import json
import subprocess
import sys

import numpy as np
import pytest

from discovery.core.errors import BadInput
from discovery.core.jobs import AlgorithmSpec
from discovery.export import Provenance, Score, export, formats_of
from discovery.export.literals import array
from discovery.export.probe import OURS
from environments import Setup, Task
from objectives.known import ppo

LOSS_FORMATS = formats_of("lpo")
LPO = AlgorithmSpec("lpo", (("anchored", True), ("temporal", True)))

FILES = (
    *((LPO, target) for target in LOSS_FORMATS),
    *((AlgorithmSpec("lpo", (("width", 600),)), target) for target in LOSS_FORMATS),
    *((AlgorithmSpec(name), target) for name in ("ppo", "dpo", "vsop") for target in LOSS_FORMATS),
    (AlgorithmSpec("open", (("anchored", True),)), "optax"),
    (AlgorithmSpec("open", (("features", "momentum,gradient"), ("gru_width", 0))), "optax"),
    (AlgorithmSpec("open", (("features", "raw"),)), "optax"),
    (AlgorithmSpec("open", (("anchored", True), ("features", "raw"), ("gru_width", 0))), "optax"),
    (AlgorithmSpec("optim4rl"), "optax"),
    (AlgorithmSpec("lodo"), "optax"),
    (AlgorithmSpec("ampo", (("temporal", True),)), "jax"),
    (AlgorithmSpec("ampo"), "jax"),
    (AlgorithmSpec("ampo", (("map", "tsallis"),)), "jax"),
    *((AlgorithmSpec("programs", (("condition", "drift"),)), target) for target in formats_of("programs")),
    *(
        (AlgorithmSpec("programs", (("slots", slot),)), target)
        for slot in ("loss", "trace", "advantage", "optimizer", "schedule")
        for target in formats_of("programs", {"slots": slot})
    ),
)
"""Policy losses, optimizers, mirror maps and programs."""

PROVENANCE = Provenance(
    run="2026-01-02-quick-ab12",
    generation=37,
    commit="0123abc",
    config_hash="fedcba98",
    created="2026-01-02 03:04",
    versions={"jax": "0.10.2", "python": "3.11.9"},
    tasks=(
        Task("CartPole-v1", Setup(n_envs=4, hidden=(64, 64)), 50_000, {"learning_rate": 0.002}),
        Task("Acrobot", Setup("Acrobot-v1", n_envs=4, hidden=(32,)), 100_000, {"entropy_coef": 0.01}),
    ),
    scores=(
        Score("discovered", "CartPole-v1", 481.25, 470.5, 490.0, 16, iqm=495.0),
        Score("ppo", "Acrobot", -91.5, -99.0, -85.5, 32),
    ),
    notes=("A remark.",),
)


def test_header_tells_where_it_comes_from(exported, load):
    source = exported(LPO, provenance=PROVENANCE)
    text = ast.get_docstring(ast.parse(source)) or ""
    for fact in ("lpo", PROVENANCE.run, "37", "0123abc", "fedcba98", "481.2", "[-99, -85.5]"):
        assert fact in text
    file = load(source)
    assert file["RECIPE"]["n_envs"] == 4 and file["RECIPE"]["gae_lambda"] == 0.95
    acrobot = file["TASKS"]["Acrobot"]
    assert (acrobot["total_steps"], acrobot["entropy_coef"], acrobot["hidden"]) == (100_000, 0.01, (32,))
    assert source == exported(LPO, provenance=PROVENANCE)


@pytest.mark.slow
def test_ruff_finds_nothing(exported, tmp_path):
    pytest.importorskip("ruff")
    for index, (spec, target) in enumerate(FILES):
        provenance = Provenance() if spec.name == "vsop" else PROVENANCE
        source = exported(spec, target=target, provenance=provenance)
        (tmp_path / f"{target}_{index}.py").write_text(source, encoding="utf-8")
    options = ["--isolated", "--no-cache", "--line-length", "110", str(tmp_path)]
    for command in (
        ["check", "--select", "E,F,I,UP,B,W,D1,D2,D3", "--ignore", "D105,D107,D100,D203,D205,D212,D213"],
        ["format", "--diff"],
    ):
        done = subprocess.run(
            [sys.executable, "-m", "ruff", *command, *options], capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout


def test_nothing_in_the_header_is_code(exported, load):
    evil = 'x"""\nimport os\nHACKED = True\n"""\\'
    provenance = Provenance(
        run=evil, notes=(evil,), tasks=(Task(evil),), scores=(Score(evil, evil, 1, 0, 2, 3),)
    )
    for target in ("jax", "purejaxrl"):
        file = load(exported(AlgorithmSpec("ppo"), target=target, provenance=provenance))
        assert "HACKED" not in file
        assert list(file["TASKS"]) == [] or next(iter(file["TASKS"])) == evil


def test_the_file_imports_numpy_and_jax_only(exported, tmp_path):
    (tmp_path / "found.py").write_text(exported(LPO, provenance=PROVENANCE), encoding="utf-8")
    script = f"""
import json, sys
from importlib.abc import MetaPathFinder
class Blocker(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {OURS!r}:
            raise ImportError(name)
sys.meta_path.insert(0, Blocker())
import numpy, jax, jax.numpy
before = set(sys.modules)
sys.path.insert(0, {str(tmp_path)!r})
import found
loss = found.policy_loss(*jax.numpy.ones((3, 5)), fraction=0.5)
print(json.dumps([sorted({{name.partition(".")[0] for name in set(sys.modules) - before}}), loss.shape]))
"""
    done = subprocess.run([sys.executable, "-I", "-c", script], capture_output=True, text=True, check=True)
    modules, shape = json.loads(done.stdout)
    assert shape == [5]
    assert set(modules) - set(sys.stdlib_module_names) <= {"found", "jax", "jaxlib", "numpy", "ml_dtypes"}


def coupled():
    """An algorithm of a user's, which has no elementwise policy loss."""
    return ppo()._replace(policy_loss=None)


@pytest.mark.parametrize(
    ("name", "numbers", "target", "message"),
    [
        ("ppo", {}, "rejacks", "did you mean rejax"),
        ("pop", {}, "jax", "did you mean ppo"),
        ("ppo", {"clop": 0.1}, "jax", "did you mean clip"),
        (f"{__name__}:coupled", {}, "jax", "policy_loss"),
        ("ppo", {}, "optax", "--to jax or --to purejaxrl"),
        ("lpg", {}, "jax", "'lpg'"),
    ],
)
def test_bad_input_is_one_clear_line(name, numbers, target, message):
    with pytest.raises(BadInput, match=message) as error:
        export(AlgorithmSpec(name), {}, numbers, Provenance(), target)
    assert "\n" not in str(error.value)


def test_entries_of_wrong_shape_or_value_are_refused(searched):
    entries = searched(AlgorithmSpec("lpo"))
    with pytest.raises(BadInput, match=r"do not fit algorithm 'lpo'.*16, 128.*8, 128"):
        export(LPO, entries, {}, Provenance(), "jax")
    entries["drift"]["w_in"][3, 4] = np.nan
    with pytest.raises(BadInput, match=r"w_in.*is not finite"):
        export(AlgorithmSpec("lpo"), entries, {}, Provenance(), "jax")


def test_a_number_that_a_search_opened_becomes_a_constant(load):
    source = export(AlgorithmSpec("ppo"), {"clip": np.float32(0.35)}, {"clip": 0.1}, Provenance(), "jax")
    assert load(source)["CLIP"] == 0.35


def test_arrays_round_trip_bit_for_bit():
    rng = np.random.default_rng(0)
    bits = rng.integers(0, 2**32, 6000, dtype=np.uint32).view(np.float32)
    finite = np.concatenate([bits[np.isfinite(bits)], np.array([0.0, -0.0, 1e-45, 3.4028235e38], "float32")])
    for value in (finite[:3000].reshape(-1, 2), finite[-6:].reshape(2, 3), finite[:5000]):
        space = {"np": np}
        exec("import base64\n" + array("W", value), space)
        assert space["W"].shape == value.shape
        np.testing.assert_array_equal(space["W"].view(np.uint32), value.view(np.uint32))
