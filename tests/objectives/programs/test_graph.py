"""Programs as graphs: one canonical form for one function, and hashes of it."""

import numpy as np
import pytest

from objectives.programs.graph import CONSTANT, INPUT, Node, Program, ProgramError, canonical, kind_of
from objectives.programs.known import SOURCES, known
from objectives.programs.primitives import PRIMITIVES
from objectives.programs.slots import SLOTS
from objectives.programs.source import parse
from tests.objectives.programs.random_programs import random_program
from tests.objectives.programs.test_interpreter import ByHand

R, A, ONE = Node(INPUT, name="log_ratio"), Node(INPUT, name="advantage"), Node(CONSTANT, value=1.0)


def program(*nodes, slot="policy_loss", outputs=None):
    return Program(slot, nodes, (len(nodes) - 1,) if outputs is None else outputs)


def written(expression):
    return parse(f"def f(log_ratio, advantage):\n    return {expression}", "policy_loss")


def randoms(count, seed=0):
    rng = np.random.default_rng(seed)
    for _ in range(count):
        yield rng, random_program(rng, str(rng.choice([*SLOTS])), int(rng.integers(1, 40)), 3)


def flags(*texts):
    """The texts; of flags, numbers that depend on them."""
    return [f"jnp.where({text}, log_ratio, 0.5)" if "<" in text or ">" in text else text for text in texts]


@pytest.mark.parametrize(
    ("one", "same"),
    [
        ("log_ratio + advantage", "advantage + log_ratio"),
        ("jnp.maximum(jnp.exp(advantage) * 2, log_ratio)", "jnp.maximum(log_ratio, 2 * jnp.exp(advantage))"),
        ("advantage > log_ratio", "log_ratio < advantage"),
        ("(log_ratio < 1.0) & (advantage < 2.0)", "(advantage < 2.0) & (log_ratio < 1.0)"),
    ],
)
def test_what_is_the_same(one, same):
    one, same = map(written, flags(one, same))
    assert (one, one.hash) == (same, same.hash)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        *((f"log_ratio {sign} advantage", f"advantage {sign} log_ratio") for sign in "-/<"),
        ("log_ratio < advantage", "log_ratio <= advantage"),
        ("log_ratio + advantage", "log_ratio * advantage"),
        ("log_ratio + advantage", "log_ratio + jnp.mean(advantage)"),
    ],
)
def test_what_differs(one, other):
    one, other = map(written, flags(one, other))
    assert one.structure != other.structure and one.hash != other.hash


def test_shared_commuted_and_dead_nodes():
    """r A + A r with both products written out, and beside it what nothing needs."""
    product = program(
        R, A, ONE, Node("multiply", (0, 1)), Node("exp", (2,)), Node("multiply", (1, 0)), Node("add", (3, 5))
    )
    short = canonical(product)
    assert sorted(node.operation for node in short.nodes) == ["add", "input", "input", "multiply"]
    assert short.nodes[-1].arguments == (2, 2) and short.outputs == (3,)
    assert short.hash == product.hash == canonical(short).hash and canonical(short) == short
    assert (short.constants, set(short.inputs), short.operations) == (
        (),
        {"log_ratio", "advantage"},
        ("multiply", "add"),
    )


def test_constants_are_never_merged():
    """A search can change one of two equal ones."""
    two = canonical(program(R, ONE, ONE, Node("add", (0, 1)), Node("multiply", (3, 2))))
    one = canonical(program(R, ONE, Node("add", (0, 1)), Node("multiply", (2, 1))))
    assert two.constants == (1.0, 1.0) and one.constants == (1.0,)
    assert two.structure != one.structure
    assert canonical(program(ONE, ONE, Node("add", (0, 1)))).constants == (1.0, 1.0)


def test_structure_has_no_values_of_constants():
    for slot, names in SOURCES.items():
        for name in names:
            here = known(slot, name)
            other = here.with_constants([value + 0.125 for value in here.constants])
            assert other.structure == here.structure
            assert (other.hash == here.hash) == (not here.constants), (slot, name)
            assert here.with_constants(here.constants) == here


