"""Shared by search methods that propose populations: requests, their scores, and checks."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from discovery.core.config.evolution import ESConfig
from discovery.core.config.generations import GenerationsConfig
from discovery.core.config.strategies import LARGEST_MATRIX
from discovery.core.errors import BadInput, RunError
from discovery.meta.base import ANSWER, Proposal, RequestId, Results, ScoreRequest, ScoreResult
from discovery.meta.evolution.shaping import Scores
from discovery.meta.in_flight import InFlight
from objectives.programs.code import is_code


class State(Protocol):
    """The common part of `ESState` and `PBEState`."""

    @property
    def told(self) -> int: ...
    @property
    def flight(self) -> InFlight: ...


def request_of_answer(generation: int, answer: Proposal) -> ScoreRequest:
    """A request for the selection scores of an answer; `generation` is the number of its updates."""
    return ScoreRequest(RequestId(generation, ANSWER), answer, split="selection")


def asked_for(state: State) -> int:
    """The number of batches that were asked for, which is the next batch's number."""
    return int(state.told) + len(state.flight.batches())


def places_of(config: GenerationsConfig, batch: int) -> list[tuple[int, int]]:
    """Generation and index of each proposal of a batch; proposals are counted in the order of asking."""
    size = config.batch_size
    return [divmod(n, config.population) for n in range(batch * size, (batch + 1) * size)]


def requests_of(config: GenerationsConfig, batch: int, proposals: Any) -> list[ScoreRequest]:
    """One request per proposal of a batch; the leaves of `proposals` are ``[B, ...]``."""
    half = config.population // 2
    return [
        ScoreRequest(
            RequestId(generation, index),
            Proposal(jax.tree.map(lambda leaf, lane=lane: np.array(leaf[lane]), proposals)),
            pair=index % half if config.pairs else -1,
        )
        for lane, (generation, index) in enumerate(places_of(config, batch))
    ]


def batches_of(config: GenerationsConfig, state: State, results: Results) -> list[tuple[int, Scores]]:
    """The batches in flight that have `results`, in the order of asking, each with its scores as
    ``{task: [B, S]}``, float64.
    """
    waiting = state.flight.batches()
    if not waiting:
        raise RunError(f"batch {int(state.told)} was told before it was asked; call ask first")
    ids = {batch: [RequestId(*place) for place in places_of(config, batch)] for batch in waiting}
    some = [batch for batch in waiting if any(id in results for id in ids[batch])]
    return [(batch, _scores_of(config, ids[batch], results)) for batch in some or waiting[:1]]


def _scores_of(config: GenerationsConfig, ids: Sequence[RequestId], results: Results) -> Scores:
    missing = [id for id in ids if id not in results]
    if missing:
        raise RunError(
            f"{len(missing)} of {len(ids)} results are missing (first: {missing[0]}); "
            f"{config.title} needs all that were asked for together, failed proposals with NaN scores"
        )
    found = [result for id in ids if isinstance(result := results[id], ScoreResult)]
    shapes = {task: np.shape(score) for task, score in found[0].scores.items()}
    for result in found:
        if {task: np.shape(score) for task, score in result.scores.items()} != shapes:
            raise RunError(f"{result.id} was not evaluated on the same tasks and number of seeds as {ids[0]}")
    if not shapes or any(len(shape) != 1 or shape[0] < 1 for shape in shapes.values()):
        raise RunError(f"scores must be one array [S] per task with S at least 1, got shapes {shapes}")
    return {task: np.stack([np.asarray(one.scores[task], np.float64) for one in found]) for task in shapes}


def check_references(config: GenerationsConfig, references: Mapping[str, float | None]) -> None:
    """Raise `BadInput` if scores are divided by references and one is missing, zero or not finite."""
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
    """Raise `BadInput` for meta-parameters to which noise cannot be added."""
    leaves = jax.tree_util.tree_leaves_with_path(template)
    if not leaves:
        raise BadInput("there is nothing to search: the objective has no meta-parameters; choose another one")
    if isinstance(template, Mapping) and (programs := [name for name in template if is_code(template[name])]):
        raise BadInput(
            f"{' and '.join(programs)}: a program has no numbers to add noise to; search it with "
            "method 'programs' (--meta.method programs)"
        )
    for path, leaf in leaves:
        dtype = np.asarray(leaf).dtype
        if not jnp.issubdtype(dtype, jnp.floating):
            raise BadInput(
                f"meta-parameter {jax.tree_util.keystr(path)} is {dtype}: evolution strategies add noise "
                "and need floats; make it a float array, or keep it out of what is searched"
            )


def check_size(config: ESConfig, template: Any) -> None:
    """Raise `BadInput` for more meta-parameters than the strategy's matrices allow."""
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
    """Raise `BadInput` for an initial mean that is not finite."""
    if not all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(mean)):
        raise BadInput("the initial mean has non-finite entries; use an initializer that returns numbers")
