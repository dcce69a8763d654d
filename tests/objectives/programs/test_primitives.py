"""Primitives: total, exact where they are not guarded, and numbered for ever.

The formulas are in numpy, for real and complex numbers: a derivative is then exact by a step along the
imaginary axis. `tests/objectives/programs/test_interpreter.py` evaluates whole programs with them.
"""

import functools
import itertools

import jax
import jax.numpy as jnp
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
REDUCTIONS = [name for name, primitive in PRIMITIVES.items() if primitive.reduces]
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


def zero(x):
    return np.zeros_like(x)


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
    lowest = float(dtype(-1 + 1e-7))
    if name == "divide":
        moves[1] = np.abs(last.real) >= SMALL
        given[1] = np.where(moves[1], last, np.where(last.real < 0, -SMALL, SMALL))
    elif name == "sqrt":
        moves[0], given[0] = x.real > TINY, np.where(x.real > TINY, x, TINY)
    elif name == "log":
        moves[0], given[0] = np.abs(x.real) > TINY, np.where(np.abs(x.real) > TINY, x, TINY)
    elif name == "log1p":
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
    inside = np.abs(np.real(x)) < BOUND
    if name in ("add", "subtract", "multiply", "divide", "square"):
        return np.where(inside, x, np.clip(np.real(x), -BOUND, BOUND)), [
            np.where(inside, p, 0) for p in found
        ]
    return x, found


# Numbers.


def test_numbers_of_operations_never_change():
    assert {name: primitive.number for name, primitive in PRIMITIVES.items()} == NUMBERS
    numbers = list(NUMBERS.values())
    assert len(set(numbers)) == len(numbers) and min(numbers) > 0
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
    assert set(FORMULAS) == set(ELEMENTWISE)
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


@functools.cache
def found(name, dtype):
    """Arguments, value and all derivatives of a primitive at each of the three sets: compiled once."""
    primitive = PRIMITIVES[name]
    n = len(primitive.arguments)
    tables = [where(name) for where in (anywhere, within, points)]
    if primitive.arguments[0] == "flag":
        for table in tables:
            table[0] = table[0] > 0

    @jax.jit
    def everything(*given):
        return primitive.value(*given), *jax.grad(lambda *x: primitive.value(*x).sum(), range(n))(*given)

    given = np.concatenate(tables, axis=1).astype(dtype)
    with jax.enable_x64(dtype is np.float64):
        results = everything(*given)
        assert all(x.dtype == dtype for x in results)
    ends = np.cumsum([table.shape[1] for table in tables])[:-1]
    each = zip(*(np.split(np.asarray(x), ends) for x in results), strict=True)
    return dict(zip(("anywhere", "within", "points"), zip(tables, each, strict=True), strict=True))


# Totality.


@every_dtype
@pytest.mark.parametrize("name", ELEMENTWISE)
def test_value_and_derivatives_are_finite_everywhere(name, dtype):
    given, results = found(name, dtype)["anywhere"]
    for what, result in zip(("value", "derivative 1", "derivative 2", "derivative 3"), results, strict=False):
        bad = ~np.isfinite(result)
        assert not bad.any(), f"{what} of {name} at {given[:, bad].T.tolist()[:3]}"


@every_dtype
@pytest.mark.parametrize("name", REDUCTIONS)
def test_reductions_are_finite_everywhere(name, dtype):
    """Of four samples: all equal, and drawn from numbers of all sizes. Every sample has the same result."""
    value = PRIMITIVES[name].value
    rng = np.random.default_rng(0)
    drawn = rng.choice(anywhere("abs")[0], (400, 4))
    rows = np.concatenate(
        [np.repeat(np.array(EXTREMES)[:, None], 4, 1), rng.choice(EXTREMES, (400, 4)), drawn]
    )
    both = jax.jit(jax.vmap(lambda x: (value(x), jax.grad(lambda x: value(x)[0])(x))))
    with jax.enable_x64(dtype is np.float64):
        values, slopes = map(np.asarray, both(rows.astype(dtype)))
    assert values.dtype == dtype and (values == values[:, :1]).all()
    for each in (values, slopes):
        bad = ~np.isfinite(each).all(axis=1)
        assert not bad.any(), rows[bad][:3]


@every_dtype
def test_flags_are_zero_or_one(dtype):
    """And minimum and maximum of two of them are "and" and "or"."""
    less, less_equal = (found(name, dtype)["anywhere"][1][0] for name in COMPARISONS)
    for flags in (less, less_equal):
        assert set(flags) == {0.0, 1.0}
    flags = np.array([0, 0, 1, 1], dtype), np.array([0, 1, 0, 1], dtype)
    assert PRIMITIVES["minimum"].value(*flags).tolist() == [0, 0, 0, 1]
    assert PRIMITIVES["maximum"].value(*flags).tolist() == [0, 1, 1, 1]


