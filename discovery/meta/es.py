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

from discovery.errors import BadInput, RunError
from discovery.meta.base import MetaOptimizer, Request, Result
from discovery.meta.es_config import ESConfig
from discovery.meta.evosax_adapter import EvosaxStrategy, adapt
from discovery.meta.shaping import Scores, failed, utilities

__all__ = ["ESConfig", "ESState", "make_es", "mean_request", "request_of_mean"]


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
    """
    config = config.resolved()
    references = dict(references or {})
    _check_references(config, references)
    template = init(jax.random.key(0))
    _check_template(template)
    strategy = adapt(config, template)

    def start(key):
        key_mean, key_strategy = jax.random.split(key)
        state = strategy.init(key_strategy, init(key_mean))
        if not np.isfinite(state.mean).all():
            raise BadInput("the initial mean has non-finite entries; use an initializer that returns numbers")
        no_key = np.zeros_like(jax.random.key_data(key_strategy))
        return ESState(0, strategy.mean(state), state, np.asarray(no_key), asked=0, failed=0, skipped=0)

    def ask(key, state):
        state = state._replace(key=np.asarray(jax.random.key_data(key)), asked=1)
        population, _ = _sample(strategy, state)
        requests = _proposals(config, state, population)
        if config.mean_every and int(state.generation) % config.mean_every == 0:
            requests.append(mean_request(state))
        return requests, state

    def tell(state, results):
        scores = _gather(config, state, results)
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


def mean_request(state: ESState) -> Request:
    """The request for the mean of `state`: `ask` makes it when it is due, a search at its end."""
    return request_of_mean(int(state.generation), state.mean)


def request_of_mean(generation: int, mean: Any) -> Request:
    """The request for a mean on the selection seeds, `generation` being how often it was updated."""
    return Request(f"g{generation}/mean", mean, generation, index=-1, split="selection")


def _check_references(config: ESConfig, references: Mapping[str, float | None]) -> None:
    """Refuse references that cannot divide, where they shall."""
    if config.task_normalization != "reference":
        return
    if not references:
        raise BadInput("task_normalization='reference' needs the reference return of every task, got none")
    useless = [task for task, value in references.items() if not value or not np.isfinite(value)]
    if useless:
        raise BadInput(
            "task_normalization='reference' divides scores by each task's reference return, "
            f"which is missing, zero or not finite for {', '.join(useless)}; give it, or use z_score or rank"
        )


def _check_template(template: Any) -> None:
    """Refuse meta-parameters that a Gaussian cannot search."""
    leaves = jax.tree_util.tree_leaves_with_path(template)
    if not leaves:
        raise BadInput("there is nothing to search: the objective has no meta-parameters; choose another one")
    for path, leaf in leaves:
        dtype = np.asarray(leaf).dtype
        if not jnp.issubdtype(dtype, jnp.floating):
            raise BadInput(
                f"meta-parameter {jax.tree_util.keystr(path)} is {dtype}: evolution strategies add noise "
                "and need floats; make it a float array, or keep it out of what is searched"
            )


def _key(state: ESState) -> PRNGKeyArray:
    """The key that the generation is sampled with."""
    return jax.random.wrap_key_data(jnp.asarray(state.key))


def _sample(strategy: EvosaxStrategy, state: ESState) -> tuple[Any, Any]:
    """The generation's population, leaves ``[P, ...]``, and evosax's state after sampling it."""
    return strategy.ask(_key(state), state.strategy)


def _proposals(config: ESConfig, state: ESState, population: Any) -> list[Request]:
    """One request per proposal."""
    generation, half = int(state.generation), config.population // 2
    return [
        Request(
            id=f"g{generation}/p{index}",
            meta_params=jax.tree.map(lambda leaf, index=index: np.array(leaf[index]), population),
            generation=generation,
            index=index,
            pair=index % half if config.pairs else -1,
        )
        for index in range(config.population)
    ]


def _gather(config: ESConfig, state: ESState, results: Mapping[str, Result]) -> Scores:
    """Scores of the generation's proposals as ``{task: [P, S]}``, float64."""
    if not state.asked:
        raise RunError(f"generation {int(state.generation)} was told before it was asked; call ask first")
    ids = [f"g{int(state.generation)}/p{index}" for index in range(config.population)]
    missing = [name for name in ids if name not in results]
    if missing:
        raise RunError(
            f"{len(missing)} of {len(ids)} results are missing (first: {missing[0]}); "
            "an evolution strategy needs the whole generation, failed proposals with NaN scores"
        )
    shapes = {task: np.shape(score) for task, score in results[ids[0]].scores.items()}
    for name in ids:
        if {task: np.shape(score) for task, score in results[name].scores.items()} != shapes:
            raise RunError(f"{name} was not evaluated on the same tasks and number of seeds as {ids[0]}")
    if not shapes or any(len(shape) != 1 or shape[0] < 1 for shape in shapes.values()):
        raise RunError(f"scores must be one array [S] per task with S at least 1, got shapes {shapes}")
    return {task: np.stack([np.asarray(results[n].scores[task], np.float64) for n in ids]) for task in shapes}


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
