"""The choice of the generation that a search answers with. It depends only on the ledger.

The means race on the selection tasks and seeds: those that are clearly worse than the best drop out, and the
others are trained on further seeds, so that luck has less influence on the choice. The chosen mean is then
judged on report seeds, which were never used to choose.
"""

import warnings
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from discovery.core.errors import RunError
from discovery.statistics import clearly_worse, race_looks
from discovery.store.run import Run

ERROR = 0.05
"""Bound on the probability that the best mean drops out of the race."""

Scores = Mapping[int, Mapping[str, Float[np.ndarray, " S"]]]
"""Generation -> task -> scores by seed."""


class Choice(NamedTuple):
    """The generation that a search answers with: its mean scored best on the selection seeds."""

    generation: int
    scores: Mapping[str, np.ndarray]


class Contest(NamedTuple):
    """The state of the race between the means.

    Attributes:
        contenders: generations that are still in the race, in order.
        seeds: number of selection seeds on which all of them were compared.
        further: the seeds on which to train them next; empty when the race is over.
    """

    contenders: tuple[int, ...]
    seeds: int
    further: range


def choose(run: Run) -> Choice:
    """The contender with the best selection score; scores are standardized by task before averaging.

    Of programs it is the simplest whose score is within a standard error of the best, in differences by seed
    (the one-standard-error rule, Breiman et al. 1984, section 3.4.3). A mean with a failed training is chosen
    only if all have one.

    Raises:
        RunError: no mean has been evaluated yet.
    """
    scores, race = selection_scores(run), contest(run)
    if not race.contenders:
        raise RunError(f"{run.folder} has no mean scored on the selection seeds yet; resume the search first")
    by_seed = _standardized({g: scores[g] for g in race.contenders}, race.seeds)
    best = race.contenders[_simplest_of_best(by_seed, [_complexity(run, g) for g in race.contenders])]
    return Choice(best, scores[best])


def _simplest_of_best(merit: Float[np.ndarray, "generations S"], complexity: Sequence[int]) -> int:
    """The row of the least complex answer within a standard error of the best; of equals, the best."""
    means = np.nan_to_num(merit.mean(axis=1), nan=-np.inf)
    best, spare = int(np.argmax(means)), max(merit.shape[1] - 1, 1)
    if not np.isfinite(means[best]):
        return best
    differences = merit - merit[best]
    error = differences.std(axis=1) / np.sqrt(spare)
    good = np.flatnonzero(differences.mean(axis=1) >= -error).tolist()
    return min(good, key=lambda row: (complexity[row], -means[row], row))


def _complexity(run: Run, generation: int) -> int:
    """Nodes of the programs of an answer; 0 if it has none."""
    from objectives.programs.code import decode, is_code
    from objectives.programs.printer import complexity

    entries = run.answer(generation - 1).meta_params
    codes = entries.items() if isinstance(entries, Mapping) else ()
    return sum(complexity(decode(slot, code)) for slot, code in codes if is_code(code))


def contest(run: Run) -> Contest:
    """The race, replayed from the recorded scores."""
    scores, config = selection_scores(run), run.config
    alive, seen = sorted(scores), config.selection_seeds
    looks = race_looks(seen, seen * 2**config.selection_doublings)
    for seeds in looks:
        if any(len(values) < seeds for g in alive for values in scores[g].values()):
            return Contest(tuple(alive), seen, range(seen, seeds))
        seen = seeds
        if seeds < looks[-1] and len(alive) > 1:
            merit = _standardized({g: scores[g] for g in alive}, seeds)
            out = clearly_worse(merit, ERROR, len(looks) - 1, len(scores))
            alive = [g for g, worse in zip(alive, out, strict=True) if not worse]
        if len(alive) == 1:
            break
    return Contest(tuple(alive), seen, range(0))


def selection_scores(run: Run) -> dict[int, dict[str, np.ndarray]]:
    """Selection scores of every evaluated mean: generation -> task -> float64 ``[S]``. S is at least
    `selection_seeds` and the same on all tasks.

    Generation g means g updates of the mean: 0 is the initial mean, and mean g is stored in the ledger with
    the closed generation g - 1.
    """
    found: dict[int, dict[str, dict[int, float]]] = {}
    for row in run.ledger.evaluations(outcomes=False):
        if row["split"] == "selection":
            tasks = found.setdefault(row["generation"], {})
            tasks.setdefault(row["task"], {})[row["seed"]] = row["score"]
    names, least = [task.name for task in run.config.selecting], run.config.selection_seeds
    scores = {}
    for generation, tasks in sorted(found.items()):
        whole = min(_complete_seeds(tasks.get(name, {})) for name in names)
        if whole >= least:
            scores[generation] = {name: np.array([tasks[name][s] for s in range(whole)]) for name in names}
    return scores


def is_settled(run: Run) -> bool:
    """Whether every generation is closed, the last answer has selection scores, its own or those of an equal
    answer, and the race is over.
    """
    last, generations = run.ledger.last_generation(), run.config.generations
    if last is None or last + 1 < generations:
        return False
    answer = run.answer(generations - 1)
    scored = generations in selection_scores(run) or run.ledger.has_answered(generations, answer.meta_params)
    return scored and not contest(run).further


def _complete_seeds(scores: Mapping[int, float]) -> int:
    """The number of seeds 0, 1, ... that have a score, up to the first one without."""
    return next(seed for seed in range(len(scores) + 1) if seed not in scores)


def _standardized(scores: Scores, seeds: int) -> Float[np.ndarray, "generations S"]:
    """Scores by seed, averaged over tasks; each task's are divided by the spread of its means."""
    tables = [
        np.array([tasks[name][:seeds] for tasks in scores.values()]) for name in next(iter(scores.values()))
    ]
    with warnings.catch_warnings():  # all means of a task may have failed
        warnings.simplefilter("ignore", RuntimeWarning)
        scales = [np.nanstd(table.mean(axis=1)) for table in tables]
    return np.mean([table / (s if s > 0 else 1.0) for table, s in zip(tables, scales, strict=True)], axis=0)
