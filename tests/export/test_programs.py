"""Exported programs against the interpreter; and their files, verified and used."""

import ast
import functools
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from discovery.core.errors import BadInput, RunError
from discovery.core.jobs import AlgorithmSpec
from discovery.export import Provenance, StepsReport, export, formats_of, verify
from discovery.export.parts import Subject, kind_for, kinds_of, usual_arguments
from discovery.export.program_functions import BY
from discovery.export.programs import write
from discovery.export.run import write_file
from discovery.export.source import imports
from discovery.export.write import numbers_in_files
from discovery.results.exported_file import file_digest, from_file
from objectives import build
from objectives.base import Progress
from objectives.programs.algorithm import STARTS
from objectives.programs.code import Size, encode
from objectives.programs.graph import Program
from objectives.programs.interpreter import interpret
from objectives.programs.known import SOURCES, known
from objectives.programs.printer import literal
from objectives.programs.slots import slot_of
from objectives.programs.source import parse
from tests.objectives.programs.random_programs import random_program

SIZE = Size(64, 32, 2)
MOST_INPUTS, SAMPLES = 10, 64
EXTREMES = np.array([0.0, 1e-30, 1e-8, 1.0, 88.0, 1e4, 1e15, 3e38])
FUNCTIONS = tuple(slot for slot in STARTS if slot != "optimizer")
KNOWN = [known(slot, name) for slot in FUNCTIONS for name in SOURCES[slot]]


def random(seed: int, each: int) -> list[Program]:
    """Some for each slot. There are no cosines: those of large numbers are chance."""
    rng, programs = np.random.default_rng(seed), list[Program]()
    for slot in FUNCTIONS:
        while sum(program.slot == slot for program in programs) < each:
            program = random_program(rng, slot, 20, SIZE.reductions)
            programs += [program] * ("cos" not in program.operations)
    return programs


# The interpreter, compiled once for all slots.


@functools.partial(jax.jit, static_argnums=3)
def _interpreted(code: Any, inputs: Any, weights: Any, reductions: int) -> Any:
    def total(inputs: Any) -> Any:
        results = jnp.stack(interpret(code, tuple(inputs), reductions))
        return (weights * results).sum(), results

    return jax.grad(total, has_aux=True)(inputs)


