"""Options of population-based evolution; imports no jax."""

import dataclasses
import math
from dataclasses import dataclass
from typing import Literal, Self

from discovery.core.config.generations import BatchesConfig, NoiseConfig
from discovery.core.errors import BadInput

Mutation = Literal["additive", "multiplicative"]

RATIO = 100.0
"""By default, the genes of each order change this many times less than those of the order below. Genes of
equal size overshoot: on a bowl in 72 dimensions, the population leaves it within ten generations.
"""


@dataclass(frozen=True)
class PBEConfig(NoiseConfig, BatchesConfig):
    """Population-based evolution and its numbers.

    Options are None when not set; their defaults are given below.
    """

    method: Literal["pbe"] = "pbe"
    """Population-based evolution. Another method has other options: `--meta.method es`."""
    order: int | None = None
    """n: proposals have genes x_0, which is trained, to x_n: x_1 is an inherited step of x_0, x_2 one of x_1.
    Default 0; more helps if the objective moves or is unbounded, and overshoots elsewhere."""
    parents: int | None = None
    """E: number of the best proposals of a generation, from which all children descend. At least 2 above
    order 0, better order + 1. Default: an eighth of the population, at least 4."""
    mutation: Mutation | None = None
    """additive: x_i grows by x_(i+1) and noise; multiplicative: by noise times x_(i+1), so that step sizes
    adapt. Default additive."""
    self_referential: bool | None = None
    """The last gene changes itself, as the genes below are changed by it. Default False."""
    beta: tuple[float, ...] | None = None
    """Variance of the noise in x_0 to x_n, or one number for all of them; multiplicative mutation has one, of
    x_n. Default: (sigma / 4)^2 for x_0, and 100 times less in standard deviation from order to order."""
    gene_sigmas: tuple[float, ...] | None = None
    """Standard deviation of x_1 to x_n in the first generation; x_0 has sigma. Default: the noise's
    (additive), or the step size (sigma / 4 for x_1, multiplicative)."""
    elitism: bool | None = None
    """Keep the parents unchanged among the next proposals, which are trained and scored anew. Default
    False."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.order is not None and not 0 <= self.order <= 20:
            raise BadInput(f"order must be between 0 and 20, got {self.order}")
        if self.parents is not None and self.parents < 1:
            raise BadInput(f"parents must be at least 1, got {self.parents}")
        for name in ("beta", "gene_sigmas"):
            for value in getattr(self, name) or ():
                if not (math.isfinite(value) and value > 0):
                    raise BadInput(f"{name} must have positive numbers, got {value}")
        self.resolved()  # refuses options that do not go together

    @property
    def title(self) -> str:
        """The method's name in texts."""
        return "PBE"

    @property
    def details(self) -> tuple[str, ...]:
        """Its order, parents and sigma."""
        return (f"order {self.order}, {self.parents} parents", f"sigma {self.sigma:g}")

    def resolved(self) -> Self:
        """The same with all used options set, and one beta for each order that has noise.

        Raises:
            BadInput: options that do not go together, or with this population.
        """
        order, mutation = self.order or 0, self.mutation or "additive"
        own, multiplicative = bool(self.self_referential), mutation == "multiplicative"
        usual = min(max(4, self.population // 8), self.population - 1)
        parents = usual if self.parents is None else self.parents
        _check(self, order, parents)
        steps = [self.sigma / 4 / RATIO**i for i in range(order + 1)]
        if multiplicative:
            beta = None if own else self.beta or (steps[-1] ** 2,)
            gene_sigmas = self.gene_sigmas or tuple(steps[:-1])
        else:
            beta = self.beta or tuple(step**2 for step in steps)
            beta = beta * (order + 1) if len(beta) == 1 else beta
            gene_sigmas = self.gene_sigmas or tuple(steps[1:])
        found = {
            "order": order,
            "parents": parents,
            "mutation": mutation,
            "self_referential": own,
            "beta": beta,
            "gene_sigmas": gene_sigmas,
            "elitism": bool(self.elitism),
            "task_normalization": self.task_normalization or "z_score",
        }
        if all(getattr(self, name) == value for name, value in found.items()):
            return self
        return dataclasses.replace(self, **found)


def _check(config: PBEConfig, order: int, parents: int) -> None:
    """Refuse options that do not go together; `order` and `parents` are resolved values."""
    if parents >= config.population:
        raise BadInput(
            f"parents must be fewer than the population of {config.population}, or nothing is selected, "
            f"got {parents}"
        )
    if parents == 1 and order:
        raise BadInput(
            f"order {order} needs parents of at least 2, got 1: children of one parent all inherit "
            "the same steps, so there is no selection among steps; raise parents, or set order to 0"
        )
    if order == 0 and config.self_referential:
        raise BadInput("self_referential needs order of at least 1: at 0 no step is inherited")
    if order == 0 and config.mutation == "multiplicative":
        raise BadInput(
            "mutation 'multiplicative' needs order of at least 1: x_1 is the step size of x_0; "
            "raise order, or leave mutation unset"
        )
    _check_lengths(config, order)


def _check_lengths(config: PBEConfig, order: int) -> None:
    """Refuse numbers that do not belong to a gene."""
    multiplicative, beta = config.mutation == "multiplicative", config.beta
    if multiplicative and config.self_referential and beta is not None:
        raise BadInput("self-referential multiplicative mutation has no free noise; leave beta unset")
    sizes = (1,) if multiplicative else (1, order + 1)
    if beta is not None and len(beta) not in sizes:
        wanted = "1 number" + ("" if multiplicative else f", or {order + 1} for x_0 to x_{order}")
        raise BadInput(f"beta must have {wanted}, got {len(beta)}")
    if config.gene_sigmas is not None and len(config.gene_sigmas) != order:
        raise BadInput(
            f"gene_sigmas has one number for each of x_1 to x_n: {order} at order {order}, "
            f"got {len(config.gene_sigmas)}; that of x_0 is sigma"
        )
