"""Programs from text: they compute what jnp computes, and whatever else there is, is refused in words.

Texts that are made to do harm, and texts at random, are in test_hostile.py.

Most texts here are functions of this file: read as text by `parse`, and called as Python for comparison.
"""

import inspect
import sys
import time
from collections.abc import Callable, Iterator

import jax
import jax.numpy as jnp
import jaxtyping
import numpy as np
import pytest

from objectives.programs.graph import ProgramError
from objectives.programs.slots import slot_of
from objectives.programs.source import parse
from tests.objectives.programs.test_interpreter import ByHand


def check(text: str, slot: str, function: Callable) -> None:
    """Compares a program with the function that it should be, at random inputs."""
    rng = np.random.default_rng(1)
    inputs = {one.name: rng.normal(size=64).astype(np.float32) for one in slot_of(slot).inputs}
    program = parse(text, slot)
    found = ByHand(program, list(inputs.values()), np.array(program.constants)).results
    names = inspect.signature(function).parameters & inputs.keys()
    wanted = function(**{name: jnp.asarray(inputs[name]) for name in names})
    wanted = wanted if isinstance(wanted, tuple) else (wanted,)
    for value, each in zip(found, wanted, strict=True):
        np.testing.assert_allclose(value, np.broadcast_to(each, (64,)), rtol=2e-5, atol=5e-6)


def loss(body: str) -> str:
    """The text of a function with these lines."""
    return "def loss(log_ratio, advantage):\n" + "".join(f"    {line}\n" for line in body.split("\n"))


# Functions that are read as text.


def batch(log_ratio: jax.Array, advantage: jax.Array, tau=0.5) -> jax.Array:
    """Statistics of the minibatch, as functions and as methods."""
    scaled = log_ratio / tau
    spread = jnp.max(advantage) - jnp.min(advantage, axis=None) + (log_ratio > 0).mean()
    weight = jax.nn.sigmoid(0.1 * abs(scaled - scaled.std() * jnp.mean(a=scaled, axis=0)))
    return weight * -jax.nn.log_sigmoid(scaled) + spread * jnp.var(log_ratio)  # a comment


def helpers(log_ratio, advantage, limit=0.3):
    """Helpers see the names around them as they are when they are called."""
    shift: float = 1.0

    def bend(x, by=0.5):
        """A docstring."""
        y = x * by
        y += shift
        return jnp.tanh(y)

    square = lambda x, factor=1.5: factor * x**2 + limit  # noqa: E731
    first = bend(log_ratio)
    shift = -2.0
    return 2.0 * first + bend(by=0.1, x=advantage) - square(square(advantage), factor=0.1)


def steps(log_ratio, advantage):
    """Augmented assignments, names used again, and all kinds of numbers."""
    x = log_ratio
    x += 1
    x -= 2_0.5e-1
    x **= 2
    log_ratio, advantage = advantage, log_ratio
    return x + +log_ratio - jnp.pi * -advantage + 1.0 / 3 - 2**-1 + jnp.e * jax.numpy.abs(x)


def two_results(delta_sign, done, progress):
    fixed = 0.95
    return fixed * (1 - done), jnp.where(delta_sign > 0, 0.9, progress)


@pytest.mark.parametrize("function", [batch, helpers, steps, two_results], ids=lambda each: each.__name__)
def test_a_program_computes_what_its_text_does(function: Callable) -> None:
    check(inspect.getsource(function), "trace" if function is two_results else "policy_loss", function)