def interpreted(program: Program, inputs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Results [K, B] and derivatives of their sum [I, B], by inputs [I, B]; numbers as files have them."""
    code, missing = encode(program, SIZE), MOST_INPUTS - len(inputs)
    shifted = {
        name: np.where(code[name] >= len(inputs), code[name] + missing, code[name])
        for name in ("arguments", "outputs")
    }
    n = len(program.outputs)
    shifted["outputs"] = np.resize(shifted["outputs"], 2)
    constants = np.array([float(literal(value)) for value in code["constants"]])
    code = {**code, **shifted, "constants": constants}
    given = np.concatenate([inputs, np.zeros((missing, inputs.shape[1]))])
    weights = np.array([[1.0], [n - 1.0]])
    slopes, values = _interpreted(code, jnp.asarray(given), weights, SIZE.reductions)
    return np.asarray(values)[:n], np.asarray(slopes)[: len(inputs)]


# What is exported.


@functools.cache
def text_of(program: Program, target: str, **options: Any) -> str:
    """The functions of the file, without its header."""
    options = {"condition": "", "normalize_advantage": True, "slots": program.slot, **options}
    code = {program.slot: encode(program, SIZE)}
    contents = write(Subject(AlgorithmSpec("programs"), None, options, code, {}, program.slot), target)
    numbers = [f"{name} = {text}" for name, text in contents.source.numbers.items()]
    body = "\n\n".join([*numbers, *contents.source._definitions])
    return f"{imports(body)}\n{body}"


def function_of(program: Program, **options: Any) -> Any:
    """The exported function of all inputs [B], with results [B]."""
    space: dict[str, Any] = {}
    exec(text_of(program, "jax", **options), space)
    names = slot_of(program.slot).names

    def function(*inputs: Any) -> tuple[Any, ...]:
        given = dict(zip(names, inputs, strict=True))
        if program.slot == "policy_loss":
            time = {"fraction": given["progress"]} if "progress" in program.inputs else {}
            zero = np.zeros(SAMPLES, given["log_ratio"].dtype)
            return (space["policy_loss"](given["log_ratio"], zero, given["advantage"], **time),)
        found = space[program.slot](**{name: given[name] for name in names if name in program.inputs})
        found = found if isinstance(found, tuple) else (found,)
        return tuple(x if np.ndim(x) else x * np.ones(SAMPLES, inputs[0].dtype) for x in found)

    return function


def with_slopes(function: Any, inputs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Results [K, B], and derivatives of their sum [I, B]."""
    values, pull = jax.vjp(function, *map(jnp.asarray, inputs))
    return np.stack(values), np.stack(pull(tuple(np.ones(SAMPLES, inputs.dtype) for _ in values)))


def inputs_of(slot: str, seed: int, extreme: bool = False) -> np.ndarray:
    """Inputs [I, B] of usual sizes, or extreme ones."""
    rng, rows = np.random.default_rng(seed), []
    for one in slot_of(slot).inputs:
        if extreme:
            row = rng.choice([*EXTREMES, *-EXTREMES], SAMPLES).clip(one.low, one.high)
        elif np.isfinite(one.low) and np.isfinite(one.high):
            row = rng.uniform(one.low, one.high, SAMPLES)
        else:
            row = (one.scale * rng.standard_normal(SAMPLES)).clip(one.low, one.high)
        rows.append(np.full(SAMPLES, row[0]) if one.kind == "scalar" else row)
    return np.stack(rows).astype(np.float32)


def assert_same(program: Program) -> None:
    """In float64; lambdas and factors are clipped by the file. Gradients above 1e9 may be too."""
    with jax.enable_x64(True):
        inputs = inputs_of(program.slot, 0).astype(np.float64)
        values, slopes = interpreted(program, inputs)
        got, got_slopes = with_slopes(function_of(program), inputs)
    low, high = {"trace": (0.0, 1.0), "schedule": (1e-8, np.inf)}.get(program.slot, (-np.inf, np.inf))
    text = text_of(program, "jax")
    np.testing.assert_allclose(got, values.clip(low, high), rtol=1e-9, atol=1e-9, err_msg=text)
    if ((values > low) & (values < high)).all():
        usual = np.abs(slopes) < 1e9
        np.testing.assert_allclose(got_slopes[usual], slopes[usual], rtol=1e-7, atol=1e-7, err_msg=text)


def assert_finite(program: Program) -> None:
    """In float32; with the derivatives by which a training learns."""
    names = slot_of(program.slot).names
    learned, function = [names.index(name) for name in BY.get(program.slot, ())], function_of(program)
    values, slopes = with_slopes(function, inputs_of(program.slot, 1, True))
    assert np.isfinite(values).all() and np.isfinite(slopes[learned]).all(), text_of(program, "jax")


@pytest.mark.parametrize("slot", FUNCTIONS)
def test_known_programs_compute_what_the_interpreter_does(slot: str) -> None:
    for program in KNOWN:
        if program.slot == slot:
            assert_same(program)
            assert_finite(program)


def test_random_programs_compute_what_the_interpreter_does() -> None:
    for program in random(0, 2):
        assert_same(program)
        assert_finite(program)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, 5))
def test_more_random_programs(seed: int) -> None:
    for program in random(seed, 5):
        assert_same(program)
        assert_finite(program)


