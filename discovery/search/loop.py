"""The search loop: ask, evaluate, tell, close the generation.

Everything is recorded in the ledger before it is used, so a search that is killed at any instant can be
resumed: the meta-optimizer is asked for the same generation again (`ask` is a pure function of state and
key), finished trainings are read from the ledger, and the others run.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from discovery.core.errors import RunError
from discovery.core.jobs import JobKey, JobResult
from discovery.executors.base import Executor, together
from discovery.meta.base import Kind, MetaOptimizer, Proposal, Request, RequestId, Result, ScoreRequest
from discovery.meta.generation import request_of_answer
from discovery.search.asynchronous import flow
from discovery.search.early_stopping import Stage, baseline_of_hurdle, stages
from discovery.search.listener import Listener
from discovery.search.progress import answer_is_due
from discovery.search.proposing import key_of, meta_optimizer
from discovery.search.requests import fitness_of, jobs_of
from discovery.search.selection import Choice, choose, contest
from discovery.store.ledger import Evaluation
from discovery.store.run import Run

Responder = Callable[[Sequence[Any]], Iterable[Result]]
"""Answers requests of one kind; yields each result as soon as it is known."""

Responders = Mapping[Kind, Responder]
"""Kind of request -> the responder that answers it, for requests that are not trainings."""


def search(
    run: Run,
    executor: Executor,
    listener: Listener,
    responders: Responders | None = None,
    meta: MetaOptimizer | None = None,
) -> Choice:
    """Run a search from its recorded state to its end; returns the chosen generation.

    Args:
        run: open for writing.
        executor: runs the trainings.
        listener: receives its events.
        responders: answer gradient and reply requests, if the meta-optimizer makes any.
        meta: the meta-optimizer; by default the one that the config names.
    """
    run.refuse_changed_config()
    config, ledger = run.config, run.ledger
    meta = meta or meta_optimizer(config, run.start())
    state = meta.init(key_of(config, "init"))
    if (last := ledger.last_generation()) is None:
        last = -1
        ledger.close_generation(last, state, meta.metrics(state), answer=meta.answer(state))
    state = ledger.load_state(last, state)
    if config.meta.asynchronous:
        state = flow(run, executor, listener, meta, state)
    else:
        state = generations(run, executor, listener, meta, state, last + 1, responders or {})
    evaluate(run, executor, requests_of_answer(run, config.generations, meta.answer(state)), listener)
    return settle(run, executor, listener)


def generations(
    run: Run,
    executor: Executor,
    listener: Listener,
    meta: MetaOptimizer,
    state: Any,
    first: int,
    responders: Responders,
) -> Any:
    """Search generation by generation, from number `first` to the last; returns the final state."""
    config, ledger = run.config, run.ledger
    for generation in range(first, config.generations):
        requests, asked = meta.ask(key_of(config, "ask", generation), state)
        if answer_is_due(config, generation):
            requests = [*requests, *requests_of_answer(run, generation, meta.answer(state))]
        requests = [*requests, *baseline_of_hurdle(config, generation)]
        scores = evaluate(run, executor, [r for r in requests if isinstance(r, ScoreRequest)], listener)
        results = scores | respond(run, requests, responders)
        state = meta.tell(asked, results)
        metrics = meta.metrics(state)
        ledger.close_generation(generation, state, metrics, fitness_of(results), meta.answer(state))
        listener.closed(generation, results, metrics)
    return state


def requests_of_answer(run: Run, generation: int, answer: Proposal) -> list[ScoreRequest]:
    """The request for an answer's selection scores; none if an earlier answer was the same, since all answers
    are trained on the same seeds.
    """
    known = run.ledger.has_answered(generation, answer.meta_params)
    return [] if known else [request_of_answer(generation, answer)]


def respond(run: Run, requests: Sequence[Request], responders: Responders) -> dict[RequestId, Result]:
    """Answer the gradient and reply requests among `requests`; returns their results by id.

    Each result is recorded before it is used, and recorded results are not requested again.

    Raises:
        RunError: there is no responder for a kind of request, or it returned no result for one.
    """
    others = [request for request in requests if not isinstance(request, ScoreRequest)]
    run.ledger.propose(others)
    results: dict[RequestId, Result] = dict(run.ledger.responses(request.id for request in others))
    kinds: list[Kind] = ["gradient", "reply"]
    for kind in kinds:
        missing = [r for r in others if r.kind == kind and r.id not in results]
        if missing and kind not in responders:
            raise RunError(f"the search asks for a {kind} ({missing[0].id}), but has no responder for it")
        for result in responders[kind](missing) if missing else ():
            run.ledger.record_response(result)
            results[result.id] = result
    if lost := [str(request.id) for request in others if request.id not in results]:
        raise RunError(f"requests without a result: {', '.join(lost)}")
    return results


def evaluate(
    run: Run, executor: Executor, requests: Sequence[ScoreRequest], listener: Listener
) -> dict[RequestId, Result]:
    """Run the trainings that `requests` need and the ledger does not hold; returns their scores by id."""
    run.ledger.propose(requests)
    plan, results = stages(requests, run.config), {}
    stage = next(plan)
    while True:
        results |= train(run, executor, stage, listener)
        try:
            stage = plan.send(results)
        except StopIteration as end:
            return end.value


def train(
    run: Run, executor: Executor, stage: Stage, listener: Listener, generation: int | None = None
) -> dict[JobKey, JobResult]:
    """Run the trainings of a stage that the ledger does not hold, and record them; returns all results by id.

    Trainings that failed because of the machine before an interruption are run again. The listener is told
    `generation`, by default that of the stage.
    """
    jobs = {job.id: (job, request) for job, request in stage}
    results = run.ledger.finished(jobs, retry="machine")
    if stage:
        if generation is None:
            generation = stage[0][1].id.generation
        listener.started(generation, [job for job, _ in stage], len(results))
    for group in together(executor.run([job for name, (job, _) in jobs.items() if name not in results])):
        run.ledger.record_all([(Evaluation.of(*jobs[result.id]), result) for result in group])
        for result in group:
            results[result.id] = result
            listener.finished(jobs[result.id][0], result)
    return results


def settle(run: Run, executor: Executor, listener: Listener) -> Choice:
    """Train the answers that are still in the race on further selection seeds, until one can be chosen."""
    while (race := contest(run)).further:
        requests = [request_of_answer(g, run.answer(g - 1)) for g in race.contenders]
        stage = [(job, r) for r in requests for job in jobs_of(r, run.config, race.further)]
        train(run, executor, stage, listener, run.config.generations)
    return choose(run)
