"""The simplest of equals: what can be removed, by hand; who stays in the contest; what a search ends with."""

import itertools
from collections import Counter

import numpy as np
import pytest

from discovery.meta.base import ScoreResult
from discovery.meta.programs.genome import Genome
from discovery.meta.programs.simplification import TOGETHER, no_contest, removals, simpler
from discovery.search.selection import _simplest_of_best
from discovery.store.arrays import digest_of
from objectives.programs.printer import complexity
from tests.meta.programs.conftest import SIZE, loss, make, program, programs_of, search

RNG, NAN = np.random.default_rng(0), float("nan")


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("jnp.exp(x) * y", ["x * y", "c0 * y", "c1 * y", "jnp.exp(x)", "y", "c0", "c1"]),
        ("jnp.where(x < y, y, x)", ["y", "x", "c0", "c1"]),  # a comparison has no argument of its class
        ("jnp.tanh(x) / jnp.tanh(x)", ["x / x", "c0 / c0", "c1 / c1", "jnp.tanh(x)", "c0", "c1"]),
        ("x", []),
    ],
)
def test_removals_by_hand(text, wanted):
    found = {one.hash for one in removals(program(text), RNG, SIZE)}
    assert found == {program(each).hash for each in wanted}


def test_simpler_programs_have_up_to_three_parts_less():
    whole = program("jnp.tanh(x * y) - jnp.square(x)")
    levels = [{whole.hash: whole}]
    for _ in range(TOGETHER):
        following = [each for one in levels[-1].values() for each in removals(one, RNG, SIZE)]
        levels.append({each.hash: each for each in following})
    genomes = simpler(Genome({"policy_loss": whole}, np.zeros(0)), RNG, {"policy_loss": SIZE})
    found = {one.programs["policy_loss"].hash: one.complexity for one in itertools.islice(genomes, 2000)}
    assert levels[1].keys() <= found.keys() <= set().union(*levels[1:])
    assert max(found.values()) < complexity(whole)
    bare = Genome({"policy_loss": program("x")}, np.zeros(0))
    assert next(simpler(bare, RNG, {"policy_loss": SIZE})) == bare


def contest_of(*differences, sizes):
    """A contest whose candidates have these differences from the reference, scoring by scoring."""
    contest = no_contest({}, 1)
    for row, (scorings, size) in enumerate(zip([[], *differences], sizes, strict=True)):
        contest.put(row, {}, row, np.uint64(row), size)
        for each in scorings:
            reference = RNG.normal(size=(1, len(each)))
            contest.add(row, reference + np.asarray(each), reference)
    return contest


def test_the_rule_of_one_standard_error_by_hand():
    """Means -1/4 and -19/20; variances 11/12 and 1/100, of four differences."""
    contest = contest_of([[-1, 1], [-1, 0]], [[-1, -1], [-1, -0.8]], sizes=[9, 7, 5])
    np.testing.assert_allclose(contest.means[1:3], [-0.25, -0.95], rtol=1e-9)
    np.testing.assert_allclose(contest.errors[1:3], np.sqrt([11 / 12 / 4, 0.01 / 4]), rtol=1e-9)
    assert contest.answer == 1 and contest.in_contest[:4].tolist() == [True, True, False, False]
    assert contest.free_row() == 2 and contest.order() == [1]


@pytest.mark.parametrize(
    ("differences", "sizes", "answer"),
    [
        ([[[0, 0, 0, 0]]], [9, 5], 0),  # scored once
        ([[[0, 0], [0, 0]]], [9, 5], 1),
        ([[[0, 0], [0, 0]]], [9, 9], 0),
        ([[[1, 1], [1, 1]]], [9, 9], 1),  # as simple, and better
        ([[[0], [0]], [[1], [1]]], [9, 5, 5], 2),  # of equals the better one
        ([[[2, 2], [2, 2]]], [5, 6], 0),  # better, and not simpler
        ([[[-1, -1], [-1, NAN]]], [9, 5], 0),
        ([[[0, 0], [NAN, 0], [0, 0]]], [9, 5], 0),  # a training failed
        ([[[-1, 0.4], [-1, 0.4]]], [9, 5], 1),  # 0.74 standard errors worse
        ([[[-1, 0.2], [-1, 0.2]]], [9, 5], 0),  # 1.15
    ],
)
def test_answers_by_hand(differences, sizes, answer):
    assert contest_of(*differences, sizes=sizes).answer == answer


