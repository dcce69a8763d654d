"""Programs as arrays: the interpreter's values and derivatives against evaluations node by node.

They are in numpy, with derivatives by hand; whole second derivatives are steps of these.
"""

import functools
import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from objectives.programs.code import Size, decode, encode
from objectives.programs.graph import CONSTANT, INPUT, Node, Program, ProgramError
from objectives.programs.interpreter import interpret
from objectives.programs.primitives import PRIMITIVES
from objectives.programs.slots import SLOTS, slot_of
from tests.objectives.programs.random_programs import random_program
from tests.objectives.programs.test_primitives import EXTREMES, evaluated

SIZE = Size(20, 6, 2)
SAMPLES, LANES = 5, 8


def programs(seed, slot, count, size=SIZE, largest=1e4):
    """Random programs that fit, with random constants, and inputs at which no number on the way is large.

    A case is a program, its inputs, its constants (as many as fit) and weights of its results.
    """
    rng = np.random.default_rng(seed)
    while count:
        program = random_program(rng, slot, 30, size.reductions)
        program = program.with_constants([float(np.float32(rng.normal(0, 1.5))) for _ in program.constants])
        inputs = [
            np.float32(rng.uniform() if one.kind == "scalar" else rng.normal(size=SAMPLES))
            for one in slot_of(slot).inputs
        ]
        fits = len(program.operations) <= size.instructions and len(program.constants) <= size.constants
        if not fits or len(program.operations) < 4:
            continue
        constants = np.zeros(size.constants, np.float32)
        constants[: len(program.constants)] = program.constants
        weights = rng.normal(0, 1, SAMPLES).astype(np.float32)
        if largest == np.inf or ByHand(program, inputs, constants).largest < largest:
            count -= 1
            yield program, inputs, constants, weights


class ByHand:
    """One evaluation in numpy, with slopes along every element of every input and constant.

    Attributes:
        results: ``[K, B]``.
        slopes: of the results, ``[K, D, B]``.
        largest: the largest value or slope on the way.
    """

    @np.errstate(all="ignore")
    def __init__(self, program, inputs, constants, dtype: Any = np.float64):
        *inputs, constants = (wide(np.asarray(x)) for x in (*inputs, constants))
        self.shapes = [np.shape(x) for x in (*inputs, constants)]
        size = max(np.size(x) for x in inputs)
        rows = np.eye(sum(np.size(x) for x in (*inputs, constants)))
        seeds = np.split(rows, np.cumsum([np.size(x) for x in inputs]), axis=1)
        of_constants = iter(seeds.pop().T)
        left, names = iter(constants), slot_of(program.slot).names
        values, slopes = [], []
        for node in program.nodes:
            given, moved = [values[a] for a in node.arguments], [slopes[a] for a in node.arguments]
            if node.operation == INPUT:
                at = names.index(node.name)
                value, slope = inputs[at], seeds[at]
            elif node.operation == CONSTANT:
                value, slope = next(left), next(of_constants)[:, None]
            elif PRIMITIVES[node.operation].reduces:
                value, slope = reduced(node.operation, given[0], moved[0])
            else:
                value, partials = evaluated(node.operation, given, dtype)
                slope = sum(p * x for p, x in zip(partials, moved, strict=True))
            values.append(np.broadcast_to(value, size) + 0.0)
            slopes.append(np.broadcast_to(slope, (len(rows), size)) + 0.0)
        self.results = np.array([values[output] for output in program.outputs])
        self.slopes = np.array([slopes[output] for output in program.outputs])
        self.largest = np.max([np.abs(x).max() for x in (*values, *slopes)])

    def gradient(self, weights):
        """Of the sum of weights times the first result, by inputs and constants."""
        flat = (weights * self.slopes[0]).sum(axis=-1)
        parts = np.split(flat, np.cumsum([int(np.prod(shape)) for shape in self.shapes])[:-1])
        return [part.reshape(shape) for part, shape in zip(parts, self.shapes, strict=True)]


def wide(x):
    """In double precision, real or complex."""
    return x.astype(np.result_type(x.dtype, np.float64))


