"""Programs as arrays, and the interpreter that runs them inside a compiled training.

    code = encode(program, Size(instructions=16, constants=8))     # an ordinary entry of meta_params
    loss, = interpret(code, (log_ratio, advantage, progress))

One compiled program trains every candidate of a slot and size: the operation of each instruction is data.

Derivatives are exact, and in forward mode: the slopes with respect to the few differentiated inputs are
carried beside the values, so nothing has to be stored for a backward pass. A sample's result depends on other
samples only through reductions. Each reduction counts as one more input, whose own derivative is added at the
end: if m_k is the k-th reduction, d(out) = sum_i (d out / d x_i) dx_i + sum_k (d out / d m_k) dm_k.
"""

import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.custom_derivatives import SymbolicZero
from jaxtyping import Array, Float, Int

from objectives.programs.graph import CONSTANT, INPUT, Node, Program, ProgramError, canonical
from objectives.programs.primitives import BOUND, PRIMITIVES, TINY, bounded
from objectives.programs.slots import slot_of

BLOCK = 1024
"""Most samples that are computed at once, unless the program reduces over all of them."""
UNUSED = 0
"""Operation code of an unused instruction."""
_BY_NUMBER = {primitive.number: name for name, primitive in PRIMITIVES.items()}
REDUCES = tuple(
    number in _BY_NUMBER and PRIMITIVES[_BY_NUMBER[number]].reduces for number in range(max(_BY_NUMBER) + 1)
)
"""Whether an operation is a reduction, by its code."""


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
        if operation not in (UNUSED, *_BY_NUMBER):
            raise ProgramError("type", f"there is no primitive number {operation}")
        name = _BY_NUMBER.get(operation, "add")
        nodes.append(Node(name, tuple(row[: len(PRIMITIVES[name].arguments)])))
    outputs = tuple(np.asarray(code["outputs"]).tolist())
    program = Program(slot, tuple(nodes), outputs)
    _ = program.kinds  # refuses what is not well typed, before anything is looked up
    return canonical(program)


def interpret(code: Code, inputs: Sequence[Array], reductions: int = 0) -> tuple[Array, ...]:
    """The results of a program, in the common shape of the inputs.

    It can be jitted, vmapped and differentiated any number of times, with respect to the inputs and to the
    constants, in float32 and float64.

    Args:
        code: see `Code`; all of it may be traced.
        inputs: one array per input of the slot, of shapes that broadcast.
        reductions: most reductions over the samples (all axes of the common shape) that the program may have.
    """
    shape = jnp.broadcast_shapes(*(jnp.shape(x) for x in inputs))
    dtype = jnp.result_type(*inputs, 1.0)
    flat = tuple(jnp.broadcast_to(jnp.asarray(x, dtype), shape).reshape(-1) for x in inputs)
    operations, arguments, outputs = (
        jnp.asarray(code[name]) for name in ("operations", "arguments", "outputs")
    )
    constants = jnp.asarray(code["constants"], dtype)
    run = functools.partial(_interpret, reductions, operations, arguments, outputs, constants)
    size = flat[0].size
    if reductions or size <= BLOCK:
        results = run(flat)
    else:  # in blocks, whose registers stay in the cache
        padded = (jnp.pad(x, (0, -size % BLOCK)).reshape(-1, BLOCK) for x in flat)
        results = jax.lax.map(run, tuple(padded)).swapaxes(0, 1).reshape(len(outputs), -1)[:, :size]
    return tuple(result.reshape(shape) for result in results)


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def _interpret(
    reductions: int,
    operations: Int[Array, " L"],
    arguments: Int[Array, "L 3"],
    outputs: Int[Array, " K"],
    constants: Float[Array, " C"],
    inputs: tuple[Float[Array, " B"], ...],
) -> Float[Array, "K B"]:
    seeds = _seeds(len(inputs), len(constants), (), constants_move=False, reductions=0)
    return _run(reductions, seeds, operations, arguments, constants, inputs)[0][outputs]