def test_a_drift_is_in_the_file() -> None:
    """f - r A with f = relu(program) (r - 1)^2."""
    inputs = inputs_of("policy_loss", 0)
    inputs[0, :3] = 3.0, -4.0, -20.0
    log_ratio, advantage = inputs[:2].astype(np.float64)
    for program in KNOWN[:3]:
        with jax.enable_x64(True):
            (result,), _ = interpreted(program, inputs)
            (found,), _ = with_slopes(function_of(program, condition="drift"), inputs.astype(np.float64))
        drift = np.maximum(result, 0.0) * np.expm1(log_ratio.clip(-15, 15)) ** 2
        np.testing.assert_allclose(found, drift - np.exp(log_ratio) * advantage, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("slot", FUNCTIONS)
def test_the_functions_of_torch_import_torch_alone(slot: str) -> None:
    for program in [program for program in (*KNOWN, *random(0, 1)) if program.slot == slot]:
        tree = ast.parse(text_of(program, "torch"))
        imported = [node.names[0].name for node in ast.walk(tree) if isinstance(node, ast.Import)]
        names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
        assert set(imported) <= {"torch"} and not {"jnp", "jax"} & names


def torch_of(program: Program, inputs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """As `with_slopes`, of the function for PyTorch; zero where it has no derivative, as by the advantage."""
    import torch  # pyright: ignore[reportMissingImports]

    space: dict[str, Any] = {}
    exec(text_of(program, "torch"), space)
    names = slot_of(program.slot).names
    given = {name: torch.tensor(x, requires_grad=True) for name, x in zip(names, inputs, strict=True)}
    if program.slot == "policy_loss":
        time = {"fraction": given["progress"]} if "progress" in program.inputs else {}
        zero = torch.zeros(SAMPLES, dtype=given["log_ratio"].dtype)
        found = space["policy_loss"](given["log_ratio"], zero, given["advantage"], **time)
    else:
        found = space[program.slot](**{name: given[name] for name in names if name in program.inputs})
    found = found if isinstance(found, tuple) else (found,)
    found = [x if isinstance(x, torch.Tensor) else torch.tensor(x, dtype=torch.float64) for x in found]
    found = [x.expand(SAMPLES) for x in found]
    total = torch.stack(found).sum()
    if total.requires_grad:
        total.backward()
    slopes = [np.zeros(SAMPLES) if given[name].grad is None else given[name].grad.numpy() for name in names]
    return np.stack([x.detach().numpy() for x in found]), np.stack(slopes)


@pytest.mark.parametrize("slot", FUNCTIONS)
def test_torch_computes_what_jax_does(slot: str) -> None:
    pytest.importorskip("torch", reason="PyTorch is not installed")
    names = slot_of(slot).names
    learned = [names.index(name) for name in BY.get(slot, names)]
    for program in [program for program in (*KNOWN, *random(0, 4)) if program.slot == slot]:
        inputs, text = inputs_of(slot, 0).astype(np.float64), text_of(program, "torch")
        with jax.enable_x64(True):
            expected, expected_slopes = with_slopes(function_of(program), inputs)
        values, slopes = torch_of(program, inputs)
        np.testing.assert_allclose(values, expected, rtol=1e-9, atol=1e-9, err_msg=text)
        np.testing.assert_allclose(
            slopes[learned], expected_slopes[learned], rtol=1e-7, atol=1e-7, err_msg=text
        )
        values, slopes = torch_of(program, inputs_of(slot, 1, True))
        assert np.isfinite(values).all(), text
        assert slot not in BY or np.isfinite(slopes[learned]).all(), text


# Files.

SOURCE = """
def policy_loss(log_ratio, advantage, progress):
    gain = jnp.expm1(log_ratio) * advantage
    return jax.nn.relu(gain - jnp.tanh((1 + progress) * gain)) - gain / (1e-3 + jnp.abs(advantage))
"""


def spec_of(**options: Any) -> AlgorithmSpec:
    return AlgorithmSpec("programs", tuple(sorted(options.items())))


def begun(spec: AlgorithmSpec) -> dict[str, Any]:
    """The known programs with which a search begins."""
    return jax.tree.map(np.asarray, build(spec.name, dict(spec.options)).init(jax.random.key(0)))


def test_a_program_is_exported_verified_and_used(tmp_path: Path) -> None:
    """One that depends on the time, under the condition of a drift."""
    spec = spec_of(condition="drift", instructions=16, normalize_advantage=False)
    entries = {"policy_loss": encode(parse(SOURCE, "policy_loss"), Size(16, 8))}
    source = export(spec, entries, {}, Provenance(run="r"), "jax")
    path = write_file(tmp_path / "found.py", source)
    report = verify(path, spec, entries, {}, n_points=500)
    assert "verified at 500 points" in str(report)

    used = from_file(str(path), file_digest(path)).policy_loss
    assert used is not None and used.normalize_advantage is False
    log_prob, old, advantage = jnp.asarray(np.random.default_rng(0).normal(size=(3, SAMPLES)), jnp.float32)
    ratio, log_ratio = np.exp(log_prob - old), log_prob - old
    gain = np.expm1(log_ratio) * advantage
    result = np.maximum(gain - np.tanh(1.375 * gain), 0.0) - gain / (1e-3 + np.abs(advantage))
    np.testing.assert_allclose(
        used.per_sample({}, log_prob, old, advantage, Progress(3, 8)),
        np.maximum(result, 0.0) * (ratio - 1) ** 2 - ratio * advantage,
        rtol=1e-4,
        atol=1e-4,
    )


@pytest.mark.slow
def test_another_number_is_refused() -> None:
    spec = spec_of(slots="schedule", start="adaptive_kl")
    source = export(spec, begun(spec), {}, Provenance(), "jax")
    with pytest.raises(RunError, match=r"value of 'programs'.*numbers differ.*kl"):
        verify(source.replace("c2 = 1.5", "c2 = 1.4"), spec, begun(spec), {}, n_points=500)


def test_an_optimizer_steps_as_its_program_does(load: Any) -> None:
    """Adam without bias correction, without a norm clip: the first step by hand."""
    spec = spec_of(slots="optimizer")
    source = export(
        spec, begun(spec), {"learning_rate": 0.01, "max_grad_norm": np.inf}, Provenance(), "optax"
    )
    optimizer = load(source)["optimizer"](8, 2, 1)
    params = {"actor": {"layer": {"kernel": jnp.ones((2, 3)), "bias": jnp.ones(3)}}}
    gradients = jax.tree.map(lambda x: jnp.linspace(-2.0, 3.0, x.size).reshape(x.shape), params)
    updates, state = optimizer.update(gradients, optimizer.init(params), params)
    for update, g in zip(jax.tree.leaves(updates), jax.tree.leaves(gradients), strict=True):
        expected = -0.01 * 0.1 * g / (np.sqrt(0.001 * g**2) + 1e-5)
        np.testing.assert_allclose(update, expected, rtol=1e-4)
    assert state.rule.means.shape == state.rule.squares.shape == (1, 9)


def test_one_of_several_programs_is_named() -> None:
    spec = spec_of(slots="policy_loss,trace,optimizer")
    assert [kind.part for kind in kinds_of(spec)] == ["policy_loss", "trace", "optimizer"]
    assert formats_of(spec.name, dict(spec.options)) == ("jax", "purejaxrl", "rejax", "torch", "optax")
    assert usual_arguments(spec.name, dict(spec.options)) == "--to jax --verify"
    assert usual_arguments("programs", {"slots": "optimizer"}) == "--to optax --out found.py --verify"
    assert [kind.part for kind in kinds_of(spec_of(slots="trace"))] == ["trace"]
    for arguments, message in {
        ("jax",): "--part policy_loss or --part trace",
        ("jax", "trac"): "did you mean trace",
        ("rejax", "trace"): "a program for trace: use --to jax or --to torch",
    }.items():
        with pytest.raises(BadInput, match=message):
            kind_for(spec, None, *arguments)
    assert kind_for(spec, None, "rejax").part == "policy_loss"
    assert {name for _, name, _ in numbers_in_files(spec)} >= {"learning_rate", "anneal"}


def test_the_parts_of_two_families() -> None:
    spec = AlgorithmSpec("programs+open", (("open_gru_width", 0), ("programs_slots", "policy_loss,schedule")))
    source = export(spec, begun(spec), {}, Provenance(), "torch", "schedule")
    assert source.startswith(
        '"""programs (slots policy_loss,schedule): a schedule of learning rates for PyTorch.'
    )
    assert kind_for(spec, None, "optax").name == "learned optimizer"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("target", "part", "options"),
    [
        *(("jax", slot, {"slots": slot}) for slot in FUNCTIONS[1:]),
        ("jax", "advantage", {"slots": "advantage", "start": "standardized", "reductions": 2}),
        ("optax", "optimizer", {"slots": "optimizer,schedule"}),
        ("optax", "optimizer", {"slots": "optimizer", "start": "rmsprop"}),
        *(("torch", slot, {"slots": slot}) for slot in FUNCTIONS),
        ("torch", "policy_loss", {"condition": "drift", "start": "dpo"}),
    ],
)
def test_files_are_verified(target: str, part: str, options: dict[str, Any]) -> None:
    if target == "torch":
        pytest.importorskip("torch", reason="PyTorch is not installed")
    spec = spec_of(**options)
    entries = begun(spec)
    source = export(spec, entries, {}, Provenance(), target, part)
    report = verify(source, spec, entries, {}, n_points=1000)
    assert isinstance(report, StepsReport) is (target == "optax")
