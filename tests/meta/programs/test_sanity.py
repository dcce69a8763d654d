"""Evolution finds more than the best of as many random programs, where the optimum is known.

A hidden program of six primitives scores others by how alike they are: the mean correlation of values and
derivatives on the ordinary probes, less 1. So 0 is the best score, a program that is only scaled has it too,
and parts of the hidden program are worth something. Each seed of a training adds noise.
"""

import functools

import jax
import numpy as np
import pytest
from scipy.stats import mannwhitneyu

from discovery.meta.base import ScoreRequest, ScoreResult
from objectives.programs.checks import ORDINARY, probe
from tests.meta.programs.conftest import loss, make

HIDDEN = "jnp.tanh(x * y) - jnp.square(x) * (y + progress)"
START = "-jnp.exp(x) * y"
NOISE, SEEDS = 0.05, 4


def behavior(code) -> np.ndarray:
    """``[4, N]``: the value and the derivative by each input."""
    both = np.concatenate(probe("policy_loss", code), axis=1)[:ORDINARY].astype(np.float64)
    return both.swapaxes(0, 1).reshape(4, -1).clip(-1e6, 1e6)


@functools.cache
def wanted() -> np.ndarray:
    return behavior(loss(HIDDEN)["policy_loss"])


def quality(meta_params) -> float:
    """The score without noise, in [-2, 0]."""
    found = behavior(meta_params["policy_loss"])
    sizes = np.linalg.norm(found, axis=1) * np.linalg.norm(wanted(), axis=1)
    return float(np.mean((found * wanted()).sum(axis=1) / np.where(sizes > 0, sizes, 1.0))) - 1


def answered(variation: str, seed: int, population: int, generations: int, begin: str = "start") -> float:
    """The quality of a search's answer."""
    meta = make(START, generations, population=population, variation=variation, begin=begin)
    state, rng = meta.init(jax.random.key(seed)), np.random.default_rng(seed)
    for generation in range(generations):
        requests, state = meta.ask(jax.random.fold_in(jax.random.key(seed), generation), state)
        scored = [request for request in requests if isinstance(request, ScoreRequest)]
        scores = {r.id: quality(r.proposal.meta_params) + NOISE * rng.normal(size=SEEDS) for r in scored}
        state = meta.tell(state, {name: ScoreResult(name, {"a": score}) for name, score in scores.items()})
    return quality(meta.answer(state).meta_params)


def test_the_hidden_program_scores_best_and_the_start_is_far_from_it():
    assert quality(loss(HIDDEN)) == pytest.approx(0)
    assert quality(loss(f"3.0 * ({HIDDEN})")) == pytest.approx(0)
    assert -0.7 < quality(loss(START)) < -0.5
    assert quality(loss("-jnp.square(x) * y")) > -0.5


def test_evolution_improves_on_its_start_and_random_programs():
    """Two short searches each."""
    evolution, random = (
        np.mean([answered(variation, seed, 8, 10) for seed in range(2)])
        for variation in ("evolution", "random")
    )
    assert evolution > max(random, quality(loss(START)))


@pytest.mark.slow
def test_evolution_beats_the_best_of_as_many_random_programs():
    """30 searches of 400 proposals each, without tuning and simplification."""
    evolution, random = (
        np.array([answered(variation, seed, 16, 25) for seed in range(30)])
        for variation in ("evolution", "random")
    )
    assert mannwhitneyu(evolution, random, alternative="greater").pvalue < 0.01
    assert np.median(evolution) > np.median(random) + 0.1
