"""Random well-typed programs, and an evaluation of their formulas that knows nothing of graphs."""

import functools
import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from objectives.programs.graph import CONSTANT, INPUT, Node, Program, canonical, kind_of
from objectives.programs.primitives import LOGICAL, PRIMITIVES, Kind
from objectives.programs.slots import slot_of
from tests.objectives.programs.test_primitives import evaluated

VALUES = (0.0, -0.0, 0.5, 0.5, 1.0, -1.0, 2.0, -0.25, 1e-8, -3e-5, 12345.6, 1e6, -2e9)
"""Some constants that random programs have; the others are drawn."""


def random_program(rng: np.random.Generator, slot: str, n: int, reductions: int = 0) -> Program:
    """A canonical program of at most `n` primitives; reductions only if the slot has them.

    Constants are numbers of at most six digits. Most arguments are recent nodes, so that most nodes are used.
    """
    reductions *= slot_of(slot).couples
    nodes = [Node(INPUT, name=one.name) for one in slot_of(slot).inputs]
    kinds: list[Kind] = [one.kind for one in slot_of(slot).inputs]
    for _ in range(rng.integers(1, 5)):
        nodes.append(Node(CONSTANT, value=_value(rng)))
        kinds.append("scalar")
    for _ in range(n):
        flags = [index for index, kind in enumerate(kinds) if kind == "flag"]
        numbers = [index for index, kind in enumerate(kinds) if kind != "flag"]
        operation = _operation(rng, bool(flags), reductions > 0)
        reductions -= PRIMITIVES[operation].reduces
        joins_flags = operation in LOGICAL and flags and rng.random() < 0.3
        needed = ["flag"] * 2 if joins_flags else PRIMITIVES[operation].arguments
        arguments = tuple(_recent(rng, flags if kind == "flag" else numbers) for kind in needed)
        nodes.append(Node(operation, arguments))
        kinds.append(kind_of(operation, [kinds[a] for a in arguments]))
    numbers = [index for index, kind in enumerate(kinds) if kind != "flag"]
    outputs = tuple(numbers[-1 - k] for k in range(len(slot_of(slot).outputs)))
    return canonical(Program(slot, tuple(nodes), outputs))


def _value(rng: np.random.Generator) -> float:
    drawn = rng.normal() * 10.0 ** rng.integers(-3, 4)
    return float(rng.choice(VALUES) if rng.random() < 0.5 else f"{drawn:.{rng.integers(1, 7)}g}")


def _operation(rng: np.random.Generator, has_flags: bool, may_reduce: bool) -> str:
    allowed = [
        name
        for name, primitive in PRIMITIVES.items()
        if (has_flags or "flag" not in primitive.arguments) and (may_reduce or not primitive.reduces)
    ]
    return str(rng.choice([*allowed, *("add", "subtract", "multiply", "divide", "negative") * 2]))


def _recent(rng: np.random.Generator, indices: list[int]) -> int:
    return indices[-1 - min(int(rng.exponential(5)), len(indices) - 1)]


class Number:
    """A number with the operators of Python, which are those of the primitives, guards included."""

    def __init__(self, value: Any) -> None:
        self.value = np.asarray(value, float)

    def apply(self, operation: str, *others: "Number") -> "Number":
        return Number(evaluated(operation, [x.value for x in (self, *others)])[0])

    __neg__, __add__ = functools.partialmethod(apply, "negative"), functools.partialmethod(apply, "add")
    __sub__, __mul__ = functools.partialmethod(apply, "subtract"), functools.partialmethod(apply, "multiply")
    __truediv__, __pow__ = functools.partialmethod(apply, "divide"), apply
    __lt__, __le__ = functools.partialmethod(apply, "less"), functools.partialmethod(apply, "less_equal")

    def __bool__(self) -> bool:
        return bool(self.value)


LATEX = {
    r"\left|": "abs(", r"\right|": ")", r"\log\left(1 + ": "log1p(", r"\log\sigma": "log_sigmoid",
    r"\left(": "(", r"\right)": ")", r"\sigma": "sigmoid", r"\operatorname{sg}": "stop_gradient",
    r"\min": "minimum", r"\max": "maximum", r"\sqrt{": "sqrt(", r"\frac{": "divide(", "}{": ", ",
    r"\mathrm{if}": "if", r"\mathrm{else}": "else", r"\wedge": "and", r"\vee": "or", r"\leq": "<=",
    r"\geq": ">=", "^2": "**'square'", "^+": "**'relu'", "e^{": "exp(", "}": ")", r"\,": "*", r"\cdot": "*",
    r"\ell": "l", "\\ ": " ",
}  # fmt: skip
"""What a formula means, in Python. The order matters."""


def latex_value(lines: Sequence[str], inputs: Sequence[float]) -> float:
    """The result of the formula of a policy loss for one sample, by the precedence of Python."""
    l, a, t = map(Number, inputs)  # noqa: E741
    scope: dict[str, Any] = {"l": l, "A": a, "t": t, "r": l.apply("exp"), "number": Number}
    scope |= {name: lambda x, *others, name=name: x.apply(name, *others) for name in PRIMITIVES}
    result, *definitions = (line.partition(" = ")[::2] for line in lines)
    for name, text in [*definitions, result]:
        if name != "r":
            scope[name.translate({ord(c): None for c in "_{}"})] = eval(_python(text), scope)
    return float(scope[result[0].translate({ord(c): None for c in "_{}"})].value)


def _python(latex: str) -> str:
    text = re.sub(r"(?:([\d.]+) \\cdot )?10\^\{(-?\d+)\}", lambda m: f"{m[1] or 1}e{m[2]}", latex)
    text = re.sub(r"u_\{(\d+)\}", r"u\1", text)
    text = re.sub(r"(?<![\w.^])\d[\d.]*(e-?\d+)?", lambda m: f"number({m[0]})", text)
    text = text.replace(r"\log\left(number(1) + ", r"\log\left(1 + ")
    text = re.sub(r"\\operatorname\{(clip|sign|softplus)\}", r"\1", text)
    for latex_text, python in LATEX.items():
        text = text.replace(latex_text, python)
    return text.replace("\\", "")