def reduced(operation, x, slope):
    """A reduction and its slopes."""
    center = x - x.mean()
    if operation == "mean":
        return x.mean(), slope.mean(axis=-1, keepdims=True)
    if operation == "std":
        std = np.sqrt((center**2).mean())
        if std.real < 1e-5 * np.abs(x).max():
            return 0, np.full_like(slope, np.inf)  # of equal samples, rounding decides: not compared
        return std, (center * slope).mean(axis=-1, keepdims=True) / std
    extreme = x.real.min() if operation == "min" else x.real.max()
    share = (x.real == extreme) / (x.real == extreme).sum()
    return (share * x).sum(), (share * slope).sum(axis=-1, keepdims=True)


def hessian_times(program, inputs, constants, weights, direction):
    """By a step of the gradient along the imaginary axis; `direction` like inputs and constants."""
    moved = [x + 1e-30j * d for x, d in zip((*inputs, constants), direction, strict=True)]
    return [np.imag(g) / 1e-30 for g in ByHand(program, moved[:-1], moved[-1]).gradient(weights)]


def total(given, code, weights, size):
    """The weighted sum of the first result; `given` are the inputs and the constants."""
    results = interpret(code | {"constants": given[-1]}, given[:-1], size.reductions)
    return (weights * results[0]).sum(), results[0]


@jax.jit
def lanes(codes, inputs, weights):
    """Results and gradients of many programs, each with inputs of its own."""

    def one(code, inputs, weights):
        slopes, result = jax.grad(total, has_aux=True)((*inputs, code["constants"]), code, weights, SIZE)
        return result, *slopes

    return jax.vmap(one)(codes, inputs, weights)


def compiled(jitted: Any):
    """How many times."""
    return jitted._cache_size()


def stacked(trees):
    return jax.tree.map(lambda *xs: np.stack(xs), *trees)


def in_lanes(cases):
    """What `lanes` returns for each case."""
    found = []
    for start in range(0, len(cases), LANES):
        some = cases[start : start + LANES]
        codes = stacked([encode(program, SIZE) for program, *_ in some])
        each = lanes(codes, stacked([tuple(case[1]) for case in some]), stacked([case[3] for case in some]))
        found += zip(*map(np.asarray, each), strict=True)
    return found


def assert_close(found, expected, tolerance, largest=0.0):
    """Up to rounding of the largest number on the way."""
    for got, wanted in zip(found, expected, strict=True):
        assert np.shape(got) == np.shape(wanted)
        np.testing.assert_allclose(got, wanted, rtol=tolerance, atol=tolerance * max(1.0, largest))


def in_float64(case):
    """Inputs and constants, and weights, of a case."""
    _, inputs, constants, weights = case
    return tuple(wide(x) for x in (*inputs, constants)), wide(weights)


# First derivatives, in lanes, in float32.


def test_values_and_gradients_in_lanes_of_different_programs():
    """By inputs per sample, a scalar input, and constants, with and without reductions; compiled once."""
    cases = list(programs(0, "policy_loss", 48))
    assert {name for program, *_ in cases for name in program.operations} == set(PRIMITIVES)
    for (program, inputs, constants, weights), found in zip(cases, in_lanes(cases), strict=True):
        by_hand = ByHand(program, inputs, constants, np.float32)
        expected = by_hand.results[0], *by_hand.gradient(weights)
        assert_close(found, expected, 1e-5, by_hand.largest)
    assert compiled(lanes) == 1


def test_lanes_of_one_program():
    """They are computed together, or, with another program in one lane, apart: with equal results."""
    cases = list(programs(1, "policy_loss", LANES))
    for program, *_ in cases:
        own = [program.with_constants(case[2][: len(program.constants)].tolist()) for case in cases]
        alike = [(each, *case[1:]) for each, case in zip(own, cases, strict=True)]
        other = next(case for case in cases if case[0].structure != program.structure)
        for together, apart in zip(in_lanes(alike)[1:], in_lanes([other, *alike[1:]])[1:], strict=True):
            for one, same in zip(together, apart, strict=True):
                np.testing.assert_allclose(one, same, rtol=1e-5, atol=1e-6 * (1 + np.abs(one).max()))


def test_extreme_numbers_stay_finite():
    """Values, and derivatives by inputs and constants, where inputs and constants have all sizes."""
    rng = np.random.default_rng(2)
    cases = []
    for program, inputs, constants, weights in programs(2, "policy_loss", 80, largest=np.inf):
        program = program.with_constants(rng.choice(EXTREMES, len(program.constants)).tolist())
        inputs = [rng.choice(EXTREMES, np.shape(x)).astype(np.float32) for x in inputs]
        cases.append((program, inputs, constants, weights))
    for case, found in zip(cases, in_lanes(cases), strict=True):
        assert all(np.isfinite(x).all() for x in found), case


