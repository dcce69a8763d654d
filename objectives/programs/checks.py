"""What a program is refused for before anything is trained, from cheap to dear.

    checked = check(program, Size(), most_cost=60.0)    # or a ProgramError that says why
    checked.behavior                                    # equal for programs that compute the same

The rungs: types and size; cost; a differentiable path; values and gradients on probes, ordinary and extreme
ones; the slot's conditions. What is left has a hash of its structure and one of its behavior.
"""

import functools
import hashlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from objectives.programs.code import Code, Size, encode
from objectives.programs.graph import CONSTANT, INPUT, Program, ProgramError, canonical
from objectives.programs.interpreter import interpret
from objectives.programs.known import SOURCES, known
from objectives.programs.primitives import COMPARISONS, PRIMITIVES
from objectives.programs.slots import Input, slot_of

N_PROBES = 64
"""Samples of each set of probes."""
ORDINARY = 2
"""Sets of ordinary inputs, which come before the extreme ones."""
DIGITS = 4
"""Significant digits in which equal behavior agrees."""
NO_PATH = (*COMPARISONS, "sign", "stop_gradient")
"""Primitives whose derivative is zero everywhere."""


RUNGS: Mapping[str, tuple[str, ...]] = {
    "types and size": ("type", "name", "size"),
    "cost": ("cost",),
    "a differentiable path": ("path",),
    "values and derivatives": ("probe",),
    "conditions of the slot": ("condition",),
}
"""The rungs in order, each with the kinds of its refusals."""


class Checked(NamedTuple):
    """A program that may be trained.

    Attributes:
        program: in canonical form.
        code: its arrays.
        behavior: hash of its values and gradients on probes of two scales, to four digits.
        known: the known algorithm that it computes the same as, or "".
    """

    program: Program
    code: Code
    behavior: str
    known: str


def check(program: Program, size: Size, most_cost: float = float("inf")) -> Checked:
    """The program as arrays, if nothing speaks against training it.

    Raises:
        ProgramError: it is refused: of kind "type", "size", "cost", "path", "probe" or "condition".
    """
    program = canonical(program)
    code, slot = encode(program, size), slot_of(program.slot)
    reductions = size.reductions if slot.couples else 0
    if program.cost > most_cost:
        raise ProgramError(
            "cost",
            f"the program takes the time of {program.cost:.0f} additions, more than {most_cost:.0f}",
            "use fewer of exp, log, tanh, sigmoid and softplus",
        )  # fmt: skip
    for alternatives in slot.reaches:
        if not any(name in reached(program) for name in alternatives):
            raise ProgramError(
                "path",
                f"the result has no derivative by {' or '.join(alternatives)}",
                f"let it depend on {alternatives[0]}, outside of comparisons, sign and stop_gradient",
            )
    values, slopes = probe(slot.name, code, reductions)
    if not all(np.isfinite(x).all() for x in (values, slopes)):
        raise ProgramError(
            "probe", "a value or a derivative is not finite on extreme inputs", "bound it with jnp.clip"
        )
    for alternatives in slot.reaches:
        of = [slot.names.index(name) for name in alternatives]
        if not slopes[:, of].any():
            raise ProgramError(
                "probe",
                f"the derivative by {' and '.join(alternatives)} is zero on all probes: nothing is learned",
                f"let the result depend on {alternatives[0]} at usual values",
            )
    if "still" in slot.conditions:
        _check_still(code)
    if "increasing" in slot.conditions:
        _check_increasing(code)
    behavior = behavior_of(values, slopes)
    return Checked(program, code, behavior, _known_behaviors(slot.name, size).get(behavior, ""))


def holds_drift(code: Code, reductions: int = 0) -> bool:
    """Whether a policy loss is f - r A with a drift f on the ordinary probes, to 1e-5 of r A: f is not
    negative, and zero and flat at r = 1.
    """
    at, names = _probes("policy_loss"), slot_of("policy_loss").names
    x = names.index("log_ratio")
    gain = np.exp(at[:ORDINARY, x]) * at[:ORDINARY, names.index("advantage")]
    values, _ = _prober(reductions)(code, at)
    at = at.copy()
    at[:, x] = 0.0
    rest, slopes = _prober(reductions)(code, at)
    advantage = at[:ORDINARY, names.index("advantage")]
    zero = np.stack([np.asarray(rest)[:ORDINARY, 0], np.asarray(slopes)[:ORDINARY, x]]) + advantage
    drift = np.asarray(values)[:ORDINARY, 0] + gain
    return bool(
        np.all(drift >= -1e-5 * (1 + np.abs(gain))) and np.all(np.abs(zero) <= 1e-5 * (1 + np.abs(advantage)))
    )


