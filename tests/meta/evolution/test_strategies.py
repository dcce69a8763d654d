# pyright: reportAttributeAccessIssue=false
"""One suite over every strategy on offer."""

import functools

import jax
import numpy as np
import pytest

from discovery.core.config.evolution import ESConfig
from discovery.core.config.strategies import STRATEGIES
from discovery.core.errors import BadInput
from discovery.meta.base import ScoreResult
from discovery.meta.generation import check_size
from discovery.meta.make import make_meta
from objectives import build as build_algorithm
from tests.meta.conftest import config_of

NAN = float("nan")
# Plain gradient steps, since Adam's first one is the sign of each entry and hides how far it goes.
SGD = {
    "Open_ES": {"optimizer": "sgd", "learning_rate": 0.3},
    "PGPE": {"optimizer": "sgd", "learning_rate": 3.0},
    "ARS": {"optimizer": "sgd", "learning_rate": 0.1},
}
names = pytest.mark.parametrize("strategy", [*STRATEGIES, "PBE"])


@pytest.fixture
def meta(strategy, build):
    return build(strategy=strategy, **SGD.get(strategy, {}))


def equal(a, b) -> bool:
    """Bit for bit, structure included."""
    leaves_a, tree_a = jax.tree.flatten(a)
    leaves_b, tree_b = jax.tree.flatten(b)
    return tree_a == tree_b and all(
        np.asarray(x).tobytes() == np.asarray(y).tobytes() for x, y in zip(leaves_a, leaves_b, strict=True)
    )


@names
def test_it_climbs_a_quadratic_from_a_mean_that_is_not_zero(strategy, meta, problem):
    start = meta.init(jax.random.key(0))
    np.testing.assert_allclose(problem.flat(meta.answer(start).meta_params), 1.5, atol=0.5)
    end = problem.search(meta, 40)
    before, after = (problem.score(meta.answer(state).meta_params) for state in (start, end))
    assert after / before < (0.8 if strategy == "RandomSearch" else 0.1)


def first_generation(meta, problem, key=0):
    """Requests of generation 0, the state, their scores ``[P]`` and proposals ``[P, d]``."""
    requests, state = meta.ask(problem.key_of(key), meta.init(jax.random.key(0)))
    proposals = np.stack([problem.flat(request.proposal.meta_params) for request in requests])
    return requests, state, np.array([problem.score(r.proposal.meta_params) for r in requests]), proposals


def told(meta, requests, state, scores):
    by_id = dict(zip([request.id for request in requests], scores, strict=True))
    results = {name: ScoreResult(name, {"task": np.array([score])}) for name, score in by_id.items()}
    return meta.tell(state, results)


@names
def test_a_failed_proposal_is_worst_and_pushed_away_from(strategy, meta, problem):
    requests, state, scores, proposals = first_generation(meta, problem)
    best = scores.argmax()
    broken, awful = scores.copy(), scores.copy()
    broken[best], awful[best] = NAN, -1e6
    with_best = problem.flat(told(meta, requests, state, scores).mean)
    after = told(meta, requests, state, broken)
    without = problem.flat(after.mean)
    assert np.isfinite(without).all() and after.failed == 1 and after.skipped == 0
    if strategy == "RandomSearch":
        np.testing.assert_allclose(without, proposals[np.argsort(scores)[-2]], rtol=1e-6)
        return
    away = (without - with_best) @ (proposals[best] - problem.flat(state.mean))
    assert away < 0
    if strategy in ("Open_ES", "PBE") or STRATEGIES[strategy].reads == "order":
        assert equal(after.mean, told(meta, requests, state, awful).mean)


@names
def test_many_failures_and_huge_scores_leave_everything_finite(meta, problem):
    requests, state, scores, _ = first_generation(meta, problem)
    scores[:15] = NAN
    rare = problem.search(meta, 3, state=told(meta, requests, state, scores))
    assert rare.skipped == 0 and all(np.isfinite(value) for value in meta.metrics(rare).values())
    huge = problem.search(meta, 2, score_fn=lambda x: 1e60 * problem.score(x))  # too large for float32
    for state in (rare, huge):
        assert np.isfinite(problem.flat(meta.answer(state).meta_params)).all()


