"""The state of an asynchronous search: what to train next, given which batches finished first. Pure.

    async_state = AsyncState(config, meta, state, closed)
    async_state.ask()         # batches to train now
    async_state.take(result)  # of one of their trainings
    async_state.tell()        # the next batch to learn from, if one is finished

Its requests depend only on the initial state and on the order in which batches are told. So a search that is
resumed or repeated with the same order reaches the same state.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from discovery.core.config.search import SearchConfig
from discovery.core.errors import RunError
from discovery.core.jobs import Job, JobKey, JobResult
from discovery.meta.base import MetaOptimizer, Request, RequestId, ScoreRequest, ScoreResult
from discovery.search.proposing import key_of
from discovery.search.requests import jobs_of, result_of
from discovery.store.run import Run


def order_of(run: Run) -> list[int] | None:
    """The order in which a search was told its batches so far; None if its method allows only one order."""
    config = run.config
    if not config.meta.in_batches:
        return None
    if (order := run.ledger.load_order()) is not None:
        return order
    batch = {row["id"]: _number(config, row["generation"], row["idx"]) for row in run.ledger.proposals()}
    left = Counter(
        dict.fromkeys(batch.values(), config.proposing.batch_size * config.seeds * len(config.tasks))
    )
    order = []
    for row in run.ledger.evaluations(outcomes=False):
        if row["split"] == "search":
            left[number := batch[row["proposal"]]] -= 1
            order += [number] if left[number] == 0 else []
    return order


@dataclass
class ProposalBatch:
    """Proposals that were asked for together.

    Attributes:
        number: from 0, in the order of asking.
        requests: one per proposal.
        jobs: their trainings by id, each with its request.
        taken: results so far, by job id.
    """

    number: int
    requests: list[ScoreRequest]
    jobs: dict[JobKey, tuple[Job, ScoreRequest]]
    taken: dict[JobKey, JobResult] = field(default_factory=dict)

    @property
    def finished(self) -> bool:
        """Whether all of its trainings have ended."""
        return len(self.taken) == len(self.jobs)


class AsyncState:
    """The state of an asynchronous search.

    Args:
        config: of the search.
        meta: its meta-optimizer.
        state: the meta-optimizer's state after the last closed generation.
        closed: number of closed generations.
        order: the order in which to tell batches, by number. By default they are told as they finish, or
            in the order of asking if the method must learn from generations in order.

    Attributes:
        state: the meta-optimizer's.
        told: number of batches that were told.
        batches: the batches in flight (asked for and not told), by number.
    """

    def __init__(
        self,
        config: SearchConfig,
        meta: MetaOptimizer,
        state: Any,
        closed: int,
        order: Sequence[int] | None = None,
    ) -> None:
        self._config, self._meta = config, meta
        self._per_generation = config.meta.population // config.proposing.batch_size
        self._total = config.generations * self._per_generation
        if order is None and not config.meta.in_batches:
            order = range(self._total)
        self._order = order
        self._finished: list[int] = []
        self._owners: dict[JobKey, int] = {}
        self.state, self.told = state, closed * self._per_generation
        self.batches: dict[int, ProposalBatch] = {}
        for requests in meta.in_flight(state):
            self._add(requests)

    @property
    def generation(self) -> int:
        """The open generation: the next batch to be told belongs to it."""
        return self.told // self._per_generation

    @property
    def closes(self) -> bool:
        """Whether the batch that was told last completed a generation."""
        return self.told % self._per_generation == 0

    def ask(self) -> list[ProposalBatch]:
        """Ask for as many further batches as may be in flight."""
        asked = []
        while (number := self.told + len(self.batches)) < self._total:
            requests, self.state = self._meta.ask(key_of(self._config, "ask", number), self.state)
            if not requests:
                break
            asked.append(self._add(requests))
        return asked

    def take(self, result: JobResult) -> None:
        """Add the result of a training to its batch."""
        batch = self.batches[self._owners[result.id]]
        batch.taken[result.id] = result
        if batch.finished:
            self._finished.append(batch.number)

    def tell(self) -> tuple[ProposalBatch, dict[RequestId, ScoreResult]] | None:
        """Tell the meta-optimizer the next batch, if it is finished; returns the batch and its scores."""
        number = self._finished[0] if self._finished else None
        if self._order is not None and self.told < len(self._order):
            number = self._order[self.told]
        if number not in self._finished:
            return None
        self._finished.remove(number)
        batch = self.batches.pop(number)
        for job in batch.jobs:
            del self._owners[job]
        results = {r.id: result_of(r, self._config, batch.taken) for r in batch.requests}
        self.state = self._meta.tell(self.state, results)
        self.told += 1
        return batch, results

    def _add(self, requests: Sequence[Request]) -> ProposalBatch:
        scored = [request for request in requests if isinstance(request, ScoreRequest)]
        if len(scored) < len(requests):
            raise RunError("an asynchronous search can ask for scores only")
        number = _number(self._config, scored[0].id.generation, scored[0].id.index)
        jobs = {job.id: (job, request) for request in scored for job in jobs_of(request, self._config)}
        batch = self.batches[number] = ProposalBatch(number, scored, jobs)
        self._owners |= dict.fromkeys(jobs, number)
        return batch


def _number(config: SearchConfig, generation: int, index: int) -> int:
    """Number of the batch that a proposal belongs to."""
    return (generation * config.meta.population + index) // config.proposing.batch_size
