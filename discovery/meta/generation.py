"""What search methods that propose whole populations share: requests, their scores, and what is refused."""

import math
from collections.abc import Mapping
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from discovery.errors import BadInput, RunError
from discovery.meta.base import Request, Result
from discovery.meta.es_config import ESConfig
from discovery.meta.shaping import Scores
from discovery.meta.strategies import LARGEST_MATRIX


class State(Protocol):
    """What the states of these methods have in common: see `ESState` and `PBEState`."""

    @property
    def generation(self) -> int: ...
    @property
    def mean(self) -> Any: ...
    @property
    def asked(self) -> int: ...


def mean_request(state: State) -> Request:
    """The request for the mean of `state`: `ask` makes it when it is due, a search at its end."""
    return request_of_mean(int(state.generation), state.mean)


def request_of_mean(generation: int, mean: Any) -> Request:
    """The request for a mean on the selection seeds, `generation` being how often it was updated."""
    return Request(f"g{generation}/mean", mean, generation, index=-1, split="selection")


def requests_of(config: ESConfig, state: State, population: Any) -> list[Request]:
    """One request per proposal, and one for the mean where it is due.

    Args:
        config: for the population's size, its pairs, and how often the mean is due.
        state: of the generation.
        population: the proposals, leaves ``[P, ...]``.
    """
    generation, half = int(state.generation), config.population // 2
    requests = [
        Request(
            id=f"g{generation}/p{index}",
            meta_params=jax.tree.map(lambda leaf, index=index: np.array(leaf[index]), population),
            generation=generation,
            index=index,
            pair=index % half if config.pairs else -1,
        )
        for index in range(config.population)
    ]
    if config.mean_every and generation % config.mean_every == 0:
        requests.append(mean_request(state))
    return requests


def scores_of(config: ESConfig, state: State, results: Mapping[str, Result]) -> Scores:
    """Scores of the generation's proposals as ``{task: [P, S]}``, float64."""
    if not state.asked:
        raise RunError(f"generation {int(state.generation)} was told before it was asked; call ask first")
    ids = [f"g{int(state.generation)}/p{index}" for index in range(config.population)]
    missing = [name for name in ids if name not in results]
    if missing:
        raise RunError(
            f"{len(missing)} of {len(ids)} results are missing (first: {missing[0]}); "
            f"{config.strategy} needs the whole generation, failed proposals with NaN scores"
        )
    shapes = {task: np.shape(score) for task, score in results[ids[0]].scores.items()}
    for name in ids:
        if {task: np.shape(score) for task, score in results[name].scores.items()} != shapes:
            raise RunError(f"{name} was not evaluated on the same tasks and number of seeds as {ids[0]}")
    if not shapes or any(len(shape) != 1 or shape[0] < 1 for shape in shapes.values()):
        raise RunError(f"scores must be one array [S] per task with S at least 1, got shapes {shapes}")
    return {task: np.stack([np.asarray(results[n].scores[task], np.float64) for n in ids]) for task in shapes}


def check_references(config: ESConfig, references: Mapping[str, float | None]) -> None:
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


def check_template(template: Any) -> None:
    """Refuse meta-parameters that noise cannot be added to."""
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


def check_size(config: ESConfig, template: Any) -> None:
    """Refuse more meta-parameters than the strategy's matrices can be held for."""
    matrices = {"none": 0, "one": 1, "one per proposal": config.population}[config.facts.matrices]
    size = sum(np.size(leaf) for leaf in jax.tree.leaves(template))
    if matrices * size**2 <= LARGEST_MATRIX:
        return
    what = f"{matrices} matrices" if matrices > 1 else "a matrix"
    raise BadInput(
        f"{config.strategy} needs {what} of {size:,} x {size:,} entries for {size:,} meta-parameters, "
        f"{matrices * size**2 * 4 / 1e9:,.1f} GB; it takes up to {math.isqrt(LARGEST_MATRIX // matrices):,} "
        "here. Use SNES or Sep_CMA_ES, which adapt a step size per entry, or Open_ES"
    )


def check_mean(mean: Any) -> None:
    """Refuse an initial mean that is not finite."""
    if not all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(mean)):
        raise BadInput("the initial mean has non-finite entries; use an initializer that returns numbers")
