"""Which guards programs need where they are written out; tests/export/test_programs.py runs them guarded."""

import jax.numpy as jnp
import numpy as np
import pytest

from objectives.programs.graph import CONSTANT, INPUT, Program
from objectives.programs.guards import guards_of, input_ranges, ranges_of
from objectives.programs.known import known
from objectives.programs.primitives import BOUND, PRIMITIVES
from objectives.programs.printer import body_of, readable
from objectives.programs.slots import slot_of
from objectives.programs.source import parse
from objectives.programs.spellings import TORCH
from tests.objectives.programs.random_programs import random_program

NARROWER = {"log_ratio": (-60.0, 34.5)}


def result(expression: str, by: tuple[str, ...] = ("log_ratio",)) -> str:
    """How a policy loss is written."""
    program = readable(
        parse(f"def f(log_ratio, advantage, progress):\n    return {expression}", "policy_loss")
    )
    body = body_of(program, guards=guards_of(program, NARROWER, by))
    return "; ".join([*(line.strip() for line in body.lines), *body.results])


@pytest.mark.parametrize(
    ("expression", "written"),
    [
        ("jnp.exp(log_ratio) * advantage", "jnp.exp(log_ratio) * advantage"),
        ("jnp.exp(advantage)", "exp(advantage)"),
        ("jnp.exp(-log_ratio)", "exp(-log_ratio)"),
        ("jnp.exp(jnp.tanh(advantage))", "jnp.exp(jnp.tanh(advantage))"),
        ("log_ratio / advantage", "divide(log_ratio, advantage)"),
        ("log_ratio / (1e-3 + jnp.abs(advantage))", "log_ratio / (jnp.abs(advantage) + 0.001)"),
        ("log_ratio / (1 - progress)", "divide(log_ratio, 1.0 - progress)"),
        ("log_ratio / 0.5", "log_ratio / 0.5"),
        ("jnp.log(1 + jnp.square(advantage))", "jnp.log(jnp.square(advantage) + 1.0)"),
        ("jnp.sqrt(jnp.abs(advantage))", "sqrt(jnp.abs(advantage))"),
        ("jnp.log1p(progress)", "jnp.log1p(progress)"),
        ("jnp.log1p(-progress)", "log1p(-progress)"),
        ("jnp.square(jnp.square(advantage))", "bounded(jnp.square(jnp.square(advantage)))"),
        ("jnp.std(advantage)", "std(advantage)"),
    ],
)
def test_guards_are_where_they_can_matter(expression: str, written: str) -> None:
    assert result(expression) == written


def test_a_gradient_is_clipped_where_it_could_overflow() -> None:
    """By the log-ratio; a program that is differentiated by nothing needs no such guard."""
    steep = "jnp.exp(advantage) * jnp.exp(advantage) * jnp.square(jnp.exp(log_ratio))"
    assert "clipped_gradient" in result(steep)
    assert "clipped_gradient" not in result(steep, ())
    assert "clipped_gradient" not in result("-jnp.minimum(jnp.exp(log_ratio) * advantage, advantage)")


@pytest.mark.parametrize(("slot", "name"), [("policy_loss", "ppo"), ("policy_loss", "dpo"), ("loss", "ppo")])
def test_well_known_losses_need_none(slot: str, name: str) -> None:
    program = readable(known(slot, name))
    assert not any(guards_of(program, NARROWER, ("log_ratio", "value", "entropy")))


def values_of(program: Program, inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
    """All values on the way, as the interpreter has them."""
    values: list[np.ndarray] = []
    like = next(iter(inputs.values()))
    for operation, arguments, name, value in program.nodes:
        if operation == INPUT:
            values.append(inputs[name].clip(-BOUND, BOUND))
        elif operation == CONSTANT:
            values.append(np.full_like(like, value))
        else:
            given = (jnp.asarray(values[a]) for a in arguments)
            values.append(np.asarray(PRIMITIVES[operation].value(*given)))
    return values


def test_no_value_is_outside_its_range() -> None:
    rng = np.random.default_rng(0)
    for _ in range(10):
        program = random_program(rng, "policy_loss", 20, 1)
        ranges, _ = ranges_of(program, input_ranges(program, {})[1], largest=BOUND)
        inputs = {}
        for one in slot_of("policy_loss").inputs:
            drawn = rng.normal(size=32) * 10.0 ** rng.integers(-9, 15, 32)
            inputs[one.name] = drawn.clip(one.low, one.high).astype(np.float32)
        for (low, high), value in zip(ranges, values_of(program, inputs), strict=True):
            assert low <= value.min() and value.max() <= high


def test_constants_that_functions_of_torch_take_are_tensors() -> None:
    program = readable(
        parse("def f(log_ratio, progress):\n    return 2 * jnp.maximum(log_ratio, 0.5)", "policy_loss")
    )
    body = body_of(program, TORCH, names={"log_ratio": "x"})
    assert body.lines == ["    c1 = x.new_tensor(0.5)"]
    assert body.results == ["2.0 * torch.maximum(x, c1)"]
