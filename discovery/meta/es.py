"""Search by an evolution strategy: a cloud of proposals around a mean that follows their scores.

    meta = make_es(ESConfig(population=16), init, references={"CartPole-v1": 500.0})

Returns are maximized everywhere here and called `score`; after shaping, `utility`. evosax
minimizes: the one line that flips the sign is in `_updated`.

A generation's proposals are a function of (state, key). `ask` stores the key and no proposals,
`tell` samples them again, so that a stored state plus an index is a proposal.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, PRNGKeyArray

from discovery.meta.base import MetaOptimizer
from discovery.meta.es_config import ESConfig
from discovery.meta.evosax_adapter import EvosaxStrategy, adapt
from discovery.meta.generation import (
    check_mean,
    check_references,
    check_size,
    check_template,
    requests_of,
    scores_of,
)
from discovery.meta.shaping import failed, utilities

__all__ = ["ESConfig", "ESState", "make_es"]


class ESState(NamedTuple):
    """Where a search stands: a pytree of numpy arrays and plain integers.

    Attributes:
        generation: number of the generation that is asked for next, or being evaluated.
        mean: meta-parameters the strategy would answer now.
        strategy: evosax's state, as it is before the generation is sampled.
        key: uint32 ``[2]``, data of the key the generation is sampled with.
        asked: 1 between `ask` and `tell`, else 0.
        failed: proposals of the last generation that failed on at least one task.
        skipped: generations so far that changed nothing, because no proposal succeeded on any task,
            or because the update was not finite.
    """

    generation: int
    mean: Any
    strategy: Any
    key: np.ndarray
    asked: int
    failed: int
    skipped: int


def make_es(
    config: ESConfig,
    init: Callable[[PRNGKeyArray], Any],
    references: Mapping[str, float | None] | None = None,
) -> MetaOptimizer:
    """A `MetaOptimizer` that searches with an evolution strategy.

    Args:
        config: which strategy, and its numbers.
        init: ``key -> meta_params``: the initial mean, a pytree of float arrays. For objectives that
            are even in their weights it must not be zero: plus and minus would be the same function.
        references: reference return of each meta-training task, by the task's name; read by
            `task_normalization` "reference" only.

    Raises:
        BadInput: there is nothing to search, or more than the strategy's matrices can be held for.
    """
    config = config.resolved()
    references = dict(references or {})
    check_references(config, references)
    template = init(jax.random.key(0))
    check_template(template)
    check_size(config, template)
    strategy = adapt(config, template)

    def start(key):
        key_mean, key_strategy = jax.random.split(key)
        state = strategy.init(key_strategy, init(key_mean))
        check_mean(state.mean)
        no_key = np.zeros_like(jax.random.key_data(key_strategy))
        return ESState(0, strategy.mean(state), state, np.asarray(no_key), asked=0, failed=0, skipped=0)

    def ask(key, state):
        state = state._replace(key=np.asarray(jax.random.key_data(key)), asked=1)
        population, _ = _sample(strategy, state)
        return requests_of(config, state, population), state

    def tell(state, results):
        scores = scores_of(config, state, results)
        every = np.array([failed(task) for task in scores.values()])
        updated = None if every.all() else _updated(strategy, state, utilities(scores, config, references))
        generation = int(state.generation) + 1
        inner = strategy.at_generation(state.strategy if updated is None else updated, generation)
        return ESState(
            generation,
            strategy.mean(inner),
            inner,
            state.key,
            asked=0,
            failed=int(every.any(axis=0).sum()),
            skipped=int(state.skipped) + int(updated is None),
        )

    return MetaOptimizer(
        start, ask, tell, mean=lambda state: state.mean, metrics=lambda state: _metrics(strategy, state)
    )


def _key(state: ESState) -> PRNGKeyArray:
    """The key that the generation is sampled with."""
    return jax.random.wrap_key_data(jnp.asarray(state.key))


def _sample(strategy: EvosaxStrategy, state: ESState) -> tuple[Any, Any]:
    """The generation's population, leaves ``[P, ...]``, and evosax's state after sampling it."""
    return strategy.ask(_key(state), state.strategy)


def _updated(strategy: EvosaxStrategy, state: ESState, utility: Float[np.ndarray, " P"]) -> Any:
    """evosax's state after learning the generation's utilities, or None when it is not finite."""
    population, sampled = _sample(strategy, state)
    loss = -utility
    updated = strategy.tell(_key(state), population, loss, sampled)
    return updated if np.isfinite(updated.mean).all() and np.isfinite(strategy.sigma(updated)) else None


def _metrics(strategy: EvosaxStrategy, state: ESState) -> dict[str, float]:
    """What `state` is worth recording: the numbers that the next generation uses, and its failures."""
    metrics = {
        "sigma": strategy.sigma(state.strategy),
        "mean_norm": float(np.linalg.norm(state.strategy.mean)),
        "failed_proposals": float(state.failed),
        "skipped_generations": float(state.skipped),
    }
    if hasattr(state.strategy, "opt_state"):
        metrics["learning_rate"] = float(state.strategy.opt_state.hyperparams["learning_rate"])
    return metrics
