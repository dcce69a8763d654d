"""Printed programs: read again, evaluated, and rendered."""

import builtins
import keyword
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from matplotlib.mathtext import MathTextParser

from objectives.programs.graph import CONSTANT, INPUT, Node, Program, canonical
from objectives.programs.known import SOURCES, known
from objectives.programs.primitives import BOUND
from objectives.programs.printer import complexity, latex_lines, latex_of, literal, source_of
from objectives.programs.slots import SLOTS
from objectives.programs.source import parse
from tests.objectives.programs.random_programs import latex_value, random_program
from tests.objectives.programs.test_interpreter import ByHand

SEEDS = st.integers(0, 2**32)


def random(seed, slots=tuple(SLOTS), most=50, reductions=4):
    """Drawn in the tests: beartype makes use of `random`, which Hypothesis forbids in its strategies."""
    rng = np.random.default_rng(seed)
    return random_program(rng, str(rng.choice(slots)), int(rng.integers(1, most)), reductions)


def some(examples):
    return settings(max_examples=examples, deadline=None, derandomize=True, database=None)


def assert_reads_back(program):
    text = source_of(program)
    again = parse(text, program.slot)
    assert (again.hash, again.structure) == (program.hash, program.structure), text
    assert source_of(again) == text


def policy_loss(expression):
    return parse(f"def f(log_ratio, advantage, progress):\n    return {expression}", "policy_loss")


# Python.


def test_ppo():
    assert source_of(known("policy_loss", "ppo"), "ppo") == (
        "def ppo(log_ratio, advantage, progress):\n"
        '    """The policy loss per sample, which is minimized."""\n'
        "    c1 = 0.2\n"
        "    ratio = jnp.exp(log_ratio)\n"
        "    clipped_ratio = jnp.clip(ratio, 1.0 - c1, 1.0 + c1)\n"
        "    return -jnp.minimum(ratio * advantage, clipped_ratio * advantage)\n"
    )


def test_dpo():
    """Numbers and expressions that are used twice have names, and so has what nests too deeply."""
    assert source_of(known("policy_loss", "dpo")).splitlines()[2:] == [
        "    c1 = 2.0",
        "    c2 = 0.6",
        "    product_1 = jnp.expm1(log_ratio) * advantage",
        "    difference_1 = product_1 - c1 * jnp.tanh(product_1 / c1)",
        "    product_2 = log_ratio * advantage",
        "    difference_2 = product_2 - c2 * jnp.tanh(product_2 / c2)",
        "    relu_1 = jax.nn.relu(difference_1)",
        "    where_1 = jnp.where(advantage >= 0.0, relu_1, jax.nn.relu(difference_2))",
        "    return where_1 - jnp.exp(log_ratio) * advantage",
    ]


@pytest.mark.parametrize(
    "expression",
    [
        "log_ratio - (advantage - progress)",
        "log_ratio - advantage - progress",
        "log_ratio / (advantage / progress)",
        "-log_ratio * advantage",
        "-(log_ratio * advantage)",
        "-(-log_ratio)",
        "log_ratio - (-advantage)",
        "log_ratio - (-advantage * progress)",
        "-0.5 + log_ratio",
        "0.5 * log_ratio",
        "log_ratio / (-0.5)",
        "0.5 * (-log_ratio)",
        "jnp.where(log_ratio - 1.0 < advantage, 1.0, -jnp.abs(advantage))",
        "jnp.where(jnp.logical_or(log_ratio > 0.0, progress <= 0.5), 1.0, 0.5)",
        "jnp.minimum(log_ratio, 1e+06)",
    ],
)
def test_written_as_one_would(expression):
    """With the brackets that are needed, and in this order; as a formula too."""
    program = policy_loss(expression)
    assert_formula_is_right(program, 0)
    assert source_of(program).splitlines()[-1] == f"    return {expression}"
    assert_reads_back(program)


def test_two_results_have_their_names():
    program = parse(
        "def f(done, entropy):\n    x = 1 - done\n    return x, x * entropy * x - entropy", "trace"
    )
    assert source_of(program).splitlines()[2:] == [
        "    advantage_lambda = 1.0 - done",
        "    value_lambda = entropy * advantage_lambda * advantage_lambda - entropy",
        "    return advantage_lambda, value_lambda",
    ]


def test_arithmetic_of_constants_stays():
    """The parser computes 2.0 * 3.0, and reads -(1.0) as the constant -1.0."""
    nodes = (Node(CONSTANT, value=2.0), Node(CONSTANT, value=3.0), Node("multiply", (0, 1)))
    nodes += (Node(CONSTANT, value=1.0), Node("negative", (3,)), Node("add", (2, 4)))
    program = canonical(Program("potential", nodes, (5,)))
    assert_reads_back(program)
    assert program.operations == parse(source_of(program), "potential").operations


@pytest.mark.parametrize("slot", SOURCES)
def test_known_programs_read_back_and_render(slot):
    for name in SOURCES[slot]:
        assert_reads_back(known(slot, name))
        rendered(latex_lines(known(slot, name)))


