"""Evolution of programs as a meta-optimizer: who is asked for, who stays, in which phase and order."""

import random
from collections import Counter
from dataclasses import replace

import jax
import numpy as np
import pytest

from discovery.app.api import Silence
from discovery.core.config.evolution import ESConfig
from discovery.core.config.programs import ProgramsConfig
from discovery.core.errors import BadInput, RunError
from discovery.meta.base import RequestId, ScoreResult
from discovery.meta.make import make_meta
from discovery.meta.programs.evolution import REFUSALS
from discovery.meta.programs.genome import Breeding
from discovery.meta.programs.records import EMPTY
from discovery.search.loop import search as run_search
from discovery.store.arrays import digest_of, read_tree, write_tree
from discovery.store.run import Run
from objectives import build
from objectives.programs.graph import ProgramError
from objectives.programs.known import SOURCES, known
from objectives.programs.printer import complexity
from objectives.programs.simplify import simplified
from objectives.programs.text import read
from tests.meta.programs.conftest import key_of, loss, make, programs_of, search
from tests.search.test_loop import CONFIG, Scores

START = "-jnp.exp(0.9 * x) * y + 0.3 * jnp.square(x)"
VALUES = np.random.default_rng(5).normal(size=400)
"""Scores of proposals by their number, in these tests: without noise, and whatever they compute."""


def number_of(text) -> int:
    """The number of a proposal of eight by its id."""
    generation, index = str(text)[1:].split("/p")
    return 8 * int(generation) + int(index)


def results_of(requests) -> dict[RequestId, ScoreResult]:
    """A program scores the same again, but some fail at first, and some when they are scored again."""
    results = {}
    for request in requests:
        number, again = number_of(request.id), request.proposal.operator == "scored again"
        scores = np.full(3, VALUES[number_of(request.proposal.parents[0]) if again else number])
        if number % 11 == 5 or (again and number % 40 == 0):
            scores[1] = np.nan
        results[request.id] = ScoreResult(request.id, {"a": scores})
    return results


def sent(requests) -> list:
    """All that requests say."""
    proposals = [request.proposal for request in requests]
    made = [(digest_of(p.meta_params), p.parents, p.operator, p.source) for p in proposals]
    return [(request.id, request.split, *rest) for request, rest in zip(requests, made, strict=True)]


def operators(requests) -> Counter[str]:
    return Counter(request.proposal.operator for request in requests)


def operators_of(meta, batches: int) -> list[Counter[str]]:
    """Those of each batch of a search."""
    return [operators(requests) for requests, _, _ in search(meta, batches, results_of)]


@pytest.fixture(scope="module")
def whole():
    """A meta-optimizer, and its sixteen generations of eight proposals: nine, then four, then three."""
    meta = make(START, 16, tuning=4, simplification=3, migration_every=2, scorings=3, alive=12)
    return meta, list(search(meta, 16, results_of))


def again_in(generation: int) -> int:
    """How many of eight programs are scored again: a fifth, of all so far."""
    return int(0.2 * 8 * (generation + 1)) - int(0.2 * 8 * generation)


def test_who_is_alive_who_migrates_and_who_is_kept_by_an_account_of_our_own(whole):
    """Two islands of six, of which the oldest leave however good they are; and all that were scored twice."""
    meta, history = whole
    islands, hall, scored, failed, moved, children = ([], []), [], Counter(), set(), [], 0

    def best(numbers):
        return sorted({*numbers} - failed, key=lambda n: -VALUES[n])

    def enter(island, number):
        islands[island].append(number)
        del islands[island][:-6]

    for generation, (requests, _, state) in enumerate(history[:9]):
        often = [n for n in best([*islands[0], *islands[1], *hall]) if scored[n] < 3][: again_in(generation)]
        assert [number_of(r.proposal.parents[0]) for r in requests[: len(often)]] == often
        assert operators(requests)["scored again"] == len(often) == again_in(generation) * (generation > 0)
        for request, result in results_of(requests).items():
            number = number_of(request)
            again = number % 8 < len(often)
            subject = often[number % 8] if again else number
            children += not again
            if np.isnan(result.scores["a"]).any():
                failed.add(subject)
                continue
            scored[subject] += 1
            if not again:
                enter((children - 1) % 2, number)
        hall = [n for n in best([*islands[0], *islands[1], *hall]) if scored[n] > 1]
        if generation % 2:
            moving = [next((n for n in best(island) if scored[n] > 1), None) for island in islands]
            for island, number in enumerate(moving):
                if number is not None and number not in islands[1 - island]:
                    enter(1 - island, number)
                    moved.append(number)
        born = state.records.born.tolist()
        for island, found in zip(islands, (born[:6], born[6:12]), strict=True):
            assert sorted(found) == sorted([-1] * (6 - len(island)) + island)
        assert born[12:] == (hall + [-1] * 16)[:16]
        counted = dict(zip(born, state.records.scorings, strict=True))
        assert all(counted[n] == scored[n] for n in {*born} - failed - {-1})
        wanted = ("best", (str(RequestId(*divmod(hall[0], 8))),)) if hall else ("start", ())
        answer = meta.answer(state)
        assert (answer.operator, answer.parents) == wanted
    assert failed and len(hall) > 4 and len(moved) > 2


