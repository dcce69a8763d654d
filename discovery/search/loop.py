"""The search loop: ask, evaluate, tell, close the generation. All of it fits on a screen.

Everything that happens goes to the ledger first, so that a search killed at any instant resumes
from what is there: the same generation is asked again (a pure function of state and key), what was
finished is taken from the ledger, and the rest runs.
"""

from collections.abc import Sequence
from typing import Any

from discovery.core.jobs import JobResult
from discovery.executors.base import Executor, together
from discovery.meta.base import MetaOptimizer, Request, Result
from discovery.meta.generation import request_of_mean
from discovery.search.asynchronous import flow
from discovery.search.early_stopping import Stage, stages
from discovery.search.listener import Listener
from discovery.search.progress import mean_is_due
from discovery.search.proposing import key_of, meta_optimizer
from discovery.search.requests import fitness_of, jobs_of
from discovery.search.selection import Choice, choose, contest
from discovery.store.ledger import Evaluation
from discovery.store.run import Run


def search(run: Run, executor: Executor, listener: Listener) -> Choice:
    """Run a search from wherever it stands to its end; returns the chosen generation."""
    config, ledger = run.config, run.ledger
    meta = meta_optimizer(config, ledger.load_start())
    state = meta.init(key_of(config, "init"))
    if (last := ledger.last_generation()) is None:
        last = -1
        ledger.close_generation(last, state, meta.metrics(state), mean=meta.mean(state))
    state = ledger.load_state(last, state)
    if config.meta.asynchronous:
        state = flow(run, executor, listener, meta, state)
    else:
        state = generations(run, executor, listener, meta, state, last + 1)
    evaluate(run, executor, [request_of_mean(config.generations, meta.mean(state))], listener)
    return settle(run, executor, listener)


def generations(
    run: Run, executor: Executor, listener: Listener, meta: MetaOptimizer, state: Any, first: int
) -> Any:
    """Ask for whole generations, one after the other, from number `first` to the last; returns the state."""
    config, ledger = run.config, run.ledger
    for generation in range(first, config.generations):
        requests, asked = meta.ask(key_of(config, "ask", generation), state)
        if mean_is_due(config, generation):
            requests.append(request_of_mean(generation, meta.mean(state)))
        results = evaluate(run, executor, requests, listener)
        state = meta.tell(asked, results)
        metrics = meta.metrics(state)
        ledger.close_generation(generation, state, metrics, fitness_of(results), meta.mean(state))
        listener.closed(generation, results, metrics)
    return state


def evaluate(
    run: Run, executor: Executor, requests: Sequence[Request], listener: Listener
) -> dict[str, Result]:
    """Run what `requests` need and the ledger does not hold yet; returns their results by id."""
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
) -> dict[str, JobResult]:
    """Run what the ledger does not hold yet of a stage, and record it; returns all results by id.

    Trainings that the machine made fail before an interruption are run again.

    The listener hears `generation`, where it is not that of the stage.
    """
    jobs = {job.id: (job, request) for job, request in stage}
    results = run.ledger.finished(jobs, retry="machine")
    if stage:
        if generation is None:
            generation = stage[0][1].generation
        listener.started(generation, [job for job, _ in stage], len(results))
    for group in together(executor.run([job for name, (job, _) in jobs.items() if name not in results])):
        run.ledger.record_all([(Evaluation.of(*jobs[result.id]), result) for result in group])
        for result in group:
            results[result.id] = result
            listener.finished(jobs[result.id][0], result)
    return results


def settle(run: Run, executor: Executor, listener: Listener) -> Choice:
    """Train the means that are still in question on further selection seeds, until one can be chosen."""
    while (race := contest(run)).further:
        requests = [request_of_mean(g, run.ledger.load_mean(g - 1)) for g in race.contenders]
        stage = [(job, r) for r in requests for job in jobs_of(r, run.config, race.further)]
        train(run, executor, stage, listener, run.config.generations)
    return choose(run)
