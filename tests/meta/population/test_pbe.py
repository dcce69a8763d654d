# pyright: reportAttributeAccessIssue=false
"""Population-based evolution as a meta-optimizer: who becomes a parent, what is answered and recorded."""

import random

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from discovery.core.config.population import PBEConfig
from discovery.meta.base import ScoreResult
from discovery.meta.population.pbe import make_pbe

NAN = float("nan")


def rows(requests) -> np.ndarray:
    """``[P, 7]``: proposals, in the order in which genes are raveled."""
    return np.stack([np.asarray(ravel_pytree(request.proposal.meta_params)[0]) for request in requests])


def told(meta, requests, asked, **tasks):
    """The state after a generation with these scores ``[P]`` or ``[P, S]`` on each task."""
    results = {}
    for i, request in enumerate(requests):
        scores = {name: np.atleast_1d(np.float64(values[i])) for name, values in tasks.items()}
        results[request.id] = ScoreResult(request.id, scores)
    return meta.tell(asked, results)


@pytest.fixture
def pbe(build):
    """`make_pbe` by its own options, with a population of 16."""
    return lambda **options: build(strategy="PBE", **options)


def test_two_generations_by_hand(pbe, problem):
    """Order 1: parents are the best x_0 with their steps; a child is a parent, plus its step, plus noise."""
    meta = pbe(order=1, parents=3, beta=(0.04, 0.01), gene_sigmas=(0.5,))
    start = meta.init(jax.random.key(0))
    requests, asked = meta.ask(problem.key_of(0), start)
    x = rows(requests)
    noise = np.asarray(jax.random.normal(jax.random.split(problem.key_of(0))[0], (2, 16, 7)), np.float64)
    center = np.asarray(ravel_pytree(start.mean)[0], np.float64)
    np.testing.assert_allclose(x, center + 0.3 * noise[0], rtol=1e-5, atol=1e-6)

    scores = np.array([problem.score(request.proposal.meta_params) for request in requests])
    best = sorted(range(16), key=lambda i: -scores[i])[:3]
    state = told(meta, requests, asked, task=scores)
    np.testing.assert_array_equal(state.parents[0], x[best])
    np.testing.assert_allclose(state.parents[1], 0.5 * noise[1][best], rtol=1e-5)
    np.testing.assert_allclose(ravel_pytree(state.mean)[0], x[best].mean(axis=0), rtol=1e-5, atol=1e-6)
    metrics = meta.metrics(state)
    assert metrics["spread_0"] == pytest.approx(x.std(axis=0).mean(), rel=1e-4)
    assert metrics["spread_1"] == pytest.approx((0.5 * noise[1]).std(axis=0).mean(), rel=1e-4)
    assert metrics["mean_norm"] == pytest.approx(np.linalg.norm(x[best].mean(axis=0)), rel=1e-4)
    assert metrics["parents"] == 3

    requests, _ = meta.ask(problem.key_of(1), state)
    key_pick, key_noise = jax.random.split(jax.random.split(problem.key_of(1))[0])
    picks = np.asarray(jax.random.randint(key_pick, (16,), 0, 3))
    noise = np.asarray(jax.random.normal(key_noise, (2, 16, 7)), np.float64)
    expected = (state.parents[0] + state.parents[1])[picks] + 0.2 * noise[0]
    np.testing.assert_allclose(rows(requests), expected, rtol=1e-5, atol=1e-5)


def test_a_proposal_that_failed_anywhere_is_no_parent(pbe, problem):
    """However good it is on the other task; fewer parents are taken instead, and all children are theirs."""
    meta = pbe(parents=4, beta=(1e-10,))
    requests, asked = meta.ask(problem.key_of(0), meta.init(jax.random.key(0)))
    easy, hard = np.arange(16.0), np.full(16, NAN)
    hard[[2, 5, 9]] = 0.0
    state = told(meta, requests, asked, easy=easy, hard=hard)
    assert (state.n_parents, state.failed, state.skipped) == (3, 13, 0)
    sound = rows(requests)[[9, 5, 2]]
    np.testing.assert_array_equal(state.parents[0, :3], sound)
    np.testing.assert_allclose(ravel_pytree(state.mean)[0], sound.mean(axis=0), rtol=1e-5)
    descendants = rows(meta.ask(problem.key_of(1), state)[0])
    distance = np.abs(descendants[:, None] - sound).max(axis=2)
    assert (distance.min(axis=1) < 1e-3).all() and set(distance.argmin(axis=1)) == {0, 1, 2}