def test_what_is_asked_for_in_which_phase(whole):
    kinds = [operators(requests) for requests, _, _ in whole[1]]
    for generation, found in enumerate(kinds):
        tunes, simplifies = 9 <= generation < 13, generation >= 13
        assert sum(found.values()) == 8 and found["start"] == (generation == 0)
        assert bool(found["constants"]) == tunes >= bool(found["tuned constants"])
        assert found["reference"] == simplifies == bool(found["removal"])
        assert found["scored again"] == again_in(generation) * (generation > 0) or simplifies
    total = sum(kinds, Counter())
    assert total["tuned constants"] >= 4 and total["crossover"] > 3 and not total["fresh"]


def test_a_program_is_scored_a_limited_number_of_times_and_an_answer_at_least_twice(whole):
    meta, history = whole
    scored = Counter()
    for generation, (requests, _, state) in enumerate(history):
        for request in requests:
            again = request.proposal.operator in ("scored again", "reference")
            name = request.proposal.parents[0] if again else str(request.id)
            assert not again or number_of(name) < 8 * generation
            scored[name] += 1
            assert scored[name] <= 3 or request.proposal.operator == "reference"
        answer = meta.answer(state)
        assert answer.operator == "start" or scored[answer.parents[0]] >= 2


def test_no_two_new_programs_are_the_same_and_what_is_skipped_is_counted(monkeypatch):
    errors, vetted = Counter(), Breeding.vetted

    def counting(*given):
        try:
            return vetted(*given)
        except ProgramError as error:
            errors[error.kind] += 1
            raise

    monkeypatch.setattr(Breeding, "vetted", counting)
    meta = make(START, 5, most_cost=9.0)
    history = list(search(meta, 5, results_of))
    children = []
    for _, asked, _ in history:
        (number,) = asked.flight.batches()
        batch = asked.flight.of(number)
        children += [int(batch.behavior[i]) for i in range(8) if batch.is_a("child", i)]
    assert len(children) == len(set(children)) == 5 * 8 - sum(map(again_in, range(1, 5)))
    state = history[-1][2]
    found = {kind: int(meta.metrics(state)[f"refused_{kind}"]) for kind in REFUSALS}
    assert found == {kind: errors[kind] for kind in REFUSALS} | {"duplicate": state.seen.hits.sum()}
    assert found["path"] and found["cost"] and found["duplicate"]


@pytest.mark.parametrize("generation", [5, 10, 14], ids=["evolution", "tuning", "simplification"])
def test_asking_is_a_function_of_state_and_key_and_a_restored_state_goes_on(whole, generation, tmp_path):
    meta, history = whole
    state, (known, _, after) = history[generation][2], history[generation + 1]
    before, key = digest_of(state), key_of(generation + 1)
    requests, asked = meta.ask(key, state)
    assert sent(requests) == sent(known) and digest_of(state) == before
    assert meta.ask(key_of(99), asked) == ([], asked)  # one generation at a time
    assert [sent(batch) for batch in meta.in_flight(asked)] == [sent(requests)]
    restored = read_tree(tmp_path, write_tree(tmp_path, state), meta.init(jax.random.key(3)))
    again, asked_again = meta.ask(key, restored)
    assert sent(again) == sent(requests) and digest_of(asked_again) == digest_of(asked)
    in_flight = digest_of(asked)
    for each in (asked, asked_again):
        assert digest_of(meta.tell(each, results_of(again))) == digest_of(after)
    assert digest_of(asked) == in_flight
    assert sent(meta.ask(key_of(generation + 2), state)[0]) != sent(requests)