EXPRESSIONS = {
    "abs(x)**0.5 + x**1 + x**2 + x**3 + x**4.0 + x**-1 + x**-2 + abs(x) ** (-1 / 2) + jnp.power(x, -3)": "",
    "jnp.clip(x, min=-0.5, max=0.5) * jnp.clip(y, -0.1) - jnp.clip(x, max=0.2)": "",
    "jnp.clip(x, None, 0.3) * jnp.full_like(y, fill_value=2) + jnp.zeros_like(x) - jnp.ones_like(x)": "",
    "(x > 0) * y + x * (y <= 0.1) - jnp.exp(x > 0) + (y > 0) / 2.0 + (y > 0) ** 1": "",
    "jnp.where((x > 0) * (y > 0.5), 1.0, x > 0) + jax.nn.softplus(x)": "",
    "jnp.add(jnp.subtract(x, 1.0), jnp.multiply(y, jnp.divide(x, 2.0))) + jnp.negative(jnp.square(y))": "",
    "jnp.sqrt(abs(x)) + jnp.log(jnp.absolute(x)) + jnp.sign(y) + jnp.cos(x) + jnp.reciprocal(y)": "",
    "jnp.log1p(jnp.abs(x)) + jax.lax.stop_gradient(jnp.tanh(x)) + jax.nn.relu(y) + jnp.expm1(y)": "",
    "jnp.where(jnp.logical_or(jnp.less(x, -1), jnp.greater(x, 1)), jnp.maximum(x, y), 3)": "",
    "jnp.where(jnp.logical_not(jnp.logical_and(jnp.less_equal(x, 1), jnp.greater_equal(x, -1))), x, y)": "",
    "jnp.where((x > 0) & ~(x > 1) | (y > 1), x, -x)": "",
    "x if -0.5 < x < y <= 1 < 2 else y": "jnp.where((x > -0.5) & (x < y) & (y <= 1), x, y)",
    "x if x > 0 and y > 0 and x < y else y": "jnp.where((x > 0) & (y > 0) & (x < y), x, y)",
    "x if not (not x < y and 0 < y) else 1": "jnp.where((x < y) | (y <= 0), x, 1)",
    "x if (y > 0 if x > 0 else y < 0) else 3": "jnp.where(x * y > 0, x, 3)",
    "min(x, abs(y)) + max(x, float(y))": "jnp.minimum(x, abs(y)) + jnp.maximum(x, y)",
    "(x > 0) - (x < 0) + -(y > 0)": "jnp.sign(x) - jnp.where(y > 0, 1, 0)",
    "jnp.where(condition=x > 0, x=nn.relu(x), y=0.0) + y": "jax.nn.relu(x) + y",
    "jnp.where(x > 0, y, y).max() + min(x > 0, 0.5)": "y.max() + 0.5 * (x > 0)",
}


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_an_expression_computes_what_python_does(expression: str) -> None:
    """Or what another expression does, where Python refuses arrays."""

    def function(log_ratio, advantage):
        return eval(EXPRESSIONS[expression] or expression, {**globals(), "x": log_ratio, "y": advantage})

    check(loss(f"x, y = log_ratio, advantage\nreturn {expression}"), "policy_loss", function)


# Structure.


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("return jnp.where(not log_ratio < 1, 1, 2)", "return jnp.where(1 <= log_ratio, 1, 2)"),
        ("return log_ratio ** 2 + 1", "return jnp.square(log_ratio) + 1"),
        ("f = lambda x: jnp.exp(x)\nreturn f(f(log_ratio))", "return jnp.exp(jnp.exp(log_ratio))"),
        ("x = not not (log_ratio < 1)\nreturn x * 1.0", "return (log_ratio < 1) * 1.0"),
    ],
)
def test_equal_programs_have_equal_graphs(one: str, other: str) -> None:
    assert parse(loss(one), "policy_loss") == parse(loss(other), "policy_loss")


@pytest.mark.parametrize(
    ("body", "constants"),
    [
        ("c = 0.2\nreturn c * log_ratio + c", 1),
        ("return WIDE * log_ratio + WIDE", 1),
        ("f = lambda x: jnp.clip(x, -0.5, 0.5)\nreturn f(log_ratio) + f(advantage)", 2),
        ("return log_ratio * (1.0 / 3 + 2 - -1)", 1),
        ("a = log_ratio > 0\nreturn (a + 1.0) * (a - log_ratio)", 4),
    ],
)
def test_a_number_of_the_text_is_one_constant(body: str, constants: int) -> None:
    assert len(parse("WIDE = 3\n" + loss(body), "policy_loss").constants) == constants