def test_where_all_failed_somewhere_the_best_of_them_are_parents(pbe, problem):
    meta = pbe(parents=4)
    requests, asked = meta.ask(problem.key_of(0), meta.init(jax.random.key(0)))
    one, other = np.arange(16.0), np.arange(16.0)
    one[:8] = other[8:] = NAN
    state = told(meta, requests, asked, one=one, other=other)
    assert (state.n_parents, state.failed, state.skipped) == (4, 16, 0)
    # Ranked by hand: 15 is the best on one task, 7 on the other, and so on; failures tie.
    one[:8], other[8:] = one[8:].min() - one[8:].std(), other[:8].min() - other[:8].std()
    z = [(task - task.mean()) / task.std() for task in (one, other)]
    best = np.argsort(-(z[0] + z[1]).round(9), kind="stable")[:4]
    assert {tuple(row) for row in state.parents[0]} == {tuple(row) for row in rows(requests)[best]}


def test_parents_that_are_kept_are_scored_again(pbe, problem):
    meta = pbe(order=1, parents=4, elitism=True)
    requests, asked = meta.ask(problem.key_of(0), meta.init(jax.random.key(0)))
    lucky = told(meta, requests, asked, task=np.arange(16.0))
    requests, asked = meta.ask(problem.key_of(1), lucky)
    assert [str(request.id) for request in requests] == [f"g1/p{i}" for i in range(16)]
    np.testing.assert_array_equal(rows(requests)[:4], lucky.parents[0])
    assert (np.abs(rows(requests)[4:, None] - lucky.parents[0]).max(axis=2) > 1e-3).all()
    after = told(meta, requests, asked, task=[-9.0, 9.0, *np.zeros(14)])
    assert any((row == lucky.parents[:, 1]).all() for row in after.parents.swapaxes(0, 1))
    assert not any((row == lucky.parents[:, 0]).all() for row in after.parents.swapaxes(0, 1))


def test_references_divide(build, problem):
    meta = build(strategy="PBE", task_normalization="reference", references={"a": 1.0, "b": 100.0})
    requests, asked = meta.ask(problem.key_of(0), meta.init(jax.random.key(0)))
    a, b = np.arange(16.0), -10.0 * np.arange(16.0)
    state = told(meta, requests, asked, a=a, b=b)
    np.testing.assert_array_equal(state.parents[0], rows(requests)[[15, 14, 13, 12]])


def test_parents_are_the_best_of_the_last_that_were_told(problem):
    """By an account of our own: a list of what was told, in a scrambled order."""
    config = PBEConfig(population=6, asynchronous=True, batch=2, in_flight=8, parents=2)
    meta = make_pbe(config, problem.initial_mean, {"task": None})
    state, scrambled = meta.init(jax.random.key(0)), random.Random(3)
    waiting, told = {}, []
    for step in range(12):
        while True:
            number = step + len(waiting)
            requests, state = meta.ask(problem.key_of(number), state)
            if not requests:
                break
            waiting[number] = requests
        assert len(waiting) == 4
        assert [[r.id for r in batch] for batch in meta.in_flight(state)] == [
            [r.id for r in waiting[number]] for number in sorted(waiting)
        ]
        requests = waiting.pop(scrambled.choice(sorted(waiting)))
        state = meta.tell(state, problem.results_of(requests))
        told += [
            (problem.score(r.proposal.meta_params), ravel_pytree(r.proposal.meta_params)[0]) for r in requests
        ]
        best = sorted(told[-6:], key=lambda pair: -pair[0])[:2]
        if len(told) < 6:
            assert state.n_parents == 0
        else:
            np.testing.assert_array_equal(state.parents[0], [x for _, x in best])
            np.testing.assert_allclose(
                ravel_pytree(state.mean)[0], np.mean([x for _, x in best], 0), rtol=1e-6
            )
    assert problem.score(meta.answer(state).meta_params) > problem.score(
        meta.answer(meta.init(jax.random.key(0))).meta_params
    )


def test_half_precision_is_kept():
    meta = make_pbe(PBEConfig(population=8), lambda key: {"w": jnp.ones(3, jnp.bfloat16)})
    requests, asked = meta.ask(jax.random.key(1), meta.init(jax.random.key(0)))
    state = told(meta, requests[:8], asked, task=np.arange(8.0))
    assert requests[0].proposal.meta_params["w"].dtype == state.mean["w"].dtype == jnp.bfloat16