@names
def test_a_generation_that_failed_altogether_changes_nothing(meta, problem):
    requests, state, scores, _ = first_generation(meta, problem)
    after = told(meta, requests, state, np.full_like(scores, NAN))
    assert equal(after._replace(told=0, flight=state.flight, failed=0, skipped=0), state)
    assert (after.told, after.failed, after.skipped) == (1, 16, 1)
    assert meta.metrics(after)["skipped_generations"] == 1
    assert problem.search(meta, 2, state=after).skipped == 1


@names
def test_a_restored_state_goes_on_bit_for_bit_and_keeps_its_shapes_and_types(meta, problem):
    start = meta.init(jax.random.key(0))
    template = jax.tree.structure(meta.init(jax.random.key(3)))

    def types(state):
        assert all(isinstance(leaf, np.ndarray | int) for leaf in jax.tree.leaves(state))
        return jax.tree.map(lambda leaf: (np.shape(leaf), np.asarray(leaf).dtype), state)

    def restored(state):
        leaves = [np.array(leaf) for leaf in jax.tree.leaves(state)]
        return jax.tree.unflatten(template, leaves)

    state = stored = problem.search(meta, 2)
    for generation in (2, 3):
        requests, state = meta.ask(problem.key_of(generation), state)
        assert types(state)._replace(flight=types(start.flight)) == types(start)
        again, stored = meta.ask(problem.key_of(generation), restored(stored))
        assert equal([r.proposal.meta_params for r in requests], [r.proposal.meta_params for r in again])
        assert [r.id for r in requests] == [r.id for r in again]
        state = meta.tell(state, problem.results_of(requests))
        stored = meta.tell(restored(stored), problem.results_of(again))
        assert equal(state, stored) and types(state) == types(start)


@names
def test_proposals_depend_on_state_and_key_only(meta, problem):
    state = problem.search(meta, 1)
    first, asked = meta.ask(problem.key_of(1), state)
    for again in (meta.ask(problem.key_of(1), state)[0], *meta.in_flight(asked)):
        assert equal([r.proposal.meta_params for r in first], [r.proposal.meta_params for r in again])
    assert meta.ask(problem.key_of(1), asked) == ([], asked)  # one generation at a time
    other, _ = meta.ask(problem.key_of(2), state)
    assert not equal([r.proposal.meta_params for r in first], [r.proposal.meta_params for r in other])


@names
def test_antithetic_pairs_are_what_the_requests_say(strategy, meta, problem):
    requests, state, _, proposals = first_generation(meta, problem)
    assert [str(request.id) for request in requests] == [f"g0/p{i}" for i in range(16)]
    assert {(request.split, request.kind) for request in requests} == {("search", "score")}
    offsets = proposals - problem.flat(state.mean)
    if config_of(strategy).pairs:
        assert [request.pair for request in requests] == [*range(8), *range(8)]
        np.testing.assert_allclose(offsets[:8], -offsets[8:], atol=1e-6)
    else:
        assert {request.pair for request in requests} == {-1}
        assert np.abs(offsets[:8] + offsets[8:]).min() > 1e-6


@names
def test_sigma_is_the_standard_deviation_of_the_first_generation(strategy, meta, problem):
    """Also where evosax would multiply it in twice (xNES)."""
    state = meta.init(jax.random.key(0))
    requests = [request for key in range(30) for request in meta.ask(problem.key_of(key), state)[0]]
    offsets = [problem.flat(request.proposal.meta_params) - problem.flat(state.mean) for request in requests]
    metrics = meta.metrics(state)
    assert np.std(offsets) == pytest.approx(metrics["spread_0" if strategy == "PBE" else "sigma"], rel=0.06)
    assert np.std(offsets) == pytest.approx(0.3, rel=0.2)  # CR_FM_NES begins with one longer direction


