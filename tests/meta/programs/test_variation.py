"""Changes of programs: always well typed and within the size, each operator by hand, all from one seed."""

from collections import Counter

import numpy as np
import pytest

from discovery.meta.programs.variation import MUTATIONS, Draft, Pool, fits, fresh, vary
from objectives.programs.code import Size, decode, encode
from objectives.programs.graph import Program
from objectives.programs.known import SOURCES, known
from objectives.programs.slots import SLOTS
from objectives.programs.source import parse

SIZE = Size(20, 8, 2)
DONORS = [known("policy_loss", name) for name in SOURCES["policy_loss"]]


def loss(text: str) -> Program:
    return parse(f"def loss(log_ratio, advantage):\n    return {text}", "policy_loss")


def results(name: str, program: Program, n: int = 200, donors=()) -> Counter[str]:
    """What an operator makes of a program: hashes, counted."""
    found = Counter()
    for seed in range(n):
        draft = Draft(program, np.random.default_rng(seed), SIZE)
        MUTATIONS[name][0](draft, donors)
        found[draft.program().hash] += 1
    return found


@pytest.mark.parametrize("slot", SLOTS)
def test_every_child_and_every_new_program_is_well_typed_and_fits(slot):
    rng = np.random.default_rng(0)
    pool = Pool(SIZE, [known(slot, name) for name in SOURCES[slot]])
    alive = [fresh(slot, rng, SIZE) for _ in range(10)]
    operators = Counter()
    for _ in range(150):
        parent = alive[int(rng.integers(10))]
        child, operator = vary(parent, rng, pool._replace(mates=alive))
        operators[operator] += 1
        assert fits(child, SIZE) and len(child.kinds) == len(child.nodes)
        assert decode(slot, encode(child, SIZE)).hash == child.hash != parent.hash
        alive[int(rng.integers(10))] = child
    assert {"crossover", "insert", "delete", "replace", "rewire", "constant"} <= operators.keys()
    assert "copy" not in operators


def test_a_seed_gives_the_same_children():
    def made(seed):
        rng = np.random.default_rng(seed)
        return [vary(DONORS[1], rng, Pool(SIZE, DONORS, DONORS)) for _ in range(20)]

    assert made(1) == made(1) != made(2)


def test_without_mates_there_is_no_crossover():
    rng = np.random.default_rng(0)
    assert "crossover" not in {vary(DONORS[0], rng, Pool(SIZE, DONORS))[1] for _ in range(100)}


def test_deletions_by_hand():
    found = results("delete", loss("jnp.exp(log_ratio) * advantage"))
    by_hand = ["log_ratio * advantage", "jnp.exp(log_ratio)", "advantage"]
    assert found.keys() == {loss(text).hash for text in by_hand}


def test_swaps_by_hand():
    program = loss("jnp.where(advantage > 0, log_ratio, 2.0 - advantage)")
    by_hand = [
        "jnp.where(advantage < 0, log_ratio, 2.0 - advantage)",
        "jnp.where(advantage > 0, 2.0 - advantage, log_ratio)",
        "jnp.where(advantage > 0, log_ratio, advantage - 2.0)",
    ]
    assert results("swap", program).keys() == {loss(text).hash for text in by_hand}


def test_constants_change_by_powers_of_two_of_a_normal_number_and_the_structure_stays():
    program = loss("3.0 * log_ratio * advantage")
    factors = []
    for seed in range(1000):
        draft = Draft(program, np.random.default_rng(seed), SIZE)
        MUTATIONS["constant"][0](draft, ())
        assert draft.program().structure == program.structure
        factors.append(draft.program().constants[0] / 3.0)
    logs = np.log2(np.abs(factors))
    assert abs(logs.mean()) < 0.1 and abs(logs.std() - 1) < 0.1
    assert 0.05 < np.mean(np.array(factors) < 0) < 0.15


def test_replaced_primitives_keep_their_arguments_and_their_class():
    program = loss("jnp.where(advantage > log_ratio, log_ratio, advantage)")
    found = results("replace", program)
    assert loss("jnp.where(advantage >= log_ratio, log_ratio, advantage)").hash in found
    assert loss("jnp.maximum(log_ratio, advantage)").hash in found


def test_grafts_are_parts_of_donors():
    found = results("graft", loss("log_ratio * advantage"), donors=[loss("jnp.tanh(jnp.exp(log_ratio))")])
    parts = ["jnp.tanh(jnp.exp(log_ratio))", "jnp.exp(log_ratio)"]
    by_hand = {
        loss(text.format(part)).hash for part in parts for text in ("{}", "{} * advantage", "log_ratio * {}")
    }
    assert found.keys() == by_hand


def test_a_program_as_large_as_it_may_be_only_shrinks_or_stays():
    program = fresh("policy_loss", np.random.default_rng(3), SIZE)
    tight = Size(len(program.operations), len(program.constants), 2)
    rng = np.random.default_rng(0)
    for _ in range(100):
        child, _ = vary(program, rng, Pool(tight, DONORS))
        assert fits(child, tight)
