"""The scores of the programs of a search, on every batch of seeds that they were trained on, and their merit.

A program has a record: how it scored, first and when it was scored again. Many programs are compared, so the
best score is partly luck: of the seeds, which all programs of a generation share, and of each training. The
merit takes the expected share of luck off, and a program is trained again on new seeds before it may stay.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Bool, Float, Int32, Int64, UInt64

from discovery.core.config.generations import TaskNormalization
from discovery.meta.evolution.shaping import task_average

HALL = -1
"""The island of programs that are kept because of their merit, whatever their age."""
EMPTY = -1
"""`born` of an empty row."""


class Records(NamedTuple):
    """Programs with their scores: a row each. The last rows are the hall of the best.

    Attributes:
        genes: pytree of ``[M, ...]``, their meta-parameters.
        born: int64 ``[M]``, number of the proposal that first scored it; `EMPTY` for an empty row.
        entered: int64 ``[M]``, from which its age counts: a program that migrates is young again.
        island: int32 ``[M]``, or `HALL`.
        behavior: uint64 ``[M]``.
        complexity: int32 ``[M]``.
        scorings: int32 ``[M]``, how many times it was scored.
        seeds: int32 ``[M]``, trainings on each task.
        sums, squares: float64 ``[M, T]``, of the scores on each task and of their squares.
        failed: whether a training failed when it was scored again.
    """

    genes: Any
    born: Int64[np.ndarray, " M"]
    entered: Int64[np.ndarray, " M"]
    island: Int32[np.ndarray, " M"]
    behavior: UInt64[np.ndarray, " M"]
    complexity: Int32[np.ndarray, " M"]
    scorings: Int32[np.ndarray, " M"]
    seeds: Int32[np.ndarray, " M"]
    sums: Float[np.ndarray, "M T"]
    squares: Float[np.ndarray, "M T"]
    failed: Bool[np.ndarray, " M"]

    @property
    def sound(self) -> Bool[np.ndarray, " M"]:
        """Which rows hold a program without a failed training."""
        return (self.born != EMPTY) & ~self.failed

    @property
    def means(self) -> Float[np.ndarray, "M T"]:
        """Mean score on each task; 0 in empty rows."""
        return self.sums / np.maximum(self.seeds, 1)[:, None]

    def genes_of(self, row: int) -> Any:
        """The meta-parameters of a row."""
        return jax.tree.map(lambda leaf: np.array(leaf[row]), self.genes)

    def put(self, row: int, genes: Any, **values: Any) -> None:
        """Replace a row; fields that are not given become 0."""
        jax.tree.map(lambda leaf, value: leaf.__setitem__(row, value), self.genes, genes)
        for name in self._fields[1:]:
            getattr(self, name)[row] = values.get(name, 0)

    def copy_row(self, source: int, target: int, before: "Records | None" = None, **values: Any) -> None:
        """Copy a row, of these records or of those `before` a change, onto another, with some fields
        replaced.
        """
        given = before or self
        same = {name: getattr(given, name)[source] for name in self._fields[1:]}
        self.put(target, given.genes_of(source), **(same | values))

    def add_scores(self, born: int, scores: Float[np.ndarray, "T S"]) -> None:
        """Add the scores of a program that was scored again, wherever it stands."""
        for row in np.flatnonzero(self.born == born):
            self.failed[row] |= not np.isfinite(scores).all()
            if not self.failed[row]:
                self.scorings[row] += 1
                self.seeds[row] += scores.shape[1]
                self.sums[row] += scores.sum(axis=1)
                self.squares[row] += (scores**2).sum(axis=1)


def empty_records(rows: int, genes: Any, tasks: int) -> Records:
    """Records without a program; `genes` is an example."""
    numbers = {name: np.zeros(rows, np.int32) for name in ("island", "complexity", "scorings", "seeds")}
    return Records(
        genes=jax.tree.map(lambda leaf: np.zeros((rows, *np.shape(leaf)), np.asarray(leaf).dtype), genes),
        born=np.full(rows, EMPTY, np.int64),
        entered=np.zeros(rows, np.int64),
        behavior=np.zeros(rows, np.uint64),
        sums=np.zeros((rows, tasks)),
        squares=np.zeros((rows, tasks)),
        failed=np.zeros(rows, bool),
        **numbers,
    )


def shrunk_means(records: Records) -> Float[np.ndarray, "M T"]:
    """The means, moved towards the mean over all programs by the share of luck that is expected in them.

        m + (x - m) b / (b + w / n)

    Here w is the variance between the seeds of a program, b that between programs beyond w / n, and n the
    trainings of the program on a task. Rows that are not sound are NaN.

    Source: Efron and Morris 1973, Stein's estimation rule and its competitors.
    """
    result = np.full(records.means.shape, np.nan)
    rows = np.flatnonzero(records.sound)
    if not len(rows):
        return result
    once = rows[np.unique(records.born[rows], return_index=True)[1]]  # copies are one program
    n, x = records.seeds[once].astype(np.float64)[:, None], records.means[once]
    spare = (n - 1).sum()
    within = (records.squares[once] - n * x**2).clip(0).sum(axis=0) / spare if spare > 0 else 0.0 * x[0]
    between = (x.var(axis=0) - (within / n).mean(axis=0)).clip(0)
    total = between + within / records.seeds[rows].astype(np.float64)[:, None]
    kept = np.divide(between, total, out=np.ones_like(total), where=total > 0)
    center = x.mean(axis=0)
    result[rows] = center + (records.means[rows] - center) * kept
    return result


def merit_of(
    records: Records, normalization: TaskNormalization, references: Mapping[str, float | None]
) -> Float[np.ndarray, " M"]:
    """Merit of each program: its shrunk means, made comparable and averaged over tasks; -inf for rows that
    are not sound. `references` has the tasks in the order of the columns.

    With "z_score", shrunk means are divided by the spread of the means as they are. So a task on which
    programs are hardly told apart counts little.
    """
    rows, merit = records.sound, np.full(len(records.born), -np.inf)
    if not rows.any():
        return merit
    shrunk = shrunk_means(records)[rows]
    if normalization == "z_score":
        merit[rows] = in_spreads(records, shrunk)
    elif rows.sum() == 1:
        merit[rows] = 0.0
    else:
        columns = dict(zip(references, shrunk.T[:, :, None], strict=True))
        merit[rows] = task_average(columns, normalization, references)
    return merit


def in_spreads(records: Records, means: Float[np.ndarray, "sound T"]) -> Float[np.ndarray, " sound"]:
    """Means less their mean over programs, in standard deviations of the records' means, averaged over tasks.

    Rounded to ten decimals, so that equal means are equal whatever their scale.
    """
    if not len(means):
        return np.zeros(0)
    spread = records.means[records.sound].std(axis=0)
    centered = means - means.mean(axis=0)
    scaled = np.divide(centered, spread, out=np.zeros_like(means), where=spread > 0)
    return np.round(scaled.mean(axis=1), 10)


def fill_hall(records: Records, merit: Float[np.ndarray, " M"], size: int) -> None:
    """Keep the best programs that were scored at least twice in the last `size` rows, best first; of equal
    merit, those of larger means.
    """
    plain = np.zeros(len(merit))
    plain[records.sound] = in_spreads(records, records.means[records.sound])
    known = np.isfinite(merit) & (records.scorings > 1)
    order = [row for row in np.lexsort((-plain, -merit)).tolist() if known[row]]
    best = {int(records.born[row]): row for row in reversed(order)}
    rows = sorted(best.values(), key=order.index)[:size]
    before = jax.tree.map(np.copy, records)
    for place in range(size):
        row = len(records.born) - size + place
        if place < len(rows):
            records.copy_row(rows[place], row, before, island=HALL)
        else:
            records.put(row, records.genes_of(row), born=EMPTY, island=HALL)


class Seen(NamedTuple):
    """Behaviors that were trained, of the last programs. After `FORGOTTEN` duplicates, a behavior is
    forgotten, so that a program that failed by bad luck is tried again.

    Attributes:
        behavior: uint64 ``[A]``; 0 in an empty place.
        hits: int32 ``[A]``, duplicates that were skipped.
        next: int64 ``[]``, how many were added.
    """

    behavior: UInt64[np.ndarray, " A"]
    hits: Int32[np.ndarray, " A"]
    next: Int64[np.ndarray, ""]

    def add(self, behavior: np.uint64) -> None:
        """Add a behavior; the oldest one is forgotten if there is no place."""
        place = int(self.next) % len(self.behavior)
        self.behavior[place], self.hits[place] = behavior, 0
        self.next[...] += 1

    def is_duplicate(self, behavior: np.uint64) -> bool:
        """Whether a behavior was seen; counts the hit."""
        found = np.flatnonzero(self.behavior == behavior)
        for place in found:
            self.hits[place] += 1
            if self.hits[place] >= FORGOTTEN:
                self.behavior[place] = 0
        return bool(len(found))


FORGOTTEN = 100
"""Duplicates of a behavior that are skipped before it is tried again."""


def nothing_seen(capacity: int) -> Seen:
    """No behaviors yet."""
    return Seen(np.zeros(capacity, np.uint64), np.zeros(capacity, np.int32), np.zeros((), np.int64))