def _jvp(reductions: int, primals: Any, tangents: Any) -> tuple[Array, Array]:
    operations, arguments, outputs, constants, inputs = primals
    *_, constants_dot, inputs_dot = tangents
    moving = tuple(i for i, x_dot in enumerate(inputs_dot) if not isinstance(x_dot, SymbolicZero))
    constants_move = not isinstance(constants_dot, SymbolicZero)
    directions = [inputs_dot[i] for i in moving]
    if constants_move:
        directions += [jnp.broadcast_to(c_dot, inputs[0].shape) for c_dot in constants_dot]
    seeds = _seeds(len(inputs), len(constants), moving, constants_move, reductions)
    values, slopes = _run(reductions, seeds, operations, arguments, constants, inputs)
    directions += _of_reductions(reductions, operations, arguments, values, slopes, directions)
    tangent = jnp.zeros_like(values[outputs])
    for k, direction in enumerate(directions):
        tangent += slopes[outputs, k] * direction
    return values[outputs], tangent


_interpret.defjvp(_jvp, symbolic_zeros=True)

Seeds = tuple[tuple[float, ...], ...]
"""Slopes ``[D, I + C]`` of the inputs and constants along D directions."""


def _seeds(
    n_inputs: int, n_constants: int, moving: tuple[int, ...], constants_move: bool, reductions: int
) -> Seeds:
    """The directions are the inputs that are `moving`, the constants if they move, and the reductions, on
    which neither inputs nor constants depend.
    """
    known = n_inputs + n_constants
    rows = [*moving, *(range(n_inputs, known) if constants_move else ())]
    seeds = np.zeros((len(rows) + (reductions if rows else 0), known))
    seeds[np.arange(len(rows)), rows] = 1.0
    return tuple(map(tuple, seeds.tolist()))


def _run(
    reductions: int,
    seeds: Seeds,
    operations: Int[Array, " L"],
    arguments: Int[Array, "L 3"],
    constants: Float[Array, " C"],
    inputs: tuple[Float[Array, " B"], ...],
) -> tuple[Float[Array, "R B"], Float[Array, "R D B"]]:
    """Values of all registers, and their slopes along the directions of `seeds`."""
    lane = (operations[None], arguments[None], constants[None], jnp.stack(inputs)[None])
    values, slopes = _lanes(reductions, seeds, *lane)
    return values[0], slopes[0]


