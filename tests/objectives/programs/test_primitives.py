"""Primitives: total, exact where they are not guarded, and numbered for ever.

The formulas are in numpy, for real and complex numbers: a derivative is then exact by a step along the
imaginary axis. `tests/objectives/programs/test_interpreter.py` evaluates whole programs with them.
"""

import functools
import itertools
from typing import Any

import jax
import numpy as np
import pytest

from objectives.programs import primitives
from objectives.programs.primitives import COMPARISONS, LOGICAL, PRIMITIVES

NUMBERS = {
    "add": 1, "subtract": 2, "multiply": 3, "divide": 4, "minimum": 5, "maximum": 6, "negative": 7, "abs": 8,
    "square": 9, "sqrt": 10, "exp": 11, "expm1": 12, "log": 13, "log1p": 14, "tanh": 15, "sigmoid": 16,
    "log_sigmoid": 17, "softplus": 18, "relu": 19, "sign": 20, "less": 21, "less_equal": 22, "where": 23,
    "clip": 24, "stop_gradient": 25, "cos": 26, "mean": 27, "std": 28, "min": 29, "max": 30,
}  # fmt: skip
"""Stored in runs: a number here may never change or be given to another primitive."""

BOUND, SMALL, TINY = 1e15, 1e-8, 1e-18

SMOOTH = ("square", "exp", "expm1", "log1p", "tanh", "sigmoid", "log_sigmoid", "softplus", "cos")
"""Smooth at all points of `ORDINARY`; others have kinks, poles or jumps."""
ELEMENTWISE = [name for name, primitive in PRIMITIVES.items() if not primitive.reduces]
REDUCTIONS = {"mean": np.mean, "std": np.std, "min": np.min, "max": np.max}
LARGEST = float(np.finfo(np.float32).max)
EXTREMES = [0.0, -0.0, *(s * x for x in (1e-45, 1e-38, 1e-8, 1.0, 88.0, 1e15, LARGEST) for s in (1.0, -1.0))]
ORDINARY = [0.0, *(s * x for x in (0.01, 0.3, np.pi / 4, np.pi / 2, 2.0, np.pi, 7.0) for s in (1.0, -1.0))]

every_dtype = pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])


def up(x):
    return np.where(x.real >= 0, 1.0, -1.0)


def first(x, y):
    """The share of x in the derivative of min(x, y)."""
    return (x.real < y.real) + 0.5 * (x.real == y.real)


def smaller(x, y):
    return np.where(x.real < y.real, x, y)


def larger(x, y):
    return np.where(x.real > y.real, x, y)


def sigmoid(x):
    e = np.exp(-x * up(x))
    return np.where(x.real >= 0, 1.0, e) / (1 + e)


def softplus(x):
    return np.where(x.real >= 0, x, 0) + np.log1p(np.exp(-x * up(x)))


FORMULAS = {
    "add": (lambda x, y: x + y, lambda x, y: (1, 1)),
    "subtract": (lambda x, y: x - y, lambda x, y: (1, -1)),
    "multiply": (lambda x, y: x * y, lambda x, y: (y, x)),
    "divide": (lambda x, y: x / y, lambda x, y: (1 / y, -x / y / y)),
    "minimum": (smaller, lambda x, y: (first(x, y), first(y, x))),
    "maximum": (larger, lambda x, y: (first(y, x), first(x, y))),
    "negative": (lambda x: -x, lambda x: (-1,)),
    "abs": (lambda x: x * up(x), lambda x: (up(x),)),
    "square": (lambda x: x * x, lambda x: (2 * x,)),
    "sqrt": (np.sqrt, lambda x: (0.5 / np.sqrt(x),)),
    "exp": (np.exp, lambda x: (np.exp(x),)),
    "expm1": (np.expm1, lambda x: (np.exp(x),)),
    "log": (lambda x: np.log(x * up(x)), lambda x: (1 / x,)),
    "log1p": (np.log1p, lambda x: (1 / (1 + x),)),
    "tanh": (np.tanh, lambda x: (1 - np.tanh(x) ** 2,)),
    "sigmoid": (sigmoid, lambda x: (sigmoid(x) * sigmoid(-x),)),
    "log_sigmoid": (lambda x: -softplus(-x), lambda x: (sigmoid(-x),)),
    "softplus": (softplus, lambda x: (sigmoid(x),)),
    "relu": (lambda x: np.where(x.real > 0, x, 0), lambda x: (x.real > 0,)),
    "sign": (lambda x: np.sign(x.real), lambda x: (0,)),
    "less": (lambda x, y: (x.real < y.real) * 1.0, lambda x, y: (0, 0)),
    "less_equal": (lambda x, y: (x.real <= y.real) * 1.0, lambda x, y: (0, 0)),
    "where": (lambda c, x, y: np.where(c.real > 0, x, y), lambda c, x, y: (0, c.real > 0, c.real <= 0)),
    "clip": (
        lambda x, low, high: smaller(larger(x, low), high),
        lambda x, low, high: (
            first(low, x) * first(larger(x, low), high),
            first(x, low) * first(larger(x, low), high),
            first(high, larger(x, low)),
        ),
    ),
    "stop_gradient": (lambda x: x.real, lambda x: (0,)),
    "cos": (np.cos, lambda x: (-np.sin(x),)),
}
"""Value and partial derivatives of each elementwise primitive, without guards, by their names."""


