"""Corrections of evosax 0.3.2."""

import math
from typing import Any

import jax
import jax.numpy as jnp
from evosax.algorithms.distribution_based import CMA_ES, RandomSearch, Sep_CMA_ES, cr_fm_nes
from evosax.types import State
from flax import struct
from jaxtyping import Array, Float, PRNGKeyArray


def tied_weights(
    population: Float[Array, "P d"], loss: Float[Array, " P"], state: Any, params: Any
) -> Float[Array, " P"]:
    """Recombination weights by rank, with the weights of tied proposals averaged.

    evosax gives all proposals of a tied group the weight of the middle rank, so the weights no longer sum to
    the value that the strategy assumes. Ties are common: scores saturate, and all failures tie.

    Args:
        population: unused; evosax passes it.
        loss: ``[P]``, lowest is best.
        state: unused.
        params: the strategy's, with `weights` ``[P]``, best first.
    """
    better = (loss[None, :] < loss[:, None]).sum(axis=1)
    equal = (loss[None, :] == loss[:, None]).sum(axis=1)
    rank = jnp.arange(len(loss))
    shared = (rank >= better[:, None]) & (rank < (better + equal)[:, None])
    return jnp.where(shared, params.weights, 0.0).sum(axis=1) / equal


class _TieAwareStepSize:
    """Step-size control that is unbiased under ties, for CMA-ES and its diagonal variant.

    The evolution path of the step size accumulates sqrt(mu_eff) times a weighted mean of steps. Under random
    selection this is standard normal if mu_eff = 1 / sum(w_i^2) over the positive weights, and the step size
    stays constant. Weights averaged over ties are more equal, so their mu_eff is larger than the constant
    that evosax uses, and the step size would fall for any scores. Here mu_eff is computed from the
    weights of each generation. A generation in which all proposals tie changes nothing.
    """

    def _tell(self, key: Any, population: Any, fitness: Any, state: Any, params: Any) -> Any:
        squares = jnp.square(jnp.maximum(fitness, 0.0)).sum()
        told = super()._tell(  # type: ignore[misc]
            key, population, fitness, state, params.replace(mu_eff=1.0 / jnp.maximum(squares, 1e-30))
        )
        informed = (fitness != fitness[0]).any()
        return jax.tree.map(lambda new, old: jnp.where(informed, new, old), told, state)


class CMA(_TieAwareStepSize, CMA_ES):
    """evosax's CMA-ES with `_TieAwareStepSize`."""


class SeparableCMA(_TieAwareStepSize, Sep_CMA_ES):
    """evosax's separable CMA-ES with `_TieAwareStepSize`."""


@struct.dataclass
class GaussianSearchState(State):
    """evosax's state of random search, with `origin`: the initial mean ``[d]``, which is constant."""

    mean: Any
    best_solution: Any
    best_fitness: Any
    best_solution_shaped: Any
    best_fitness_shaped: Any
    generation_counter: Any
    origin: Any


class GaussianRandomSearch(RandomSearch):
    """Random search around the initial mean: ``origin + sigma * z``.

    evosax's samples ignore the state, and its best solution starts as NaN.
    """

    def __init__(self, sigma: float, **arguments: Any):
        super().__init__(sampling_fn=self._noise, **arguments)
        self.sigma = sigma

    def _noise(self, key: PRNGKeyArray) -> Any:
        return self._unravel_solution(jax.random.normal(key, (self.num_dims,)))

    def _init(self, key, params):
        state = super()._init(key, params)
        return GaussianSearchState(**vars(state), origin=state.mean)

    def _ask(self, key, state, params):
        noise, state = super()._ask(key, state, params)
        return state.origin + self.sigma * noise, state  # pyright: ignore[reportAttributeAccessIssue]


def cr_fm_nes_params(algorithm: Any) -> Any:
    """Default parameters of CR_FM_NES, for any number of entries.

    evosax solves for one of them by Newton steps until the residual is below 1e-10. With 633 or more entries
    float64 never reaches that, and evosax would loop forever.
    """
    original = cr_fm_nes.get_h_inv
    cr_fm_nes.get_h_inv = _h_inv
    try:
        return algorithm.default_params
    finally:
        cr_fm_nes.get_h_inv = original


def _h_inv(n_entries: int) -> float:
    """The root h of ``(1 + h^2) exp(h^2 / 2) / 0.24 - 10 - n = 0``, n at most 2000, as evosax defines it."""
    n_entries = min(n_entries, 2000)
    h = 1.0
    for _ in range(200):  # each damped step halves the error
        bell = math.exp(h * h / 2.0) / 0.24
        h -= 0.5 * ((1.0 + h * h) * bell - 10.0 - n_entries) / (bell * h * (3.0 + h * h))
    return h
