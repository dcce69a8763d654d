"""Programs as graphs: typed nodes over declared inputs, in a canonical order, with a hash.

    program = Program("policy_loss", nodes, outputs)
    program = canonical(program)        # shared, sorted, without what no output needs
    program.structure                   # its hash without the values of constants

A node's arguments are indices of earlier nodes. So a graph is a list that can be checked, mutated and hashed
in one pass, however often a node is used.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from objectives.programs.primitives import COMPARISONS, LOGICAL, PRIMITIVES, Kind
from objectives.programs.slots import slot_of

INPUT, CONSTANT = "input", "constant"
"""Operations of nodes that compute nothing."""


class ProgramError(ValueError):
    """A program is refused.

    Attributes:
        kind: the reason as a word, for records: "syntax", "construct", "name", "type", "size", ...
        line: of the source text, if there is one.
        remedy: what to do about it.
    """

    def __init__(self, kind: str, message: str, remedy: str = "", line: int | None = None) -> None:
        self.kind, self.line, self.remedy = kind, line, remedy
        place = "" if line is None else f"line {line}: "
        super().__init__(f"{place}{message}" + (f"; {remedy}" if remedy else ""))


class Node(NamedTuple):
    """One node.

    Attributes:
        operation: `INPUT`, `CONSTANT` or the name of a primitive.
        arguments: indices of earlier nodes.
        name: of an input.
        value: of a constant.
    """

    operation: str
    arguments: tuple[int, ...] = ()
    name: str = ""
    value: float = 0.0


@dataclass(frozen=True)
class Program:
    """A program for a slot.

    Attributes:
        slot: the name of the slot, which declares the inputs and the outputs.
        nodes: in an order in which arguments come first.
        outputs: indices of the nodes that are its results, one per output of the slot.
    """

    slot: str
    nodes: tuple[Node, ...]
    outputs: tuple[int, ...]

    @cached_property
    def kinds(self) -> tuple[Kind, ...]:
        """The kind of each node.

        Raises:
            ProgramError: a node has arguments of the wrong number or kind, or unknown ones.
        """
        return kinds_of(self)

    @cached_property
    def constants(self) -> tuple[float, ...]:
        """Values of the constants, in order."""
        return tuple(node.value for node in self.nodes if node.operation == CONSTANT)

    @property
    def operations(self) -> tuple[str, ...]:
        """Names of the primitives, in order: one per instruction."""
        return tuple(node.operation for node in self.nodes if node.operation in PRIMITIVES)

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of the inputs that it reads."""
        return tuple(node.name for node in self.nodes if node.operation == INPUT)

    @property
    def couples_batch(self) -> bool:
        """Whether a sample's result depends on other samples of the minibatch."""
        return any(PRIMITIVES[name].reduces for name in self.operations)

    @property
    def cost(self) -> float:
        """Sum of the costs of its primitives; an addition costs 1."""
        return sum((PRIMITIVES[name].cost for name in self.operations), 0.0)

    @cached_property
    def structure(self) -> str:
        """Hash of the canonical graph without the values of its constants, 16 hexadecimal digits.

        Where only values of constants tell the operands of a commutative primitive apart, they decide on the
        order, so a few programs of equal structure have different hashes.
        """
        return _digest(_text(canonical(self), values=False))

    @cached_property
    def hash(self) -> str:
        """Hash of the canonical graph, with constants rounded to six digits."""
        return _digest(_text(canonical(self), values=True))

    def with_constants(self, values: Sequence[float]) -> "Program":
        """The same structure with other constants, in order."""
        left = iter(values)
        nodes = [
            node._replace(value=float(next(left))) if node.operation == CONSTANT else node
            for node in self.nodes
        ]
        return Program(self.slot, tuple(nodes), self.outputs)


def kinds_of(program: Program) -> tuple[Kind, ...]:
    """The kind of each node: inputs as their slot declares them, constants and reductions are scalars."""
    declared: dict[str, Kind] = {one.name: one.kind for one in slot_of(program.slot).inputs}
    expected = slot_of(program.slot).outputs
    if len(program.outputs) != len(expected):
        message = f"a program for {program.slot} has the results {', '.join(expected)}"
        raise ProgramError("type", f"{message}, got {len(program.outputs)}", "give it one output for each")
    if any(not 0 <= output < len(program.nodes) for output in program.outputs):
        raise ProgramError("type", "a result is no node of the program", "name existing nodes as outputs")
    kinds: list[Kind] = []
    for index, node in enumerate(program.nodes):
        if any(not 0 <= argument < index for argument in node.arguments):
            message = f"node {index} ({node.operation}) has an argument that does not come before it"
            raise ProgramError("type", message, "put arguments first")
        given: list[Kind] = [kinds[argument] for argument in node.arguments]
        if node.operation == INPUT:
            if node.name not in declared:
                message = f"{program.slot} has no input {node.name!r}"
                raise ProgramError("name", message, f"its inputs are {', '.join(declared)}")
            kinds.append(declared[node.name])
        elif node.operation == CONSTANT:
            kinds.append("scalar")
        else:
            kinds.append(kind_of(node.operation, given))
    if any(kinds[output] == "flag" for output in program.outputs):
        raise ProgramError("type", "a result is a comparison", "use it in jnp.where(a < b, this, that)")
    return tuple(kinds)


