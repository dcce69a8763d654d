"""What the text of a program can name, by its spelling in `jnp`, and refusals of what it cannot have."""

import ast
import difflib
import math
from collections.abc import Callable, Mapping, Sequence
from typing import NoReturn

from objectives.programs.building import Builder, Number, Value
from objectives.programs.graph import ProgramError
from objectives.programs.primitives import PRIMITIVES

Function = Callable[..., Value]
"""From a builder and the arguments' values to the value of a call."""


def _primitive(name: str) -> Function:
    if len(PRIMITIVES[name].arguments) == 1:
        return lambda builder, x: builder.apply(name, x)
    return lambda builder, x, y: builder.apply(name, x, y)


FUNCTIONS: Mapping[str, Function] = {
    **{
        each.source.partition("(")[0] if each.source.startswith("j") else f"jnp.{name}": _primitive(name)
        for name, each in PRIMITIVES.items()
        if not each.reduces
    },
    "jnp.absolute": _primitive("abs"),
    "jnp.greater": lambda builder, x, y: builder.apply("less", y, x),
    "jnp.greater_equal": lambda builder, x, y: builder.apply("less_equal", y, x),
    "jnp.logical_and": Builder.both,
    "jnp.logical_or": Builder.either,
    "jnp.logical_not": Builder.opposite,
    "jnp.where": Builder.where,
    "jnp.clip": Builder.clip,
    "jnp.power": Builder.power,
    "jnp.reciprocal": lambda builder, x: builder.apply("divide", Number(1.0), x),
    "jnp.zeros_like": lambda builder, x: Number(0.0),
    "jnp.ones_like": lambda builder, x: Number(1.0),
    "jnp.full_like": lambda builder, x, fill_value: fill_value,
    "abs": _primitive("abs"),
    "min": _primitive("minimum"),
    "max": _primitive("maximum"),
    "float": Builder.number,
}
"""What programs can call, by its full spelling, but for reductions."""


def _reduction(name: str) -> Function:
    return lambda builder, a, axis=None: builder.reduction(name, a, axis)


METHODS = (*(name for name, primitive in PRIMITIVES.items() if primitive.reduces), "var")
REDUCTIONS: Mapping[str, str] = {spelling: name for name in METHODS for spelling in (name, f"jnp.{name}")}
"""Reductions, as methods and as functions."""
CALLABLE: Mapping[str, Function] = {**FUNCTIONS, **{f"jnp.{name}": _reduction(name) for name in METHODS}}
"""What programs can call, by its full spelling."""
OPERATORS: Mapping[type[ast.AST], str] = {
    ast.Add: "jnp.add", ast.Sub: "jnp.subtract", ast.Mult: "jnp.multiply", ast.Div: "jnp.divide",
    ast.Lt: "jnp.less", ast.LtE: "jnp.less_equal", ast.Gt: "jnp.greater", ast.GtE: "jnp.greater_equal",
    ast.And: "jnp.logical_and", ast.BitAnd: "jnp.logical_and", ast.Or: "jnp.logical_or",
    ast.BitOr: "jnp.logical_or", ast.Not: "jnp.logical_not", ast.Invert: "jnp.logical_not",
    ast.Pow: "jnp.power", ast.USub: "jnp.negative", ast.UAdd: "float",
}  # fmt: skip
"""The function that an operator is."""
NUMBERS = {"jnp.pi": math.pi, "jnp.e": math.e}
MODULES = ("jnp", "jax", "nn", "lax")
"""Names that no variable can have."""
IMPORTS = {("jax", None), ("jax.numpy", "jnp"), ("jax.nn", None)}
"""Modules that a text may import, with their names in it."""
_FULL = {"jax.numpy": "jnp", "nn": "jax.nn", "lax": "jax.lax"}


def spelling_of(node: ast.expr) -> str:
    """A dotted name in full, such as "jax.nn.relu"; empty if the expression is something else."""
    if isinstance(node, ast.Attribute) and (module := spelling_of(node.value)):
        return f"{_FULL.get(module, module)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


_REMEDIES = {
    "For While ListComp SetComp DictComp GeneratorExp": "write the steps one after the other",
    "If Match": "write jnp.where(flag, a, b)",
    "Import ImportFrom": "remove it: jnp, jax.nn and jax.lax are known",
    "FunctionDef AsyncFunctionDef ClassDef": "define helper functions inside of the one function",
    "Return": "return once, in the last line of the function",
    "Expr NamedExpr": "give the value a name on a line of its own",
    "Lambda Call": "write name = lambda ..., and call functions by name",
    "List Dict Set Tuple Subscript Starred": "write numbers one by one, as in a, b = x, y",
    "Eq NotEq Is IsNot In NotIn": "compare with <, as in jnp.abs(a - b) < 1e-6",
    "FloorDiv Mod MatMult BitXor LShift RShift": "the operators are +, -, *, /, **, & and |",
}


def refuse(node: ast.AST) -> NoReturn:
    """Refuses a construct, by the name that Python's module `ast` has for it."""
    name = type(node).__name__
    remedy = next((each for names, each in _REMEDIES.items() if name in names.split()), "remove it")
    raise ProgramError("construct", f"{name} is not allowed here", remedy, getattr(node, "lineno", None))


def nearest(name: str, known: Sequence[str]) -> str:
    """A remedy that names what is spelled most like `name`."""
    last = name.rpartition(".")[2]
    by_last = {each.rpartition(".")[2]: each for each in reversed(known)}
    near = [by_last[each] for each in difflib.get_close_matches(last, list(by_last), 3)]
    return f"nearest: {', '.join(near)}" if near else f"there are {', '.join(dict.fromkeys(known))}"
