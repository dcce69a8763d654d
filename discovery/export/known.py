"""Known values of expressions when a file is written: values, constants, arguments that are passed on."""

import ast
from collections.abc import Callable, Mapping, Sequence
from types import FunctionType
from typing import Any, NamedTuple

import numpy as np

LIBRARIES = frozenset(
    {
        *("builtins", "collections", "functools", "itertools", "math", "operator", "re", "typing"),
        *("flax", "jax", "jaxlib", "ml_dtypes", "numpy", "optax"),
    }
)
"""Packages whose functions a file calls; they are not written into it."""


class Constant(NamedTuple):
    """A number, or a tree of arrays, that is a constant of this name in the file."""

    name: str
    value: Any


class Expression(NamedTuple):
    """An array that is a constant of the file, given by the source that makes it."""

    name: str
    source: str


class Symbol(NamedTuple):
    """A keyword argument that is passed on by every function that needs it."""

    name: str


class Generated(NamedTuple):
    """A function of the file that has no Python source anywhere else: a program's."""

    name: str
    source: str


class Unknown(Exception):
    """An expression whose value is not known before the file runs."""


def constants(meta_params: Mapping[str, Any]) -> dict[str, Constant]:
    """`meta_params` as constants: "clip" is CLIP, a searched entry WEIGHTS, or of several DRIFT_WEIGHTS."""
    several = sum(not np.isscalar(value) for value in meta_params.values()) > 1
    names = {name: f"{name.upper()}_WEIGHTS" if several else "WEIGHTS" for name in meta_params}
    return {
        name: Constant(name.upper() if np.isscalar(value) else names[name], value)
        for name, value in meta_params.items()
    }


def prefix(name: str, value: Any) -> str:
    """Prefix of the names of a constant's members: W_IN of WEIGHTS, DRIFT_W_IN of DRIFT_WEIGHTS."""
    return (
        name.removesuffix("WEIGHTS")
        if isinstance(value, Mapping) and name.endswith("WEIGHTS")
        else f"{name}_"
    )


def is_ours(value: Any) -> bool:
    """Whether a value is a function to write into the file: this project's, or a user's."""
    return isinstance(value, FunctionType) and not in_library(value.__module__)


def in_library(name: str) -> bool:
    """Whether a module belongs to a library."""
    return name.partition(".")[0] in LIBRARIES


def plain(value: Any) -> Any:
    """The value of a constant; other values are returned as they are."""
    return value.value if isinstance(value, Constant) else value


def truth(value: Any) -> bool:
    """Whether a condition holds."""
    if isinstance(value, Symbol | Expression) or isinstance(plain(value), np.ndarray):
        raise Unknown
    return bool(plain(value))


def attribute(value: Any, name: str) -> Any:
    """The attribute of a known object; that of a constant is not known, since it may be an array's shape."""
    if isinstance(value, Constant | Symbol | Expression) or not hasattr(value, name):
        raise Unknown
    return getattr(value, name)


def item(value: Any, key: Any) -> Any:
    """The item of a mapping or a sequence; of a constant, a constant."""
    inside = plain(value)
    if not isinstance(inside, Mapping | tuple | list) or isinstance(inside, Symbol | Expression):
        raise Unknown
    if not isinstance(value, Constant):
        return inside[key]
    return Constant(f"{prefix(value.name, inside)}{key}".upper(), inside[key])


def length(value: Any) -> int:
    """The number of members of a known value."""
    if isinstance(value, Symbol | Expression) or not hasattr(plain(value), "__len__"):
        raise Unknown
    return len(plain(value))


_COMPARE: dict[type, Callable[[Any, Any], Any]] = {
    ast.Is: lambda a, b: a is b,
    ast.IsNot: lambda a, b: a is not b,
    ast.In: lambda a, b: a in b,
    ast.NotIn: lambda a, b: a not in b,
    ast.Eq: lambda a, b: a == b,
    ast.NotEq: lambda a, b: a != b,
    ast.Lt: lambda a, b: a < b,
    ast.Gt: lambda a, b: a > b,
}


def compared(operator: ast.cmpop, left: Any, right: Any) -> bool:
    """The result of a comparison."""
    if isinstance(operator, ast.Is | ast.IsNot) and isinstance(left, Symbol | Expression) and right is None:
        return isinstance(operator, ast.IsNot)  # it is always given
    values = plain(left), plain(right)
    if type(operator) not in _COMPARE or any(isinstance(v, Symbol | Expression | np.ndarray) for v in values):
        raise Unknown
    return bool(_COMPARE[type(operator)](*values))


def identity(value: Any) -> Any:
    """A key that is equal for values that a file would write in the same way."""
    if isinstance(value, Constant | Symbol | Expression | Generated):
        return type(value).__name__, value.name
    if isinstance(value, Sequence) and hasattr(value, "_fields"):
        return tuple(map(identity, value))
    return repr(value) if value is None or isinstance(value, bool | int | float | str | tuple) else id(value)