def test_differences_are_averaged_over_tasks_in_units_of_their_spread():
    contest = no_contest({}, 2)
    contest.scale[:] = 2.0, 10.0
    for row in (0, 1):
        contest.put(row, {}, row, np.uint64(row), 9)
    contest.add(1, np.array([[4.0, 4.0], [0.0, 10.0]]), np.array([[0.0, 2.0], [10.0, 10.0]]))
    assert contest.means[1] == pytest.approx(((2 - 1) / 2 + (1 + 0) / 2) / 2) and contest.n[1] == 2
    contest.add(1, np.ones((2, 2)), np.full((2, 2), NAN))  # there is nothing to compare with
    assert contest.scorings[1] == 1 and contest.in_contest[1]


@pytest.mark.parametrize(
    ("merit", "sizes", "row"),
    [
        ([[1, 3, 2, 2], [1, 1, 2, 2.5]], [9, 5], 1),  # 3/8 worse, and 0, -2, 0, 1/2 have an error of 0.55
        ([[1, 3, 2, 2], [0, 2, 1, 1]], [9, 5], 0),  # on each seed worse
        ([[1, 3, 2, 2], [0, 3.4, 1, 2.4]], [9, 5], 1),
        ([[1, 3, 2, 2], [0, 3.2, 1, 2.2]], [9, 5], 0),
        ([[1, 3, 2, 2], [1, 3, 2, 2]], [5, 5], 0),
        ([[1, 3, 2, 2], [1, NAN, 2, 2]], [9, 5], 0),
        ([[NAN], [NAN]], [9, 5], 0),
        ([[2], [1]], [9, 5], 0),
    ],
)
def test_the_rule_for_the_answers_of_generations(merit, sizes, row):
    assert _simplest_of_best(np.array(merit, np.float64), sizes) == row


START = "-(jnp.exp(x) * y) + jnp.tanh(x) * jnp.square(y) + 0.1 * jnp.log1p(jnp.abs(x))"


def worth(proposal) -> float:
    """1 for each of two primitives. The others do not matter."""
    return float(sum(name in programs_of(proposal)["policy_loss"].operations for name in ("exp", "multiply")))


def noisy(requests):
    """Their scores on four seeds, with noise that is a tenth of what a part is worth."""
    results = {}
    for request in requests:
        noise = np.random.default_rng([request.id.generation, request.id.index]).normal(size=4)
        results[request.id] = ScoreResult(request.id, {"a": worth(request.proposal) + 0.1 * noise})
    return results


def test_a_search_ends_with_the_simplest_equal_program_and_answers_nothing_that_was_scored_once():
    """Parts that matter stay, however often they are removed."""
    meta, scored = make(START, 7, simplification=7, population=12), Counter()
    for requests, _, state in search(meta, 7, noisy):
        scored.update(digest_of(request.proposal.meta_params) for request in requests)
        answer = meta.answer(state)
        digest = digest_of(answer.meta_params)
        assert digest == digest_of(loss(START)) or scored[digest] >= 2
        assert worth(answer) == 2
        assert [request.proposal.operator for request in requests].count("reference") == 1
    assert programs_of(answer)["policy_loss"].hash == program("jnp.exp(x) * y").hash
    assert answer.operator == "simplest of equals" and len(answer.parents) == 1


def test_parts_that_change_nothing_at_all_are_removed():
    meta = make("jnp.minimum(-jnp.exp(x) * y, jnp.maximum(-jnp.exp(x) * y, 1.0))", 3, simplification=3)
    *_, (_, _, state) = search(meta, 3, noisy)
    assert complexity(programs_of(meta.answer(state))["policy_loss"]) <= 5