def kind_of(operation: str, given: Sequence[Kind]) -> Kind:
    """The kind of a primitive's result, from the kinds of its arguments.

    Raises:
        ProgramError: there is no such primitive, or it takes other arguments.
    """
    if operation not in PRIMITIVES:
        remedy = f"the primitives are {', '.join(PRIMITIVES)}"
        raise ProgramError("name", f"there is no primitive {operation!r}", remedy)
    primitive = PRIMITIVES[operation]
    if len(given) != len(primitive.arguments):
        remedy = f"write {primitive.source.format(*'abc')}"
        raise ProgramError("type", f"the number of arguments of {operation} is {len(given)}", remedy)
    if operation in LOGICAL and set(given) == {"flag"}:
        return "flag"
    for kind, wanted in zip(given, primitive.arguments, strict=True):
        if (kind == "flag") != (wanted == "flag"):
            if wanted == "flag":
                remedy = "write a comparison in brackets, as in (x > 0)"
                raise ProgramError("type", f"{operation} needs a comparison, and got a number", remedy)
            remedy = "write jnp.where(a < b, 1.0, 0.0)"
            raise ProgramError("type", f"{operation} needs a number, and got a comparison", remedy)
    if operation in COMPARISONS:
        return "flag"
    if primitive.reduces:
        return "scalar"
    return "sample" if "sample" in given or "flag" in given else "scalar"


def canonical(program: Program) -> Program:
    """The same function in canonical form.

    Nodes that no output needs are dropped, equal nodes are shared, the arguments of commutative primitives
    are sorted, and nodes are in the order in which a depth-first walk from the outputs finishes them.
    Constants of equal value are not shared, so that a search can change one of them alone.
    """
    sort_keys, identities = _keys(program)
    arguments = [
        sorted(node.arguments, key=sort_keys.__getitem__) if _commutes(node) else list(node.arguments)
        for node in program.nodes
    ]
    nodes: list[Node] = []
    place: dict[str, int] = {}  # identity -> index of its node in the result
    stack = list(reversed(program.outputs))
    while stack:
        index = stack[-1]
        missing = [a for a in reversed(arguments[index]) if identities[a] not in place]
        if identities[index] in place:
            stack.pop()
        elif missing:
            stack += missing
        else:
            place[identities[index]] = len(nodes)
            there = tuple(place[identities[a]] for a in arguments[index])
            nodes.append(program.nodes[stack.pop()]._replace(arguments=there))
    return Program(program.slot, tuple(nodes), tuple(place[identities[root]] for root in program.outputs))


def _commutes(node: Node) -> bool:
    return node.operation in PRIMITIVES and PRIMITIVES[node.operation].commutes


def _keys(program: Program) -> tuple[list[tuple[str, str]], list[str]]:
    """Of each node: a key to sort by, which does not depend on the order of nodes, and its identity.

    Nodes of one identity compute the same from the same constants. The key to sort by is a hash of the
    expression without the values of constants, and one with them.
    """
    sort_keys: list[tuple[str, str]] = []
    identities: list[str] = []
    for index, node in enumerate(program.nodes):
        if node.operation == INPUT:
            without = with_values = identity = f"input {node.name}"
        elif node.operation == CONSTANT:
            without, with_values, identity = CONSTANT, f"{CONSTANT} {_rounded(node)}", f"{CONSTANT} #{index}"
        else:
            ordered = sorted(node.arguments, key=sort_keys.__getitem__) if _commutes(node) else node.arguments
            without, with_values, identity = (
                _digest(f"{node.operation}({', '.join(parts)})")
                for parts in zip(*((*sort_keys[a], identities[a]) for a in ordered), strict=True)
            )
        sort_keys.append((without, with_values))
        identities.append(identity)
    return sort_keys, identities


def _text(program: Program, values: bool) -> str:
    """The nodes of a canonical program as text, constants with or without their values."""
    lines = [program.slot, str(program.outputs)]
    for node in program.nodes:
        value = f" {_rounded(node)}" if values and node.operation == CONSTANT else ""
        lines.append(f"{node.operation} {node.name}{node.arguments}{value}")
    return "\n".join(lines)


def _rounded(constant: Node) -> str:
    """The value to six digits, of its float32: as it is in arrays, and as it is printed."""
    return f"{float(np.float32(constant.value)):.5e}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