def test_proposals_say_where_they_come_from(whole):
    """Their source is their program, and parents were proposed before."""
    meta, history = whole
    for generation, (requests, _, state) in enumerate(history):
        assert [str(request.id) for request in requests] == [f"g{generation}/p{i}" for i in range(8)]
        for proposal in (*(request.proposal for request in requests), meta.answer(state)):
            hashes = {slot: one.hash for slot, one in read(proposal.source).items()}
            assert hashes == {slot: one.hash for slot, one in programs_of(proposal).items()}
        for request in requests:
            parents, operator = request.proposal.parents, request.proposal.operator
            assert all(number_of(parent) < number_of(request.id) for parent in parents)
            assert len(parents) == {"start": 0, "crossover": 2}.get(operator, 1)
    assert all(np.isfinite(value) for value in meta.metrics(history[-1][2]).values())


def test_batches_in_flight_are_told_in_any_order():
    meta = make(START, 6, asynchronous=True, batch=4, in_flight=12, tuning=2, simplification=2)

    def played(seed):
        order, waiting, state, count = random.Random(seed), {}, meta.init(jax.random.key(0)), 0
        while count < 18:
            while (batch := meta.ask(key_of(count), state))[0]:
                waiting[count], state = batch
                count += 1
            assert len(waiting) == 3
            assert [sent(b) for b in meta.in_flight(state)] == [sent(waiting[n]) for n in sorted(waiting)]
            state = meta.tell(state, results_of(waiting.pop(order.choice(sorted(waiting)))))
        return digest_of(state)

    assert played(0) == played(0) != played(1)


def test_random_search_mutation_and_beginnings():
    for requests, _, _ in search(make(START, 2, variation="random"), 2, results_of):
        new = [r.proposal for r in requests if r.proposal.operator != "scored again"]
        assert {(one.operator, one.parents) for one in new} == {("fresh", ())} and len(new) >= 6
    kinds = sum(operators_of(make(START, 4, variation="mutation"), 4), Counter())
    assert not {"crossover", "fresh"} & kinds.keys() and len(kinds) > 5
    for generation, kinds in enumerate(operators_of(make(START, 3, begin="nothing", alive=16), 3)):
        assert kinds.keys() <= {"fresh", "scored again"} if generation < 2 else kinds["fresh"] < 4
        assert not kinds["start"] and not kinds["known"]
    meta = make("-jnp.exp(x) * y", 1, begin="known", population=12)
    ((requests, _, _),) = search(meta, 1, results_of)
    names = [name for name in SOURCES["policy_loss"] if name != "policy_gradient"]  # which is the start
    assert [r.proposal.operator for r in requests[: len(names) + 1]] == ["start"] + ["known"] * len(names)
    found = [programs_of(r.proposal)["policy_loss"].hash for r in requests[1 : len(names) + 1]]
    assert found == [simplified(known("policy_loss", name)).hash for name in names]


@pytest.mark.parametrize(
    ("algorithm", "options"),
    [
        ("programs", {"slots": "policy_loss,schedule"}),
        ("programs+open", {"open_gru_width": 2, "open_width": 2}),
    ],
)
def test_a_child_differs_from_its_parent_in_one_of_several_entries(algorithm, options):
    first = jax.tree.map(np.asarray, build(algorithm, options).init(jax.random.key(0)))
    proposals, changed = {}, Counter()
    for requests, _, _ in search(make(first, 3, population=12), 3, results_of):
        for request in requests:
            one = proposals[str(request.id)] = request.proposal
            assert jax.tree.structure(one.meta_params) == jax.tree.structure(first)
            if one.parents and one.operator != "scored again":
                parent = proposals[one.parents[0]].meta_params
                entries = {n for n in first if digest_of(one.meta_params[n]) != digest_of(parent[n])}
                assert len(entries) == 1 and (one.operator == "noise") == (entries == {"optimizer"})
                changed.update(entries)
    assert changed.keys() == first.keys()


def test_a_generation_that_failed_altogether_leaves_no_trace():
    meta = make(START, 3)
    requests, asked = meta.ask(key_of(0), meta.init(jax.random.key(0)))
    failures = {r.id: ScoreResult(r.id, {"a": np.full(2, np.nan)}) for r in requests}
    state = meta.tell(asked, failures)
    assert (state.records.born == EMPTY).all() and (state.told, state.failed) == (1, 8)
    assert meta.answer(state).operator == "start" and meta.metrics(state)["programs_alive"] == 0
    *_, (requests, _, state) = search(meta, 2, lambda requests: results_of(requests) | failures)
    assert operators(requests)["scored again"] == 0 and state.records.sound.sum() == 8 - state.failed
    with pytest.raises(RunError, match="missing"):
        meta.tell(asked, dict(list(failures.items())[:3]))


