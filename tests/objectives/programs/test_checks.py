"""The ladder before any training: each refusal has its kind, and equal behavior has equal hashes."""

import numpy as np
import pytest

from objectives.programs.checks import behavior_of, check, probe, reached
from objectives.programs.code import Size, encode
from objectives.programs.graph import ProgramError
from objectives.programs.known import SOURCES, known
from objectives.programs.source import parse

SIZE = Size(32, 8, 2)


def loss(*lines):
    body = "".join(f"    {line}\n" for line in lines)
    return parse(f"def loss(log_ratio, advantage, progress):\n{body}", "policy_loss")


@pytest.mark.parametrize(
    "slot",
    [pytest.param(s, marks=[pytest.mark.slow] * (s not in ("policy_loss", "optimizer"))) for s in SOURCES],
)
def test_known_algorithms_pass_and_are_recognized(slot):
    size = SIZE._replace(reductions=4) if slot == "preference" else SIZE
    found = {name: check(known(slot, name), size) for name in SOURCES[slot]}
    assert {name: one.known for name, one in found.items()} == {name: name for name in found}
    assert len({one.behavior for one in found.values()}) == len(found)


def test_ppo_is_recognized_however_it_is_written():
    written = loss(
        "r = jnp.exp(log_ratio)",
        "drift = jax.nn.relu((r - jnp.clip(r, 0.8, 1.2)) * advantage)",
        "return drift - r * advantage",
    )
    checked = check(written, SIZE)
    assert checked.known == "ppo" and checked.program.structure != known("policy_loss", "ppo").structure
    assert check(loss("return 1.001 * (-jnp.exp(log_ratio) * advantage)"), SIZE).known == ""


@pytest.mark.parametrize(
    ("program", "kind", "said"),
    [
        (loss("return jnp.sign(log_ratio) * advantage"), "path", "log_ratio"),
        (loss("return jnp.where(log_ratio > 0, advantage, 0.0)"), "path", "comparisons"),
        (loss("return jax.lax.stop_gradient(log_ratio) * advantage"), "path", "log_ratio"),
        (loss("return jax.nn.relu(-jnp.square(log_ratio)) * advantage"), "probe", "zero on all probes"),
        (loss("return jnp.tanh(jnp.tanh(log_ratio)) * advantage"), "cost", "7"),
        (loss("x = log_ratio", *["x = x * advantage + x"] * 17, "return x"), "size", "32"),
    ],
    ids=lambda x: x if isinstance(x, str) else "",
)
def test_refusals(program, kind, said):
    with pytest.raises(ProgramError, match=said) as refused:
        check(program, SIZE, most_cost=5.0 if kind == "cost" else np.inf)
    assert refused.value.kind == kind and refused.value.remedy


@pytest.mark.parametrize(
    ("text", "still"),
    [
        ("learning_rate * gradient", True),
        ("learning_rate * (gradient + 0.1 * parameter)", False),
        ("learning_rate * gradient + 1e-6", False),
        ("learning_rate * mean_9 / (jnp.sqrt(square_99) + 1e-5) * (1 + parameter)", True),
        ("learning_rate * jnp.cos(gradient)", False),
    ],
)
def test_a_parameter_without_gradients_stays(text, still):
    program = parse(
        f"def step(gradient, parameter, mean_9, square_99, learning_rate):\n    return {text}", "optimizer"
    )
    if still:
        check(program, SIZE)
        return
    with pytest.raises(ProgramError, match="not zero") as refused:
        check(program, SIZE)
    assert refused.value.kind == "condition"


@pytest.mark.slow
@pytest.mark.parametrize("body", ["jnp.square(x - 0.5)", "jnp.tanh(1e4 * x)", "-x"])
def test_a_potential_increases(body):
    check(parse("def inverse(x):\n    return x + jnp.log(x)", "potential"), SIZE)
    with pytest.raises(ProgramError, match="increase"):
        check(parse(f"def inverse(x):\n    return {body}", "potential"), SIZE)


def test_paths_by_hand():
    program = loss("w = jnp.where(advantage > progress, log_ratio, 1.0)", "return w * jnp.sign(advantage)")
    assert reached(program) == {"log_ratio"}


def test_behavior_depends_on_the_order_of_samples_and_on_gradients_alone():
    values, slopes = probe("policy_loss", encode(known("policy_loss", "ppo"), SIZE), SIZE.reductions)
    assert behavior_of(values, slopes) != behavior_of(values[..., ::-1], slopes)
    assert behavior_of(values, slopes) != behavior_of(values, slopes * 1.01)
    assert behavior_of(values, slopes) == behavior_of(values * (1 + 1e-9), slopes)