def test_derivatives_through_two_reductions_are_finite():
    """Where slopes of 1e15 follow one another: 1e15 mean(1e15 mean(1e15 log_ratio)) at log_ratio = 0."""
    nodes = [Node(INPUT, name="log_ratio"), Node(CONSTANT, value=1e15), Node("multiply", (0, 1))]
    nodes += [Node("mean", (2,)), Node("multiply", (1, 3)), Node("mean", (4,)), Node("multiply", (1, 5))]
    zeros, ones = np.zeros(SAMPLES, np.float32), np.ones(SAMPLES, np.float32)
    case = Program("policy_loss", tuple(nodes), (6,)), [zeros, zeros, zeros[0]], None, ones
    found = in_lanes([case] * LANES)[0]
    assert all(np.isfinite(x).all() for x in found), found


def spread_out(code, rng):
    """The code with its instructions in other places, in the same order, and any arguments where none is."""
    known = 3 + SIZE.constants
    n = int((code["operations"] != 0).sum())
    places = np.sort(rng.choice(SIZE.instructions, n, replace=False))
    register = np.concatenate([np.arange(known), known + places])
    operations = np.zeros_like(code["operations"])
    arguments = rng.integers(0, known, code["arguments"].shape).astype(np.int32)
    operations[places], arguments[places] = code["operations"][:n], register[code["arguments"][:n]]
    outputs = np.int32(register[code["outputs"]])
    return code | {"operations": operations, "arguments": arguments, "outputs": outputs}


def test_unused_instructions_change_nothing():
    rng = np.random.default_rng(3)
    cases = list(programs(3, "policy_loss", LANES))
    codes = [encode(program, SIZE) for program, *_ in cases]
    others = [spread_out(code, rng) for code in codes]
    given = stacked([tuple(case[1]) for case in cases]), stacked([case[3] for case in cases])
    for found, expected in zip(lanes(stacked(others), *given), lanes(stacked(codes), *given), strict=True):
        np.testing.assert_array_equal(found, expected)
    assert not any(
        np.array_equal(a["operations"], b["operations"]) for a, b in zip(codes, others, strict=True)
    )
    assert compiled(lanes) == 1


@pytest.mark.parametrize(
    ("slot", "reductions"), [("trace", 0), pytest.param("advantage", 2, marks=pytest.mark.slow)]
)
def test_any_shape_and_several_results(slot, reductions):
    """Inputs broadcast; reductions are over all axes."""
    size, shape = Size(20, 6, reductions), (2, 3)
    run = jax.jit(functools.partial(interpret, reductions=reductions))
    for program, _, constants, _ in programs(4, slot, 12, size):
        rng = np.random.default_rng(0)
        shapes = [() if one.kind == "scalar" else shape for one in slot_of(slot).inputs]
        inputs = [rng.uniform(0.1, 1, each).astype(np.float32) for each in [shape, shape[1:], *shapes[2:]]]
        flat = [np.broadcast_to(x, shape).reshape(-1) for x in inputs]
        by_hand = ByHand(program, flat, constants, np.float32)
        results = run(encode(program, size), inputs)
        assert len(results) == len(slot_of(slot).outputs)
        if by_hand.largest < 1e4:
            expected = by_hand.results.reshape(-1, *shape)
            assert_close(results, expected, 1e-5, by_hand.largest)


# Second derivatives, in float64.

CURVED = Size(20, 6, 1)


@functools.partial(jax.jit, static_argnums=4)
def curvature(code, given, weights, direction, size=CURVED):
    """Result, gradient by inputs and constants, and the Hessian times a direction."""

    def gradient(given):
        slopes, result = jax.grad(total, has_aux=True)(given, code, weights, size)
        return result, slopes

    (result, slopes), (_, second) = jax.jvp(gradient, (given,), (direction,))
    return result, slopes, second


def direction_like(given, seed=0):
    rng = np.random.default_rng(seed)
    return tuple(np.asarray(rng.normal(0, 1, x.shape)) for x in given)


