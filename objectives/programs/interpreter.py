"""The interpreter that runs programs inside a compiled training.

    loss, = interpret(meta_params["policy_loss"], (log_ratio, advantage, progress))

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
from jaxtyping import Array, Bool, Float, Int

from objectives.programs.code import OPERATIONS, Code
from objectives.programs.primitives import BOUND, PRIMITIVES, TINY, bounded

BLOCK = 1024
"""Most samples that are computed at once, unless the program reduces over all of them."""
REDUCES = tuple(bool(name) and PRIMITIVES[name].reduces for name in OPERATIONS)
"""Whether an operation is a reduction, by its code."""


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


class Lanes(NamedTuple):
    """Programs and inputs of G lanes, such as trainings side by side.

    Attributes:
        operations, arguments, constants: as in `Code`.
        inputs: of the I inputs and B samples.
    """

    operations: Int[Array, "G L"]
    arguments: Int[Array, "G L 3"]
    constants: Float[Array, "G C"]
    inputs: Float[Array, "G I B"]


def _run(
    reductions: int,
    seeds: Seeds,
    operations: Int[Array, " L"],
    arguments: Int[Array, "L 3"],
    constants: Float[Array, " C"],
    inputs: tuple[Float[Array, " B"], ...],
) -> tuple[Float[Array, "R B"], Float[Array, "R D B"]]:
    """Values of all registers, and their slopes along the directions of `seeds`."""
    lane = Lanes(operations[None], arguments[None], constants[None], jnp.stack(inputs)[None])
    values, slopes = _fast(reductions, seeds, lane)
    return values[0], slopes[0]


@functools.partial(jax.custom_jvp, nondiff_argnums=(0, 1))
def _fast(
    reductions: int, seeds: Seeds, lanes: Lanes
) -> tuple[Float[Array, "G R B"], Float[Array, "G R D B"]]:
    """`_registers`, in which `jax.vmap` makes more lanes, and not batches of small operations."""

    @jax.custom_batching.custom_vmap
    def run(lanes: Lanes) -> tuple[Array, Array]:
        return _registers(reductions, seeds, lanes)

    @run.def_vmap
    def _(size: int, batched: list[Any], lanes: Lanes) -> tuple[tuple[Array, Array], tuple[bool, bool]]:
        def merged(x: Array, is_batched: bool) -> Array:
            every = x if is_batched else jnp.broadcast_to(x, (size, *x.shape))
            return every.reshape(-1, *every.shape[2:])

        found = _fast(reductions, seeds, jax.tree.map(merged, lanes, batched[0]))
        values, slopes = (x.reshape(size, len(x) // size, *x.shape[1:]) for x in found)
        return (values, slopes), (True, True)

    return run(lanes)


@_fast.defjvp
def _(reductions: int, seeds: Seeds, primals: tuple[Lanes], tangents: tuple[Lanes]) -> Any:
    """Higher derivatives are those of the same computation, without the shortcuts."""
    (lanes,), (lanes_dot,) = primals, tangents

    def plain(constants: Array, inputs: Array) -> tuple[Array, Array]:
        now = lanes._replace(constants=constants, inputs=inputs)
        return _registers(reductions, seeds, now, shortcuts=False)

    return jax.jvp(plain, (lanes.constants, lanes.inputs), (lanes_dot.constants, lanes_dot.inputs))


def _registers(
    reductions: int, seeds: Seeds, lanes: Lanes, shortcuts: bool = True
) -> tuple[Float[Array, "G R B"], Float[Array, "G R D B"]]:
    """Values and slopes of all registers.

    With `shortcuts`, instructions that no lane uses are skipped. If all lanes have the same program, each
    instruction computes one primitive, otherwise all of them.
    """
    (n_lanes, length), size = lanes.operations.shape, lanes.inputs.shape[-1]
    constants = jnp.broadcast_to(lanes.constants[..., None], (*lanes.constants.shape, size))
    known = jnp.concatenate([lanes.inputs, constants], axis=1)
    moving = jnp.asarray(seeds, known.dtype).reshape(-1, known.shape[1]).T[:, :, None, None]
    values = jnp.zeros((known.shape[1] + length, n_lanes, size), known.dtype)
    slopes = jnp.zeros((known.shape[1] + length, len(seeds), n_lanes, size), known.dtype)
    values = values.at[: known.shape[1]].set(bounded(known).swapaxes(0, 1))
    slopes = slopes.at[: known.shape[1]].set(jnp.broadcast_to(moving, slopes[: known.shape[1]].shape))

    def go(alike: bool, length: Array | int) -> tuple[Array, Array]:
        step = functools.partial(_instruction, reductions, lanes, alike)
        return jax.lax.fori_loop(0, length, step, (values, slopes))

    if shortcuts:
        used = (lanes.operations != 0).any(axis=0)
        last = jnp.max(jnp.where(used, jnp.arange(1, length + 1), 0), initial=0)
        alike = (lanes.operations == lanes.operations[:1]).all()
        alike &= (lanes.arguments == lanes.arguments[:1]).all()
        values, slopes = jax.lax.cond(alike, lambda: go(True, last), lambda: go(False, last))
    else:
        values, slopes = go(False, length)
    return values.swapaxes(0, 1), jnp.moveaxis(slopes, 2, 0)


def _instruction(
    reductions: int,
    lanes: Lanes,
    alike: bool,
    index: Array,
    registers: tuple[Float[Array, "R G B"], Float[Array, "R D G B"]],
) -> tuple[Array, Array]:
    """One instruction in all lanes: its values, and its slopes by the chain rule.

    If the lanes are `alike`, they have one program.
    """
    (values, slopes), operations = registers, jnp.asarray(lanes.operations)
    directions, place = slopes.shape[1], len(values) - operations.shape[1] + index
    operation, where = operations[:, index], jnp.asarray(lanes.arguments)[:, index]  # [G], [G, 3]
    names = (name if reductions or not REDUCES[code] else "" for code, name in enumerate(OPERATIONS))
    branches = [functools.partial(_primitive, name, directions > 0) for name in names]
    if alike:
        a, b, c = (values[where[0, k]] for k in range(3))
        value, partials = jax.lax.switch(operation[0], branches, a, b, c)
        moved = [slopes[where[0, k]] for k in range(3)]
    else:
        lane = jnp.arange(len(operation))
        a, b, c = (values[where[:, k], lane] for k in range(3))
        every = [branch(a, b, c) for branch in branches]
        value, partials = jax.tree.map(lambda *xs: _chosen(operation[:, None], xs), *every)
        moved = [slopes[where[:, k], :, lane].swapaxes(0, 1) for k in range(3)]
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


def _reduces(operations: Int[Array, "..."]) -> Bool[Array, "..."]:
    return jnp.asarray(REDUCES)[operations]


def _of_reductions(
    reductions: int,
    operations: Int[Array, " L"],
    arguments: Int[Array, "L 3"],
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


def _weights(
    operation: Int[Array, ""], x: Float[Array, " B"], result: Float[Array, " B"]
) -> Float[Array, " B"]:
    """The derivatives of a reduction with respect to the samples."""
    center = x - x.mean()
    extreme = (x == result).astype(x.dtype)
    weights = {
        "mean": jnp.ones_like(x) / x.size,
        "std": jnp.where(result**2 > 2 * TINY, center / (result * x.size), 0.0),
        "min": extreme / extreme.sum(),
        "max": extreme / extreme.sum(),
    }
    cases = [operation == PRIMITIVES[name].number for name in weights]
    return jnp.select(cases, list(weights.values()), jnp.zeros_like(x))
