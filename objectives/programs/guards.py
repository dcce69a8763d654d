"""The guards that a program needs where it is written out, and no interpreter guards all it does.

    guards = guards_of(program, {"log_ratio": (-60.0, 34.5)}, ("log_ratio",))

The interpreter guards every primitive, and most of these guards never act: the exponential of a number below
34 needs none. Interval arithmetic finds those that may. With these alone, a function and its derivatives are
finite for all inputs, and on ordinary inputs it computes what the interpreter does.
"""

import itertools
import operator
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from objectives.programs.graph import CONSTANT, INPUT, Program
from objectives.programs.primitives import BOUND, COMPARISONS, LARGEST_EXPONENT, PRIMITIVES, SMALL, TINY
from objectives.programs.slots import slot_of

LARGEST = 1e36
"""Larger values and derivatives are bounded. A hundred of this size still add up to a float32."""
STEEPEST = 1e10
"""What the gradient is clipped to, where it is clipped. Its product with the largest derivative of a guarded
division, 1e23, is a float32."""
OUTER = 1e3
"""Largest derivative by a result that is expected of what follows it."""
SAMPLES = 1e5
"""Most samples that are expected: the derivative by a number for the whole minibatch is a sum over them."""
ORDINARY = 15.0
"""Times its usual size, an input is out of the ordinary."""
ROUNDING = 1e-6
"""Relative error of a result in float32."""

Range = tuple[float, float]
"""Smallest and largest value."""


class Guards(NamedTuple):
    """Where a program is guarded, as indices of nodes.

    Attributes:
        functions: primitives that need their guarded form, which is a function of the same name.
        bounded: values that are clipped to +-`BOUND`.
        clipped: values whose gradient is clipped to +-`STEEPEST`.
    """

    functions: frozenset[int] = frozenset()
    bounded: frozenset[int] = frozenset()
    clipped: frozenset[int] = frozenset()

    @property
    def around(self) -> tuple[tuple[str, frozenset[int]], ...]:
        """Functions of a value and the nodes around which they are, the inner one first."""
        return ("bounded", self.bounded), ("clipped_gradient", self.clipped)


NO_GUARDS = Guards()


def guards_of(
    program: Program, narrower: Mapping[str, Range] | None = None, by: Collection[str] = ()
) -> Guards:
    """The guards of a program whose inputs are clipped to their ranges, and to +-`BOUND`.

    Args:
        program: whose nodes are guarded.
        narrower: ranges of inputs that are narrower than their slot says.
        by: the inputs by which it is differentiated.
    """
    ordinary, every = input_ranges(program, narrower or {})
    _, bounded = ranges_of(program, ordinary, largest=(1 + 1e-3) * BOUND)
    while True:
        ranges, bounded = ranges_of(program, every, bounded)
        clipped, too_large = _steep(program, ranges, by)
        if too_large <= bounded:
            break
        bounded |= too_large
    functions = {
        index
        for index, node in enumerate(program.nodes)
        if node.operation in PRIMITIVES and _acts(node.operation, [ranges[a] for a in node.arguments])
    }
    return Guards(frozenset(functions), frozenset(bounded), frozenset(clipped))


def input_ranges(
    program: Program, narrower: Mapping[str, Range]
) -> tuple[dict[str, Range], dict[str, Range]]:
    """Ranges of ordinary inputs, and of all."""
    ordinary, every = {}, {}
    for one in slot_of(program.slot).inputs:
        low, high = narrower.get(one.name, (one.low, one.high))
        usual = ORDINARY * one.scale
        every[one.name] = (max(low, -BOUND), min(high, BOUND))
        ordinary[one.name] = (max(low, -usual), min(high, usual))
    return ordinary, every


def ranges_of(
    program: Program,
    inputs: Mapping[str, Range],
    bounded: frozenset[int] | set[int] = frozenset(),
    largest: float = LARGEST,
) -> tuple[list[Range], set[int]]:
    """The range of each node, and which nodes are bounded: those that are to be, and what could exceed
    `largest`.
    """
    ranges: list[Range] = []
    bounded = set(bounded)
    for index, node in enumerate(program.nodes):
        if node.operation == INPUT:
            ranges.append(inputs[node.name])
            continue
        if node.operation == CONSTANT:
            value = min(max(node.value, -BOUND), BOUND)
            ranges.append((value, value))
            continue
        low, high = _range(node.operation, [ranges[a] for a in node.arguments])
        if max(-low, high) > largest:
            bounded.add(index)
        if index in bounded:
            low, high = (min(max(x, -BOUND), BOUND) for x in (low, high))
        ranges.append((low, high))
    return ranges, bounded


_EXACT = {
    *("minimum", "maximum", "negative", "abs", "relu", "sign", "where", "clip", "stop_gradient"),
    *("min", "max", *COMPARISONS),
}
"""Primitives whose results are not rounded."""
_UNBOUNDED: Mapping[str, Callable[..., float]] = {
    "add": operator.add,
    "subtract": operator.sub,
    "multiply": operator.mul,
    "square": lambda x: x * x,
}
"""Primitives whose guard clips the result, without it."""


