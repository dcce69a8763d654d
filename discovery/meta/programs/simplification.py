"""Looking for the simplest program that cannot be distinguished from the best one.

Candidates are the best program without some of its parts. They are trained on the same seeds as the best
program, so that differences are compared: a candidate is as good if the mean of its differences is not below
zero by more than one standard error (the one-standard-error rule, Breiman et al. 1984, section 3.4.3). Each
candidate is scored at least twice before it is the answer.
"""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Bool, Float, Int32, Int64, UInt64

from discovery.meta.programs.genome import Genome
from discovery.meta.programs.variation import Draft
from objectives.programs.code import Size
from objectives.programs.graph import CONSTANT, Node, Program
from objectives.programs.printer import complexity

MOST = 64
"""Candidates, with the reference in row 0."""
WORSE = 2.0
"""Standard errors below the reference at which a candidate is given up."""
TOGETHER = 3
"""Most parts that are removed at once."""


class Contest(NamedTuple):
    """The candidates and their differences from the reference, which is row 0.

    Attributes:
        genes: pytree of ``[Q, ...]``.
        born: int64 ``[Q]``, number of the first proposal; -1 for an empty row.
        behavior: uint64 ``[Q]``.
        complexity: int32 ``[Q]``.
        scorings: int32 ``[Q]``.
        n: int32 ``[Q]``, seeds on which it was compared.
        sums, squares: float64 ``[Q]``, of the differences, averaged over tasks in units of their spread.
        out: whether a training failed.
        scale: float64 ``[T]``, the spread of the scores on each task.
    """

    genes: Any
    born: Int64[np.ndarray, " Q"]
    behavior: UInt64[np.ndarray, " Q"]
    complexity: Int32[np.ndarray, " Q"]
    scorings: Int32[np.ndarray, " Q"]
    n: Int32[np.ndarray, " Q"]
    sums: Float[np.ndarray, " Q"]
    squares: Float[np.ndarray, " Q"]
    out: Bool[np.ndarray, " Q"]
    scale: Float[np.ndarray, " T"]

    @property
    def begun(self) -> bool:
        """Whether there is a reference."""
        return bool(self.born[0] >= 0)

    def put(self, row: int, genes: Any, born: int, behavior: np.uint64, complexity: int) -> None:
        """Place a candidate in a row."""
        jax.tree.map(lambda leaf, value: leaf.__setitem__(row, value), self.genes, genes)
        for name in ("scorings", "n", "sums", "squares", "out"):
            getattr(self, name)[row] = 0
        self.born[row], self.behavior[row], self.complexity[row] = born, behavior, complexity

    def simplify(self, row: int, genes: Any, complexity: int) -> None:
        """Let a program that computes the same as a candidate take over its scores, if it is simpler."""
        if complexity < self.complexity[row]:
            jax.tree.map(lambda leaf, value: leaf.__setitem__(row, value), self.genes, genes)
            self.complexity[row] = complexity

    def free_row(self) -> int | None:
        """A row for another candidate: an empty one, or that of one that was given up."""
        rows = np.flatnonzero((self.born < 0) | ~self.in_contest)
        return int(rows[0]) if len(rows) else None

    def genes_of(self, row: int) -> Any:
        """The meta-parameters of a row."""
        return jax.tree.map(lambda leaf: np.array(leaf[row]), self.genes)

    def add(self, row: int, scores: Float[np.ndarray, "T S"], reference: Float[np.ndarray, "T S"]) -> None:
        """Compare a candidate's scores with those of the reference on the same seeds."""
        if not np.isfinite(scores).all():
            self.out[row] = True
        elif np.isfinite(reference).all():
            difference = ((scores - reference) / self.scale[:, None]).mean(axis=0)
            self.scorings[row] += 1
            self.n[row] += len(difference)
            self.sums[row] += difference.sum()
            self.squares[row] += (difference**2).sum()

    @property
    def means(self) -> Float[np.ndarray, " Q"]:
        """Mean difference from the reference."""
        return self.sums / np.maximum(self.n, 1)

    @property
    def errors(self) -> Float[np.ndarray, " Q"]:
        """Standard error of the mean; infinite with fewer than two seeds."""
        n = np.maximum(self.n, 2)
        variance = (self.squares - n * self.means**2).clip(0) / (n - 1)
        return np.where(self.n < 2, np.inf, np.sqrt(variance / n))

    @property
    def in_contest(self) -> Bool[np.ndarray, " Q"]:
        """Which candidates are not clearly worse than the reference."""
        worse = (self.n >= 2) & (self.means < -WORSE * np.minimum(self.errors, 1e300))
        return (self.born >= 0) & ~self.out & ~worse

    @property
    def answer(self) -> int:
        """The row of the simplest program that is as good as the reference, or 0."""
        good = self.in_contest & (self.scorings >= 2) & (self.means >= -self.errors)
        good[0] = True
        rows = np.flatnonzero(good)
        return int(min(rows, key=lambda r: (self.complexity[r], -self.means[r], r)))

    def order(self) -> list[int]:
        """Candidates in the order in which they are scored next: the least scored, then the simplest."""
        rows = [r for r in np.flatnonzero(self.in_contest).tolist() if r > 0]
        return sorted(rows, key=lambda r: (self.scorings[r], self.complexity[r], r))


def no_contest(genes: Any, tasks: int) -> Contest:
    """No candidates yet; `genes` is an example."""
    counts = {name: np.zeros(MOST, np.int32) for name in ("complexity", "scorings", "n")}
    return Contest(
        genes=jax.tree.map(lambda leaf: np.zeros((MOST, *np.shape(leaf)), np.asarray(leaf).dtype), genes),
        born=np.full(MOST, -1, np.int64),
        behavior=np.zeros(MOST, np.uint64),
        sums=np.zeros(MOST),
        squares=np.zeros(MOST),
        out=np.zeros(MOST, bool),
        scale=np.ones(tasks),
        **counts,
    )


def removals(program: Program, rng: np.random.Generator, size: Size) -> list[Program]:
    """Every simpler program in which one primitive is replaced by one of its arguments, by 0 or by 1."""
    draft = Draft(program, rng, size)
    found: dict[str, Program] = {}
    for index in draft.primitives():
        instead: list[int | float] = [a for a in draft.nodes[index].arguments if _same(draft, a, index)]
        instead += [] if draft.flags[index] else [0.0, 1.0]
        for new in instead:
            changed = Draft(program, rng, size)
            target = changed.add(Node(CONSTANT, value=new)) if isinstance(new, float) else new
            for place in changed.uses():
                if changed.used(place) == index:
                    changed.put(place, target)
            simpler = changed.program()
            if complexity(simpler) < complexity(program):
                found.setdefault(simpler.hash, simpler)
    return list(found.values())


def _same(draft: Draft, a: int, b: int) -> bool:
    return draft.flags[a] == draft.flags[b]


def simpler(genome: Genome, rng: np.random.Generator, sizes: Mapping[str, Size]) -> Iterator[Genome]:
    """Simpler genomes at random, each with up to `TOGETHER` parts removed; the same one if there are none."""
    of: dict[str, list[Program]] = {}
    while True:
        changed = genome
        for _ in range(int(rng.integers(1, TOGETHER + 1))):
            slot = list(sizes)[int(rng.integers(len(sizes)))]
            program = changed.programs[slot]
            if program.hash not in of:
                of[program.hash] = removals(program, rng, sizes[slot])
            if options := of[program.hash]:
                changed = changed.with_program(slot, options[int(rng.integers(len(options)))])
        yield changed
