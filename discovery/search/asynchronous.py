"""A search without a barrier: proposals are learned from as they come, and nobody waits for the slowest.

A batch (see `discovery.meta.in_flight`) is asked for whenever another was told, so workers always have work.
What counts is the order in which batches are told, and that is the order in which the ledger has their last
results: what was interrupted goes through the recorded results again, in that order, and is where it was.

Generations are for the record: one is closed with every P proposals that were told, whichever these are. The
mean is evaluated beside the proposals when a generation is closed, and nobody waits for it.
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
    """Search from the last closed generation, whose state is given, to the end; returns the state there."""
    live = _Flow(run, listener, meta, state)
    live.begin()
    for group in together(executor.run(live.more(), live.more)):
        run.ledger.record_all([(Evaluation.of(*live.trainings[result.id]), result) for result in group])
        for result in group:
            listener.finished(live.trainings[result.id][0], result)
            live.receive(result)
    live.end()
    return live.async_state.state


class _Flow:
    """What is in training, and what becomes of results.

    Attributes:
        async_state: of the search.
        trainings: that were asked for and are not learned from, by id, with the request each belongs to.
    """

    def __init__(self, run: Run, listener: Listener, meta: MetaOptimizer, state: Any) -> None:
        self._run, self._listener, self._meta = run, listener, meta
        last = run.ledger.last_generation()
        assert last is not None, "the initial state is closed before anything else"
        self.async_state = AsyncState(run.config, meta, state, last + 1, run.ledger.load_order())
        self.trainings: dict[JobKey, tuple[Job, ScoreRequest]] = {}
        self._waiting: list[Job] = []
        self._recorded: dict[str, JobResult] = {}  # by text of the id: what ended before an interruption
        self._told: dict[RequestId, ScoreResult] = {}  # since the last generation was closed
        self._judged: dict[RequestId, ScoreResult] = {}  # answers, since then
        self._answers: dict[RequestId, dict[JobKey, JobResult]] = {}  # results of those in training, by job
        self._early: list[Job] | None = []  # what there is to train, before it is announced at one go

    def begin(self) -> None:
        """Take up what was in flight when the last generation was closed, and ask for what fits beside it;
        then go through what was recorded after that, in the order in which it came.
        """
        for generation in sorted({*self._run.ledger.unscored_answers(), self.async_state.generation}):
            self._judge(generation)
        for batch in self.async_state.batches.values():
            self._run.ledger.check_proposed(batch.requests)
            self._train(batch.jobs)
        self._ask()
        for job in list(self._run.ledger.order(self._recorded)):
            if job in self._recorded:
                self.receive(self._recorded.pop(job))
        self._announce()

    def end(self) -> None:
        """Keep what was judged after the last generation was closed."""
        self._run.ledger.keep_fitness(fitness_of(self._judged))

    def more(self) -> list[Job]:
        """Trainings that nobody was given yet."""
        waiting, self._waiting = self._waiting, []
        return waiting

    def receive(self, result: JobResult) -> None:
        """A training has ended, and is recorded."""
        _, request = self.trainings.pop(result.id)
        if request.id in self._answers:
            self._take_answer(request, result)
            return
        self.async_state.take(result)
        while told := self.async_state.tell():
            self._told |= told[1]
            if self.async_state.closes:
                self._close()
            self._ask()

    def _ask(self) -> None:
        for batch in self.async_state.ask():
            self._run.ledger.propose(batch.requests)
            self._train(batch.jobs)

    def _train(self, jobs: Mapping[JobKey, tuple[Job, ScoreRequest]]) -> None:
        """Have trainings run, all but those that are recorded."""
        recorded = self._run.ledger.finished(jobs)
        self._recorded |= {str(id): result for id, result in recorded.items()}
        self.trainings |= jobs
        self._waiting += [job for name, (job, _) in jobs.items() if name not in recorded]
        every = [job for job, _ in jobs.values()]
        if self._early is None:
            self._listener.started(self.async_state.generation, every, len(recorded))
        else:
            self._early += every

    def _announce(self, closing: bool = False) -> None:
        """Say what there was to train since the last generation was closed, when that was not said yet."""
        if self._early is not None:
            open_generation = self.async_state.generation - closing
            done = sum(job.id not in self.trainings for job in self._early)
            self._listener.started(open_generation, self._early, done)
            self._early = None

    def _judge(self, generation: int) -> None:
        """Have the answer of a generation evaluated, where it is due and was not."""
        config, ledger = self._run.config, self._run.ledger
        if generation == config.generations or not answer_is_due(config, generation):
            return  # the last one comes when nothing else is left to do
        request = request_of_answer(generation, self._run.answer(generation - 1))
        jobs = {job.id: (job, request) for job in jobs_of(request, config)}
        if len(recorded := ledger.finished(jobs)) == len(jobs):  # all but, perhaps, its fitness is there
            self._judged[request.id] = result_of(request, config, recorded)
            return
        if generation == self.async_state.generation:  # others were proposed when theirs was opened
            ledger.propose([request])
        self._answers[request.id] = {}
        self._train(jobs)

    def _take_answer(self, request: ScoreRequest, result: JobResult) -> None:
        """One training of an answer has ended."""
        config, results = self._run.config, self._answers[request.id]
        results[result.id] = result
        if len(results) == config.selection_seeds * len(config.selecting):
            del self._answers[request.id]
            self._judged[request.id] = result_of(request, config, results)

    def _close(self) -> None:
        """Close a generation: as many proposals as are in one were told."""
        self._announce(closing=True)
        state, generation = self.async_state.state, self.async_state.generation - 1
        metrics, answer = self._meta.metrics(state), self._meta.answer(state)
        results = self._told | self._judged
        self._run.ledger.close_generation(generation, state, metrics, fitness_of(results), answer)
        self._listener.closed(generation, results, metrics)
        self._told, self._judged = {}, {}
        self._listener.started(self.async_state.generation, [job for job, _ in self.trainings.values()], 0)
        self._judge(self.async_state.generation)