def _range(operation: str, given: Sequence[Range]) -> Range:
    """The range of a primitive's result without its guard for large results."""
    if operation == "cos":
        low, high = -1.0, 1.0
    elif operation in ("mean", "min", "max"):
        low, high = given[0]
    elif operation == "std":
        low, high = TINY**0.5, given[0][1] - given[0][0] + TINY**0.5
    else:
        values = _at_corners(operation, given)
        low, high = min(values), max(values)
    rounding = 0.0 if operation in _EXACT else ROUNDING
    return low - rounding * abs(low), high + rounding * abs(high)


def _at_corners(operation: str, given: Sequence[Range]) -> list[float]:
    """Results among which are the smallest and the largest: of primitives that increase or decrease with each
    argument on either side of zero.
    """
    if operation == "divide":
        low, high = given[1]
        small = [SMALL] * (low < SMALL and high >= 0) + [-SMALL] * (low < 0 and high > -SMALL)
        return [x / y for x in given[0] for y in (*given[1], *small) if abs(y) >= SMALL]
    corners = list(itertools.product(*((low, high, min(max(0.0, low), high)) for low, high in given)))
    if operation in _UNBOUNDED:
        return [_UNBOUNDED[operation](*corner) for corner in corners]
    columns = [jnp.asarray(column, jnp.float32) for column in zip(*corners, strict=True)]
    return np.asarray(PRIMITIVES[operation].value(*columns), np.float64).tolist()


def _acts(operation: str, given: Sequence[Range]) -> bool:
    """Whether a primitive may need its guarded form."""
    low, high = given[-1]
    match operation:
        case "divide":
            return low < SMALL and high > -SMALL
        case "sqrt" | "log":
            return low < TINY
        case "log1p":
            return low < -1 + 1e-7
        case "exp" | "expm1":
            return high > LARGEST_EXPONENT
        case _:
            return operation == "std"


def _steep(program: Program, ranges: Sequence[Range], by: Collection[str]) -> tuple[set[int], set[int]]:
    """Nodes whose gradient must be clipped, and those whose values are too large even then."""
    slopes = _derivatives(program, ranges, by)
    clipped, too_large = set[int](), set[int]()
    steepness = [0.0] * len(program.nodes)
    for output in program.outputs:
        steepness[output] += OUTER
    for index in reversed(range(len(program.nodes))):
        arguments, steepest = program.nodes[index].arguments, max(slopes[index], default=0.0)
        if steepness[index] * steepest > LARGEST:
            clipped.add(index)
            steepness[index] = min(steepness[index], STEEPEST)
        if steepness[index] * steepest > LARGEST:
            too_large |= {each for each in (index, *arguments) if _size(ranges[each]) > BOUND}
        for argument, slope in zip(arguments, slopes[index], strict=True):
            steepness[argument] += steepness[index] * slope
    return clipped, too_large


def _derivatives(program: Program, ranges: Sequence[Range], by: Collection[str]) -> list[list[float]]:
    """The largest derivative of each node by each of its arguments; 0 of arguments that depend on no input in
    `by`.
    """
    found: list[list[float]] = []
    depends: list[bool] = []
    for index, node in enumerate(program.nodes):
        slopes: list[float] = []
        if node.operation in PRIMITIVES:
            slopes = _slopes(node.operation, [ranges[a] for a in node.arguments], _size(ranges[index]))
        for k, argument in enumerate(node.arguments):
            is_sum = program.kinds[argument] == "scalar" and program.kinds[index] != "scalar"
            slopes[k] *= depends[argument] * (SAMPLES if is_sum else 1.0)
        depends.append(node.name in by or any(slopes))
        found.append(slopes)
    return found


def _size(given: Range) -> float:
    return max(-given[0], given[1])


def _slopes(operation: str, given: Sequence[Range], result: float) -> list[float]:
    """The largest derivative of a primitive by each argument, and of what is computed on the way.

    Args:
        operation: the primitive.
        given: ranges of its arguments.
        result: its largest size.
    """
    low, high = given[-1]
    nearest = max(0.0, low, -high)  # to zero
    match operation:
        case "multiply":
            return [_size(given[1]), _size(given[0])]
        case "divide":
            nearest = max(nearest, SMALL)
            return [1 / nearest, max(result, 1 / nearest) / nearest]
        case "square":
            return [2 * _size(given[0])]
        case "sqrt":
            return [0.5 / max(low, TINY) ** 0.5]
        case "exp" | "expm1":
            return [result + 1]
        case "log":
            return [1 / max(nearest, TINY)]
        case "log1p":
            return [1 / max(1 + low, 1e-7)]
        case "std":
            return [SAMPLES / TINY**0.5]
        case "mean" | "min" | "max":
            return [SAMPLES]
        case "where":
            return [0.0, 1.0, 1.0]
        case "sign" | "stop_gradient" | "less" | "less_equal":
            return [0.0] * len(given)
        case _:
            return [1.0] * len(given)
