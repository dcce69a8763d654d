"""The search loop: ask, evaluate, tell, close the generation. All of it fits on a screen.

Everything that happens goes to the ledger first, so that a search killed at any instant resumes
from what is there: the same generation is asked again (a pure function of state and key), what was
finished is taken from the ledger, and the rest runs.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from discovery.choice import Choice, choose, contest
from discovery.config import SearchConfig
from discovery.evaluation import jobs_of, seed_of, seed_words, spec_of
from discovery.executors.base import Executor, together
from discovery.inner.compiled import build_algorithm
from discovery.ledger import Evaluation
from discovery.meta.base import MetaOptimizer, Request, Result
from discovery.meta.generation import request_of_mean
from discovery.meta.make import make_meta
from discovery.run import Run
from discovery.stopping import Stage, stages
from discovery.work import Job, JobResult


class Listener(Protocol):
    """Who is told how a search goes; see discovery/progress.py."""

    def started(self, generation: int, jobs: Sequence[Job], done: int) -> None:
        """Trainings of a generation are known; `done` of them were finished before. Called again for further
        ones of the same generation, where the first decided on them.
        """

    def finished(self, job: Job, result: JobResult) -> None:
        """One training ended and is recorded."""

    def closed(self, generation: int, results: Mapping[str, Result], metrics: Mapping[str, float]) -> None:
        """A generation is closed, safe on disk."""


def meta_optimizer(config: SearchConfig, start: Any = None) -> MetaOptimizer:
    """The meta-optimizer of a config, built once per search (its methods compile).

    `start` is the first mean, where it is not the family's own beginning.
    """
    algorithm = build_algorithm(spec_of(config))
    init = algorithm.init if start is None else lambda key: start
    return make_meta(config.meta, init, {task.name: task.reference for task in config.tasks})


def key_of(config: SearchConfig, *parts: object) -> jax.Array:
    """A meta-optimizer's key, derived from the run's seed."""
    return jax.random.wrap_key_data(jnp.asarray(seed_words(config.seed, "meta", *parts)))


def search(run: Run, executor: Executor, listener: Listener) -> Choice:
    """Run a search from wherever it stands to its end; returns the chosen generation."""
    config, ledger = run.config, run.ledger
    meta = meta_optimizer(config, ledger.load_start())
    state = meta.init(key_of(config, "init"))
    if (last := ledger.last_generation()) is None:
        last = -1
        ledger.close_generation(last, state, meta.metrics(state), mean=meta.mean(state))
    state = ledger.load_state(last, state)
    for generation in range(last + 1, config.generations):
        requests, asked = meta.ask(key_of(config, "ask", generation), state)
        results = evaluate(run, executor, requests, listener)
        state = meta.tell(asked, results)
        metrics = meta.metrics(state)
        ledger.close_generation(generation, state, metrics, _fitness(results), meta.mean(state))
        listener.closed(generation, results, metrics)
    evaluate(run, executor, [request_of_mean(config.generations, meta.mean(state))], listener)
    return settle(run, executor, listener)


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


def train(run: Run, executor: Executor, stage: Stage, listener: Listener) -> dict[str, JobResult]:
    """Run what the ledger does not hold yet of a stage, and record it; returns all results by id."""
    jobs = {job.id: (job, request) for job, request in stage}
    results = run.ledger.finished(jobs)
    if stage:
        listener.started(stage[0][1].generation, [job for job, _ in stage], len(results))
    for group in together(executor.run([job for name, (job, _) in jobs.items() if name not in results])):
        run.ledger.record_all([(_record(*jobs[result.id]), result) for result in group])
        for result in group:
            results[result.id] = result
            listener.finished(jobs[result.id][0], result)
    return results


def settle(run: Run, executor: Executor, listener: Listener) -> Choice:
    """Train the means that are still in question on further selection seeds, until one can be chosen."""
    while (race := contest(run)).further:
        requests = [request_of_mean(g, run.ledger.load_mean(g - 1)) for g in race.contenders]
        stage = [(job, r) for r in requests for job in jobs_of(r, run.config, race.further)]
        train(run, executor, stage, listener)
    return choose(run)


def _record(job: Job, request: Request) -> Evaluation:
    return Evaluation(
        id=job.id,
        proposal=request.id,
        generation=request.generation,
        split=request.split,
        task=job.task.name,
        seed=seed_of(job.id),
        lifetime=job.lifetime,
        until=job.lifetime if job.until is None else job.until,
        begun=0 if job.begun is None else job.begun.update,
        key=job.key,
    )


def _fitness(results: Mapping[str, Result]) -> dict[str, float]:
    """Mean over tasks and seeds, for the record; NaN where any training failed."""
    return {name: _mean(result.scores.values()) for name, result in results.items()}


def _mean(scores: Iterable[np.ndarray]) -> float:
    return float(np.mean([values.mean() for values in scores]))
