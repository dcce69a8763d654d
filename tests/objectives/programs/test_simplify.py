"""Simplification keeps values and derivatives, and finds what can be left out."""

import numpy as np
import pytest

from objectives.programs.checks import probe
from objectives.programs.code import Size, encode
from objectives.programs.simplify import simplified
from objectives.programs.source import parse
from tests.objectives.programs.random_programs import random_program

SIZE = Size(24, 16, 0)


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("(advantage * 1 + 0) * 1", "advantage + 0 * log_ratio"),
        ("log_ratio - 0 * advantage", "log_ratio"),
        ("0 - (advantage - advantage) - log_ratio", "-log_ratio"),
        ("-(-log_ratio) / 1", "log_ratio"),
        (
            "jnp.square(-log_ratio) + jnp.abs(jnp.abs(log_ratio))",
            "jnp.square(log_ratio) + jnp.abs(log_ratio)",
        ),
        ("jnp.maximum(log_ratio, log_ratio) * (2.0 + 1.0)", "log_ratio * 3.0"),
        ("jnp.where(1 < 2, log_ratio, advantage)", "log_ratio"),
        (
            "jnp.where(advantage < advantage, 1.0, jnp.where(advantage < 0, log_ratio, log_ratio))",
            "log_ratio",
        ),
        ("log_ratio * jnp.exp(0 * advantage)", "log_ratio"),
    ],
)
def test_identities(written, expected):
    programs = [
        parse(f"def f(log_ratio, advantage):\n    return {text}", "policy_loss")
        for text in (written, expected)
    ]
    assert simplified(programs[0]).hash == simplified(programs[1]).hash


def test_values_and_derivatives_stay_the_same():
    shorter = 0
    for seed in range(30):
        program = random_program(np.random.default_rng(seed), "policy_loss", 20)
        after = simplified(program)
        shorter += len(after.operations) < len(program.operations)
        assert simplified(after) == after
        for before, now in zip(
            *(probe("policy_loss", encode(each, SIZE)) for each in (program, after)), strict=True
        ):
            np.testing.assert_array_equal(before, now)
    assert shorter
