"""The contract of a meta-optimizer: its proposals, its requests, and their results.

    state = meta.init(key)
    requests, state = meta.ask(key, state)
    ... the requests are answered: `discovery/search/loop.py` ...
    state = meta.tell(state, results)
    proposal = meta.answer(state)

States are pytrees of numpy or jax arrays and plain numbers, so that a run can store and restore them bit for
bit. Random keys are arguments; no object has hidden state.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np

from discovery.core.jobs import AlgorithmSpec

Kind = Literal["score", "gradient", "reply"]
Split = Literal["search", "selection", "hurdle"]

ANSWER, BASELINE = -1, -2
"""Indices of the requests that score a meta-optimizer's current answer, and the baseline of a hurdle."""


@dataclass(frozen=True, order=True)
class RequestId:
    """Identifies a request within a run. Its text is for the database and for people, and is never parsed.

    Attributes:
        generation: the generation it belongs to.
        index: its number within the generation and kind; `ANSWER` for the answer, `BASELINE` for a baseline.
        kind: the kind of request.
    """

    generation: int
    index: int
    kind: Kind = "score"

    def __str__(self) -> str:
        if self.kind != "score":
            return f"g{self.generation}/{self.kind}{self.index}"
        named = {ANSWER: "answer", BASELINE: "baseline"}
        return f"g{self.generation}/{named.get(self.index, f'p{self.index}')}"

    @property
    def is_answer(self) -> bool:
        """Whether it asks for the scores of a generation's answer, not of a proposal."""
        return self.kind == "score" and self.index == ANSWER


@dataclass(frozen=True, eq=False)
class Proposal:
    """A learning algorithm that a meta-optimizer proposes.

    Attributes:
        meta_params: the searched entries, a pytree of numpy arrays of any dtype.
        algorithm: the algorithm that reads them; None for the one that the search's config names.
        parents: ids of the proposals that it was made from, as text.
        operator: how it was made from them, for example "mutation".
        source: its source text, if it is a program.
    """

    meta_params: Any
    algorithm: AlgorithmSpec | None = None
    parents: tuple[str, ...] = ()
    operator: str = ""
    source: str = ""


@dataclass(frozen=True, eq=False)
class ScoreRequest:
    """Asks for the scores of a proposal: one training for each task and seed.

    Attributes:
        id: of the request.
        proposal: the proposal to train.
        split: "search" for proposals, "selection" for answers that can be chosen; these share no seeds.
            "hurdle" for a baseline, which is trained for a short time on the seeds of the proposals.
        pair: antithetic pair it belongs to, or -1. With `antithetic_tasks`, members of a pair share
            lifetimes, levels and keys.
        tasks: names of the tasks; None for all tasks of the split.
        seeds: indices of the seeds; None for all seeds of the split.
    """

    kind: ClassVar[Kind] = "score"
    id: RequestId
    proposal: Proposal
    split: Split = "search"
    pair: int = -1
    tasks: tuple[str, ...] | None = None
    seeds: tuple[int, ...] | None = None


@dataclass(frozen=True, eq=False)
class GradientRequest:
    """Asks for a meta-gradient: advance trainings by a window of updates, and differentiate an outer loss.

    Attributes:
        id: of the request.
        proposal: the meta-parameters at which the gradient is taken.
        carry: the trainings' states from the last result; None to begin.
        window: K, updates of each training.
    """

    kind: ClassVar[Kind] = "gradient"
    id: RequestId
    proposal: Proposal
    carry: Any
    window: int


@dataclass(frozen=True, eq=False)
class ReplyRequest:
    """Asks for the reply of a language model.

    Attributes:
        id: of the request.
        prompt: the text.
        model: name of the model; empty for the client's default.
        options: further settings of the call, such as the temperature.
    """

    kind: ClassVar[Kind] = "reply"
    id: RequestId
    prompt: str
    model: str = ""
    options: Mapping[str, float] = field(default_factory=dict)


Request = ScoreRequest | GradientRequest | ReplyRequest


@dataclass(frozen=True, eq=False)
class ScoreResult:
    """The scores of a proposal.

    Attributes:
        id: of the request.
        scores: task name -> float64 ``[S]``, one per seed; NaN where a training failed or diverged.
    """

    kind: ClassVar[Kind] = "score"
    id: RequestId
    scores: Mapping[str, np.ndarray]


@dataclass(frozen=True, eq=False)
class GradientResult:
    """A meta-gradient.

    Attributes:
        id: of the request.
        gradient: d(outer loss) / d(meta_params), a pytree like them; None after an error.
        carry: the trainings' states after the window.
        metrics: numbers of the window, by name.
        error: why there is no gradient; None if there is one.
    """

    kind: ClassVar[Kind] = "gradient"
    id: RequestId
    gradient: Any
    carry: Any
    metrics: Mapping[str, float] = field(default_factory=dict)
    error: str | None = None


@dataclass(frozen=True, eq=False)
class ReplyResult:
    """The reply of a language model.

    Attributes:
        id: of the request.
        text: the reply; empty after an error.
        metrics: tokens, price, latency, by name.
        error: a typed reason why there is no text; None if there is one.
    """

    kind: ClassVar[Kind] = "reply"
    id: RequestId
    text: str
    metrics: Mapping[str, float] = field(default_factory=dict)
    error: str | None = None


Result = ScoreResult | GradientResult | ReplyResult
Results = Mapping[RequestId, Result]


class MetaOptimizer(NamedTuple):
    """A search method.

    Attributes:
        init: ``key -> state``.
        ask: ``(key, state) -> (requests, state)``: a batch of requests, which is a whole generation unless
            the search is asynchronous. Empty while the maximal number of batches is in flight.
        tell: ``(state, results) -> state``; `results` maps request ids to results, and holds one or several
            whole batches. It may also hold the scores of an answer (`id.is_answer`), which must not be
            learned from.
        answer: ``state -> Proposal``: its current answer.
        metrics: ``state -> {name: float}`` for records and progress (sigma, norms ...).
        in_flight: ``state -> [requests of each batch]``: the batches that were asked for and not told, in the
            order of asking. A resumed search needs them.
    """

    init: Callable[[Any], Any]
    ask: Callable[[Any, Any], tuple[Sequence[Request], Any]]
    tell: Callable[[Any, Results], Any]
    answer: Callable[[Any], Proposal]
    metrics: Callable[[Any], dict[str, float]]
    in_flight: Callable[[Any], Sequence[Sequence[Request]]]
