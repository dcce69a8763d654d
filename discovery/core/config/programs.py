"""Options of a search over programs by evolution; imports no jax."""

import dataclasses
import math
from dataclasses import dataclass
from typing import Literal, Self

from discovery.core.config.generations import BatchesConfig
from discovery.core.errors import BadInput

Variation = Literal["evolution", "mutation", "random"]
Begin = Literal["known", "start", "nothing"]
LEAST_BATCH = 4
"""Least batch of an asynchronous search."""


@dataclass(frozen=True)
class ProgramsConfig(BatchesConfig):
    """Evolution of programs and its numbers.

    Options are None when not set; their defaults are given below.
    """

    method: Literal["programs"] = "programs"
    """Evolution of programs. Another method has other options: `--meta.method es`."""
    variation: Variation = "evolution"
    """Where programs come from. evolution: mutation and crossover; mutation: without crossover; random: each
    is made from nothing, so that the search is best-of-N."""
    begin: Begin = "known"
    """The first programs. known: all known algorithms of the slots; start: the family's `start` alone;
    nothing: random programs. Parts of known algorithms are grafted into others only with known."""
    alive: int | None = None
    """K: programs that may be parents; a new one replaces the oldest of its island. Default: three
    populations."""
    tournament: int | None = None
    """Programs that compete for each place as a parent. Default: an eighth of an island, at least 2."""
    islands: int = 2
    """Groups of programs that evolve apart."""
    migration_every: int = 10
    """Generations between migrations: the best of an island joins the next one. 0: never."""
    rescored: float = 0.2
    """Share of the proposals that score the best programs again, on new seeds."""
    scorings: int = 5
    """Times that a program is scored, at most."""
    most_cost: float = 200.0
    """Most expensive program, in additions per sample."""
    sigma: float = 0.01
    """Standard deviation of the noise on a network that is searched along with programs."""
    tuning: int | None = None
    """Generations that tune the constants of the best programs by an evolution strategy, after the
    evolution. Default: a tenth of all."""
    simplification: int | None = None
    """Last generations, which look for the simplest program that is not distinguishable from the best.
    Default: a tenth of all."""
    survivors: int = 4
    """Programs whose constants are tuned."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, least in {"islands": 1, "migration_every": 0, "scorings": 2, "survivors": 1}.items():
            if getattr(self, name) < least:
                raise BadInput(f"{name} must be at least {least}, got {getattr(self, name)}")
        for name, least in {"alive": 2, "tournament": 1, "tuning": 0, "simplification": 0}.items():
            value = getattr(self, name)
            if value is not None and value < least:
                raise BadInput(f"{name} must be at least {least}, got {value}")
        if not 0 < self.rescored < 1:
            raise BadInput(f"rescored is a share between 0 and 1, got {self.rescored}")
        for name in ("most_cost", "sigma"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0):
                raise BadInput(f"{name} must be positive, got {value}")
        if self.batch_size < min(LEAST_BATCH, self.population):
            raise BadInput(
                f"batch must be at least {LEAST_BATCH}, since each batch compares simpler programs with the "
                f"best one, got {self.batch}"
            )
        if self.members < 2 * self.islands:
            raise BadInput(f"alive must be at least 2 per island, got {self.members} on {self.islands}")

    @property
    def title(self) -> str:
        """The method's name in texts."""
        return {"evolution": "program evolution", "mutation": "program mutation", "random": "best of N"}[
            self.variation
        ]

    @property
    def details(self) -> tuple[str, ...]:
        """What else describes it."""
        return (f"{self.islands} islands of {self.members // self.islands} programs",)

    @property
    def members(self) -> int:
        """K: programs that may be parents."""
        return 3 * self.population if self.alive is None else self.alive

    def filling(self, seeds: int, width: int) -> Self:
        """The same, with the batch size: the fewest proposals, at least `LEAST_BATCH`, that divide the
        population and whose seeds fill whole calls of `width` trainings, else one that divides it.
        """
        if not self.asynchronous or self.batch:
            return self
        every = range(min(LEAST_BATCH, self.population), self.population + 1)
        sizes = [size for size in every if self.population % size == 0]
        whole = [size for size in sizes if size * seeds % width == 0]
        return dataclasses.replace(self, batch=(whole or sizes)[0])

    def phases(self, generations: int) -> tuple[int, int]:
        """The generations at which tuning and simplification begin.

        Raises:
            BadInput: they take more generations than there are.
        """
        tenth = generations // 10
        tuning = tenth if self.tuning is None else self.tuning
        simplification = tenth if self.simplification is None else self.simplification
        if tuning + simplification > generations:
            raise BadInput(
                f"tuning and simplification take {tuning} + {simplification} generations, and the whole "
                f"search has {generations}; lower them, or raise generations"
            )
        return generations - tuning - simplification, generations - simplification

    def resolved(self) -> Self:
        """The same, with defaults for unset options that are used."""
        per_island = self.members // self.islands
        return dataclasses.replace(
            self,
            alive=per_island * self.islands,
            tournament=max(2, per_island // 8) if self.tournament is None else self.tournament,
            task_normalization=self.task_normalization or "z_score",
        )