def reached(program: Program) -> frozenset[str]:
    """Names of the inputs to which the outputs have a path of differentiable primitives."""
    found: set[str] = set()
    open_nodes, seen = list(program.outputs), set(program.outputs)
    while open_nodes:
        node = program.nodes[open_nodes.pop()]
        if node.operation == INPUT:
            found.add(node.name)
        if node.operation in (INPUT, CONSTANT, *NO_PATH):
            continue
        kinds = PRIMITIVES[node.operation].arguments
        following = {a for a, kind in zip(node.arguments, kinds, strict=True) if kind == "number"}
        open_nodes += following - seen
        seen |= following
    return frozenset(found)


def behavior_of(values: Float[np.ndarray, "S K N"], slopes: Float[np.ndarray, "S I N"]) -> str:
    """Hash of the ordered numbers on the ordinary probes, each rounded to four significant digits."""
    numbers = np.concatenate([values[:ORDINARY].ravel(), slopes[:ORDINARY].ravel()])
    text = ",".join("0" if abs(x) < 1e-12 else f"{x:.{DIGITS - 1}e}" for x in numbers.tolist())
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@functools.cache
def _known_behaviors(slot: str, size: Size) -> dict[str, str]:
    """Behavior -> name, of the known algorithms that fit."""
    found = {}
    for name in SOURCES[slot]:
        try:
            code = encode(known(slot, name), size)
        except ProgramError:
            continue
        found[behavior_of(*probe(slot, code, size.reductions if slot_of(slot).couples else 0))] = name
    return found


def probe(
    slot: str, code: Code, reductions: int = 0
) -> tuple[Float[np.ndarray, "S K N"], Float[np.ndarray, "S I N"]]:
    """Values of the K results, and derivatives of their sum by each of I inputs, on sets of N probes."""
    values, slopes = _prober(reductions)(code, _probes(slot))
    return np.asarray(values), np.asarray(slopes)


@functools.cache
def _prober(reductions: int) -> Any:
    """A compiled function of a program and sets of inputs ``[S, I, N]``, one for all programs of a size."""

    def at(code: Any, inputs: Any) -> Any:
        def total(inputs: Any) -> Any:
            results = jnp.stack(interpret(code, tuple(inputs), reductions))
            return results.sum(), results

        slopes, values = jax.grad(total, has_aux=True)(inputs)
        return values, slopes

    return jax.jit(jax.vmap(at, in_axes=(None, 0)))


@functools.cache
def _probes(slot: str) -> Float[np.ndarray, "S I N"]:
    """Sets of inputs: of their usual size, of four times that, and extreme ones."""
    rng, extremes = np.random.default_rng(0), np.array([0.0, 1e-30, 1e-8, 1.0, 88.0, 1e4, 1e15, 3e38])
    rows = [_rows_of(one, rng, np.concatenate([extremes, -extremes])) for one in slot_of(slot).inputs]
    return np.stack(rows, axis=1).astype(np.float32)


def _rows_of(one: Input, rng: np.random.Generator, extremes: Float[np.ndarray, " E"]) -> Any:
    """Samples ``[S, N]`` of an input; equal ones in a set if it is a scalar."""
    rows = [rng.normal(0, scale * one.scale, N_PROBES) for scale in (1.0, 4.0)]
    samples = np.stack([*rows, rng.choice(extremes, N_PROBES)])
    if np.isfinite(one.low) and np.isfinite(one.high):
        samples[:ORDINARY] = rng.uniform(one.low, one.high, samples[:ORDINARY].shape)
    elif np.isfinite(one.low):
        samples[:ORDINARY] = np.abs(samples[:ORDINARY])
    samples = np.clip(samples, one.low, one.high)
    return np.broadcast_to(samples[:, :1], samples.shape) if one.kind == "scalar" else samples


def _check_still(code: Code) -> None:
    """Refuse an optimizer that moves parameters whose gradients are zero for ever."""
    at = _probes("optimizer").copy()
    names = slot_of("optimizer").names
    for row in ("gradient", "mean_9", "mean_99", "mean_999", "square_99", "square_999"):
        at[:, names.index(row)] = 0.0
    values, _ = _prober(0)(code, at)
    if np.any(np.asarray(values)):
        raise ProgramError(
            "condition",
            "the update is not zero where the gradient and its running means are zero",
            "multiply each term by the gradient or a running mean of it",
        )


def _check_increasing(code: Code) -> None:
    """Refuse a potential that does not increase strictly, on a grid and at random."""
    grid = np.concatenate([np.geomspace(1e-6, 1.0, 64), np.random.default_rng(1).uniform(0, 1, 64)])
    values, _ = _prober(0)(code, np.sort(grid).astype(np.float32)[None, None])
    if not np.all(np.diff(np.asarray(values)[0, 0]) > 0):
        raise ProgramError(
            "condition",
            "the potential does not increase strictly on (0, 1]",
            "add a term that increases, such as jnp.log(x)",
        )
