"""How long a search takes with so many workers of so many steps per second; arithmetic alone.

seconds = start + programs x compilation + sum over generations and their stages of the time that the
workers need for the stage's chunks, longest first, all tasks together (executors/schedule.py). A chunk takes
(environment steps of all its lanes) / (steps per second of a worker).
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise

from discovery.core.config.search import SearchConfig
from discovery.executors.schedule import HANDING_SECONDS, Schedule, chunk_lengths, longest_first
from discovery.search.progress import expected_steps, trainings_of
from discovery.statistics import halving_schedule, race_looks
from environments.task import Task

START_SECONDS = {"inline": 4.0, "processes": 4.0, "ray": 7.0, "cluster": 4.0}
"""From the command until the workers are ready, on two cores. Ray: 4.8 for one of our own, and 2.2 for its
workers. A cluster that is there was joined in 1.0 to 2.4 on a busy machine, while the command gets ready; its
4 are assumed to be as for processes, not measured."""
COMPILE_SECONDS = 9.0
"""Until a program is compiled, which all workers do at once; where no run tells."""
ALONE = 0.7
"""Speed of one training a call, as a share of that of several: of 334 thousand steps/s, 234 (CartPole)."""
IDLE = 1 / 3
"""Of the time of all workers; if so much of it is without work, that is worth a hint."""
NEAR = 1.1
"""So much longer is no matter."""

Stage = dict[tuple[str, bool], list[float]]
"""Trainings that run together: rollouts of each, by task and whether they stop on the way, as in halving.
Those of one key share chunks."""


def around(config: SearchConfig, compiling: Mapping[str, float | None]) -> float:
    """Seconds of all but trainings: start, and each program's compilation, `compiling` by task where it is
    known; programs of which nobody knows take as long as the others do.
    """
    known = [seconds for seconds in compiling.values() if seconds]
    usual = sum(known) / len(known) if known else COMPILE_SECONDS
    programs = {task.setup: compiling.get(task.name) or usual for task in config.seen}
    return START_SECONDS["cluster" if config.address else config.executor] + sum(programs.values())


def trained(config: SearchConfig, rates: Mapping[str, float], workers: int) -> Schedule:
    """All trainings of a search: each stage begins when the one before has ended, unless it is asynchronous.

    Args:
        config: of the search.
        rates: environment steps per second of a worker, all lanes of a call counted, by task.
        workers: that are equally fast.
    """
    if config.meta.asynchronous:
        return _flowing(config, rates, workers)
    work = chunks_of(config, rates)
    total = sum(times * sum(chunks) for chunks, times in work)
    seconds = sum(times * _stage_seconds(chunks, workers, config.stretches) for chunks, times in work)
    return Schedule(seconds, total / (workers * seconds))


def _stage_seconds(chunks: list[float], workers: int, stretches: int) -> float:
    """Of a stage whose chunks can change hands between stretches, but be in one pair of them at a time."""
    parts = [seconds / stretches for seconds in chunks for _ in range(stretches)]
    alone = max(chunks) if stretches > 1 else 0.0
    return max(longest_first(parts, workers).seconds, alone)


def _flowing(config: SearchConfig, rates: Mapping[str, float], workers: int) -> Schedule:
    """Trainings without a barrier: whoever is free goes on, until the last mean, which has to be waited for.

    A worker may be idle only where there are more of them than chunks in flight.
    """
    size, config = config.proposing.brood_size, replace(config, meta=config.proposing)
    brood = {(task.name, False): [_rollouts(task, 0.0, 1.0)] * size * config.seeds for task in config.tasks}
    proposals = chunks_of_stage(config, rates, brood)
    last = chunks_of_stage(config, rates, stages(config, False, config.selection_seeds)[0])
    means = sum(trainings_of(config, generation)[1] > 0 for generation in range(config.generations))
    n_broods = config.generations * config.meta.population // size
    total = n_broods * sum(proposals) + means * sum(last)
    calls = n_broods * len(proposals) + means * len(last)
    at_once = min(workers, config.meta.broods_in_flight * len(proposals))
    end = longest_first(last, workers).seconds
    seconds = max(total / at_once, calls * HANDING_SECONDS, max(proposals, default=0.0)) + end
    return Schedule(seconds, (total + sum(last)) / (workers * seconds))


def chunks_of(config: SearchConfig, rates: Mapping[str, float]) -> list[tuple[list[float], int]]:
    """Seconds of each chunk of a stage, and how many such stages there are in the search."""
    kinds = Counter(trainings_of(config, generation) for generation in range(config.generations + 1))
    return [
        (chunks_of_stage(config, rates, stage), times)
        for (searching, selecting), times in kinds.items()
        for stage in stages(config, searching > 0, selecting)
    ]


def chunks_of_stage(config: SearchConfig, rates: Mapping[str, float], stage: Stage) -> list[float]:
    """Seconds of each chunk of a stage."""
    chunks: list[float] = []
    for (name, _), lives in stage.items():
        each = config.width * config.task(name).setup.steps_per_update / rates[name]
        chunks += [each * length for length in chunk_lengths(lives, config.width)]
    return chunks


def stages(config: SearchConfig, searching: bool, selecting: int) -> list[Stage]:
    """The stages of a generation, with or without proposals, and so many trainings of a mean on each task.

    Sampled lifetimes are replaced by their mean. Nobody is taken to drop out of a race.
    """
    halving = config.stopping.method == "halving"
    found: list[Stage] = [
        {(task.name, halving): [_rollouts(task, begun, until)] * trainings for task in config.tasks}
        for trainings, begun, until in _parts(config)
    ]
    found = found if searching else [{}]
    for task in config.selecting if selecting else ():
        found[0].setdefault((task.name, False), []).extend([float(task.n_updates)] * selecting)
    return found


def _parts(config: SearchConfig) -> list[tuple[int, float, float]]:
    """For each stage of the proposals: trainings on a task, and from which share of a life to which."""
    population, stopping = config.meta.population, config.stopping
    if stopping.method == "halving":
        schedule = halving_schedule(population, stopping.rungs, stopping.eta)
        begun = [0.0, *(share for share, _ in schedule)]
        return [
            (kept * config.seeds, start, share) for (share, kept), start in zip(schedule, begun, strict=False)
        ]
    if stopping.method == "racing":
        looks = [0, *race_looks(stopping.first_seeds, config.seeds)]
        return [(population * (end - start), 0.0, 1.0) for start, end in pairwise(looks)]
    return [(population * config.seeds, 0.0, 1.0)]


def _rollouts(task: Task, begun: float, until: float) -> float:
    """Rollouts of a proposal's training between two shares of its life."""
    return (until - begun) * expected_steps(task, True) / task.setup.steps_per_update


def faster(
    config: SearchConfig, rates: Mapping[str, float], workers: int, before: float
) -> tuple[int, float, float] | None:
    """A smaller `agents_per_call` that is faster, where many workers are idle for want of chunks.

    Rates are taken to be equal, but for one training a call. As they are not quite, it is the largest of
    those divisors that come near the fastest. `before` are the seconds until it trains.

    Returns:
        it, the seconds that the search would take, and the workers' idle share as it is; None where no more
        than `IDLE` is, or nothing helps.
    """
    now = trained(config, rates, workers)
    seconds = before + now.seconds
    idle = (1 - now.busy) * now.seconds / seconds
    largest = max(len(chunks) for chunks, _ in chunks_of(config, rates))
    if idle <= IDLE or largest >= workers:
        return None
    found = {config.width: seconds}
    for width in range(1, config.width):
        smaller = replace(config, agents_per_call=width)
        if config.width % width == 0:
            slower = {task: (ALONE if width == 1 else 1.0) * rate for task, rate in rates.items()}
            found[width] = before + trained(smaller, slower, workers).seconds
    best = max(width for width in found if found[width] <= NEAR * min(found.values()))
    return (best, found[best], idle) if best < config.width else None