@pytest.mark.parametrize(
    ("slot", "size"),
    [
        ("policy_loss", CURVED),
        pytest.param("loss", Size(20, 6, 3), marks=pytest.mark.slow),
        pytest.param("loss", Size(20, 6, 0), marks=pytest.mark.slow),
    ],
)
def test_second_derivatives(slot, size):
    """Gradients, and Hessians times a direction, which are central differences of the gradients too."""
    h, compared = 1e-6, 0
    with jax.enable_x64(True):
        for case in programs(5, slot, 30, size):
            program, *_, weights = case
            given, in_sum = in_float64(case)
            direction, code = direction_like(given), encode(program, size)
            found = curvature(code, given, in_sum, direction, size)
            by_hand = ByHand(program, given[:-1], given[-1])
            second = hessian_times(program, given[:-1], given[-1], weights, direction)
            largest = max(by_hand.largest, *(np.abs(x).max() for x in second))
            expected = [by_hand.results[0], *by_hand.gradient(weights), *second]
            assert_close(jax.tree.leaves(found), expected, 1e-9, largest)
            if "stop_gradient" in program.operations or largest > 1000:
                continue
            (up, slopes_up, _), (down, slopes_down, _) = (
                curvature(code, moved, in_sum, direction, size)
                for moved in (jax.tree.map(lambda x, d, s=s: x + s * d, given, direction) for s in (h, -h))
            )
            slope = sum((s * d).sum() for s, d in zip(found[1], direction, strict=True))
            differences = [((up - down) * in_sum).sum(), *map(np.subtract, slopes_up, slopes_down)]
            assert_close([slope, *found[2]], [x / (2 * h) for x in differences], 1e-4, largest)
            compared += 1
    assert compared > 10


# Programs and arrays.


@pytest.mark.parametrize("slot", SLOTS)
def test_arrays_are_read_back(slot):
    """The same program, up to rounding of constants to float32; and from it the same arrays."""
    rng, size = np.random.default_rng(7), Size(40, 6, 3)
    for _ in range(6):
        program = random_program(rng, slot, 40, 3)
        code = encode(program, size)
        again = decode(slot, code)
        assert (again.structure, again.hash) == (program.structure, program.hash)
        assert again.constants == tuple(float(np.float32(value)) for value in program.constants)
        assert (again.operations, again.outputs) == (program.operations, program.outputs)
        for name, array in encode(again, size).items():
            np.testing.assert_array_equal(array, code[name])
            assert array.dtype == (np.float32 if name == "constants" else np.int32)


def test_programs_that_are_too_large_are_refused():
    nodes = [Node(INPUT, name="log_ratio"), Node(CONSTANT, value=2.0), Node(CONSTANT, value=3.0)]
    nodes += [Node("add", (0, 1)), Node("multiply", (3, 2)), Node("mean", (4,)), Node("subtract", (4, 5))]
    program = Program("policy_loss", (*nodes, Node("exp", (0,))), (6,))  # exp is not needed
    assert len(encode(program, Size(4, 2, 1))["operations"]) == 4
    for size, what in [
        (Size(3, 2, 1), "4 instructions, and 3 are allowed"),
        (Size(4, 1, 1), "2 constants, and 1 are allowed"),
        (Size(4, 2, 0), "1 reductions, and 0 are allowed"),
    ]:
        with pytest.raises(ProgramError, match=what) as caught:
            encode(program, size)
        assert caught.value.kind == "size"


def test_what_is_no_program_is_refused():
    nodes = (Node(INPUT, name="log_ratio"), Node("less", (0, 0)), Node("add", (1, 0)))
    with pytest.raises(ProgramError, match="got a comparison"):
        encode(Program("policy_loss", nodes, (2,)), SIZE)
    code = encode(Program("policy_loss", nodes[:1], (0,)), SIZE)
    with pytest.raises(ProgramError, match="no node of the program"):
        decode("policy_loss", code | {"outputs": np.array([99], np.int32)})
    with pytest.raises(ProgramError, match="no primitive number 77"):
        decode("policy_loss", code | {"operations": np.full(SIZE.instructions, 77, np.int32)})
    later = {"operations": np.full(SIZE.instructions, 7, np.int32), "outputs": np.array([9], np.int32)}
    with pytest.raises(ProgramError, match="does not come before it"):
        decode("policy_loss", code | later | {"arguments": np.full((SIZE.instructions, 3), 20, np.int32)})
    with pytest.raises(ProgramError, match="does not come before it"):
        decode("policy_loss", code | later | {"arguments": np.full((SIZE.instructions, 3), -1, np.int32)})