def guard(name, given, dtype=np.float64):
    """The arguments as the guards of the module's text change them, and which of them still move."""
    given, moves = list(given), [True] * len(given)
    x, last = given[0], given[-1]
    if name == "divide":
        moves[1] = np.abs(last.real) >= SMALL
        given[1] = np.where(moves[1], last, np.where(last.real < 0, -SMALL, SMALL))
    elif name == "log":
        moves[0], given[0] = np.abs(x.real) > TINY, np.where(np.abs(x.real) > TINY, x, TINY)
    elif name in ("sqrt", "log1p"):
        lowest = TINY if name == "sqrt" else float(dtype(-1 + 1e-7))
        moves[0], given[0] = x.real > lowest, np.where(x.real > lowest, x, lowest)
    elif name in ("exp", "expm1"):
        most = np.log(BOUND)
        moves[0], given[0] = x.real < most, np.where(x.real < most, x, most)
    return given, moves


def evaluated(name, given, dtype=np.float64):
    """Value and partial derivatives in numpy, with guards."""
    given, moves = guard(name, given, dtype)
    value, partials = FORMULAS[name]
    found = [np.where(move, p, 0) for p, move in zip(partials(*given), moves, strict=True)]
    x = value(*given)
    if name not in ("add", "subtract", "multiply", "divide", "square"):
        return x, found
    inside = np.abs(np.real(x)) < BOUND
    return np.where(inside, x, np.clip(np.real(x), -BOUND, BOUND)), [np.where(inside, p, 0) for p in found]


def test_numbers_of_operations_never_change():
    assert {name: primitive.number for name, primitive in PRIMITIVES.items()} == NUMBERS
    assert len({*NUMBERS.values()}) == len(NUMBERS) and min(NUMBERS.values()) > 0
    assert (primitives.BOUND, primitives.SMALL, primitives.TINY) == (BOUND, SMALL, TINY)


def test_what_is_said_of_them():
    """A place for each argument in how they are written; what commutes has two; each has an oracle."""
    for name, primitive in PRIMITIVES.items():
        places = [f"«{k}»" for k in range(len(primitive.arguments))]
        for text in (primitive.source, primitive.latex):
            assert all(place in text.format(*places) for place in places), name
        assert not primitive.commutes or len(primitive.arguments) == 2
        assert not primitive.reduces or primitive.arguments == ("number",)
        assert primitive.cost >= 1
    assert [*FORMULAS, *REDUCTIONS] == [*PRIMITIVES]
    assert set(COMPARISONS) == {"less", "less_equal"} and set(LOGICAL) == {"minimum", "maximum"}


# Where they are evaluated.


def anywhere(name):
    """All combinations of extremes as arguments, and a few hundred numbers of all sizes."""
    n = len(PRIMITIVES[name].arguments)
    rng = np.random.default_rng(n)
    drawn = rng.choice([-1, 1], (n, 300)) * 10.0 ** rng.uniform(-45, np.log10(LARGEST), (n, 300))
    return np.concatenate([np.array(list(itertools.product(EXTREMES, repeat=n))).T, drawn], axis=1)


