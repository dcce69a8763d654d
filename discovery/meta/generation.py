"""What search methods that propose populations share: requests, their scores, and what is refused."""

import math
from collections.abc import Mapping
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from discovery.core.config.evolution import ESConfig
from discovery.core.config.strategies import LARGEST_MATRIX
from discovery.core.errors import BadInput, RunError
from discovery.meta.base import Request, Result
from discovery.meta.evolution.shaping import Scores
from discovery.meta.in_flight import Flight


class State(Protocol):
    """What the states of these methods have in common: see `ESState` and `PBEState`."""

    @property
    def told(self) -> int: ...
    @property
    def flight(self) -> Flight: ...


def request_of_mean(generation: int, mean: Any) -> Request:
    """The request for a mean on the selection seeds, `generation` being how often it was updated."""
    return Request(f"g{generation}/mean", mean, generation, index=-1, split="selection")


def asked_for(state: State) -> int:
    """Broods that were asked for so far, which is the number of the next one."""
    return int(state.told) + len(state.flight.broods())


def places_of(config: ESConfig, brood: int) -> list[tuple[int, int]]:
    """Generation and index of the proposals of a brood: they are counted in the order of asking."""
    size = config.brood_size
    return [divmod(n, config.population) for n in range(brood * size, (brood + 1) * size)]


def requests_of(config: ESConfig, brood: int, proposals: Any) -> list[Request]:
    """One request per proposal of a brood, whose leaves are ``[B, ...]``."""
    half = config.population // 2
    return [
        Request(
            id=f"g{generation}/p{index}",
            meta_params=jax.tree.map(lambda leaf, lane=lane: np.array(leaf[lane]), proposals),
            generation=generation,
            index=index,
            pair=index % half if config.pairs else -1,
        )
        for lane, (generation, index) in enumerate(places_of(config, brood))
    ]


def broods_of(config: ESConfig, state: State, results: Mapping[str, Result]) -> list[tuple[int, Scores]]:
    """The broods in flight that `results` are of, in the order of asking, each with its scores as
    ``{task: [B, S]}``, float64.
    """
    waiting = state.flight.broods()
    if not waiting:
        raise RunError(f"brood {int(state.told)} was told before it was asked; call ask first")
    names = {brood: [f"g{g}/p{index}" for g, index in places_of(config, brood)] for brood in waiting}
    some = [brood for brood in waiting if any(name in results for name in names[brood])]
    return [(brood, _scores_of(config, names[brood], results)) for brood in some or waiting[:1]]


def _scores_of(config: ESConfig, ids: list[str], results: Mapping[str, Result]) -> Scores:
    missing = [name for name in ids if name not in results]
    if missing:
        raise RunError(
            f"{len(missing)} of {len(ids)} results are missing (first: {missing[0]}); "
            f"{config.strategy} needs all that were asked for together, failed proposals with NaN scores"
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
