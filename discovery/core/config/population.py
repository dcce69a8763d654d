"""Options of population-based evolution; imports no jax."""

import dataclasses
import math
from dataclasses import dataclass
from typing import Literal

from discovery.core.errors import BadInput
from environments.fields import check_fields

Mutation = Literal["additive", "multiplicative"]

RATIO = 100.0
"""Unless set, the genes of each order change this many times less than those of the order below. Genes of
equal size overshoot: on a bowl in 72 dimensions the population then leaves it within ten generations.
"""


@dataclass(frozen=True)
class PBEConfig:
    """What population-based evolution takes beside the population, sigma and the rest of `ESConfig`.

    Options are None when not set, and then mean the default that each states.
    """

    order: int | None = None
    """n: proposals have genes x_0, which is trained, to x_n: x_1 is an inherited step of x_0, x_2 one of x_1.
    Default 0; more pays where the objective moves or has no bound, and overshoots elsewhere."""
    parents: int | None = None
    """E: the best proposals of a generation, which have all children. At least 2 above order 0, better
    order + 1. Default: an eighth of the population, at least 4."""
    mutation: Mutation | None = None
    """additive: x_i grows by x_(i+1) and noise; multiplicative: by noise times x_(i+1), so that step sizes
    adapt. Default additive."""
    self_referential: bool | None = None
    """The last gene changes itself, as the genes below are changed by it. Default False."""
    beta: tuple[float, ...] | None = None
    """Variance of the noise in x_0 to x_n, or one number for all of them; multiplicative mutation has one, of
    x_n. Default: (sigma / 4)^2 for x_0, and 100 times less in standard deviation from order to order."""
    gene_sigmas: tuple[float, ...] | None = None
    """Standard deviation of x_1 to x_n in the first generation; that of x_0 is sigma. Default: that of the
    noise in them (additive), or the step size (sigma / 4 for x_1, multiplicative)."""
    elitism: bool | None = None
    """Keep the parents unchanged among the next proposals, where they are trained and scored anew. Default
    False."""

    def __post_init__(self) -> None:
        check_fields(self, BadInput)
        if self.order is not None and not 0 <= self.order <= 20:
            raise BadInput(f"pbe.order must be between 0 and 20, got {self.order}")
        if self.parents is not None and self.parents < 1:
            raise BadInput(f"pbe.parents must be at least 1, got {self.parents}")
        for name in ("beta", "gene_sigmas"):
            for value in getattr(self, name) or ():
                if not (math.isfinite(value) and value > 0):
                    raise BadInput(f"pbe.{name} must have positive numbers, got {value}")

    @property
    def given(self) -> dict[str, object]:
        """The options that are set."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return {name: value for name, value in values.items() if value is not None}

    def resolved(self, population: int, sigma: float) -> "PBEConfig":
        """The same with all that is used set, and one beta for each order that has noise.

        Raises:
            BadInput: options that do not go together, or with this population.
        """
        order, mutation = self.order or 0, self.mutation or "additive"
        own, multiplicative = bool(self.self_referential), mutation == "multiplicative"
        parents = min(max(4, population // 8), population - 1) if self.parents is None else self.parents
        _check(self, order, parents, population)
        steps = [sigma / 4 / RATIO**i for i in range(order + 1)]
        if multiplicative:
            beta = None if own else self.beta or (steps[-1] ** 2,)
            gene_sigmas = self.gene_sigmas or tuple(steps[:-1])
        else:
            beta = self.beta or tuple(step**2 for step in steps)
            beta = beta * (order + 1) if len(beta) == 1 else beta
            gene_sigmas = self.gene_sigmas or tuple(steps[1:])
        return PBEConfig(order, parents, mutation, own, beta, gene_sigmas, bool(self.elitism))


def _check(config: PBEConfig, order: int, parents: int, population: int) -> None:
    """Refuse what does not go together; `order` and `parents` are what they come to."""
    if parents >= population:
        raise BadInput(
            f"pbe.parents must be fewer than the population of {population}, or nothing is selected, "
            f"got {parents}"
        )
    if parents == 1 and order:
        raise BadInput(
            f"pbe.order {order} needs pbe.parents of at least 2, got 1: children of one parent all inherit "
            "the same steps, so that nothing selects among steps; raise pbe.parents, or set pbe.order to 0"
        )
    if order == 0 and config.self_referential:
        raise BadInput("pbe.self_referential needs pbe.order of at least 1: at 0 no step is inherited")
    if order == 0 and config.mutation == "multiplicative":
        raise BadInput(
            "pbe.mutation 'multiplicative' needs pbe.order of at least 1: x_1 is the step size of x_0; "
            "raise pbe.order, or leave pbe.mutation unset"
        )
    _check_lengths(config, order)


def _check_lengths(config: PBEConfig, order: int) -> None:
    """Refuse numbers that belong to no gene."""
    multiplicative, beta = config.mutation == "multiplicative", config.beta
    if multiplicative and config.self_referential and beta is not None:
        raise BadInput("self-referential multiplicative mutation has no free noise; leave pbe.beta unset")
    sizes = (1,) if multiplicative else (1, order + 1)
    if beta is not None and len(beta) not in sizes:
        wanted = "1 number" + ("" if multiplicative else f", or {order + 1} for x_0 to x_{order}")
        raise BadInput(f"pbe.beta must have {wanted}, got {len(beta)}")
    if config.gene_sigmas is not None and len(config.gene_sigmas) != order:
        raise BadInput(
            f"pbe.gene_sigmas has one number for each of x_1 to x_n: {order} at pbe.order {order}, "
            f"got {len(config.gene_sigmas)}; that of x_0 is sigma"
        )
