"""What to run for a set of requests, and what the results mean.

A training's key is a hash of (run seed, split, generation, task name, seed index). For selection the
generation counts as 0, and for reports the run seed too, so that all are judged on the same seeds. The hash
includes the index of the pair if antithetic pairs have their own tasks, and the index of the proposal if
common random numbers are off. So the numbers depend neither on the executor, nor on the number of workers,
nor on the order of completion. Different splits never share a key.
"""

import hashlib
from collections.abc import Iterable, Mapping

import numpy as np

from discovery.core.config.search import SearchConfig
from discovery.core.errors import BadInput
from discovery.core.jobs import AlgorithmSpec, Job, JobKey, JobResult
from discovery.meta.base import RequestId, Results, ScoreRequest, ScoreResult
from environments.task import INT32_MAX, Task

SPLITS = ("search", "selection", "report")

MOST_SEEDS = 100_000
"""Most held-out seeds of a subject on a task."""


def seed_words(*parts: object) -> np.ndarray:
    """Raw key data, uint32 ``[2]``, from a hash of `parts`; the same on every machine."""
    digest = hashlib.sha256("/".join(str(part) for part in parts).encode()).digest()
    return np.frombuffer(digest[:8], dtype="<u4").astype(np.uint32)


def _sampled_lifetime(task: Task, words: np.ndarray) -> int:
    """N, sampled log-uniformly between the task's shortest lifetime and its whole budget."""
    if task.shortest_life >= 1:
        return task.n_updates
    low, high = np.log(max(1.0, task.shortest_life * task.n_updates)), np.log(task.n_updates)
    u = np.random.default_rng(words).random()
    return int(np.clip(np.rint(np.exp(low + u * (high - low))), 1, task.n_updates))


def jobs_of(request: ScoreRequest, config: SearchConfig, seeds: Iterable[int] | None = None) -> list[Job]:
    """The trainings that a request needs: one for each of its tasks and of `seeds`, by default its own."""
    searching = request.split != "selection"
    identity: tuple[object, ...] = (
        config.seed,
        "search" if searching else "selection",
        request.id.generation if searching else 0,
    )
    if searching and config.antithetic_tasks:
        identity += ("pair", request.pair)
    if searching and not config.common_random_numbers:
        identity += ("proposal", request.id.index)
    every = range(config.seeds if searching else config.selection_seeds)
    jobs = []
    for task in config.tasks if searching else config.selecting:
        if request.tasks is not None and task.name not in request.tasks:
            continue
        for seed in next(given for given in (seeds, request.seeds, every) if given is not None):
            identity_of_seed = (*identity, task.name, seed)
            words = seed_words(*identity_of_seed, "lifetime")
            jobs.append(
                Job(
                    id=JobKey(request.id, request.split, task.name, seed),
                    algorithm=request.proposal.algorithm or config.spec,
                    task=task,
                    meta_params=request.proposal.meta_params,
                    key=seed_words(*identity_of_seed),
                    lifetime=_sampled_lifetime(task, words) if searching else task.n_updates,
                    stretches=min(config.stretches, task.n_updates),  # at least a rollout each
                )
            )
    return jobs


def report_jobs(
    subject: str,
    spec: AlgorithmSpec,
    meta_params: object,
    tasks: Iterable[Task],
    seeds: int,
    first_seed: int = 0,
) -> list[Job]:
    """Full-length trainings of one subject on `seeds` held-out seeds. All subjects share these seeds.

    Raises:
        BadInput: there are more than `MOST_SEEDS` seeds.
    """
    if seeds > MOST_SEEDS or first_seed > INT32_MAX:
        raise BadInput(
            f"seeds must be at most {MOST_SEEDS}, since all are held in memory, and first_seed at most "
            f"{INT32_MAX}, got {seeds} and {first_seed}"
        )
    return [
        Job(
            id=JobKey(subject, "report", task.name, seed),
            algorithm=spec,
            task=task,
            meta_params=meta_params,
            key=seed_words(0, "report", 0, task.name, seed),
            lifetime=task.n_updates,
        )
        for task in tasks
        for seed in range(first_seed, first_seed + seeds)
    ]


def result_of(
    request: ScoreRequest, config: SearchConfig, results: Mapping[JobKey, JobResult]
) -> ScoreResult:
    """A request's scores, from the results of its trainings; NaN where a training failed."""
    scores: dict[str, list[float]] = {}
    for job in jobs_of(request, config):
        outcome = results[job.id].outcome
        scores.setdefault(job.task.name, []).append(float("nan") if outcome is None else float(outcome.score))
    return ScoreResult(request.id, {name: np.asarray(values, np.float64) for name, values in scores.items()})


def fitness_of(results: Results) -> dict[RequestId, float]:
    """Mean score of each request over tasks and seeds, to be recorded; NaN where any training failed."""
    return {
        id: float(np.mean([values.mean() for values in result.scores.values()]))
        for id, result in results.items()
        if isinstance(result, ScoreResult)
    }