def test_a_file_that_people_can_run_is_read() -> None:
    """Comments, docstrings, imports, constants, line ends of Windows, a mark of the byte order."""
    text = '''# é − a comment \\d
import jax, jax.nn
import jax.numpy as jnp
"""A docstring with \\d, \\N{nothing} and ' '."""
LOW: float = -1 / 2
HIGH = 1e0

def anything(
    log_ratio: "Float[Array, 'B']",  # the ratio
    advantage: dict[str, {1: 2}],
    unused = 0.1,
) -> jnp.ndarray: 
    r"""Text (with [brackets."""
    "and more"; x = \\
        jnp.clip(log_ratio, LOW,
                 HIGH)
    return x * 2.
'''
    program = parse("\ufeff" + text.replace("\n", "\r\n"), "policy_loss")
    assert (program.operations, program.inputs) == (("clip", "multiply"), ("log_ratio",))
    assert sorted(program.constants) == [-0.5, 1.0, 2.0]


# Refusals.


def chain(expression: str, count: int) -> str:
    """Helper functions of which each calls the one before; in the expression, f stands for that one."""
    texts = [expression.replace("f", f"f{i}") for i in range(count)]
    return "f0 = lambda x: x\n" + "".join(f"f{i + 1} = lambda x: {each}\n" for i, each in enumerate(texts))


LARGE_TEXTS = {
    "brackets": "return " + "f(" * 60 + "1" + ")" * 60,
    "depth": "return " + "-" * 150 + "1",
    "lambdas": "return " + "lambda a, b: " * 4_000 + "1",
    "tokens": "; " * 30_000,
    "lines": "x = 1\n" * 500 + "return x",
    "bytes": "# " + "é" * 40_000,
    "parameters": f"f = lambda {', '.join(f'a{i}' for i in range(60))}: 1\nreturn f()",
    "nodes": "x = log_ratio\n" + "x = x * x\n" * 250 + "return x",
    "built nodes": "x = log_ratio\n" + "x = x * x * x * x\n" * 220 + "return x",
    "inlined": chain("f(f(x))", 40) + "return f40(log_ratio)",
    "levels": chain("-" * 20 + "f(x)", 7) + "return f7(log_ratio)",
    "steps": chain("f(x) + f(x) + f(x) + f(x) + f(x) + f(x)", 6) + "return f6(log_ratio)",
    "recursion": "f = lambda x: g(x) + g(x)\ng = lambda x: f(x) + f(x)\nreturn f(1)",
    "a tower": "return log_ratio * 9**9**9",
    "a large number": "return 2e15 * log_ratio",
    "a division by zero": "return 1.0 / 0",
}


