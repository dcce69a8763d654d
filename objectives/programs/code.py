"""Programs as arrays: an ordinary entry of `meta_params`.

code = encode(program, Size(instructions=16, constants=8))
program = decode("policy_loss", code)
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from objectives.programs.graph import CONSTANT, INPUT, Node, Program, ProgramError, canonical
from objectives.programs.primitives import PRIMITIVES
from objectives.programs.slots import slot_of

_NAMES = {primitive.number: name for name, primitive in PRIMITIVES.items()}

OPERATIONS = tuple(_NAMES.get(number, "") for number in range(max(_NAMES) + 1))
"""Names of primitives by their operation code; "" for 0, an unused instruction."""


class Size(NamedTuple):
    """How large the programs of a search may be; part of a compiled program's structure.

    Attributes:
        instructions: L.
        constants: C.
        reductions: most reductions over the minibatch.
    """

    instructions: int = 16
    constants: int = 8
    reductions: int = 0


def size_for(programs: Sequence[Program], least: Size) -> Size:
    """The size `least`, with numbers that are too small for the programs doubled until they fit.

    So programs of similar sizes share a compiled training.
    """
    counted = [_counts(canonical(program)) for program in programs]
    return Size(*(_doubled(limit, max(each)) for limit, *each in zip(least, *counted, strict=True)))


def _counts(program: Program) -> Size:
    """How many instructions, constants and reductions a program has."""
    operations = program.operations
    reductions = sum(PRIMITIVES[name].reduces for name in operations)
    return Size(len(operations), len(program.constants), reductions)


def _doubled(limit: int, count: int) -> int:
    while limit < count:
        limit = max(1, 2 * limit)
    return limit


Code = dict[str, Any]
"""A program as arrays: ``operations`` int32 ``[L]``, ``arguments`` int32 ``[L, 3]``, ``outputs`` int32
``[K]``, ``constants`` float32 ``[C]``. Arguments are registers: first come the inputs, then the constants,
then the results of instructions."""


def encode(program: Program, size: Size) -> Code:
    """The arrays of a program.

    Raises:
        ProgramError: it is larger than `size`, or not well typed.
    """
    _ = program.kinds  # refuses what is not well typed, before anything is looked up
    program = canonical(program)
    for what, count, most in zip(Size._fields, _counts(program), size, strict=True):
        if count > most:
            remedy = f"simplify it, or allow more with the option {what}"
            raise ProgramError("size", f"the program has {count} {what}, and {most} are allowed", remedy)
    names = slot_of(program.slot).names
    operations = np.zeros(size.instructions, np.int32)
    arguments = np.zeros((size.instructions, 3), np.int32)
    constants = np.zeros(size.constants, np.float32)
    register: list[int] = []
    n_constants = n_instructions = 0
    for node in program.nodes:
        if node.operation == INPUT:
            register.append(names.index(node.name))
        elif node.operation == CONSTANT:
            constants[n_constants] = node.value
            register.append(len(names) + n_constants)
            n_constants += 1
        else:
            operations[n_instructions] = PRIMITIVES[node.operation].number
            arguments[n_instructions, : len(node.arguments)] = [register[a] for a in node.arguments]
            register.append(len(names) + size.constants + n_instructions)
            n_instructions += 1
    outputs = np.array([register[output] for output in program.outputs], np.int32)
    return {"operations": operations, "arguments": arguments, "outputs": outputs, "constants": constants}


def decode(slot: str, code: Code) -> Program:
    """The program whose arrays are `code`: the inverse of `encode`, up to rounding of constants to float32.

    Raises:
        ProgramError: the arrays hold no program.
    """
    operations, arguments = np.asarray(code["operations"]), np.asarray(code["arguments"])
    names, constants = slot_of(slot).names, np.asarray(code["constants"], np.float64)
    nodes = [Node(INPUT, name=name) for name in names]
    nodes += [Node(CONSTANT, value=float(value)) for value in constants]
    for operation, row in zip(operations.tolist(), arguments.tolist(), strict=True):
        if not 0 <= operation < len(OPERATIONS):
            message = f"there is no primitive number {operation}"
            raise ProgramError("type", message, f"numbers are below {len(OPERATIONS)}")
        name = OPERATIONS[operation] or "add"  # of an unused instruction, to which nothing refers
        nodes.append(Node(name, tuple(row[: len(PRIMITIVES[name].arguments)])))
    outputs = tuple(np.asarray(code["outputs"]).tolist())
    program = Program(slot, tuple(nodes), outputs)
    _ = program.kinds  # refuses what is not well typed, before anything is looked up
    return canonical(program)


def is_code(entry: Any) -> bool:
    """Whether an entry of `meta_params` is a program as arrays."""
    return isinstance(entry, dict) and set(entry) == {"operations", "arguments", "outputs", "constants"}