# Every composition of transformations.


def gradient_of(given, code, weights):
    return jax.grad(lambda given: total(given, code, weights, CURVED)[0])(given)


@pytest.fixture(scope="module")
def four():
    """Four programs, four times their inputs: code, given, weights; and what is expected of all sixteen."""
    with jax.enable_x64(True):
        cases = list(programs(9, "policy_loss", 4, CURVED, 100.0))
        codes = stacked([encode(case[0], CURVED) for case in cases])
        given = stacked([in_float64(case)[0][:-1] for case in cases])
        constants = stacked([np.float64(case[2]) for case in cases])
        weights = wide(cases[0][3])
        expected = [
            [ByHand(case[0], list(other[1]), np.float64(case[2])).gradient(weights) for other in cases]
            for case in cases
        ]
    return cases, codes, given, constants, weights, expected


@pytest.mark.slow
def test_compositions_of_vmap_and_grad(four):
    """Programs by inputs and inputs by programs, jitted and not; of a vmap; by one input alone."""
    _, codes, given, constants, weights, expected = four
    close = functools.partial(assert_close, tolerance=1e-9, largest=1e3)
    with jax.enable_x64(True):

        def one(code, constants, given):
            return gradient_of((*given, constants), code, weights)

        by_inputs = jax.vmap(jax.vmap(one, (None, None, 0)), (0, 0, None))
        by_programs = jax.vmap(jax.vmap(one, (0, 0, None)), (None, None, 0), out_axes=1)
        for nested in (by_inputs, jax.jit(by_inputs), jax.jit(by_programs)):
            found = nested(codes, constants, given)
            for k, other in itertools.product(range(4), repeat=2):
                close([x[k, other] for x in found], expected[k][other])

        def summed(inputs, constants):
            each = jax.vmap(lambda code, c: total((*inputs, c), code, weights, CURVED)[0])(codes, constants)
            return each.sum()

        of_inputs, of_constants = jax.jit(jax.grad(summed, (0, 1)))(tuple(x[0] for x in given), constants)
        close(of_inputs, [sum(expected[k][0][i] for k in range(4)) for i in range(3)])
        close(of_constants, [expected[k][0][-1] for k in range(4)])
        code, at = jax.tree.map(lambda x: jnp.asarray(x[0]), (codes, (*given, constants)))
        for i in range(3):

            def of_one(x, i=i):
                return total((*at[:i], x, *at[i + 1 :]), code, weights, CURVED)[0]

            close([jax.jit(jax.grad(of_one))(at[i])], [expected[0][0][i]])


@pytest.mark.slow
def test_second_derivatives_backwards_and_in_lanes(four):
    """Reverse over reverse, and forward over reverse, of different programs at once."""
    cases, codes, given, constants, weights, _ = four
    with jax.enable_x64(True):
        direction = direction_like(tuple(x[0] for x in (*given, constants)))

        def backwards(code, given):
            def along(given):
                slopes = gradient_of(given, code, weights)
                return sum((s * d).sum() for s, d in zip(slopes, direction, strict=True))

            return jax.grad(along)(given)

        def forwards(code, given):
            return jax.jvp(lambda given: gradient_of(given, code, weights), (given,), (direction,))[1]

        for each in (backwards, forwards):
            found = jax.jit(jax.vmap(each))(codes, (*given, constants))
            for k, (program, inputs, c, _) in enumerate(cases):
                expected = hessian_times(
                    program, [np.float64(x) for x in inputs], np.float64(c), weights, direction
                )
                assert_close([x[k] for x in found], expected, 1e-9, 1e3)


@pytest.mark.slow
def test_second_derivatives_are_finite():
    """In float32, also where inputs are exactly zero and guards are active."""
    for case in programs(10, "policy_loss", 400, CURVED, np.inf):
        program, inputs, constants, weights = case
        inputs = [np.where(np.arange(x.size).reshape(x.shape) == 1, np.float32(0), x) for x in inputs]
        given = (*inputs, constants)
        ones = tuple(np.ones_like(x) for x in given)
        found = curvature(encode(program, CURVED), given, weights, ones)
        assert all(np.isfinite(x).all() for x in jax.tree.leaves(found)), (program, inputs)
