"""Programs as arrays: an ordinary entry of `meta_params`.

code = encode(program, Size(instructions=16, constants=8))
program = decode("policy_loss", code)
"""

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
    limits = {
        "instructions": (len(program.operations), size.instructions),
        "constants": (len(program.constants), size.constants),
        "reductions": (sum(PRIMITIVES[name].reduces for name in program.operations), size.reductions),
    }
    for what, (count, most) in limits.items():
        if count > most:
            raise ProgramError(
                "size", f"the program has {count} {what}, and at most {most} fit", "simplify it"
            )
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
            raise ProgramError("type", f"there is no primitive number {operation}")
        name = OPERATIONS[operation] or "add"  # of an unused instruction, to which nothing refers
        nodes.append(Node(name, tuple(row[: len(PRIMITIVES[name].arguments)])))
    outputs = tuple(np.asarray(code["outputs"]).tolist())
    program = Program(slot, tuple(nodes), outputs)
    _ = program.kinds  # refuses what is not well typed, before anything is looked up
    return canonical(program)
