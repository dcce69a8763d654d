"""The nodes of a program while its text is read: shared, typed, and without arithmetic of numbers."""

import operator
from collections.abc import Callable, Hashable
from typing import Any, NamedTuple

from objectives.programs.graph import CONSTANT, INPUT, Node, ProgramError, kind_of
from objectives.programs.primitives import BOUND, LOGICAL, Kind
from objectives.programs.slots import Slot

MOST_BUILT = 600
"""Different nodes, with those that no output needs: how long `canonical` can take."""


class Number(NamedTuple):
    """A number that is not a node yet, so that 1.0 / 3 can become one.

    Attributes:
        value: the number.
        place: what it belongs to. Equal numbers of one place, such as an expression of a helper function that
            is called twice, are one constant; numbers without a place are not shared.
    """

    value: float
    place: Hashable = None


Value = int | Number
"""What an expression is: the index of a node, or a number."""


def number_of(value: object) -> Number:
    """A number of the text, or of its arithmetic; others, and numbers that are too large, are refused."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        what = "a string" if isinstance(value, str | bytes) else repr(value)
        raise ProgramError("construct", f"{what} is not allowed here", "write a number, such as 1.0")
    if not abs(value) <= BOUND:
        raise ProgramError("size", "a number is too large", f"stay between -{BOUND:g} and {BOUND:g}")
    return Number(float(value))


_ARITHMETIC: dict[str, Callable[..., Any]] = {
    "add": operator.add, "subtract": operator.sub, "multiply": operator.mul,
    "divide": operator.truediv, "power": operator.pow, "negative": operator.neg,
}  # fmt: skip
_OPPOSITES = {"less": "less_equal", "less_equal": "less", "minimum": "maximum", "maximum": "minimum"}
_POWERS = {0.5: ("sqrt",), 1: (), 2: ("square",), 3: ("square", "multiply"), 4: ("square", "square")}


class Builder:
    """Makes the nodes of a program. Its methods take values, and use flags as numbers where `jnp` does."""

    def __init__(self, slot: Slot) -> None:
        self.slot = slot
        self.nodes: list[Node] = []
        self.kinds: list[Kind] = []
        self._places: dict[Node, int] = {}
        self._constants: dict[Number, int] = {}
        self._opposites: dict[int, int] = {}

    def _append(self, node: Node, kind: Kind) -> int:
        if node in self._places and node.operation != CONSTANT:
            return self._places[node]
        if len(self.nodes) >= MOST_BUILT:
            message = f"the program has more than {MOST_BUILT} operations and numbers"
            raise ProgramError("size", message, "simplify it")
        self.nodes.append(node)
        self.kinds.append(kind)
        self._places[node] = len(self.nodes) - 1
        return self._places[node]

    def _primitive(self, operation: str, *values: Value) -> int:
        indices = tuple(self.node(value) for value in values)
        kind = kind_of(operation, [self.kinds[index] for index in indices])
        return self._append(Node(operation, indices), kind)

    def input(self, name: str) -> int:
        kinds: dict[str, Kind] = {one.name: one.kind for one in self.slot.inputs}
        return self._append(Node(INPUT, name=name), kinds[name])

    def node(self, value: Value) -> int:
        """The index of a value; of a number, that of its constant."""
        if isinstance(value, int):
            return value
        if value.place is None or value not in self._constants:
            self._constants[value] = self._append(Node(CONSTANT, value=value.value), "scalar")
        return self._constants[value]

    def is_flag(self, value: Value) -> bool:
        return isinstance(value, int) and self.kinds[value] == "flag"

    def number(self, value: Value) -> Value:
        """A flag as 1.0 or 0.0; a number as it is."""
        if not self.is_flag(value):
            return value
        return self._primitive("where", value, Number(1.0, place=value), Number(0.0, place=value))

    def flag(self, value: Value, what: str) -> int:
        if not isinstance(value, int) or not self.is_flag(value):
            remedy = "write a comparison in brackets, as in (x > 0)"
            raise ProgramError("type", f"{what} needs a comparison, and got a number", remedy)
        return value

    def apply(self, operation: str, *values: Value) -> Value:
        """A primitive of numbers, or its result; with the results that `jnp` has for flags."""
        numbers = [value.value for value in values if isinstance(value, Number)]
        if operation in _ARITHMETIC and len(numbers) == len(values):
            try:
                return number_of(_ARITHMETIC[operation](*numbers))
            except (ZeroDivisionError, OverflowError):
                message = "this arithmetic of numbers has no finite result"
                raise ProgramError("size", message, "write a finite number instead") from None
        flags = [self.is_flag(value) for value in values]
        if all(flags) and operation in (*LOGICAL, "multiply"):
            operation = "minimum" if operation == "multiply" else operation
            return self._primitive(operation, *values)
        if all(flags) and operation == "add":
            remedy = "write a | b if you mean `or`; to count, write jnp.where(a, 1.0, 0.0) for each"
            raise ProgramError("type", "the sum of two comparisons is true or false in jnp", remedy)
        if any(flags) and operation == "multiply":
            flag, x = values if flags[0] else reversed(values)
            return self._primitive("where", flag, x, Number(0.0))
        return self._primitive(operation, *(self.number(value) for value in values))

    def both(self, x: Value, y: Value) -> int:
        return self._primitive("minimum", self.flag(x, "`and`"), self.flag(y, "`and`"))

    def either(self, x: Value, y: Value) -> int:
        return self._primitive("maximum", self.flag(x, "`or`"), self.flag(y, "`or`"))

    def opposite(self, x: Value) -> int:
        """`not` of a flag, pushed into its comparisons: there are no NaNs, so not a < b is b <= a."""
        index = self.flag(x, "`not`")
        if index not in self._opposites:
            operation, (a, b) = self.nodes[index].operation, self.nodes[index].arguments
            arguments = (self.opposite(a), self.opposite(b)) if operation in LOGICAL else (b, a)
            opposite = self._primitive(_OPPOSITES[operation], *arguments)
            self._opposites |= {index: opposite, opposite: index}
        return self._opposites[index]

    def where(self, condition: Value, x: Value, y: Value) -> int:
        flag = self.flag(condition, "a condition")
        if self.is_flag(x) and self.is_flag(y):
            return self.either(self.both(flag, x), self.both(self.opposite(flag), y))
        return self._primitive("where", flag, self.number(x), self.number(y))

    def clip(self, x: Value, min: Value | None = None, max: Value | None = None) -> Value:
        if min is not None and max is not None:
            return self.apply("clip", x, min, max)
        if min is not None:
            return self.apply("maximum", x, min)
        if max is not None:
            return self.apply("minimum", x, max)
        raise ProgramError(
            "type", "jnp.clip has neither a lower nor an upper limit", "write jnp.clip(x, low, high)"
        )

    def power(self, x: Value, exponent: Value) -> Value:
        """x to the power of a number, by multiplication, division and roots."""
        if isinstance(exponent, int) and self.nodes[exponent].operation == CONSTANT:
            exponent = Number(self.nodes[exponent].value)
        if isinstance(x, Number) and isinstance(exponent, Number):
            return self.apply("power", x, exponent)
        if isinstance(exponent, int) or abs(exponent.value) not in _POWERS:
            message = f"an exponent must be one of {', '.join(map(str, _POWERS))} or their negatives"
            raise ProgramError("construct", message, "write jnp.exp(p * jnp.log(x)) for x ** p")
        base = result = self.number(x)
        for name in _POWERS[abs(exponent.value)]:
            result = self._primitive(name, *((result, base) if name == "multiply" else (result,)))
        return self.apply("divide", Number(1.0), result) if exponent.value < 0 else result

    def reduction(self, name: str, x: Value, axis: Value | None) -> Value:
        if axis is not None and (isinstance(axis, int) or axis.value != 0):
            remedy = (
                "leave it out: samples are the only axis; jnp.minimum(a, b) is the smaller of two numbers"
            )
            raise ProgramError("type", f"{name} has an axis other than None or 0", remedy)
        if not self.slot.couples:
            message = f"{name} reduces over the minibatch, and a program for {self.slot.name} may not"
            raise ProgramError("construct", message, "use each sample's own numbers")
        return self.apply("square", self.apply("std", x)) if name == "var" else self.apply(name, x)