@pytest.fixture
def _unchecked() -> Iterator[None]:
    """Without the checks of annotations that conftest.py adds, which take most of the time."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.mark.usefixtures("_unchecked")
@pytest.mark.parametrize("body", LARGE_TEXTS.values(), ids=LARGE_TEXTS)
def test_what_is_too_large_is_refused_soon(body: str) -> None:
    start = time.process_time()
    with pytest.raises(ProgramError) as caught:
        parse(loss(body), "policy_loss")
    assert time.process_time() - start < 0.5
    assert (caught.value.kind, len(str(caught.value)) < 300) == ("size", True)


REFUSED = [
    ("for i in x:\n    y = 1\nreturn x", "construct", "line 2: a for loop is not allowed here"),
    ("if log_ratio > 0:\n    return 1\nreturn 2", "construct", "write x = jnp.where"),
    ("x = 1\nreturn x\nx = 2", "construct", "line 3"),
    ("x = 1", "construct", "line 2"),
    ("x = y = 1\nreturn x", "construct", "write name = value"),
    ("a, b = log_ratio\nreturn a", "construct", "a, b = x, y"),
    ("return 'a''b'", "construct", "write a number"),
    ("return log_ratio % 2", "construct", "%"),
    ("return jnp.where(log_ratio == 0, 1, 2)", "construct", "abs"),
    ("return log_ratio ** advantage", "construct", "jnp.exp(p * jnp.log(x))"),
    ("return (lambda x: x)(1)", "construct", "by their names"),
    ("f = lambda x: x\nreturn f", "construct", "f is a function"),
    ("def f(x):\n    while 1:\n        x = 1\nreturn 1", "construct", "line 2: the helper function f is"),
    ("@jax.jit\ndef f(x):\n    return 1\nreturn f(2)", "construct", "line 2"),
    ("return jnp.exp(*log_ratio)", "construct", "*"),
    ("jnp = 3\nreturn jnp", "name", "jnp"),
    ("return log_ratio.astype(float)", "name", "jnp.where(flag, 1.0, 0.0)"),
    ("return advantge", "name", "line 2: advantge has no value; nearest: advantage"),
    ("return progress", "name", "parameters"),
    ("c = 1.0\ndef f(x):\n    c += x\n    return c\nreturn f(1.0)", "name", "line 4: c has no value yet"),
    ("return log_ratio > 0", "type", "line 2: the result is a comparison"),
    ("return log_ratio, advantage", "type", "write return loss"),
    ("return jnp.where(log_ratio > 0 & advantage > 0, 1, 2)", "type", "brackets"),
    ("x = (log_ratio > 0) + (advantage > 0)\nreturn x", "type", "a | b"),
    ("return jnp.where(log_ratio > 0)", "type", "line 2: jnp.where"),
    ("return jnp.mean(log_ratio, axis=1)", "type", "axis"),
    ("f = lambda x: x\nreturn f(x=1, x=2)", "type", "write f(x)"),
    ("return (1", "syntax", "line 2: Python cannot read this: '(' was never closed"),
    ("return 1if 2else 3", "syntax", "1if is not a number"),
    ("f = lambda x, x: x\nreturn f(1, 2)", "syntax", "line 2: duplicate parameter"),
    ("return 'a", "text", "line 2"),
]
WHOLE = [
    ("", "construct", "def policy_loss(log_ratio, advantage, progress):"),
    ("```python\n```", "text", "marks around the function"),
    ("import os\ndef f(): return 1", "construct", "remove it"),
    ("def f(): return 1\ndef g(): return 1", "construct", "line 2"),
    ("C = jnp.exp(1)\ndef f(): return C", "construct", "NAME = 0.2"),
    ("def f(logratio): return logratio", "name", "policy_loss has no input logratio; nearest: log_ratio"),
    (b"def f(): return 1", "text", "bytes"),
]


@pytest.mark.parametrize(
    ("text", "kind", "word"), [*[(loss(body), *wanted) for body, *wanted in REFUSED], *WHOLE], ids=repr
)
def test_refusals_say_what_to_change(text: object, kind: str, word: str) -> None:
    with pytest.raises(ProgramError) as caught:
        parse(text, "policy_loss")
    assert (caught.value.kind, word in str(caught.value)) == (kind, True), str(caught.value)


def test_only_slots_that_couple_samples_reduce() -> None:
    with pytest.raises(ProgramError, match="line 2: mean reduces over the minibatch"):
        parse("def f(gradient):\n    return gradient.mean()", "optimizer")
    with pytest.raises(ValueError, match="nearest: policy_loss"):
        parse("def f(): return 1", "policy_los")


def test_a_caller_that_is_deep_in_calls_gets_a_program_or_a_program_error() -> None:
    text, outcomes = loss("return " + "-(" * 40 + "log_ratio" + ")" * 40), set()

    def deep(n: int) -> None:
        if n:
            return deep(n - 1)
        try:
            outcomes.add(len(parse(text, "policy_loss").nodes))
        except ProgramError as error:
            outcomes.add(error.kind)

    used = len(inspect.stack())
    for left in (600, 300, 150, 100):
        deep(sys.getrecursionlimit() - used - left)
    assert outcomes == {41, "size"}