@pytest.mark.parametrize(
    ("value", "other", "same"),
    [
        (0.1, 0.1 + 1e-9, True),
        (0.1, 0.100001, False),
        (1e6, 1e6 + 0.25, True),
        (2.0, -2.0, False),
        (0.0, 1e-30, False),
    ],
)
def test_constants_count_to_six_digits(value, other, same):
    one, another = (program(R, Node(CONSTANT, value=x), Node("add", (0, 1))) for x in (value, other))
    assert (one.hash == another.hash) == same
    assert one.structure == another.structure


def shuffled(rng, one, commute):
    """The same program with its nodes in another order in which arguments come first."""
    left, place, nodes = list(range(len(one.nodes))), {}, []
    while left:
        ready = [index for index in left if all(a in place for a in one.nodes[index].arguments)]
        index = ready[rng.integers(len(ready))]
        node = one.nodes[index]
        arguments = [place[a] for a in node.arguments]
        commutes = node.operation in PRIMITIVES and PRIMITIVES[node.operation].commutes
        if commute and commutes and rng.random() < 0.5:
            arguments.reverse()
        place[index] = len(nodes)
        nodes.append(node._replace(arguments=tuple(arguments)))
        left.remove(index)
    return Program(one.slot, tuple(nodes), tuple(place[output] for output in one.outputs))


@pytest.mark.parametrize("commute", [False, True], ids=["order", "order and commuted arguments"])
def test_the_order_of_nodes_does_not_matter(commute):
    for rng, one in randoms(60):
        other = shuffled(rng, one, commute)
        assert (other.structure, other.hash) == (one.structure, one.hash), one
        assert canonical(other) == canonical(one)


def test_the_canonical_form_computes_the_same():
    for rng, one in randoms(40, 1):
        nodes = [*one.nodes, Node("negative", (0,))] if one.kinds[0] != "flag" else one.nodes
        long = shuffled(rng, Program(one.slot, tuple(nodes), one.outputs), True)
        inputs = [rng.normal(size=4) for _ in SLOTS[one.slot].inputs]
        expected = ByHand(long, inputs, np.array(long.constants)).results
        short = canonical(long)
        np.testing.assert_array_equal(ByHand(short, inputs, np.array(short.constants)).results, expected)
        assert len(short.nodes) <= len(long.nodes)
        assert short.kinds and canonical(short) == short


# Kinds.


def test_kinds():
    """A number per sample, one for all, or a flag."""
    t, less = Node(INPUT, name="progress"), Node("less", (0, 1))
    one = program(
        R, t, less, Node("mean", (0,)), Node("add", (1, 3)), Node("where", (2, 1, 3)), Node("add", (0, 1))
    )
    assert one.kinds == ("sample", "scalar", "flag", "scalar", "scalar", "sample", "sample")
    assert one.couples_batch and one.cost == 5 and not program(R).couples_batch
    assert kind_of("minimum", ["flag", "flag"]) == "flag"
    assert kind_of("less", ["scalar", "scalar"]) == "flag"
    assert kind_of("clip", ["scalar", "scalar", "sample"]) == "sample"


@pytest.mark.parametrize(
    ("nodes", "kind", "message"),
    [
        ((R, Node("gamma", (0,))), "name", "no primitive 'gamma'"),
        ((Node(INPUT, name="value"),), "name", "policy_loss has no input 'value'"),
        ((R, Node("exp", (0, 0))), "type", "the number of arguments of exp is 2; write"),
        ((R, Node("less", (0, 0)), Node("exp", (1,))), "type", "exp needs a number, and got a comparison"),
        ((R, Node("where", (0, 0, 0))), "type", "where needs a comparison"),
        ((R, Node("less", (0, 0))), "type", "a result is a comparison"),
        ((R, Node("exp", (1,))), "type", "argument that does not come before it"),
        ((R, Node("exp", (5,))), "type", "argument that does not come before it"),
    ],
)
def test_what_is_no_program(nodes, kind, message):
    with pytest.raises(ProgramError, match=message) as caught:
        _ = program(*nodes).kinds
    assert caught.value.kind == kind and caught.value.line is None


def test_an_unknown_slot():
    with pytest.raises(ValueError, match="no slot 'policy'"):
        _ = program(R, slot="policy").kinds