def within(name):
    """Arguments at which no guard is active: random ones of all sizes."""
    rng = np.random.default_rng(NUMBERS[name])
    n = len(PRIMITIVES[name].arguments)
    x = rng.choice([-1, 1], (n, 400)) * 10.0 ** rng.uniform(-7, 7, (n, 400))
    x[:, :200] = rng.normal(0, 2, (n, 200))
    if name in ("sqrt", "log1p"):
        x = np.abs(x)
    if name in ("exp", "expm1"):
        x = np.clip(x, -60, 34)
    if name == "cos":
        x = np.clip(x, -50, 50)
    return x.astype(np.float32).astype(np.float64)


def points(name):
    """Where derivatives are checked: ordinary numbers, no kinks, nothing guarded."""
    x = np.array(ORDINARY)
    if name in ("sqrt", "log1p"):
        x = np.abs(x) + (name == "sqrt")
    if name == "log1p":
        x = np.append(x, -0.9)
    if name not in SMOOTH:
        x = x + 0.05
    n = len(PRIMITIVES[name].arguments)
    return np.array(list(itertools.product(x, repeat=n))).T + 0.0005 * np.arange(n)[:, None]


def rows():
    """Sets of four samples: all equal, and drawn from numbers of all sizes."""
    rng = np.random.default_rng(0)
    drawn = rng.choice(anywhere("abs")[0], (400, 4))
    return np.concatenate([np.repeat(np.c_[EXTREMES], 4, 1), rng.choice(EXTREMES, (400, 4)), drawn])


NORMAL = np.random.default_rng(0).normal(1, 3, 32)


@functools.cache
def found(dtype) -> Any:
    """Arguments and results of every primitive: compiled once.

    Of an elementwise one its value and all derivatives, at each of three sets of points. Of a reduction its
    values, and the derivatives of the first, of sets of samples. Last, second derivatives at the points.
    """
    tables = {name: {at.__name__: at(name) for at in (anywhere, within, points)} for name in ELEMENTWISE}
    for table in tables["where"].values():
        table[0] = table[0] > 0
    samples = {"rows": rows(), "normal": NORMAL[None], "equal": np.full((1, 32), 3.0)}

    def elementwise(name, given):
        value = PRIMITIVES[name].value
        return value(*given), *jax.grad(lambda *x: value(*x).sum(), range(len(given)))(*given)

    def reduced(value, x):
        return value(x), jax.grad(lambda x: value(x)[0])(x)

    @jax.jit
    def everything(given, samples):
        each = {name: {at: elementwise(name, x) for at, x in given[name].items()} for name in given}
        for name in REDUCTIONS:
            run = jax.vmap(functools.partial(reduced, PRIMITIVES[name].value))
            each[name] = {at: run(x) for at, x in samples.items()}
        twice = {name: jax.vmap(jax.grad(jax.grad(PRIMITIVES[name].value))) for name in SMOOTH}
        return each, {name: f(given[name]["points"][0]) for name, f in twice.items()}

    given = jax.tree.map(lambda x: x.astype(dtype), tables)
    given = {name: {at: tuple(x) for at, x in each.items()} for name, each in given.items()}
    with jax.enable_x64(dtype is np.float64):
        results, second = jax.device_get(everything(given, jax.tree.map(lambda x: x.astype(dtype), samples)))
    assert {x.dtype for x in jax.tree.leaves(results)} == {np.dtype(dtype)}
    return tables | dict.fromkeys(REDUCTIONS, samples), results, second


@every_dtype
def test_values_and_derivatives_are_finite_everywhere(dtype):
    """Every sample has the same result of a reduction."""
    tables, results, _ = found(dtype)
    for name, each in results.items():
        at = "rows" if name in REDUCTIONS else "anywhere"
        for k, result in enumerate(each[at]):
            bad = ~np.isfinite(result)
            bad = bad.any(axis=1) if at == "rows" else bad
            where = tables[name][at] if at == "rows" else tables[name][at].T
            assert not bad.any(), f"{'derivative' if k else 'value'} of {name} at {where[bad].tolist()[:3]}"
        if at == "rows":
            assert (each[at][0] == each[at][0][:, :1]).all()


@every_dtype
def test_flags_are_zero_or_one(dtype):
    """And minimum and maximum of two of them are "and" and "or"."""
    for name in COMPARISONS:
        assert set(found(dtype)[1][name]["anywhere"][0]) == {0.0, 1.0}
    flags = np.array([0, 0, 1, 1], dtype), np.array([0, 1, 0, 1], dtype)
    assert PRIMITIVES["minimum"].value(*flags).tolist() == [0, 0, 0, 1]
    assert PRIMITIVES["maximum"].value(*flags).tolist() == [0, 1, 1, 1]


