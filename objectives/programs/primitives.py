"""The primitives of programs: total functions, finite for every finite float with a finite derivative.

A program can only be searched if no combination of its primitives breaks a training by a division by zero or
an overflow. So each primitive is guarded where its mathematical form is undefined or infinite, and agrees
with that form everywhere else:

* results and derivatives are clipped to +-`BOUND`;
* divide: a denominator nearer to zero than `SMALL` counts as +-SMALL;
* sqrt, log: an argument below `TINY` counts as TINY (log takes the absolute value first); log1p: one below
  -1 + 1e-7 counts as that;
* exp, expm1: an argument above log BOUND counts as that.

Where a guard is active, the derivative with respect to the guarded argument is zero.

A flag, the result of a comparison, is 1.0 or 0.0. The numbers of the primitives are stored in runs, so they
never change; new primitives get new numbers.
"""

import math
from collections.abc import Callable
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

BOUND = 1e15
"""Largest absolute value of a result or a derivative. A product of two is still a float32."""
SMALL = 1e-8
"""Smallest denominator."""
TINY = 1e-18
"""Smallest argument of a root or a logarithm; the second derivatives there are float32 numbers."""
LARGEST_EXPONENT = math.log(BOUND)

Kind = Literal["sample", "scalar", "flag"]
"""What a node of a program is: a number per sample; one number for the whole minibatch; a flag per sample."""


Argument = Literal["number", "flag"]
"""What a primitive takes."""


class Primitive(NamedTuple):
    """One primitive.

    Attributes:
        number: its operation code; 0 is reserved for an unused instruction.
        arguments: kinds of the arguments, "number" or "flag".
        value: the function, elementwise over arrays of one shape; a reduction returns its result at every
            sample.
        source: how it is written, with one ``{}`` per argument.
        latex: the same in LaTeX.
        cost: of its value and derivatives, relative to an addition; measured on a CPU, at least 1.
        commutes: whether its two arguments can be exchanged.
        reduces: whether it reduces over the minibatch, and so couples the samples.
    """

    number: int
    arguments: tuple[Argument, ...]
    value: Callable[..., Array]
    source: str
    latex: str
    cost: float = 1.0
    commutes: bool = False
    reduces: bool = False