@functools.partial(jax.custom_jvp, nondiff_argnums=(0, 1))
def _lanes(
    reductions: int,
    seeds: Seeds,
    operations: Int[Array, "G L"],
    arguments: Int[Array, "G L 3"],
    constants: Float[Array, "G C"],
    inputs: Float[Array, "G I B"],
) -> tuple[Float[Array, "G R B"], Float[Array, "G R D B"]]:
    """`_run` of G lanes. Batched by `jax.vmap`, it has more lanes, and not a batch of small operations."""

    @jax.custom_batching.custom_vmap
    def run(operations: Array, arguments: Array, constants: Array, inputs: Array) -> tuple[Array, Array]:
        return _run_lanes(reductions, seeds, operations, arguments, constants, inputs)

    @run.def_vmap
    def _(size: int, batched: list[bool], *given: Array) -> tuple[tuple[Array, Array], tuple[bool, bool]]:
        every = [
            x if is_batched else jnp.broadcast_to(x, (size, *x.shape))
            for x, is_batched in zip(given, batched, strict=True)
        ]
        merged = [x.reshape(-1, *x.shape[2:]) for x in every]
        found = _lanes(reductions, seeds, *merged)
        values, slopes = (x.reshape(size, len(x) // size, *x.shape[1:]) for x in found)
        return (values, slopes), (True, True)

    return run(operations, arguments, constants, inputs)


@_lanes.defjvp
def _(reductions: int, seeds: Seeds, primals: Any, tangents: Any) -> Any:
    """Higher derivatives are those of the same computation, without the shortcuts."""
    operations, arguments, constants, inputs = primals

    def plain(constants: Array, inputs: Array) -> tuple[Array, Array]:
        return _run_lanes(reductions, seeds, operations, arguments, constants, inputs, shortcuts=False)

    return jax.jvp(plain, (constants, inputs), tangents[2:])


def _run_lanes(
    reductions: int,
    seeds: Seeds,
    operations: Int[Array, "G L"],
    arguments: Int[Array, "G L 3"],
    constants: Float[Array, "G C"],
    inputs: Float[Array, "G I B"],
    shortcuts: bool = True,
) -> tuple[Float[Array, "G R B"], Float[Array, "G R D B"]]:
    """Registers of all lanes.

    With `shortcuts`, instructions that no lane uses are skipped. If all lanes have the same program, each
    instruction computes one primitive, otherwise all of them.
    """
    (lanes, length), size = operations.shape, inputs.shape[-1]
    known = jnp.concatenate(
        [inputs, jnp.broadcast_to(constants[..., None], (*constants.shape, size))], axis=1
    )
    moving = jnp.asarray(seeds, known.dtype).reshape(-1, known.shape[1]).T[:, :, None, None]
    values = jnp.zeros((known.shape[1] + length, lanes, size), known.dtype)
    slopes = jnp.zeros((known.shape[1] + length, len(seeds), lanes, size), known.dtype)
    values = values.at[: known.shape[1]].set(bounded(known).swapaxes(0, 1))
    slopes = slopes.at[: known.shape[1]].set(jnp.broadcast_to(moving, slopes[: known.shape[1]].shape))
    step = functools.partial(_instruction, reductions, operations, arguments)

    def go(together: bool, length: Array | int) -> tuple[Array, Array]:
        return jax.lax.fori_loop(0, length, functools.partial(step, together), (values, slopes))

    if shortcuts:
        used = (operations != UNUSED).any(axis=0)
        last = jnp.max(jnp.where(used, jnp.arange(1, length + 1), 0), initial=0)
        alike = (operations == operations[:1]).all() & (arguments == arguments[:1]).all()
        alike = lanes == 1 or alike
        values, slopes = jax.lax.cond(alike, lambda: go(True, last), lambda: go(False, last))
    else:
        values, slopes = go(False, length)
    return values.swapaxes(0, 1), jnp.moveaxis(slopes, 2, 0)


def _instruction(
    reductions: int,
    operations: Int[Array, "G L"],
    arguments: Int[Array, "G L 3"],
    together: bool,
    index: Array,
    registers: tuple[Float[Array, "R G B"], Float[Array, "R D G B"]],
) -> tuple[Array, Array]:
    """One instruction in all lanes: its values, and its slopes by the chain rule."""
    values, slopes = registers
    directions, place = slopes.shape[1], len(values) - operations.shape[1] + index
    operation, where = operations[:, index], arguments[:, index]  # [G], [G, 3]
    names = [_BY_NUMBER.get(number, "") for number in range(len(REDUCES))]
    names = [name if reductions or not REDUCES[number] else "" for number, name in enumerate(names)]
    branches = [functools.partial(_primitive, name, directions > 0) for name in names]
    if together:
        a, b, c = (values[where[0, k]] for k in range(3))
        value, partials = jax.lax.switch(operation[0], branches, a, b, c)
        moved = [slopes[where[0, k]] for k in range(3)]
    else:
        lanes = jnp.arange(len(operation))
        a, b, c = (values[where[:, k], lanes] for k in range(3))
        every = [branch(a, b, c) for branch in branches]
        value, partials = jax.tree.map(lambda *xs: _chosen(operation[:, None], xs), *every)
        moved = [slopes[where[:, k], :, lanes].swapaxes(0, 1) for k in range(3)]
    values = jax.lax.dynamic_update_index_in_dim(values, value, place, 0)
    if directions:
        steepest = min(BOUND, 1e37 ** (1 / (reductions + 1)))  # a product over all reductions is a float32
        terms = (p * x for p, x in zip(partials, moved, strict=True))
        slope = jnp.clip(sum(terms, jnp.zeros_like(moved[0])), -steepest, steepest)
        if reductions:
            ordinal = jnp.cumsum(_reduces(operations), axis=1)[:, index] - 1
            own = jnp.arange(directions)[:, None] == directions - reductions + ordinal
            slope = jnp.where((own & _reduces(operation))[..., None], 1.0, slope)
        slopes = jax.lax.dynamic_update_index_in_dim(slopes, slope, place, 0)
    return values, slopes


def _chosen(operation: Int[Array, "G 1"], results: tuple[Array, ...]) -> Float[Array, "G B"]:
    """The result of each lane's own operation."""
    return jax.lax.select_n(jnp.broadcast_to(operation, results[0].shape), *results)


def _primitive(
    name: str, slopes: bool, a: Float[Array, "G B"], b: Float[Array, "G B"], c: Float[Array, "G B"]
) -> tuple[Array, tuple[Array, ...]]:
    """A primitive's value, and if `slopes` are carried its derivatives by a, b and c."""
    zero = jnp.zeros_like(a)
    if not name:
        return zero, (zero, zero, zero) if slopes else ()
    primitive = PRIMITIVES[name]
    given = (a, b, c)[: len(primitive.arguments)]
    value = jax.vmap(primitive.value)(*given)  # reductions are over the samples of a lane
    if not slopes:
        return value, ()
    kinds = (*primitive.arguments, "flag", "flag")
    moves = [kinds[k] == "number" and not primitive.reduces for k in range(3)]
    return value, tuple(_partial(primitive.value, given, k) if moves[k] else zero for k in range(3))


def _partial(value: Any, values: tuple[Array, ...], k: int) -> Array:
    """The derivative of an elementwise function with respect to its k-th argument, clipped."""

    def alone(x: Array) -> Array:
        return value(*values[:k], x, *values[k + 1 :])

    return bounded(jax.jvp(alone, (values[k],), (jnp.ones_like(values[k]),))[1])


def _reduces(operations: Array) -> Array:
    return jnp.asarray(REDUCES)[operations]


def _of_reductions(
    reductions: int,
    operations: Array,
    arguments: Array,
    values: Float[Array, "R B"],
    slopes: Float[Array, "R D B"],
    directions: list[Array],
) -> list[Array]:
    """dm_k of each reduction m_k, from the tangents of what it reduces; zero where there are fewer."""
    found: list[Array] = []
    if not directions:
        return found
    n_known, ordinals = len(values) - len(operations), jnp.cumsum(_reduces(operations))
    for k in range(reductions):
        is_this = _reduces(operations) & (ordinals == k + 1)
        at = jnp.argmax(is_this)
        x = arguments[at, 0]
        tangent = jnp.zeros_like(values[x])
        for slope, direction in zip(slopes[x], [*directions, *found], strict=False):
            tangent += slope * direction
        weights = _weights(operations[at], values[x], values[n_known + at])
        m_dot = jnp.where(is_this.any(), (weights * tangent).sum(), 0.0)
        found.append(jnp.broadcast_to(m_dot, tangent.shape))
    return found


def _weights(operation: Array, x: Float[Array, " B"], result: Float[Array, " B"]) -> Float[Array, " B"]:
    """The derivatives of a reduction with respect to the samples."""
    center = x - x.mean()
    extreme = x == result
    weights = {
        "mean": jnp.ones_like(x) / x.size,
        "std": jnp.where(result**2 > 2 * TINY, center / (result * x.size), 0.0),
        "min": extreme / extreme.sum(),
        "max": extreme / extreme.sum(),
    }
    cases = [operation == PRIMITIVES[name].number for name in weights]
    return jnp.select(cases, list(weights.values()), jnp.zeros_like(x))
