"""The proposals of a batch of programs, as arrays that are stored while they are in flight."""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import jax
import numpy as np
from jaxtyping import Float, Int32, Int64, UInt64

from discovery.meta.base import Proposal
from discovery.meta.programs.genome import Breeding, Vetted
from discovery.meta.programs.variation import MUTATIONS

Role = Literal["child", "again", "constants", "candidate"]
ROLES: tuple[Role, ...] = ("child", "again", "constants", "candidate")
"""What a proposal is scored for: as a new program of an island; as a program of the records once more; as a
sample of constants; as a candidate that is simpler, or the reference of those."""

OPERATORS = (
    "known", "start", "fresh", "copy", *MUTATIONS, "crossover", "noise", "scored again", "tuned constants",
    "constants", "reference", "removal",
)  # fmt: skip
"""How a proposal was made."""


class Asked(NamedTuple):
    """The B proposals of a batch.

    Attributes:
        role: int32 ``[B]``, index into `ROLES`.
        target: int64 ``[B]``: the island of a child, the number of a program that is scored again, the
            survivor of a sample, the row of a candidate.
        genes: pytree of ``[B, ...]``.
        behavior: uint64 ``[B]``.
        complexity: int32 ``[B]``.
        operator: int32 ``[B]``, index into `OPERATORS`.
        parents: int64 ``[B, 2]``, numbers of proposals; -1 for none.
        noise: float64 ``[B, C]``, of samples.
    """

    role: Int32[np.ndarray, " B"]
    target: Int64[np.ndarray, " B"]
    genes: Any
    behavior: UInt64[np.ndarray, " B"]
    complexity: Int32[np.ndarray, " B"]
    operator: Int32[np.ndarray, " B"]
    parents: Int64[np.ndarray, "B 2"]
    noise: Float[np.ndarray, "B C"]

    def is_a(self, role: Role, lane: int) -> bool:
        """Whether a proposal has a role."""
        return ROLES[self.role[lane]] == role

    def genes_of(self, lane: int) -> Any:
        """The meta-parameters of a proposal."""
        return jax.tree.map(lambda leaf: np.array(leaf[lane]), self.genes)

    def proposal(self, lane: int, breeding: Breeding, name: Callable[[int], str]) -> Proposal:
        """A proposal; `name` gives the id of a proposal by its number."""
        genes = self.genes_of(lane)
        parents = tuple(name(int(number)) for number in self.parents[lane] if number >= 0)
        source = breeding.genome(genes).source
        return Proposal(genes, None, parents, OPERATORS[self.operator[lane]], source)


class Batch:
    """A batch that is being filled; its first proposal has the number `first`."""

    def __init__(self, first: int, breeding: Breeding) -> None:
        self.first, self._breeding = first, breeding
        self._rows: list[tuple[Role, Vetted, str, tuple[int, ...], int, Any]] = []

    def __len__(self) -> int:
        return len(self._rows)

    def add(
        self,
        role: Role,
        vetted: Vetted,
        operator: str,
        parents: tuple[int, ...],
        target: int,
        noise: Float[np.ndarray, " C"] | None = None,
    ) -> None:
        """Add a proposal."""
        self._rows.append((role, vetted, operator, parents, target, noise))

    def asked(self, size: int) -> Asked:
        """The batch as arrays."""
        assert len(self._rows) == size, "the batch must be full"
        constants = sum(one.constants for one in self._breeding.sizes.values())
        asked = empty_asked(size, self._breeding.template, constants)
        for lane, (role, vetted, operator, parents, target, noise) in enumerate(self._rows):
            genes = self._breeding.meta_params(vetted.genome)
            jax.tree.map(lambda leaf, value, lane=lane: leaf.__setitem__(lane, value), asked.genes, genes)
            asked.role[lane], asked.target[lane] = ROLES.index(role), target
            asked.behavior[lane], asked.complexity[lane] = vetted.behavior, vetted.genome.complexity
            asked.operator[lane] = OPERATORS.index(operator)
            asked.parents[lane, : len(parents)] = parents
            if noise is not None:
                asked.noise[lane] = noise
        return asked


def empty_asked(size: int, genes: Any, constants: int) -> Asked:
    """A batch of B proposals, all zero; `genes` is an example."""
    return Asked(
        role=np.zeros(size, np.int32),
        target=np.zeros(size, np.int64),
        genes=jax.tree.map(lambda leaf: np.zeros((size, *np.shape(leaf)), np.asarray(leaf).dtype), genes),
        behavior=np.zeros(size, np.uint64),
        complexity=np.zeros(size, np.int32),
        operator=np.zeros(size, np.int32),
        parents=np.full((size, 2), -1, np.int64),
        noise=np.zeros((size, constants)),
    )
