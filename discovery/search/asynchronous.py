"""An asynchronous search: it learns from each batch of proposals as soon as the batch is finished.

Whenever the meta-optimizer is told a batch (see `discovery.meta.in_flight`), it is asked for another, so
workers always have work. The numbers depend on the order in which batches are told. That is the order in
which the ledger records their last results: a resumed search reads the recorded results in that order and
reaches the state that it had.

Generations only structure the record: each group of P told proposals closes one, whichever proposals they
are. The mean is evaluated alongside the proposals when a generation is closed, and the search does not wait
for its scores.
"""

from collections.abc import Mapping
from typing import Any

from discovery.core.jobs import Job, JobKey, JobResult
from discovery.executors.base import Executor, together
from discovery.meta.base import MetaOptimizer, RequestId, ScoreRequest, ScoreResult
from discovery.meta.generation import request_of_answer
from discovery.search.async_state import AsyncState
from discovery.search.listener import Listener
from discovery.search.progress import answer_is_due
from discovery.search.requests import fitness_of, jobs_of, result_of
from discovery.store.ledger import Evaluation
from discovery.store.run import Run


def flow(run: Run, executor: Executor, listener: Listener, meta: MetaOptimizer, state: Any) -> Any:
    """Search from the last closed generation, whose state is `state`, to the end; returns the final state."""
    current = _AsyncSearch(run, listener, meta, state)
    current.begin()
    for group in together(executor.run(current.more(), current.more)):
        run.ledger.record_all([(Evaluation.of(*current.trainings[result.id]), result) for result in group])
        for result in group:
            listener.finished(current.trainings[result.id][0], result)
            current.receive(result)
    current.end()
    return current.async_state.state


class _AsyncSearch:
    """The trainings of an asynchronous search, and how their results are handled.

    Attributes:
        async_state: of the search.
        trainings: requested trainings without a result, by id, each with its request.
    """

    def __init__(self, run: Run, listener: Listener, meta: MetaOptimizer, state: Any) -> None:
        self._run, self._listener, self._meta = run, listener, meta
        last = run.ledger.last_generation()
        assert last is not None, "the initial state is closed before anything else"
        self.async_state = AsyncState(run.config, meta, state, last + 1, run.ledger.load_order())
        self.trainings: dict[JobKey, tuple[Job, ScoreRequest]] = {}
        self._queued: list[Job] = []
        self._recorded: dict[str, JobResult] = {}  # by text of the id: results from before an interruption
        self._proposal_scores: dict[RequestId, ScoreResult] = {}  # told since the last closed generation
        self._answer_scores: dict[RequestId, ScoreResult] = {}  # complete since the last closed generation
        self._answer_results: dict[RequestId, dict[JobKey, JobResult]] = {}  # of answers in training
        self._unannounced: list[Job] | None = []  # announced together; None afterwards

    def begin(self) -> None:
        """Restore the batches that were in flight when the last generation was closed, and ask for more; then
        handle the results that were recorded afterwards, in the order in which they came.
        """
        for generation in sorted({*self._run.ledger.unscored_answers(), self.async_state.generation}):
            self._evaluate_answer(generation)
        for batch in self.async_state.batches.values():
            self._run.ledger.check_proposed(batch.requests)
            self._queue(batch.jobs)
        self._ask()
        for job in list(self._run.ledger.order(self._recorded)):
            if job in self._recorded:
                self.receive(self._recorded.pop(job))
        self._announce()

    def end(self) -> None:
        """Record the answers that were scored after the last generation was closed."""
        self._run.ledger.keep_fitness(fitness_of(self._answer_scores))

    def more(self) -> list[Job]:
        """The queued trainings, which then are queued no longer."""
        waiting, self._queued = self._queued, []
        return waiting

    def receive(self, result: JobResult) -> None:
        """Handle a recorded result."""
        _, request = self.trainings.pop(result.id)
        if request.id in self._answer_results:
            self._take_answer(request, result)
            return
        self.async_state.take(result)
        while told := self.async_state.tell():
            self._proposal_scores |= told[1]
            if self.async_state.closes:
                self._close()
            self._ask()

    def _ask(self) -> None:
        for batch in self.async_state.ask():
            self._run.ledger.propose(batch.requests)
            self._queue(batch.jobs)

    def _queue(self, jobs: Mapping[JobKey, tuple[Job, ScoreRequest]]) -> None:
        """Queue trainings, except those whose results are recorded."""
        recorded = self._run.ledger.finished(jobs)
        self._recorded |= {str(id): result for id, result in recorded.items()}
        self.trainings |= jobs
        self._queued += [job for name, (job, _) in jobs.items() if name not in recorded]
        every = [job for job, _ in jobs.values()]
        if self._unannounced is None:
            self._listener.started(self.async_state.generation, every, len(recorded))
        else:
            self._unannounced += every

    def _announce(self, closing: bool = False) -> None:
        """Announce the trainings since the last closed generation, unless they were announced before."""
        if self._unannounced is not None:
            open_generation = self.async_state.generation - closing
            done = sum(job.id not in self.trainings for job in self._unannounced)
            self._listener.started(open_generation, self._unannounced, done)
            self._unannounced = None

    def _evaluate_answer(self, generation: int) -> None:
        """Queue the trainings of a generation's answer, if it is due and has not been evaluated."""
        config, ledger = self._run.config, self._run.ledger
        if generation == config.generations or not answer_is_due(config, generation):
            return  # the final answer is evaluated after the search
        answer = self._run.answer(generation - 1)
        if ledger.has_answered(generation, answer.meta_params):
            return
        request = request_of_answer(generation, answer)
        jobs = {job.id: (job, request) for job in jobs_of(request, config)}
        if len(recorded := ledger.finished(jobs)) == len(jobs):  # only its fitness may be missing
            self._answer_scores[request.id] = result_of(request, config, recorded)
            return
        if generation == self.async_state.generation:  # earlier answers are already recorded
            ledger.propose([request])
        self._answer_results[request.id] = {}
        self._queue(jobs)

    def _take_answer(self, request: ScoreRequest, result: JobResult) -> None:
        """Handle the result of an answer's training."""
        config, results = self._run.config, self._answer_results[request.id]
        results[result.id] = result
        if len(results) == config.selection_seeds * len(config.selecting):
            del self._answer_results[request.id]
            self._answer_scores[request.id] = result_of(request, config, results)

    def _close(self) -> None:
        """Close a generation, after a generation's number of proposals was told."""
        self._announce(closing=True)
        state, generation = self.async_state.state, self.async_state.generation - 1
        metrics, answer = self._meta.metrics(state), self._meta.answer(state)
        results = self._proposal_scores | self._answer_scores
        self._run.ledger.close_generation(generation, state, metrics, fitness_of(results), answer)
        self._listener.closed(generation, results, metrics)
        self._proposal_scores, self._answer_scores = {}, {}
        self._listener.started(self.async_state.generation, [job for job, _ in self.trainings.values()], 0)
        self._evaluate_answer(self.async_state.generation)