def test_where_a_guard_is_active():
    """The bound, and no derivative with respect to what is guarded: the last argument here."""
    guarded = [
        ("divide", (1.0, 0.0), 1e8), ("divide", (1.0, -1e-9), -1e8), ("divide", (3.0, 5e-9), 3e8),
        ("divide", (1e15, 0.5), 1e15), ("sqrt", (-4.0,), 1e-9), ("sqrt", (0.0,), 1e-9),
        ("log", (0.0,), np.log(1e-18)), ("log1p", (-3.0,), np.log1p(-1 + 1e-7)), ("exp", (100.0,), 1e15),
        ("expm1", (40.0,), 1e15), ("multiply", (1e9, -1e9), -1e15), ("add", (1e15, 1e15), 1e15),
        ("subtract", (-1e15, 1e15), -1e15), ("square", (1e10,), 1e15),
    ]  # fmt: skip

    @jax.jit
    def run(given):
        return [
            jax.value_and_grad(PRIMITIVES[name].value, len(x) - 1)(*x)
            for (name, *_), x in zip(guarded, given, strict=True)
        ]

    with jax.enable_x64(True):
        found = run([jax.tree.map(np.float64, given) for _, given, _ in guarded])
    for (name, given, expected), (value, slope) in zip(guarded, found, strict=True):
        assert (float(value), float(slope)) == (pytest.approx(expected, rel=1e-9), 0), (name, given)


@every_dtype
def test_values_are_the_formulas(dtype):
    (tables, results, _), digits = found(dtype), float(np.finfo(dtype).eps)
    for name, (value, _) in FORMULAS.items():
        got, expected = results[name]["within"][0], value(*tables[name]["within"])
        absolute = 30 * digits if name == "cos" else 1e-37
        np.testing.assert_allclose(got, expected, rtol=8 * digits, atol=absolute, err_msg=name)


@pytest.mark.parametrize("name", FORMULAS)
def test_derivatives_are_central_differences(name):
    """Those of the plain formulas, and those written by hand."""
    value, partials = FORMULAS[name]
    tables, results, _ = found(np.float64)
    given, (_, *slopes) = tables[name]["points"], results[name]["points"]
    by_hand = partials(*given)
    for k, kind in enumerate(PRIMITIVES[name].arguments):
        step = np.zeros((len(given), 1))
        step[k] = 1e-5 * (kind == "number" and name != "stop_gradient")
        expected = (value(*(given + step)) - value(*(given - step))) / 2e-5
        for other, tolerance in ((expected, 1e-6), (np.broadcast_to(by_hand[k], expected.shape), 1e-13)):
            np.testing.assert_allclose(slopes[k], other, rtol=tolerance, atol=tolerance, err_msg=f"by {k}")


def test_second_derivatives_of_smooth_primitives():
    """Against steps along the imaginary axis. A learned optimizer differentiates a training's gradients."""
    for name, second in found(np.float64)[2].items():
        x = points(name)[0]
        by_hand = np.imag(FORMULAS[name][1](x + 1e-30j)[0]) / 1e-30
        np.testing.assert_allclose(second, by_hand, rtol=1e-10, atol=1e-9, err_msg=name)


@every_dtype
@pytest.mark.parametrize("name", REDUCTIONS)
def test_reductions_are_numpy_s(name, dtype):
    """Values, and derivatives by differences; the deviation of equal samples is 1e-9, its derivative 0."""
    each, reduce = found(dtype)[1][name], REDUCTIONS[name]
    (got,), (slopes,) = each["normal"]
    np.testing.assert_allclose(got, np.full(32, reduce(NORMAL)), rtol=1e-6 if dtype is np.float32 else 1e-14)
    differences = [(reduce(NORMAL + step) - reduce(NORMAL - step)) / 2e-6 for step in 1e-6 * np.eye(32)]
    np.testing.assert_allclose(slopes, differences, rtol=1e-4, atol=1e-7)
    (same,), (flat,) = each["equal"]
    np.testing.assert_allclose(same, 1e-9 if name == "std" else 3.0, rtol=1e-6)
    np.testing.assert_allclose(flat, 0 if name == "std" else 1 / 32, rtol=1e-6)
