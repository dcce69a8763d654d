"""Options of every method that scores a population of proposals a generation; imports no jax."""

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, Self

from discovery.core.errors import BadInput
from environments.fields import check_fields

MOST = 1_000_000
"""Most proposals in a generation, or trainings in a call; more would not fit into memory."""

TaskNormalization = Literal["z_score", "rank", "reference", "none"]


@dataclass(frozen=True)
class GenerationsConfig:
    """Options that all methods that propose generations share; each method's config is a subclass."""

    method: str = ""
    """The method's name in a config."""
    population: int = 32
    """P: proposals per generation."""
    task_normalization: TaskNormalization | None = None
    """How each task's scores are made comparable before they are averaged over tasks. z_score or
    rank: over the population; reference: divided by the size of the task's reference return; none.
    Default z_score."""
    answer_every: int = 1
    """k: score the answer (of an evolution strategy, its mean) on the selection seeds every k generations;
    0: only after the last."""
    asynchronous: bool = False
    """Continue before a generation is complete, so no worker waits for the slowest training."""
    in_flight: int | None = None
    """Asynchronous only: most proposals that may be asked for and unfinished."""

    def __post_init__(self) -> None:
        check_fields(self, BadInput)
        if self.population < 2:
            raise BadInput(f"population must be at least 2, got {self.population}")
        if self.population > MOST:
            raise BadInput(f"population must be at most {MOST}, got {self.population:.12g}")
        if not 0 <= self.answer_every <= MOST:
            raise BadInput(f"answer_every must be between 0 and {MOST}, got {self.answer_every:.12g}")
        self.refuse_in_flight("in_flight", self.in_flight)

    def refuse_in_flight(self, name: str, value: int | None) -> None:
        """Refuse a number of proposals that has no effect, or is out of range."""
        if value is None:
            return
        if not self.asynchronous:
            raise BadInput(
                f"{name}={value} has no effect unless asynchronous is set; set it, or leave {name} out"
            )
        if not 1 <= value <= MOST:
            raise BadInput(f"{name} must be between 1 and {MOST}, got {value:.12g}")

    @property
    def title(self) -> str:
        """The method's name in texts."""
        raise NotImplementedError

    @property
    def details(self) -> tuple[str, ...]:
        """What else describes it in a line of text."""
        return ()

    @property
    def pairs(self) -> bool:
        """Whether proposals i and i + P/2 form antithetic pairs."""
        return False

    @property
    def compares_pairs(self) -> bool:
        """Whether the scores of a pair are compared only with each other."""
        return False

    @property
    def in_batches(self) -> bool:
        """Whether it is asynchronous, and learns from batches in the order in which they finish."""
        return False

    @property
    def batch_size(self) -> int:
        """B: proposals that are asked for together."""
        return self.population

    @property
    def batches_in_flight(self) -> int:
        """Most batches that may be asked for and unfinished."""
        if not self.asynchronous:
            return 1
        return max((self.in_flight or self._usual_in_flight) // self.batch_size, 1)

    @property
    def _usual_in_flight(self) -> int:
        return self.population

    def resolved(self) -> Self:
        """The same, with defaults for unset options that are used."""
        raise NotImplementedError

    def filling(self, seeds: int, width: int) -> Self:
        """The same, with the batch size for calls of `width` trainings; here it is fixed."""
        del seeds, width
        return self


@dataclass(frozen=True)
class NoiseConfig(GenerationsConfig):
    """Options of methods that add noise to numbers."""

    sigma: float = 0.3
    """Standard deviation of the proposals in the first generation."""
    scales: Mapping[str, float] = field(default_factory=dict)
    """Factors on sigma and the learning rate of searched entries, by name: for a search over parts whose
    numbers differ in size, for example optimizer=0.1. Default 1."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not (math.isfinite(self.sigma) and self.sigma > 0):
            raise BadInput(f"sigma must be positive, got {self.sigma}")
        for entry, scale in self.scales.items():
            if not (math.isfinite(scale) and scale > 0):
                raise BadInput(f"scales are positive factors, got {entry}={scale}")


@dataclass(frozen=True)
class BatchesConfig(GenerationsConfig):
    """Options of methods that, if asynchronous, learn from batches in the order in which these finish."""

    batch: int | None = None
    """Asynchronous only: number of proposals that are asked for, and learned from, together, in the order in
    which batches finish. Default: the fewest that fill `agents_per_call` with their seeds."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.refuse_in_flight("batch", self.batch)
        if self.population % self.batch_size:
            raise BadInput(f"batch must divide the population, {self.population}, got {self.batch}")
        if self.in_flight is not None and self.batch and self.in_flight % self.batch:
            raise BadInput(f"in_flight must be a multiple of the batch, {self.batch}, got {self.in_flight}")

    @property
    def in_batches(self) -> bool:
        """Whether it is asynchronous."""
        return self.asynchronous

    @property
    def batch_size(self) -> int:
        """B: proposals that are asked for together."""
        return self.batch or self.population

    def filling(self, seeds: int, width: int) -> Self:
        """The same, with the batch size: the fewest proposals that divide the population and whose seeds fill
        whole calls of `width` trainings, else one call.
        """
        if not self.asynchronous or self.batch:
            return self
        sizes = [size for size in range(1, self.population + 1) if self.population % size == 0]
        whole = [size for size in sizes if size * seeds % width == 0]
        full = [size for size in sizes if size * seeds >= width]
        return dataclasses.replace(self, batch=(whole or full or sizes[-1:])[0])
