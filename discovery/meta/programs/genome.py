"""What a search over programs varies: a program for each open slot, and perhaps a network beside them.

breeding = Breeding(template, sizes, most_cost=200.0, sigma=0.01)
genome = breeding.genome(meta_params)
child, operator = breeding.varied(genome, rng, donors, mates)
vetted = breeding.vetted(child)          # or a ProgramError that says why it is refused
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Float

from discovery.meta.in_flight import as_numpy
from discovery.meta.programs.variation import Pool, fresh, vary
from objectives.programs.algorithm import size_in
from objectives.programs.checks import check
from objectives.programs.code import Size, decode, encode, is_code
from objectives.programs.graph import Program, ProgramError
from objectives.programs.known import SOURCES, known
from objectives.programs.printer import complexity
from objectives.programs.simplify import simplified
from objectives.programs.text import write


class Genome(NamedTuple):
    """A proposal's meta-parameters, ready to be varied.

    Attributes:
        programs: by slot.
        network: float32 ``[D]``, all other entries; empty if there are none.
    """

    programs: Mapping[str, Program]
    network: Float[np.ndarray, " D"]

    @property
    def complexity(self) -> int:
        """Number of primitives, constants and inputs of all programs."""
        return sum(complexity(program) for program in self.programs.values())

    @property
    def source(self) -> str:
        """The programs as text."""
        return write(self.programs)

    def with_program(self, slot: str, program: Program) -> "Genome":
        """The same with another program in a slot."""
        return Genome({**self.programs, slot: program}, self.network)


class Vetted(NamedTuple):
    """A genome that may be trained.

    Attributes:
        genome: with canonical programs.
        behavior: uint64, equal for genomes that compute the same.
    """

    genome: Genome
    behavior: np.uint64


@dataclass(frozen=True)
class Breeding:
    """How the genomes of a search are read, checked and varied.

    Attributes:
        template: meta-parameters, of which programs are those entries that are code arrays.
        sizes: how large the programs of each slot may be.
        most_cost: of all programs together, in additions per sample.
        sigma: standard deviation of the noise on the network.
    """

    template: Mapping[str, Any]
    sizes: Mapping[str, Size]
    most_cost: float
    sigma: float

    def genome(self, meta_params: Mapping[str, Any]) -> Genome:
        """The genome that meta-parameters hold."""
        programs = {slot: decode(slot, meta_params[slot]) for slot in self.sizes}
        rest = {name: entry for name, entry in meta_params.items() if name not in self.sizes}
        return Genome(programs, np.asarray(ravel_pytree(rest)[0], np.float32))

    def meta_params(self, genome: Genome) -> dict[str, Any]:
        """The inverse of `genome`."""
        rest = {name: entry for name, entry in self.template.items() if name not in self.sizes}
        codes = {slot: encode(genome.programs[slot], size) for slot, size in self.sizes.items()}
        return {**codes, **(as_numpy(ravel_pytree(rest)[1](jnp.asarray(genome.network))) if rest else {})}

    def vetted(self, genome: Genome) -> Vetted:
        """The genome, simplified, if none of its programs is refused.

        Raises:
            ProgramError: one is.
        """
        left, programs, behavior = self.most_cost, {}, hashlib.sha256(genome.network.tobytes())
        for slot, size in self.sizes.items():
            checked = check(simplified(genome.programs[slot]), size, left)
            programs[slot], left = checked.program, left - checked.program.cost
            behavior.update(checked.behavior.encode())
        number = np.frombuffer(behavior.digest()[:8], "<u8")[0]
        return Vetted(Genome(programs, genome.network), np.uint64(number or 1))

    def varied(
        self, parent: Genome, rng: np.random.Generator, donors: Sequence[Genome], mates: Sequence[Genome]
    ) -> tuple[Genome, str]:
        """A changed copy of `parent`, in one slot or in the network, and the name of the operator."""
        which = int(rng.integers(len(self.sizes) + bool(parent.network.size)))
        if which == len(self.sizes):
            noise = self.sigma * rng.normal(size=parent.network.shape)
            return parent._replace(network=(parent.network + noise).astype(np.float32)), "noise"
        slot = list(self.sizes)[which]
        others = [[one.programs[slot] for one in genomes] for genomes in (donors, mates)]
        program, operator = vary(parent.programs[slot], rng, Pool(self.sizes[slot], *others))
        return parent.with_program(slot, program), operator

    def fresh(self, rng: np.random.Generator, base: Genome) -> Genome:
        """Random programs in all slots, with the network of `base`."""
        return base._replace(programs={slot: fresh(slot, rng, size) for slot, size in self.sizes.items()})

    def known(self, base: Genome) -> list[Vetted]:
        """`base` with each known program that is not refused, in one slot after the other."""
        found = []
        for slot in self.sizes:
            for name in SOURCES[slot]:
                try:
                    found.append(self.vetted(base.with_program(slot, known(slot, name))))
                except ProgramError:
                    continue  # it does not fit into the size, or costs too much
        return found


def sizes_in(template: Mapping[str, Any], reductions: int) -> dict[str, Size]:
    """The slots of meta-parameters, with the sizes of their code arrays."""
    return {
        name: size_in(name, Size(len(entry["operations"]), len(entry["constants"]), reductions))
        for name, entry in template.items()
        if is_code(entry)
    }
