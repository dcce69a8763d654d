"""Strategies of evosax as pure functions, with corrections.

* evosax minimizes, so it is given a loss.
* Its methods compile once per instance, so `adapt` builds one instance for the whole search.
* Its schedules for sigma lag by one generation. Here, sigma and the learning rate are computed from the
  number of the generation (`EvosaxStrategy.at_generation`).
* Its xNES applies sigma twice. Here, its shape matrix starts as the identity.
* `evosax_fixes` has the other corrections.

States are returned as numpy arrays, so that a restored state equals the stored one.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
import optax
from evosax.algorithms import algorithms
from evosax.core.fitness_shaping import identity_fitness_shaping_fn
from jaxtyping import Float, PRNGKeyArray

from discovery.core.config.evolution import ESConfig
from discovery.meta.evolution.evosax_fixes import (
    CMA,
    GaussianRandomSearch,
    SeparableCMA,
    cr_fm_nes_params,
    tied_weights,
)
from discovery.meta.evolution.outer_optimizer import outer_optimizer, with_learning_rate
from discovery.meta.in_flight import as_numpy

State = Any
"""A state of evosax: a dataclass of arrays, always with `mean`, flat ``[d]``."""


class EvosaxStrategy(NamedTuple):
    """One strategy of evosax as functions of its state.

    Attributes:
        init: ``(key, mean) -> state``, the state of generation 0.
        ask: ``(key, state) -> (population, state)``; leaves of the population are ``[P, ...]``.
        tell: ``(key, population, loss [P], state) -> state``; the state is the one `ask` returned.
        at_generation: ``(state, generation) -> state``: sets the values that follow a schedule.
        mean: ``state -> pytree``.
        sigma: ``state -> float``: standard deviation of an entry of the next proposals, averaged
            over entries.
    """

    init: Callable[[PRNGKeyArray, Any], State]
    ask: Callable[[PRNGKeyArray, State], tuple[Any, State]]
    tell: Callable[[PRNGKeyArray, Any, Float[np.ndarray, " P"], State], State]
    at_generation: Callable[[State, int], State]
    mean: Callable[[State], Any]
    sigma: Callable[[State], float]


def adapt(config: ESConfig, template: Any) -> EvosaxStrategy:
    """The strategy that the resolved `config` names, for meta-parameters shaped like `template`."""
    algorithm = _make_algorithm(config, template)
    params = _params(config, algorithm)

    def init(key, mean):
        state = _corrected(config, algorithm.init(key, mean, params))
        return _at_generation(config, as_numpy(state), 0)

    def ask(key, state):
        return as_numpy(algorithm.ask(key, state, params))

    def tell(key, population, loss, state):
        with np.errstate(over="ignore"):  # a loss beyond float32 becomes inf; the caller checks the mean
            loss = loss.astype(np.float32)
        state, _ = algorithm.tell(key, population, loss, state, params)
        return as_numpy(state)

    return EvosaxStrategy(
        init,
        ask,
        tell,
        at_generation=lambda state, generation: _at_generation(config, state, generation),
        mean=lambda state: as_numpy(algorithm.get_mean(state)),
        sigma=lambda state: _mean_sigma(config, state),
    )


def scheduled(start: float, decay: float, floor: float, generation: int) -> float:
    """``max(start * decay**generation, floor)``."""
    return max(start * decay**generation, floor)


def _make_algorithm(config: ESConfig, template: Any) -> Any:
    """The evosax object."""
    arguments: dict[str, Any] = {
        "population_size": config.population,
        "solution": template,
        "metrics_fn": _no_metrics,
        "fitness_shaping_fn": tied_weights if config.facts.reads == "order" else identity_fitness_shaping_fn,
    }
    if config.strategy == "RandomSearch":
        return GaussianRandomSearch(config.sigma, **arguments)
    if "optimizer" in config.facts.options:
        arguments["optimizer"] = outer_optimizer(config)
    if "antithetic" in config.facts.options:
        arguments["use_antithetic_sampling"] = config.antithetic
    if "sigma_decay" in config.facts.options:
        arguments["std_schedule"] = optax.constant_schedule(config.sigma)  # _at_generation overrides it
    return {**algorithms, "CMA_ES": CMA, "Sep_CMA_ES": SeparableCMA}[config.strategy](**arguments)


def _no_metrics(*_: Any) -> dict[str, Any]:
    """No metrics: evosax's own treat the utilities of one generation as fitness of the whole search."""
    return {}


def _params(config: ESConfig, algorithm: Any) -> Any:
    """evosax's parameters of this strategy, with our sigma."""
    params = cr_fm_nes_params(algorithm) if config.strategy == "CR_FM_NES" else algorithm.default_params
    return params.replace(std_init=np.float32(config.sigma)) if hasattr(params, "std_init") else params


def _corrected(config: ESConfig, state: State) -> State:
    """evosax's initial state with corrections; see the module's docstring."""
    if config.strategy == "xNES":
        return state.replace(B=jnp.eye(len(state.mean)))
    if config.strategy == "RandomSearch":
        return state.replace(origin=state.mean, best_solution_shaped=state.mean)
    return state


def _at_generation(config: ESConfig, state: State, generation: int) -> State:
    """The state with the sigma and the learning rate that `generation` uses."""
    if "sigma_decay" in config.facts.options:
        sigma = scheduled(config.sigma, config.sigma_decay, config.sigma_floor, generation)  # pyright: ignore
        state = state.replace(std=np.asarray(sigma, np.float32))
    if "learning_rate" in config.facts.options:
        rate = scheduled(
            config.learning_rate,  # pyright: ignore[reportArgumentType]
            config.learning_rate_decay,  # pyright: ignore[reportArgumentType]
            config.learning_rate_floor,  # pyright: ignore[reportArgumentType]
            generation,
        )
        state = state.replace(opt_state=with_learning_rate(state.opt_state, rate))
    return state


def _mean_sigma(config: ESConfig, state: State) -> float:
    """Standard deviation of an entry of the next proposals, averaged over entries.

    Negative weights can make a variance of CMA negative; evosax treats it as zero.
    """
    scale = {
        "CMA_ES": lambda: np.sqrt(np.maximum(np.diag(state.C), 0.0)),
        "Sep_CMA_ES": lambda: np.sqrt(np.maximum(state.C, 0.0)),
        "xNES": lambda: np.sqrt(np.square(state.B).sum(axis=0)),
        "CR_FM_NES": lambda: state.D * np.sqrt(1.0 + np.square(state.v)),
    }.get(config.strategy, lambda: 1.0)()
    std = config.sigma if config.strategy == "RandomSearch" else state.std
    return float(np.mean(std * scale))
