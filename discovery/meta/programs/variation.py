"""How programs change: typed mutation, grafting and crossover. Pure functions of a `numpy.random.Generator`.

    child, operator = vary(parent, rng, Pool(size, donors, mates))

Each operator replaces arguments by nodes of the same class, number or flag, that do not depend on what they
replace, so every result is a well-typed program. A change that changes nothing, or makes the program too
large, is tried again with another operator.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from objectives.programs.code import Size
from objectives.programs.graph import CONSTANT, INPUT, Node, Program, canonical
from objectives.programs.primitives import COMPARISONS, PRIMITIVES
from objectives.programs.slots import slot_of

TRIES = 100
"""Most attempts at a change."""
GRAFT = 8
"""Most primitives of a subgraph that is taken from another program."""
NEW = 0.3
"""Probability that an argument at random is an input or a new constant, and not a node that is there."""


class Pool(NamedTuple):
    """What variation draws from.

    Attributes:
        size: that programs may have.
        donors: known algorithms, whose parts are grafted.
        mates: other parents, whose parts are crossed in; none for mutation alone.
    """

    size: Size
    donors: Sequence[Program] = ()
    mates: Sequence[Program] = ()


class Draft:
    """A program that is being changed. New nodes are added at the end; `program` puts them in order."""

    def __init__(self, program: Program, rng: np.random.Generator, size: Size) -> None:
        self.slot, self.rng = slot_of(program.slot), rng
        reduces = self.slot.couples and size.reductions > 0
        self.operations = [name for name, one in PRIMITIVES.items() if reduces or not one.reduces]
        self.nodes, self.outputs = list(program.nodes), list(program.outputs)
        self.flags = [kind == "flag" for kind in program.kinds]

    def program(self) -> Program:
        """The result in canonical form."""
        order: list[int] = []
        stack, done = list(self.outputs), set[int]()
        while stack:
            missing = [a for a in self.nodes[stack[-1]].arguments if a not in done]
            if missing:
                stack += missing
            elif (index := stack.pop()) not in done:
                done.add(index)
                order.append(index)
        place = {index: i for i, index in enumerate(order)}
        nodes = [
            self.nodes[i]._replace(arguments=tuple(place[a] for a in self.nodes[i].arguments)) for i in order
        ]
        return canonical(Program(self.slot.name, tuple(nodes), tuple(place[o] for o in self.outputs)))

    def pick(self, items: Sequence[int]) -> int:
        """One of several numbers, uniformly."""
        return items[int(self.rng.integers(len(items)))]

    def add(self, node: Node, flag: bool = False) -> int:
        """A new node; returns its index."""
        self.nodes.append(node)
        self.flags.append(flag)
        return len(self.nodes) - 1

    def primitives(self) -> list[int]:
        """Indices of nodes that compute something."""
        return [i for i, node in enumerate(self.nodes) if node.operation in PRIMITIVES]

    def independent(self, of: int) -> list[int]:
        """Indices of nodes that neither are nor use node `of`, directly or through others."""
        users = {of}
        changed = True
        while changed:
            more = {i for i, node in enumerate(self.nodes) if i not in users and users & set(node.arguments)}
            users, changed = users | more, bool(more)
        return [i for i in range(len(self.nodes)) if i not in users]

    def argument(self, flag: bool, there: Sequence[int]) -> int:
        """A number or a flag at random: one of the nodes `there`, or a new one."""
        of_class = [i for i in there if self.flags[i] == flag]
        if of_class and self.rng.random() > NEW:
            return self.pick(of_class)
        if flag:
            operands = (self.argument(False, there), self.argument(False, there))
            return self.add(Node(COMPARISONS[int(self.rng.integers(2))], operands), flag=True)
        if self.rng.random() < 0.5:
            return self.add(Node(INPUT, name=self.slot.names[int(self.rng.integers(len(self.slot.names)))]))
        return self.add(Node(CONSTANT, value=float(self.rng.normal() * 2.0 ** self.rng.normal())))

    def call(self, operation: str, given: Sequence[int], there: Sequence[int]) -> Node:
        """A primitive whose arguments are as many of `given` as fit, and others at random."""
        left, arguments = list(given), []
        for kind in PRIMITIVES[operation].arguments:
            fitting = [i for i in left if self.flags[i] == (kind == "flag")]
            if fitting:
                left.remove(fitting[0])
            arguments.append(fitting[0] if fitting else self.argument(kind == "flag", there))
        return Node(operation, tuple(arguments))

    def uses(self) -> list[tuple[int, int]]:
        """Every place where a node is used: (node, argument), or (-1, output)."""
        inner = [(i, k) for i in self.primitives() for k in range(len(self.nodes[i].arguments))]
        return [*inner, *((-1, k) for k in range(len(self.outputs)))]

    def used(self, place: tuple[int, int]) -> int:
        """The node that is used at a place."""
        user, k = place
        return self.outputs[k] if user < 0 else self.nodes[user].arguments[k]

    def put(self, place: tuple[int, int], index: int) -> None:
        """Use another node at a place."""
        user, k = place
        if user < 0:
            self.outputs[k] = index
            return
        arguments = list(self.nodes[user].arguments)
        arguments[k] = index
        self.nodes[user] = self.nodes[user]._replace(arguments=tuple(arguments))

    def place(self) -> tuple[tuple[int, int], list[int]]:
        """A place at random, and the nodes that can be used there."""
        uses = self.uses()
        place = uses[int(self.rng.integers(len(uses)))]
        there = self.independent(place[0]) if place[0] >= 0 else list(range(len(self.nodes)))
        return place, there


def perturb(draft: Draft, others: Sequence[Program]) -> None:
    """Multiply a constant by 2^N(0, 1); now and then change its sign."""
    constants = [i for i, node in enumerate(draft.nodes) if node.operation == CONSTANT]
    if constants:
        i = draft.pick(constants)
        factor = 2.0 ** draft.rng.normal() * (-1.0 if draft.rng.random() < 0.1 else 1.0)
        draft.nodes[i] = draft.nodes[i]._replace(value=float(draft.nodes[i].value * factor))


def insert(draft: Draft, others: Sequence[Program]) -> None:
    """Put a primitive between a node and one place where it is used."""
    place, there = draft.place()
    given = draft.used(place)
    names = [name for name in draft.operations if (name in COMPARISONS) == draft.flags[given]]
    operation = names[int(draft.rng.integers(len(names)))]
    draft.put(place, draft.add(draft.call(operation, [given], there), flag=draft.flags[given]))


def delete(draft: Draft, others: Sequence[Program]) -> None:
    """Use an argument of a primitive in its place, everywhere."""
    if not (primitives := draft.primitives()):
        return
    index = draft.pick(primitives)
    same = [a for a in draft.nodes[index].arguments if draft.flags[a] == draft.flags[index]]
    if same:
        instead = draft.pick(same)
        for place in draft.uses():
            if draft.used(place) == index:
                draft.put(place, instead)


def replace(draft: Draft, others: Sequence[Program]) -> None:
    """Compute another primitive, of as many of the same arguments as fit."""
    if not (primitives := draft.primitives()):
        return
    index = draft.pick(primitives)
    was = draft.nodes[index]
    names = [
        name for name in draft.operations
        if name != was.operation and (name in COMPARISONS) == draft.flags[index]
    ]  # fmt: skip
    operation = names[int(draft.rng.integers(len(names)))]
    draft.nodes[index] = draft.call(operation, was.arguments, draft.independent(index))


def rewire(draft: Draft, others: Sequence[Program]) -> None:
    """Use another node at one place."""
    place, there = draft.place()
    draft.put(place, draft.argument(draft.flags[draft.used(place)], there))


def swap(draft: Draft, others: Sequence[Program]) -> None:
    """Exchange two arguments of a primitive that does not commute."""
    pairs = [
        (i, j, k)
        for i in draft.primitives()
        if not PRIMITIVES[draft.nodes[i].operation].commutes
        for k, b in enumerate(draft.nodes[i].arguments)
        for j, a in enumerate(draft.nodes[i].arguments[:k])
        if a != b and draft.flags[a] == draft.flags[b]
    ]
    if pairs:
        i, j, k = pairs[int(draft.rng.integers(len(pairs)))]
        arguments = list(draft.nodes[i].arguments)
        arguments[j], arguments[k] = arguments[k], arguments[j]
        draft.nodes[i] = draft.nodes[i]._replace(arguments=tuple(arguments))


def graft(draft: Draft, others: Sequence[Program]) -> None:
    """Use a subgraph of another program at one place."""
    if not others:
        return
    other = others[int(draft.rng.integers(len(others)))]
    place, _ = draft.place()
    flag = draft.flags[draft.used(place)]
    roots = [
        i for i, node in enumerate(other.nodes)
        if node.operation in PRIMITIVES and (other.kinds[i] == "flag") == flag and _size(other, i) <= GRAFT
    ]  # fmt: skip
    if roots:
        draft.put(place, _copied(draft, other, draft.pick(roots)))


def _size(program: Program, root: int) -> int:
    """Number of primitives of a subgraph."""
    found, stack = set[int](), [root]
    while stack:
        index = stack.pop()
        if index not in found and program.nodes[index].operation in PRIMITIVES:
            found.add(index)
            stack += program.nodes[index].arguments
    return len(found)


def _copied(draft: Draft, other: Program, root: int) -> int:
    """Add a subgraph of another program; returns the index of its root."""
    needed, place = {root}, dict[int, int]()
    for index in range(root, -1, -1):
        if index in needed:
            needed |= set(other.nodes[index].arguments)
    for index in sorted(needed):
        node = other.nodes[index]
        node = node._replace(arguments=tuple(place[a] for a in node.arguments))
        place[index] = draft.add(node, flag=other.kinds[index] == "flag")
    return place[root]


Operator = Callable[[Draft, Sequence[Program]], None]

MUTATIONS: Mapping[str, tuple[Operator, float]] = {
    "constant": (perturb, 2.0),
    "insert": (insert, 1.0),
    "delete": (delete, 1.5),
    "replace": (replace, 1.0),
    "rewire": (rewire, 1.0),
    "swap": (swap, 0.5),
    "graft": (graft, 0.5),
}
"""Operators of one parent by name, each with its relative frequency."""
CROSSOVER = 1.5
"""The same of crossover, if there are mates."""


def vary(parent: Program, rng: np.random.Generator, pool: Pool) -> tuple[Program, str]:
    """A changed copy of a program, and the name of the operator that made it: one of `MUTATIONS` or
    "crossover"; the program itself and "copy" if `TRIES` attempts change nothing.
    """
    names = [*MUTATIONS, *(["crossover"] if pool.mates else [])]
    weights = np.array([weight for _, weight in MUTATIONS.values()] + [CROSSOVER] * bool(pool.mates))
    for _ in range(TRIES):
        name = names[int(rng.choice(len(names), p=weights / weights.sum()))]
        draft = Draft(parent, rng, pool.size)
        if name == "crossover":
            graft(draft, pool.mates)
        else:
            MUTATIONS[name][0](draft, pool.donors)
        child = draft.program()
        if fits(child, pool.size) and child.hash != parent.hash:
            return child, name
    return parent, "copy"


def fresh(slot: str, rng: np.random.Generator, size: Size, most: int | None = None) -> Program:
    """A program at random, of up to `most` primitives (by default, as many as fit)."""
    inputs = tuple(Node(INPUT, name=name) for name in slot_of(slot).names)
    outputs = tuple(int(rng.integers(len(inputs))) for _ in slot_of(slot).outputs)
    most = size.instructions if most is None else most
    for _ in range(TRIES):
        draft = Draft(Program(slot, inputs, outputs), rng, size)
        for _ in range(int(rng.integers(1, most + 1))):
            names = draft.operations
            operation = names[int(rng.integers(len(names)))]
            node = draft.call(operation, [], range(len(draft.nodes)))
            index = draft.add(node, flag=operation in COMPARISONS)
            if not draft.flags[index]:
                draft.outputs[int(rng.integers(len(draft.outputs)))] = index
        if fits(program := draft.program(), size):
            return program
    return canonical(Program(slot, inputs, outputs))


def fits(program: Program, size: Size) -> bool:
    """Whether a program is within a size."""
    reductions = sum(PRIMITIVES[name].reduces for name in program.operations)
    return (
        len(program.operations) <= size.instructions
        and len(program.constants) <= size.constants
        and reductions <= size.reductions
    )
