"""Which generation a search answers with: read from the ledger alone, at any time."""

import warnings
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from discovery.errors import RunError
from discovery.run import Run


class Choice(NamedTuple):
    """The generation a search answers with: the one whose mean did best on the selection seeds."""

    generation: int
    scores: Mapping[str, np.ndarray]


def choose(run: Run) -> Choice:
    """The evaluated mean with the best selection score; tasks are standardized before averaging.

    A mean with a failed training is passed over unless all have one.

    Raises:
        RunError: when none has been evaluated yet.
    """
    scores = selection_scores(run)
    generations = sorted(scores)
    if not generations:
        raise RunError(f"{run.folder} has no mean scored on the selection seeds yet; resume the search first")
    tasks = sorted(scores[generations[0]])
    table = np.array([[scores[g][task].mean() for task in tasks] for g in generations])
    if len(tasks) > 1:
        with warnings.catch_warnings():  # on a task, no mean may have a score
            warnings.simplefilter("ignore", RuntimeWarning)
            spread, center = np.nanstd(table, axis=0), np.nanmean(table, axis=0)
        table = (table - center) / np.where(spread > 0, spread, 1.0)
    merit = np.nan_to_num(table, nan=-np.inf).mean(axis=1)
    best = generations[int(np.argmax(merit))]
    return Choice(best, scores[best])


def selection_scores(run: Run) -> dict[int, dict[str, np.ndarray]]:
    """Selection scores of every evaluated mean: generation -> task -> float64 ``[S]``.

    Generation g here counts updates of the mean: 0 is the initial one, g the one that the ledger
    keeps as closed generation g - 1.
    """
    found: dict[int, dict[str, list[float]]] = {}
    rows = [row for row in run.ledger.evaluations(outcomes=False) if row["split"] == "selection"]
    for row in sorted(rows, key=lambda row: (row["generation"], row["task"], row["seed"])):
        found.setdefault(row["generation"], {}).setdefault(row["task"], []).append(row["score"])
    whole = run.config.selection_seeds
    return {
        generation: {task: np.asarray(values) for task, values in tasks.items()}
        for generation, tasks in found.items()
        if len(tasks) == len(run.config.tasks) and all(len(values) == whole for values in tasks.values())
    }