@some(60)
@given(SEEDS)
def test_random_programs_read_back(seed):
    """Also what names and lines are like."""
    program = random(seed)
    assert_reads_back(program)
    lines = source_of(program, "found").splitlines()
    names = [line.partition(" = ")[0].strip() for line in lines if " = " in line]
    taken = [*SLOTS[program.slot].names, *dir(builtins), *keyword.kwlist, "jnp", "jax", "found"]
    assert len({*names}) == len(names) and not {*names} & {*taken}
    assert all(name.isidentifier() for name in names) and max(map(len, lines)) <= 105


@pytest.mark.parametrize("name", SOURCES["policy_loss"])
def test_text_runs_in_jax(name):
    program = known("policy_loss", name)
    scope: dict[str, Any] = {"jax": jax, "jnp": jnp}
    exec(source_of(program, "f"), scope)
    inputs = np.random.default_rng(0).normal(size=(3, 8)).astype(np.float32)
    expected = ByHand(program, list(inputs), np.array(program.constants)).results[0]
    np.testing.assert_allclose(scope["f"](*map(jnp.asarray, inputs)), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["a b", "1", "return", ""])
def test_a_name_that_is_none(name):
    with pytest.raises(ValueError, match="cannot be called"):
        source_of(known("policy_loss", "ppo"), name)


@some(100)
@example(0.1 + 0.2)
@example(1.2345649999999)
@example(1e16)
@example(-0.0)
@given(st.floats(allow_nan=False, allow_infinity=False) | st.floats(-10, 10))
def test_numbers_are_short_and_keep_their_float32(value):
    text, value = literal(value), float(np.clip(value, -BOUND, BOUND))
    assert np.float32(float(text)) == np.float32(value)
    assert f"{float(text):.5e}" == f"{value:.5e}"
    assert literal(float(text)) == text


def test_short_numbers():
    assert [literal(x) for x in (0.1 + 0.2, 1.0, 1e-8, 1e6, 3.14159, np.pi)] == [
        *("0.3", "1.0", "1e-08", "1e+06", "3.14159", "3.1415927")
    ]


def test_complexity():
    """-exp(log_ratio) * advantage: three primitives, two inputs."""
    assert complexity(known("policy_loss", "policy_gradient")) == 5
    unused = Program("potential", (Node(INPUT, name="x"), Node("exp", (0,))), (0,))
    assert complexity(unused) == 1


# LaTeX.


def test_formulas():
    lines = latex_lines(known("policy_loss", "ppo"))
    clipped = r"\operatorname{clip}\left(r, 1 - 0.2, 1 + 0.2\right)"
    assert lines == (rf"\mathrm{{loss}} = -\min\left(r \, A, {clipped} \, A\right)",)
    assert latex_of(known("policy_loss", "ppo")) == lines[0]
    assert latex_lines(known("policy_loss", "ppo_kl")) == (
        r"\mathrm{loss} = 1 \, \left(r - 1 - \ell\right) - r \, A",
        r"r = e^{\ell}",
    )
    assert latex_lines(known("advantage", "standardized")) == (
        r"\mathrm{advantage} = \frac{\hat{A} - \operatorname{mean}\left(\hat{A}\right)}"
        r"{\operatorname{std}\left(\hat{A}\right) + 10^{-8}}",
    )


def test_a_formula_of_cases():
    """In real LaTeX with environments, without these in lines."""
    program = known("policy_loss", "dpo")
    assert [line.partition(" = ")[0] for line in latex_lines(program)] == [r"\mathrm{loss}", "u_{1}", "r"]
    formula = latex_of(program)
    assert formula.startswith(r"\begin{aligned} \mathrm{loss} &= u_{1} - r \, A \\ u_{1} &= \begin{cases}")
    assert r"& A \geq 0 \\" in formula
    assert formula.endswith(r"\\ r &= e^{\ell} \end{aligned}")


def rendered(lines):
    for line in lines:
        MathTextParser("agg").parse(f"${line}$")


@some(12)
@given(SEEDS)
def test_formulas_of_random_programs_render(seed):
    program = random(seed, most=30)
    rendered(latex_lines(program))
    formula = latex_of(program)
    for opening, closing in (("{", "}"), (r"\left", r"\right"), (r"\begin", r"\end")):
        assert formula.count(opening) == formula.count(closing)


def assert_formula_is_right(program, seed):
    """Evaluated for one sample."""
    values, text = np.random.default_rng(seed).normal(size=3), "\n".join(latex_lines(program))
    ((expected,),) = ByHand(program, list(values), np.array(program.constants)).results
    got = latex_value(latex_lines(program), values.tolist())
    np.testing.assert_allclose(got, expected, rtol=1e-6, atol=1e-8, err_msg=text)


@some(60)
@given(SEEDS)
def test_formulas_have_the_right_brackets(seed):
    program = random(seed, ("policy_loss",), 25, 0)
    assume("cos" not in program.operations)  # that of a huge number is chance
    few_digits = [float(f"{value:.3g}") for value in program.constants]
    assert_formula_is_right(program.with_constants(few_digits), seed)
