"""The contract of a meta-optimizer: init, ask, tell, as values.

    state = meta.init(key)
    requests, state = meta.ask(key, state)
    ... the requests are evaluated: `discovery/search/requests.py` ...
    state = meta.tell(state, results)

States are pytrees of numpy or jax arrays and plain numbers, so that a run can store and restore
them bit for bit. Keys are arguments; nothing is hidden in objects.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np


@dataclass(frozen=True)
class Request:
    """Something a meta-optimizer wants to know.

    Attributes:
        id: unique within a run: "g12/p3" for proposal 3 of generation 12, "g12/mean" for the mean.
        kind: "score": train and score `meta_params`.
        meta_params: the proposal, a pytree of numpy arrays.
        split: "search" for proposals; "selection" for what a choice is based on. The two never share seeds.
        generation: generation it belongs to.
        index: number of the proposal within its generation; -1 for the mean.
        pair: antithetic pair it belongs to, or -1. Members of a pair share lifetimes, levels and keys.
    """

    id: str
    meta_params: Any
    generation: int
    index: int
    pair: int = -1
    kind: Literal["score"] = "score"
    split: Literal["search", "selection"] = "search"


@dataclass(frozen=True)
class Result:
    """Scores of one request.

    Attributes:
        id: the request's.
        scores: task name -> float64 ``[S]``, one per seed; NaN where a training failed or diverged.
    """

    id: str
    scores: Mapping[str, np.ndarray]


class MetaOptimizer(NamedTuple):
    """A search method.

    Attributes:
        init: ``key -> state``.
        ask: ``(key, state) -> (requests, state)``: a brood of proposals; a whole generation, unless it is
            asynchronous. None while as many broods are in flight as may be.
        tell: ``(state, results) -> state``; `results` maps request ids to `Result`, of one whole brood or
            several.
        mean: ``state -> meta_params``: what it would answer now.
        metrics: ``state -> {name: float}`` for records and progress (sigma, norms ...).
        in_flight: ``state -> [requests of each brood]``: those that were asked for and not told, in the order
            of asking, as an interrupted search needs them again.
    """

    init: Callable[[Any], Any]
    ask: Callable[[Any, Any], tuple[list[Request], Any]]
    tell: Callable[[Any, Mapping[str, Result]], Any]
    mean: Callable[[Any], Any]
    metrics: Callable[[Any], dict[str, float]]
    in_flight: Callable[[Any], list[list[Request]]]
