# pyright: reportAttributeAccessIssue=false
"""The numbers of Open_ES and its relatives, schedules, requests, and what is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.flatten_util import ravel_pytree

from discovery.core.config.strategies import OPTIMIZERS
from discovery.core.errors import BadInput, RunError
from discovery.meta.base import RequestId, ScoreResult
from discovery.meta.evolution.es import ESConfig, make_es
from discovery.meta.evolution.evosax_adapter import adapt
from discovery.meta.evolution.shaping import centered_ranks
from tests.meta.conftest import initial_mean

NAN = float("nan")


def noise(key) -> np.ndarray:
    """``[16, 7]``: what Open_ES draws, antithetic."""
    z = np.asarray(jax.random.normal(key, (8, 7)), np.float64)
    return np.concatenate([z, -z])


def vector(meta_params) -> np.ndarray:
    """``[7]`` in the order in which evosax ravels."""
    return np.asarray(ravel_pytree(meta_params)[0], np.float64)


def test_open_es_is_the_score_function_gradient_with_adam(build, problem):
    meta = build(learning_rate=0.05, optimizer_options={"b1": 0.99})
    state = meta.init(jax.random.key(0))
    adam = optax.adam(0.05, b1=0.99)
    mean = vector(state.mean)
    adam_state = adam.init(jnp.asarray(mean, jnp.float32))
    for generation in range(4):
        requests, state = meta.ask(problem.key_of(generation), state)
        z = noise(problem.key_of(generation))
        proposals = np.stack([vector(request.proposal.meta_params) for request in requests])
        np.testing.assert_allclose(proposals, mean + 0.3 * z, rtol=1e-5, atol=1e-5)
        fitness = centered_ranks(np.array([problem.score(r.proposal.meta_params) for r in requests]))
        gradient = z.T @ fitness / (16 * 0.3)
        step, adam_state = adam.update(jnp.asarray(-gradient, jnp.float32), adam_state)
        mean = mean + np.asarray(step, np.float64)
        state = meta.tell(state, problem.results_of(requests))
        np.testing.assert_allclose(vector(state.mean), mean, rtol=1e-4, atol=1e-5)


def test_the_order_of_results_is_no_matter(build, problem):
    meta = build()
    requests, state = meta.ask(problem.key_of(0), meta.init(jax.random.key(0)))
    results = problem.results_of(requests)
    forwards, backwards = (meta.tell(state, dict(each)) for each in (results, reversed(results.items())))
    np.testing.assert_array_equal(vector(forwards.mean), vector(backwards.mean))


def test_schedules_follow_the_generation_and_do_not_lag(build, problem):
    """Also over a generation that was skipped: sgd makes step = rate * gradient visible."""
    meta = build(
        optimizer="sgd",
        shaping="pairwise_sign",
        sigma_decay=0.5,
        sigma_floor=0.1,
        learning_rate=1.0,
        learning_rate_decay=0.5,
        learning_rate_floor=0.2,
    )
    state = meta.init(jax.random.key(0))
    for generation, (sigma, rate) in enumerate([(0.3, 1.0), (0.15, 0.5), (0.1, 0.25), (0.1, 0.2)]):
        assert meta.metrics(state)["sigma"] == pytest.approx(sigma)
        assert meta.metrics(state)["learning_rate"] == pytest.approx(rate)
        requests, state = meta.ask(problem.key_of(generation), state)
        z = noise(problem.key_of(generation))
        proposals = np.stack([vector(request.proposal.meta_params) for request in requests])
        np.testing.assert_allclose(proposals - vector(state.mean), sigma * z, rtol=1e-3, atol=1e-5)
        before = vector(state.mean)
        if generation == 1:
            state = meta.tell(state, problem.results_of(requests, lambda _: NAN))
            np.testing.assert_array_equal(vector(state.mean), before)
            continue
        scores = np.array([problem.score(request.proposal.meta_params) for request in requests])
        estimate = np.sign(scores[:8] - scores[8:]) @ z[:8] / (16 * sigma)
        state = meta.tell(state, problem.results_of(requests))
        np.testing.assert_allclose(vector(state.mean) - before, rate * estimate, rtol=1e-3, atol=1e-5)


def test_every_optimizer_constructs(problem):
    for optimizer in OPTIMIZERS:
        adapt(ESConfig(optimizer=optimizer).resolved(), problem.initial_mean(jax.random.key(0)))


def test_as_many_entries_as_a_drift_network_has():
    """evosax alone would never return from building CR_FM_NES with 633 entries or more."""
    config = ESConfig(strategy="CR_FM_NES", population=8).resolved()
    core = adapt(config, {"w": jnp.zeros(1152)})
    assert np.isfinite(core.sigma(core.init(jax.random.key(0), {"w": jnp.zeros(1152)})))


def test_constants_of_cr_fm_nes_are_those_of_evosax():
    from evosax.algorithms.distribution_based import cr_fm_nes

    from discovery.meta.evolution.evosax_fixes import _h_inv

    for n_entries in (1, 7, 100, 632):
        assert _h_inv(n_entries) == pytest.approx(cr_fm_nes.get_h_inv(n_entries), rel=1e-9)


def test_reference_returns_divide(build, problem):
    def scores(meta_params, a=1.0, b=1.0):
        x = problem.flat(meta_params)
        return {"a": np.array([problem.score(meta_params), x.sum()]) / a, "b": np.array([x[0], x[1]]) / b}

    meta = build(references={"a": 2.0, "b": -4.0}, task_normalization="reference", shaping="none")
    direct = build(task_normalization="none", shaping="none")
    found = problem.search(meta, 1, scores).mean
    expected = problem.search(direct, 1, lambda meta_params: scores(meta_params, 2.0, 4.0)).mean
    np.testing.assert_allclose(vector(found), vector(expected), rtol=1e-5)


@pytest.mark.parametrize("references", [None, {}, {"a": 1.0, "b": None}, {"b": 0.0}, {"b": NAN}])
def test_missing_references_are_refused(references, problem):
    with pytest.raises(BadInput, match="reference"):
        make_es(ESConfig(task_normalization="reference"), problem.initial_mean, references)


@pytest.mark.parametrize(
    ("init", "options", "words"),
    [
        (lambda key: {"w": jnp.zeros(3), "n": {"k": jnp.arange(3)}}, {}, r"\['n'\]\['k'\] is int32"),
        (lambda key: {}, {}, "nothing to search"),
        (lambda key: {"w": jnp.full(2, NAN)}, {}, "non-finite"),
        (initial_mean, {"beta1": 0.9}, "b1"),
        (initial_mean, {"learning_rate": 0.1}, "learning_rate"),
        (initial_mean, {"mu_dtype": 3.0}, "mu_dtype"),
    ],
)
def test_what_cannot_be_searched_and_options_that_optax_does_not_know_are_refused(init, options, words):
    with pytest.raises(BadInput, match=words):
        make_es(ESConfig(population=4, optimizer_options=options), init).init(jax.random.key(0))


def test_what_tell_refuses(build, problem):
    meta = build()
    state = meta.init(jax.random.key(0))
    requests, asked = meta.ask(problem.key_of(0), state)
    results = problem.results_of(requests)
    with pytest.raises(RunError, match="call ask first"):
        meta.tell(state, results)
    third = RequestId(0, 3)
    for wrong, words in (
        ({id: result for id, result in results.items() if id != third}, "1 of 16 results are missing.*g0/p3"),
        ({**results, third: ScoreResult(third, {"other": np.ones(1)})}, "g0/p3"),
        ({**results, third: ScoreResult(third, {"task": np.ones(2)})}, "g0/p3"),
        ({id: ScoreResult(id, {"task": np.ones(0)}) for id in results}, "at least 1"),
    ):
        with pytest.raises(RunError, match=words):
            meta.tell(asked, wrong)


def test_a_strategy_learns_from_noise_of_an_earlier_mean(problem):
    """Plain gradient ascent by hand: each update takes the noise of the generation that was sampled two asks
    before, at the place where the mean is now.
    """
    config = ESConfig(
        population=6,
        sigma=0.1,
        sigma_decay=0.9,
        optimizer="sgd",
        learning_rate=0.05,
        shaping="none",
        task_normalization="none",
        asynchronous=True,
        in_flight=18,
    )
    meta = make_es(config, problem.initial_mean)
    state, waiting = meta.init(jax.random.key(0)), []
    for step in range(6):
        while True:
            here = vector(meta.answer(state).meta_params)
            requests, state = meta.ask(problem.key_of(step + len(waiting)), state)
            if not requests:
                break
            sigma = 0.1 * 0.9**step
            x = np.stack([vector(request.proposal.meta_params) for request in requests])
            waiting.append((requests, (x - here) / sigma))
        assert len(waiting) == 3
        mean = vector(meta.answer(state).meta_params)
        requests, noise = waiting.pop(0)
        scores = np.array([problem.score(r.proposal.meta_params) for r in requests])
        state = meta.tell(state, problem.results_of(requests))
        expected = mean + 0.05 * scores @ noise / (6 * 0.1 * 0.9**step)
        np.testing.assert_allclose(vector(meta.answer(state).meta_params), expected, rtol=1e-3, atol=1e-3)
    with pytest.raises(RunError, match="generation 7 was told before generation 6"):
        meta.tell(state, problem.results_of(waiting[1][0]))
