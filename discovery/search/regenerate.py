"""Regenerate proposals from the stored state of the meta-optimizer and the run's seed."""

from collections.abc import Iterable, Sequence
from typing import Any

from discovery.core.jobs import JobResult
from discovery.meta.base import Proposal, Request, ScoreRequest
from discovery.meta.generation import request_of_answer
from discovery.search.async_state import AsyncState, ProposalBatch
from discovery.search.proposing import key_of, meta_optimizer
from discovery.store.run import Run


class Regenerator:
    """Asks a run's meta-optimizer again. Make it once per run, because its functions compile.

    Args:
        run: an open run; only its config is kept.
    """

    def __init__(self, run: Run) -> None:
        self._config = run.config
        self._meta = meta_optimizer(run.config)
        self._template = self._meta.init(key_of(run.config, "init"))
        self._cached: tuple[int, dict[str, Proposal]] | None = None

    def proposals(self, run: Run, generation: int) -> dict[str, Proposal]:
        """A generation's proposals and its answer, by the text of the request's id."""
        if self._cached is None or self._cached[0] != generation:
            requests = list(self._proposals(run, generation))
            if generation - 1 <= (run.ledger.last_generation() or 0):  # else only proposals exist
                requests.append(request_of_answer(generation, run.answer(generation - 1)))
            self._cached = (
                generation,
                {str(r.id): r.proposal for r in requests if isinstance(r, ScoreRequest)},
            )
        return self._cached[1]

    def _proposals(self, run: Run, generation: int) -> Sequence[Request]:
        """The recorded proposals of a generation."""
        config, meta = self._config, self._meta
        if not config.meta.asynchronous:
            state = run.ledger.load_state(generation - 1, self._template)
            return meta.ask(key_of(config, "ask", generation), state)[0]
        rows = [row for row in run.ledger.proposals(generation) if row["split"] == "search"]
        return self._replayed(run, {row["id"]: row for row in rows}) if rows else []

    def _replayed(self, run: Run, wanted: dict[str, Any]) -> list[Request]:
        """The `wanted` proposals of an asynchronous search, which is replayed from the state that asked."""
        ledger, digests = run.ledger, {row["asked_digest"] for row in wanted.values()}
        closed = min(row["generation"] for row in ledger.generations() if row["state_digest"] in digests)
        state = ledger.load_state(closed, self._template)
        async_state = AsyncState(self._config, self._meta, state, closed + 1, ledger.load_order())
        found: list[Request] = []
        recorded: dict[str, JobResult] = {}

        def note(batches: Iterable[ProposalBatch]) -> None:
            for batch in batches:
                found.extend(request for request in batch.requests if str(request.id) in wanted)
                recorded.update({str(id): result for id, result in ledger.finished(batch.jobs).items()})

        note([*async_state.batches.values(), *async_state.ask()])
        for job in ledger.order(recorded):
            if len(found) == len(wanted):
                break
            if job in recorded:
                async_state.take(recorded.pop(job))
                while async_state.tell():
                    note(async_state.ask())
        return found