@pytest.mark.parametrize(
    ("name", "given", "expected"),
    [
        ("divide", (1.0, 0.0), 1e8),
        ("divide", (1.0, -1e-9), -1e8),
        ("divide", (3.0, 5e-9), 3e8),
        ("divide", (1e15, 0.5), 1e15),
        ("sqrt", (-4.0,), 1e-9),
        ("sqrt", (0.0,), 1e-9),
        ("log", (0.0,), np.log(1e-18)),
        ("log1p", (-3.0,), np.log1p(-1 + 1e-7)),
        ("exp", (100.0,), 1e15),
        ("expm1", (40.0,), 1e15),
        ("multiply", (1e9, -1e9), -1e15),
        ("add", (1e15, 1e15), 1e15),
        ("subtract", (-1e15, 1e15), -1e15),
        ("square", (1e10,), 1e15),
    ],
)
def test_where_a_guard_is_active(name, given, expected):
    """The bound, and no derivative with respect to what is guarded: the last argument here."""
    with jax.enable_x64(True):
        given = [jnp.asarray(x, jnp.float64) for x in given]
        value, slope = jax.value_and_grad(PRIMITIVES[name].value, len(given) - 1)(*given)
    assert float(value) == pytest.approx(expected, rel=1e-9)
    assert float(slope) == 0


# Formulas.


@every_dtype
@pytest.mark.parametrize("name", ELEMENTWISE)
def test_values_are_the_formulas(name, dtype):
    given, (value, *_) = found(name, dtype)["within"]
    digits = float(np.finfo(dtype).eps)
    absolute = 30 * digits if name == "cos" else 1e-37
    np.testing.assert_allclose(value, FORMULAS[name][0](*given), rtol=8 * digits, atol=absolute)


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_derivatives_are_central_differences(name):
    """Those of the plain formulas, and those written by hand."""
    value, partials = FORMULAS[name]
    given, (_, *slopes) = found(name, np.float64)["points"]
    by_hand = partials(*given)
    for k, kind in enumerate(PRIMITIVES[name].arguments):
        step = np.zeros((len(given), 1))
        step[k] = 1e-5 * (kind == "number" and name != "stop_gradient")
        expected = (value(*(given + step)) - value(*(given - step))) / 2e-5
        for other, tolerance in ((expected, 1e-6), (np.broadcast_to(by_hand[k], expected.shape), 1e-13)):
            np.testing.assert_allclose(
                slopes[k], other, rtol=tolerance, atol=tolerance, err_msg=f"{k}: {given}"
            )


@pytest.mark.parametrize("name", SMOOTH)
def test_second_derivatives_of_smooth_primitives(name):
    """Against steps along the imaginary axis. A learned optimizer differentiates a training's gradients."""
    given = points(name)[0]
    expected = (
        FORMULAS[name][1](given + 1e-30j)[0].imag / 1e-30 if name != "square" else np.full_like(given, 2.0)
    )
    with jax.enable_x64(True):
        second = jax.jit(jax.vmap(jax.grad(jax.grad(PRIMITIVES[name].value))))
        np.testing.assert_allclose(second(jnp.asarray(given)), expected, rtol=1e-10, atol=1e-9)


@every_dtype
@pytest.mark.parametrize(
    ("name", "reduce"), [("mean", np.mean), ("std", np.std), ("min", np.min), ("max", np.max)]
)
def test_reductions_are_numpy_s(name, reduce, dtype):
    """Values, and derivatives by differences; the deviation of equal samples is 1e-9, its derivative 0."""
    x, value = np.random.default_rng(0).normal(1, 3, 32), PRIMITIVES[name].value
    both = jax.jit(lambda x: (value(x), jax.grad(lambda x: value(x)[0])(x)))
    with jax.enable_x64(dtype is np.float64):
        got, slopes = map(np.asarray, both(x.astype(dtype)))
        same, flat = map(np.asarray, both(np.full(32, 3.0, dtype)))
    np.testing.assert_allclose(got, np.full(32, reduce(x)), rtol=1e-6 if dtype is np.float32 else 1e-14)
    differences = [(reduce(x + step) - reduce(x - step)) / 2e-6 for step in 1e-6 * np.eye(32)]
    np.testing.assert_allclose(slopes, differences, rtol=1e-4, atol=1e-7)
    np.testing.assert_allclose(same, 1e-9 if name == "std" else 3.0, rtol=1e-6)
    np.testing.assert_allclose(flat, 0 if name == "std" else 1 / 32, rtol=1e-6)