def test_equal_answers_are_trained_once_and_the_simplest_of_equals_is_chosen(tmp_path):
    """Every training scores the same, so all answers are equal."""
    meta = ProgramsConfig(population=8, begin="start", tuning=0, simplification=4)
    config = replace(CONFIG, algorithm="programs", tasks=CONFIG.tasks[:1], generations=6, meta=meta)
    trained = Scores()
    with Run.create(config, tmp_path, name="run") as run:
        choice = run_search(run, trained, Silence())
        answers = [run.answer(generation - 1) for generation in range(7)]
    distinct = {digest_of(answer.meta_params): answer for answer in answers}
    selecting = Counter(job.id.split for job in trained.jobs)["selection"]
    assert 1 < len(distinct) < 7 and selecting == config.selection_seeds * len(distinct)
    sizes = [sum(map(complexity, read(answer.source).values())) for answer in answers]
    assert sizes[choice.generation] == min(sizes) < sizes[0]


BAD = [
    {"population": 1}, {"islands": 0}, {"migration_every": -1}, {"scorings": 1}, {"survivors": 0},
    {"alive": 1}, {"tournament": 0}, {"tuning": -1}, {"simplification": -1}, {"rescored": 0.0},
    {"rescored": 1.0}, {"rescored": float("nan")}, {"most_cost": 0.0}, {"most_cost": float("inf")},
    {"sigma": float("nan")}, {"variation": "other"}, {"begin": "other"}, {"scorings": 2.5},
    {"alive": 5, "islands": 3}, {"batch": 4}, {"in_flight": 4}, {"answer_every": -1},
    {"batch": 3, "asynchronous": True}, {"in_flight": 6, "asynchronous": True, "batch": 4},
]  # fmt: skip
"""Each is bad because of its first option."""


@pytest.mark.parametrize("options", BAD, ids=str)
def test_bad_options_are_named(options):
    with pytest.raises(BadInput, match=next(iter(options))):
        ProgramsConfig(**options)


def test_what_unset_options_mean_and_what_does_not_go_together():
    config = ProgramsConfig(population=10, islands=4).resolved()
    assert (config.alive, config.tournament, config.task_normalization) == (28, 2, "z_score")
    assert config.resolved() == config and "4 islands of 7" in config.details[0]
    assert [ProgramsConfig().phases(n) for n in (9, 25, 100)] == [(9, 9), (21, 23), (80, 90)]
    assert ProgramsConfig(tuning=0, simplification=5).phases(5) == (0, 0)
    with pytest.raises(BadInput, match=r"take 3 \+ 3 generations"):
        ProgramsConfig(tuning=3, simplification=3).phases(5)
    with pytest.raises(BadInput, match="reference"):
        make(START, 5, task_normalization="reference")
    with pytest.raises(BadInput, match="--algorithm programs"):
        make({"drift": np.zeros(3, np.float32)}, 5)
    with pytest.raises(BadInput, match=r"--meta\.method programs"):
        make_meta(ESConfig(population=4), lambda key: loss(START))


def test_a_start_that_is_refused_is_bad_input():
    with pytest.raises(BadInput, match="cost"):
        make(START, 5, most_cost=2.0)


def test_small_batches_score_no_larger_share_again():
    meta = make(START, 15, asynchronous=True, batch=4, in_flight=4, tuning=0, simplification=0)
    assert sum(operators_of(meta, 30), Counter())["scored again"] <= 0.2 * 4 * 30


def test_small_batches_have_candidates_in_the_contest():
    with pytest.raises(BadInput, match="batch must be at least 4"):
        make(START, 4, asynchronous=True, batch=1, in_flight=1, simplification=4)
    meta = make(START, 4, asynchronous=True, batch=4, in_flight=4, simplification=4)
    assert sum(operators_of(meta, 8), Counter())["removal"] > 0


def test_small_batches_fill_all_islands():
    meta = make(START, 8, asynchronous=True, batch=4, in_flight=4)
    *_, (_, _, state) = search(meta, 16, results_of)
    islands = state.records.island[state.records.sound]
    assert min(np.bincount(islands[islands >= 0])) > 4
