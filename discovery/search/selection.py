"""Which generation a search answers with: read from the ledger alone, at any time.

The means are raced on the selection tasks and seeds: those that are clearly worse than the best drop
out, the others are trained on further seeds, so that it is not luck that is selected. What is chosen
is then judged on report seeds, which no choice has seen.
"""

import warnings
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from discovery.core.errors import RunError
from discovery.statistics import clearly_worse, race_looks
from discovery.store.run import Run

ERROR = 0.05
"""How often the best mean may drop out of the race."""

Scores = Mapping[int, Mapping[str, Float[np.ndarray, " S"]]]
"""Generation -> task -> scores by seed."""


class Choice(NamedTuple):
    """The generation a search answers with: the one whose mean did best on the selection seeds."""

    generation: int
    scores: Mapping[str, np.ndarray]


class Contest(NamedTuple):
    """How far the race between the means has come.

    Attributes:
        contenders: generations still in question, in order.
        seeds: how many selection seeds they were compared on, all the same.
        further: the seeds they are to be trained on next; empty when nothing is left to train.
    """

    contenders: tuple[int, ...]
    seeds: int
    further: range


def choose(run: Run) -> Choice:
    """The contender with the best selection score; tasks are standardized before averaging.

    A mean with a failed training is passed over unless all have one.

    Raises:
        RunError: when none has been evaluated yet.
    """
    scores, race = selection_scores(run), contest(run)
    if not race.contenders:
        raise RunError(f"{run.folder} has no mean scored on the selection seeds yet; resume the search first")
    merit = _merit({g: scores[g] for g in race.contenders}, race.seeds).mean(axis=1)
    best = race.contenders[int(np.argmax(np.nan_to_num(merit, nan=-np.inf)))]
    return Choice(best, scores[best])


def contest(run: Run) -> Contest:
    """The race, replayed from what is recorded."""
    scores, config = selection_scores(run), run.config
    alive, seen = sorted(scores), config.selection_seeds
    looks = race_looks(seen, seen * 2**config.selection_doublings)
    for seeds in looks:
        if any(len(values) < seeds for g in alive for values in scores[g].values()):
            return Contest(tuple(alive), seen, range(seen, seeds))
        seen = seeds
        if seeds < looks[-1] and len(alive) > 1:
            merit = _merit({g: scores[g] for g in alive}, seeds)
            out = clearly_worse(merit, ERROR, len(looks) - 1, len(scores))
            alive = [g for g, worse in zip(alive, out, strict=True) if not worse]
        if len(alive) == 1:
            break
    return Contest(tuple(alive), seen, range(0))


def selection_scores(run: Run) -> dict[int, dict[str, np.ndarray]]:
    """Selection scores of every evaluated mean: generation -> task -> float64 ``[S]``, S at least
    `selection_seeds` and the same on all tasks.

    Generation g here counts updates of the mean: 0 is the initial one, g the one that the ledger
    keeps as closed generation g - 1.
    """
    found: dict[int, dict[str, dict[int, float]]] = {}
    for row in run.ledger.evaluations(outcomes=False):
        if row["split"] == "selection":
            tasks = found.setdefault(row["generation"], {})
            tasks.setdefault(row["task"], {})[row["seed"]] = row["score"]
    names, least = [task.name for task in run.config.selecting], run.config.selection_seeds
    scores = {}
    for generation, tasks in sorted(found.items()):
        whole = min(_gapless(tasks.get(name, {})) for name in names)
        if whole >= least:
            scores[generation] = {name: np.array([tasks[name][s] for s in range(whole)]) for name in names}
    return scores


def _gapless(scores: Mapping[int, float]) -> int:
    """How many seeds from 0 are there without a gap."""
    return next(seed for seed in range(len(scores) + 1) if seed not in scores)


def _merit(scores: Scores, seeds: int) -> Float[np.ndarray, "generations S"]:
    """Scores by seed, on all tasks together: each divided by the spread of its means over generations."""
    tables = [
        np.array([tasks[name][:seeds] for tasks in scores.values()]) for name in next(iter(scores.values()))
    ]
    with warnings.catch_warnings():  # on a task, no mean may have a score
        warnings.simplefilter("ignore", RuntimeWarning)
        scales = [np.nanstd(table.mean(axis=1)) for table in tables]
    return np.mean([table / (s if s > 0 else 1.0) for table, s in zip(tables, scales, strict=True)], axis=0)
