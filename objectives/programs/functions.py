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


_OPERATORS = "the operators are +, -, *, /, **, <, <=, >, >=, &, | and ~"
_REFUSED: Mapping[str, tuple[str, str]] = {
    "For AsyncFor": ("a for loop", "write the steps one after the other"),
    "While": ("a while loop", "write the steps one after the other"),
    "ListComp SetComp DictComp GeneratorExp": ("a comprehension", "write the steps one after the other"),
    "If": ("an if statement", "write x = jnp.where(a < b, this, that)"),
    "Match": ("a match statement", "write x = jnp.where(a < b, this, that)"),
    "Import ImportFrom": ("this import", "remove it: jnp, jax.nn and jax.lax are known without an import"),
    "FunctionDef AsyncFunctionDef": (
        "a second function",
        "put helper functions inside of the function that calls them",
    ),
    "ClassDef": ("a class", "write a function"),
    "Return": ("a return before the last line", "use jnp.where to choose between results, and return once"),
    "Expr": ("a line that gives its value no name", "write name = value, or remove the line"),
    "NamedExpr": ("the operator :=", "give the value a name on a line of its own"),
    "Lambda": ("a lambda inside an expression", "write name = lambda x: ..., and call it by its name"),
    "Call": ("a call of something that has no name", "call functions by their names, as in jnp.exp(x)"),
    "List Dict Set Tuple": ("a list, dict, set or tuple", "give each number a name, as in a, b = x, y"),
    "Subscript Slice": ("an index", "leave it out: every input is one number per sample"),
    "Starred": ("a * before an argument", "write the arguments one by one"),
    "JoinedStr TemplateStr": ("a string", "write a number, such as 1.0"),
    "Eq NotEq Is IsNot In NotIn": (
        "a comparison with ==, !=, is or in",
        "compare with <, <=, > or >=, as in jnp.abs(a - b) < 1e-6",
    ),
    "FloorDiv": ("the operator //", _OPERATORS),
    "Mod": ("the operator %", _OPERATORS),
    "MatMult": ("the operator @", _OPERATORS),
    "BitXor": ("the operator ^", f"write x ** 2 for a power; {_OPERATORS}"),
    "LShift RShift": ("a shift of bits", _OPERATORS),
    "Try TryStar Raise Assert With AsyncWith Delete Global Nonlocal Pass Break Continue TypeAlias": (
        "this statement",
        "remove it: a program consists of assignments, helper functions and one return",
    ),
    "Await Yield YieldFrom": ("await or yield", "return the result"),
}
"""Names of constructs in Python's module `ast` -> what to call them, and what to write instead."""


def refuse(node: ast.AST, what: str = "", remedy: str = "") -> NoReturn:
    """Refuses a construct, with its usual description and remedy if none are given."""
    name = type(node).__name__
    usual = next((each for names, each in _REFUSED.items() if name in names.split()), (name, "remove it"))
    message = f"{what or usual[0]} is not allowed here"
    raise ProgramError("construct", message, remedy or usual[1], getattr(node, "lineno", None))


def nearest(name: str, known: Sequence[str]) -> str:
    """A remedy that names what is spelled most like `name`."""
    last = name.rpartition(".")[2]
    by_last = {each.rpartition(".")[2]: each for each in reversed(known)}
    near = [by_last[each] for each in difflib.get_close_matches(last, list(by_last), 3)]
    return f"nearest: {', '.join(near)}" if near else f"use one of {', '.join(dict.fromkeys(known))}"