@pytest.mark.parametrize("strategy", [name for name, row in STRATEGIES.items() if row.reads == "order"])
def test_a_flat_generation_favors_nobody(strategy, build, problem):
    """Weights of ties are averaged: the mean moves no more than the average proposal does."""
    meta = build(strategy=strategy, **SGD.get(strategy, {}))
    requests, state, scores, proposals = first_generation(meta, problem)
    mean = problem.flat(state.mean)
    moved = problem.flat(told(meta, requests, state, np.zeros_like(scores)).mean) - mean
    average = proposals.mean(axis=0) - mean
    assert np.linalg.norm(moved) <= np.linalg.norm(average) + 1e-6


@pytest.mark.parametrize("strategy", ["CMA_ES", "Sep_CMA_ES"])
def test_ties_do_not_drive_the_step_size(strategy, build, problem):
    """Scores are noise of two values. The step size may walk, but not fall in every search; without noise it
    stays.
    """
    meta = build(strategy=strategy)

    def reached(seed, share, generations=30):
        draw = np.random.default_rng(seed)
        state = problem.search(meta, generations, lambda _: float(draw.random() < share))
        return meta.metrics(state)["sigma"]

    assert 0.1 < np.median([reached(seed, 0.2) for seed in range(5)]) < 0.9  # evosax: 0.0002 to 0.1
    assert reached(0, 0.0, 10) == pytest.approx(0.3)


FAMILIES = {
    "lpo+open": {"lpo_width": 2, "open_gru_width": 2, "open_width": 2},
    "ampo": {"units": 6, "temporal": True},
    "lpg": {"width": 2, "embedding": 2, "targets": 2},
    "disco": {"predictions": 2, "units": 2, "lifetime": 2, "embedding": 2, "bins": 3},
    "optim4rl": {"width": 2},
}
"""Small members of every family that is searched; the first has two entries, of nested trees."""


@functools.cache
def beginning(family):
    """A family's own first mean."""
    init = build_algorithm(family, FAMILIES[family]).init
    return jax.tree.map(np.asarray, jax.jit(init)(jax.random.key(0)))


@pytest.mark.parametrize("strategy", ["Open_ES", "PBE"])
@pytest.mark.parametrize(
    "family",
    ["lpo+open", *(pytest.param(name, marks=pytest.mark.slow) for name in FAMILIES if name != "lpo+open")],
)
def test_a_generation_of_every_family(family, strategy):
    """From its own beginning: proposals and the next mean are finite numbers in trees like the first mean."""
    mean = beginning(family)
    meta = make_meta(config_of(strategy, population=4, answer_every=0), lambda key: mean)
    start = meta.init(jax.random.key(0))
    requests, state = meta.ask(jax.random.key(1), start)
    results = {r.id: ScoreResult(r.id, {"task": np.array([float(i)])}) for i, r in enumerate(requests)}
    state = meta.tell(state, results)
    before, after = meta.answer(start).meta_params, meta.answer(state).meta_params

    def like(tree):
        return jax.tree.map(lambda leaf: (leaf.shape, str(leaf.dtype)), tree)

    for tree in (before, after, *(request.proposal.meta_params for request in requests)):
        assert like(tree) == like(mean) and all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(tree))
    pairs = zip(jax.tree.leaves(before), jax.tree.leaves(after), strict=True)
    assert all(np.any(a != b) for a, b in pairs), "every tensor moves"
    assert all(np.isfinite(value) for value in meta.metrics(state).values())


@pytest.mark.parametrize(("strategy", "most"), [("CMA_ES", 10_000), ("xNES", 2_500)])
def test_more_numbers_than_a_matrix_can_be_held_for_are_refused(strategy, most):
    """One of d x d entries, or one for each of 16 proposals, may have 10^8 entries together."""
    config = ESConfig(strategy=strategy, population=16)
    for size in (most + 1, 200_000):
        with pytest.raises(BadInput, match=rf"{strategy} .*{most:,} .*Sep_CMA_ES"):
            make_meta(config, lambda key, size=size: {"drift": np.zeros(size, np.float32)})
    check_size(config, {"drift": np.zeros(most, np.float32)})
    check_size(ESConfig(strategy="Sep_CMA_ES"), {"drift": np.zeros(200_000, np.float32)})
