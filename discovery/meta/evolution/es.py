"""Search by an evolution strategy: proposals are sampled around a mean, which their scores update.

    meta = make_es(ESConfig(population=16), init, references={"CartPole-v1": 500.0})

Scores are maximized. After shaping they are called `utility`. evosax minimizes: only one line, in `_updated`,
flips the sign.

A generation's proposals are a function of (state, key). `ask` stores the key but not the proposals, and
`tell` samples them again. So a stored state and an index determine a proposal.

In an asynchronous search, generations are told in the order in which they were sampled, so the numbers do not
depend on which finished first. The noise of a told generation was sampled around an older mean; the update
treats it as noise around the current mean with the current sigma.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Float, PRNGKeyArray

from discovery.core.config.evolution import ESConfig
from discovery.core.errors import RunError
from discovery.meta.base import MetaOptimizer, Proposal
from discovery.meta.evolution.evosax_adapter import EvosaxStrategy, adapt
from discovery.meta.evolution.shaping import Scores, failed, utilities
from discovery.meta.generation import (
    asked_for,
    batches_of,
    check_mean,
    check_references,
    check_size,
    check_template,
    requests_of,
)
from discovery.meta.in_flight import InFlight, none_in_flight

__all__ = ["ESConfig", "ESState", "make_es"]


class ESState(NamedTuple):
    """The state of a search: a pytree of numpy arrays and plain integers.

    Attributes:
        told: number of generations that were told.
        mean: the current mean, as meta-parameters.
        strategy: evosax's state, from which the next generation is sampled.
        flight: generations that were asked for and not told, each with the flat mean and the sigma from which
            it was sampled.
        failed: proposals of the last generation that failed on at least one task.
        skipped: number of generations that changed nothing, because no proposal succeeded on any task, or
            because the update was not finite.
    """

    told: int
    mean: Any
    strategy: Any
    flight: InFlight
    failed: int
    skipped: int


class Cloud(NamedTuple):
    """The distribution of a generation: its flat mean ``[d]``, and its standard deviation."""

    mean: Float[np.ndarray, " d"]
    sigma: Float[np.ndarray, ""]


def make_es(
    config: ESConfig,
    init: Callable[[PRNGKeyArray], Any],
    references: Mapping[str, float | None] | None = None,
) -> MetaOptimizer:
    """A `MetaOptimizer` that searches with an evolution strategy.

    Args:
        config: the strategy and its numbers.
        init: ``key -> meta_params``: the initial mean, a pytree of float arrays. For objectives that are even
            functions of their weights it must not be zero: both members of an antithetic pair would be equal.
        references: reference return of each meta-training task, by the task's name; only
            `task_normalization` "reference" reads them.

    Raises:
        BadInput: there are no meta-parameters, or too many for the strategy's matrices.
    """
    config = config.resolved()
    references = dict(references or {})
    check_references(config, references)
    template = init(jax.random.key(0))
    check_template(template)
    check_size(config, template)
    strategy, most = adapt(config, template), config.batches_in_flight

    def start(key):
        key_mean, key_strategy = jax.random.split(key)
        state = strategy.init(key_strategy, init(key_mean))
        check_mean(state.mean)
        flight = none_in_flight(most - 1, _cloud(strategy, state))
        return ESState(0, strategy.mean(state), state, flight, failed=0, skipped=0)

    def ask(key, state):
        if len(state.flight.batches()) >= most:
            return [], state
        number, cloud = asked_for(state), _cloud(strategy, state.strategy)
        population, _ = strategy.ask(key, state.strategy)
        flight = state.flight.with_batch(number, key, cloud)
        return requests_of(config, number, population), state._replace(flight=flight)

    def tell(state, results):
        for number, scores in batches_of(config, state, results):
            if number != state.told:
                raise RunError(f"generation {number} was told before generation {int(state.told)}")
            state = _after_scores(config, strategy, state, scores, references)
        return state

    def in_flight(state):
        return [
            requests_of(config, n, _sampled_again(config, strategy, state, n)) for n in state.flight.batches()
        ]

    def answer(state):
        return Proposal(state.mean, operator="mean")

    return MetaOptimizer(start, ask, tell, answer, lambda state: _metrics(strategy, state), in_flight)


def _cloud(strategy: EvosaxStrategy, state: Any) -> Cloud:
    """The distribution from which evosax's state samples."""
    return Cloud(np.asarray(state.mean), np.array(strategy.sigma(state), np.float32))


def _sampled_again(config: ESConfig, strategy: EvosaxStrategy, state: ESState, number: int) -> Any:
    """The population of a generation in flight, sampled again from its stored distribution."""
    inner, cloud = state.strategy, state.flight.of(number)
    if config.asynchronous:  # else the state has not changed since
        inner = inner.replace(mean=cloud.mean, std=cloud.sigma)
    return strategy.ask(state.flight.key(number), inner)[0]


def _after_scores(
    config: ESConfig,
    strategy: EvosaxStrategy,
    state: ESState,
    scores: Scores,
    references: Mapping[str, float | None],
) -> ESState:
    """The state after the scores of the oldest generation in flight."""
    every = np.array([failed(task) for task in scores.values()])
    updated = None
    if not every.all():
        updated = _updated(strategy, state, utilities(scores, config, references))
    number = int(state.told)
    inner = strategy.at_generation(state.strategy if updated is None else updated, number + 1)
    return ESState(
        number + 1,
        strategy.mean(inner),
        inner,
        state.flight.without(number, config.batches_in_flight - 1),
        failed=int(every.any(axis=0).sum()),
        skipped=int(state.skipped) + int(updated is None),
    )


def _updated(strategy: EvosaxStrategy, state: ESState, utility: Float[np.ndarray, " P"]) -> Any:
    """evosax's state after the utilities of the oldest generation in flight; None if it is not finite.

    The generation's noise is sampled again around the current mean, as the strategy expects.
    """
    key = state.flight.key(int(state.told))
    population, sampled = strategy.ask(key, state.strategy)
    loss = -utility
    updated = strategy.tell(key, population, loss, sampled)
    return updated if np.isfinite(updated.mean).all() and np.isfinite(strategy.sigma(updated)) else None


def _metrics(strategy: EvosaxStrategy, state: ESState) -> dict[str, float]:
    """Metrics to record: numbers that the next generation uses, and failures."""
    metrics = {
        "sigma": strategy.sigma(state.strategy),
        "mean_norm": float(np.linalg.norm(state.strategy.mean)),
        "failed_proposals": float(state.failed),
        "skipped_generations": float(state.skipped),
    }
    if hasattr(state.strategy, "opt_state"):
        metrics["learning_rate"] = float(state.strategy.opt_state.hyperparams["learning_rate"])
    return metrics
