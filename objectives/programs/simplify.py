"""Simplification of programs by identities that hold exactly, also at extremes and for the derivatives.

simplified(program)    # x * 1 is x, x - x is 0, a primitive of constants is a constant ...
"""

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np

from objectives.programs.graph import CONSTANT, Node, Program, canonical
from objectives.programs.primitives import COMPARISONS, LOGICAL, PRIMITIVES

_REPEATED = {"abs": ("abs",), "relu": ("relu",), "sign": ("sign",), "stop_gradient": ("stop_gradient",)}
"""Primitives that change nothing after one of these."""
_EVEN = ("abs", "square", "cos")
"""Primitives for which the sign of the argument does not matter."""


def simplified(program: Program) -> Program:
    """The canonical program of the same values and derivatives, with fewer primitives if an identity applies.

    Sums and products are not reordered, since floating-point numbers would change.
    """
    program = canonical(program)
    while True:
        nodes: list[Node] = []
        place: list[int] = []  # index in `program` -> index in `nodes`
        for node in program.nodes:
            node = node._replace(arguments=tuple(place[a] for a in node.arguments))
            found = _rewritten(node, nodes)
            if isinstance(found, Node):
                nodes.append(found)
            place.append(len(nodes) - 1 if isinstance(found, Node) else found)
        after = canonical(Program(program.slot, tuple(nodes), tuple(place[o] for o in program.outputs)))
        if after == program:
            return program
        program = after


def _rewritten(node: Node, nodes: Sequence[Node]) -> Node | int:
    """What computes the same as `node`: an earlier node's index, or a node."""
    if node.operation not in PRIMITIVES:
        return node
    a, *rest = node.arguments
    if node.operation == "where":
        truth = _truth(nodes[a], nodes)
        if truth is not None:
            return rest[0] if truth else rest[1]
        return rest[0] if rest[0] == rest[1] else node
    values = [nodes[i].value if nodes[i].operation == CONSTANT else None for i in node.arguments]
    constants = [value for value in values if value is not None]
    if node.operation not in COMPARISONS and len(constants) == len(values):
        return Node(CONSTANT, value=_computed(node.operation, constants))
    if len(values) == 2:
        return _of_two(node, a, rest[0], values[0], values[1])
    inner = nodes[a]
    if node.operation == "negative" and inner.operation == "negative":
        return inner.arguments[0]
    if inner.operation in _REPEATED.get(node.operation, ()):
        return a
    if node.operation in _EVEN and inner.operation == "negative":
        return node._replace(arguments=inner.arguments)
    return node


def _of_two(node: Node, a: int, b: int, first: float | None, second: float | None) -> Node | int:
    """What computes the same as a primitive of two arguments, which are constants `first` and `second` if
    these are not None.
    """
    match node.operation:
        case "add" if first == 0:
            return b
        case "add" | "subtract" if second == 0:
            return a
        case "subtract" if a == b:
            return Node(CONSTANT, value=0.0)
        case "subtract" if first == 0:
            return Node("negative", (b,))
        case "multiply" if 0 in (first, second):
            return Node(CONSTANT, value=0.0)
        case "multiply" if first in (1, -1):
            return b if first == 1 else Node("negative", (b,))
        case "multiply" | "divide" if second in (1, -1):
            return a if second == 1 else Node("negative", (a,))
        case name if name in LOGICAL and a == b:
            return a
    return node


def _truth(node: Node, nodes: Sequence[Node]) -> bool | None:
    """Whether a comparison holds whatever the inputs are; None if that depends on them."""
    if node.operation not in COMPARISONS:
        return None
    a, b = node.arguments
    if a == b:
        return node.operation == "less_equal"
    if nodes[a].operation == nodes[b].operation == CONSTANT:
        return bool(_computed(node.operation, [nodes[a].value, nodes[b].value]))
    return None


def _computed(operation: str, values: Sequence[float]) -> float:
    """A primitive of constants, in float32 as the interpreter computes it."""
    return float(np.asarray(PRIMITIVES[operation].value(*(jnp.full(1, v, jnp.float32) for v in values)))[0])