def bounded(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """x, clipped to +-`BOUND`."""
    return jnp.clip(x, -BOUND, BOUND)


def _divide(x: Array, y: Array) -> Array:
    """x / y, with a y nearer to zero than `SMALL` as +-SMALL."""
    near_zero = jnp.abs(y) < SMALL
    return bounded(bounded(x) / jnp.where(near_zero, jnp.where(y < 0, -SMALL, SMALL), y))


def _sqrt(x: Array) -> Array:
    """The root of x, or of `TINY` if that is larger."""
    return jnp.sqrt(jnp.maximum(x, TINY))


def _exp(x: Array) -> Array:
    """exp x, at most `BOUND`."""
    return jnp.exp(jnp.minimum(x, LARGEST_EXPONENT))


def _expm1(x: Array) -> Array:
    """exp x - 1, at most `BOUND`."""
    return jnp.expm1(jnp.minimum(x, LARGEST_EXPONENT))


def _log(x: Array) -> Array:
    """The logarithm of the size of x, or of `TINY` if that is larger."""
    return jnp.log(jnp.maximum(jnp.abs(x), TINY))


def _log1p(x: Array) -> Array:
    """log(1 + x), finite at -1 and below."""
    return jnp.log1p(jnp.maximum(x, -1 + 1e-7))


@jax.custom_jvp
def _softplus(x: Array) -> Array:
    """jax's own takes twice the time on a CPU, with its derivative."""
    return jnp.maximum(x, 0.0) + jnp.log1p(jnp.exp(-jnp.abs(x)))


_softplus.defjvps(lambda x_dot, result, x: x_dot * jax.nn.sigmoid(x))


def _log_sigmoid(x: Array) -> Array:
    return -_softplus(-x)


_COS = tuple((-1) ** k / math.factorial(2 * k) for k in range(10))
"""Coefficients of the cosine by powers of x^2: enough for float64 up to pi / 2."""


def _cos(x: Array) -> Array:
    """By its series: the library's function takes 3.5 times the time on a CPU."""
    turns = jnp.abs(x / (2 * jnp.pi) - jnp.round(x / (2 * jnp.pi)))
    square = jnp.square(2 * jnp.pi * jnp.where(turns > 0.25, 0.5 - turns, turns))
    series = jnp.full_like(x, _COS[-1])
    for coefficient in _COS[-2::-1]:
        series = series * square + coefficient
    return jnp.where(turns > 0.25, -series, series)


def _everywhere(reduce: Callable[[Array], Array]) -> Callable[[Array], Array]:
    """A reduction over all samples, whose result is returned at each of them."""

    def value(x: Array) -> Array:
        return jnp.broadcast_to(reduce(x), x.shape)

    return value


def std(x: Float[Array, " B"]) -> Float[Array, ""]:
    """The standard deviation (of the population, not of a sample), at least sqrt `TINY`."""
    x = bounded(x)
    return jnp.sqrt(jnp.maximum(bounded(jnp.square(x - x.mean())).mean(), TINY))


_N: Argument = "number"
_F: Argument = "flag"

PRIMITIVES: dict[str, Primitive] = {
    "add": Primitive(1, (_N, _N), lambda x, y: bounded(x + y), "{} + {}", "{} + {}", commutes=True),
    "subtract": Primitive(2, (_N, _N), lambda x, y: bounded(x - y), "{} - {}", "{} - {}"),
    "multiply": Primitive(3, (_N, _N), lambda x, y: bounded(x * y), "{} * {}", r"{} \, {}", commutes=True),
    "divide": Primitive(4, (_N, _N), _divide, "{} / {}", r"\frac{{{}}}{{{}}}", 2.0),
    "minimum": Primitive(
        5, (_N, _N), jnp.minimum, "jnp.minimum({}, {})", r"\min\left({}, {}\right)", commutes=True
    ),
    "maximum": Primitive(
        6, (_N, _N), jnp.maximum, "jnp.maximum({}, {})", r"\max\left({}, {}\right)", commutes=True
    ),
    "negative": Primitive(7, (_N,), jnp.negative, "-{}", "-{}"),
    "abs": Primitive(8, (_N,), jnp.abs, "jnp.abs({})", r"\left|{}\right|"),
    "square": Primitive(9, (_N,), lambda x: bounded(x * x), "jnp.square({})", "{}^2"),
    "sqrt": Primitive(10, (_N,), _sqrt, "jnp.sqrt({})", r"\sqrt{{{}}}"),
    "exp": Primitive(11, (_N,), _exp, "jnp.exp({})", "e^{{{}}}", 2.0),
    "expm1": Primitive(12, (_N,), _expm1, "jnp.expm1({})", r"e^{{{}}} - 1", 5.0),
    "log": Primitive(13, (_N,), _log, "jnp.log({})", r"\log {}", 2.0),
    "log1p": Primitive(14, (_N,), _log1p, "jnp.log1p({})", r"\log\left(1 + {}\right)", 3.0),
    "tanh": Primitive(15, (_N,), jnp.tanh, "jnp.tanh({})", r"\tanh {}", 3.0),
    "sigmoid": Primitive(16, (_N,), jax.nn.sigmoid, "jax.nn.sigmoid({})", r"\sigma\left({}\right)", 3.0),
    "log_sigmoid": Primitive(
        17, (_N,), _log_sigmoid, "jax.nn.log_sigmoid({})", r"\log\sigma\left({}\right)", 6.0
    ),
    "softplus": Primitive(
        18, (_N,), _softplus, "jax.nn.softplus({})", r"\operatorname{{softplus}}\left({}\right)", 6.0
    ),
    "relu": Primitive(19, (_N,), jax.nn.relu, "jax.nn.relu({})", r"\left({}\right)^+"),
    "sign": Primitive(20, (_N,), jnp.sign, "jnp.sign({})", r"\operatorname{{sign}}\left({}\right)"),
    "less": Primitive(21, (_N, _N), lambda x, y: (x < y).astype(x.dtype), "{} < {}", "{} < {}"),
    "less_equal": Primitive(22, (_N, _N), lambda x, y: (x <= y).astype(x.dtype), "{} <= {}", r"{} \leq {}"),
    "where": Primitive(
        23, (_F, _N, _N), lambda c, x, y: jnp.where(c > 0.5, x, y), "jnp.where({}, {}, {})",
        r"\begin{{cases}} {1} & {0} \\ {2} & \text{{otherwise}} \end{{cases}}",
    ),
    "clip": Primitive(
        24, (_N, _N, _N), lambda x, low, high: jnp.minimum(jnp.maximum(x, low), high),
        "jnp.clip({}, {}, {})", r"\operatorname{{clip}}\left({}, {}, {}\right)", 2.0,
    ),
    "stop_gradient": Primitive(
        25, (_N,), lambda x: jax.lax.stop_gradient(x), "jax.lax.stop_gradient({})",
        r"\operatorname{{sg}}\left({}\right)",
    ),
    "cos": Primitive(26, (_N,), _cos, "jnp.cos({})", r"\cos {}", 3.0),
    "mean": Primitive(
        27, (_N,), _everywhere(lambda x: bounded(x).mean()), "jnp.mean({})",
        r"\operatorname{{mean}}\left({}\right)", reduces=True,
    ),
    "std": Primitive(
        28, (_N,), _everywhere(std), "jnp.std({})", r"\operatorname{{std}}\left({}\right)", reduces=True
    ),
    "min": Primitive(
        29, (_N,), _everywhere(jnp.min), "jnp.min({})", r"\min_i\left({}\right)", reduces=True
    ),
    "max": Primitive(
        30, (_N,), _everywhere(jnp.max), "jnp.max({})", r"\max_i\left({}\right)", reduces=True
    ),
}  # fmt: skip
"""All primitives by name."""

COMPARISONS = ("less", "less_equal")
"""Primitives whose result is a flag."""

LOGICAL = {"minimum": "jnp.logical_and({}, {})", "maximum": "jnp.logical_or({}, {})"}
"""Primitives that two flags make a flag of, as they are written then."""
