"""Options of a search by an evolution strategy; imports no jax."""

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, Self

from discovery.core.config.generations import NoiseConfig
from discovery.core.config.strategies import (
    GRADIENT_OPTIONS,
    OPTIMIZERS,
    SIGMA_OPTIONS,
    STRATEGIES,
    Shaping,
    Strategy,
    StrategyName,
    users_of,
)
from discovery.core.errors import BadInput, unknown


@dataclass(frozen=True)
class ESConfig(NoiseConfig):
    """An evolution strategy and its numbers.

    Options that only some strategies use are None (or empty) when not set; the strategy's row in
    `discovery.core.config.strategies` then gives the default. Setting one that the strategy would ignore is
    an error.
    """

    method: Literal["es"] = "es"
    """An evolution strategy. Another method has other options: `--meta.method pbe`."""
    strategy: StrategyName = "Open_ES"
    """Evolution strategy, by its name in evosax. Those that sample in pairs need an even population."""
    sigma_decay: float | None = None
    """Factor on sigma per generation, in (0, 1]: generation g uses sigma * sigma_decay**g.
    Open_ES and ARS only, default 1; the others adapt it."""
    sigma_floor: float | None = None
    """Sigma does not decay below this. Default 0."""
    optimizer: str | None = None
    """optax optimizer that moves the mean, by name. Default "adam" (Open_ES, PGPE, ARS) or "sgd"
    (SNES, xNES, SimpleES)."""
    learning_rate: float | None = None
    """Learning rate of the optimizer in the first generation. Default 0.1, or 1 for SNES, xNES, SimpleES."""
    learning_rate_decay: float | None = None
    """Factor on the learning rate per generation, in (0, 1]. Default 1."""
    learning_rate_floor: float | None = None
    """The learning rate does not decay below this. Default 0."""
    optimizer_options: Mapping[str, float] = field(default_factory=dict)
    """Further arguments of the optimizer under their optax names, for example b1=0.99."""
    shaping: Shaping | None = None
    """How the scores of a generation become utilities. centered_rank: ranks in [-0.5, 0.5], ties
    averaged; z_score; pairwise_sign: 1 for the winner of each antithetic pair, 0 for the loser, 0.5
    for a tie, per task and seed; none. Open_ES, PGPE (default centered_rank) and ARS (default none)
    only; the others use the order of the proposals."""
    antithetic: bool | None = None
    """Open_ES only: sample antithetic pairs. Default True."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.strategy not in STRATEGIES:
            raise unknown("evolution strategy", self.strategy, STRATEGIES)
        _check_used(self)
        _check_choices(self)
        _check_ranges(self)
        _check_asynchronous(self)

    @property
    def facts(self) -> Strategy:
        """The strategy's row in the table."""
        return STRATEGIES[self.strategy]

    @property
    def pairs(self) -> bool:
        """Whether proposals i and i + P/2 form antithetic pairs."""
        return self.facts.pairs and self.antithetic is not False

    @property
    def title(self) -> str:
        """The strategy's name."""
        return self.strategy

    @property
    def details(self) -> tuple[str, ...]:
        """Its optimizer and sigma."""
        rate = () if self.learning_rate is None else (f"{self.optimizer} {self.learning_rate:g}",)
        return (*rate, f"sigma {self.sigma:g}")

    @property
    def compares_pairs(self) -> bool:
        """Whether the scores of a pair are compared only with each other."""
        return self.shaping == "pairwise_sign"

    @property
    def _usual_in_flight(self) -> int:
        return 2 * self.population

    def resolved(self) -> Self:
        """The same, with the strategy's defaults for unset options that it uses."""
        used = self.facts.options | ({"task_normalization"} if self.shaping != "pairwise_sign" else set())
        unset = [name for name in used if getattr(self, name) is None]
        defaults = {name: self.facts.defaults[name] for name in unset}
        return dataclasses.replace(self, **defaults)


def _is_set(config: ESConfig, option: str) -> bool:
    value = getattr(config, option)
    return bool(value) if option == "optimizer_options" else value is not None


def _check_used(config: ESConfig) -> None:
    """Refuse options that would have no effect."""
    ignored = {
        option: getattr(config, option)
        for option in sorted(GRADIENT_OPTIONS | SIGMA_OPTIONS | {"shaping", "antithetic"})
        if _is_set(config, option) and option not in config.facts.options
    }
    if ignored:
        users = users_of(*ignored)
        raise BadInput(
            f"{config.strategy} would ignore {', '.join(f'{o}={value!r}' for o, value in ignored.items())}; "
            f"leave {'it' if len(ignored) == 1 else 'them'} unset"
            + (f", or use one of {', '.join(users)}" if users else "")
        )
    for name in ("sigma", "learning_rate"):
        if _is_set(config, f"{name}_floor") and not _is_set(config, f"{name}_decay"):
            raise BadInput(
                f"{name}_floor={getattr(config, f'{name}_floor')!r} has no effect without "
                f"{name}_decay; set {name}_decay as well, or leave the floor unset"
            )
    if config.shaping == "pairwise_sign" and config.task_normalization is not None:
        raise BadInput(
            f"shaping='pairwise_sign' would ignore task_normalization={config.task_normalization!r} "
            "(it compares within each task); leave task_normalization unset, or use another shaping"
        )


def _check_choices(config: ESConfig) -> None:
    """Refuse values that are unknown or do not fit this strategy."""
    for option, choices in (
        ("shaping", config.facts.shapings),
        ("task_normalization", config.facts.task_normalizations),
    ):
        value = getattr(config, option)
        if value is not None and value not in choices:
            raise BadInput(
                f"{option}={value!r} is not a choice for {config.strategy}; it takes {' or '.join(choices)}"
            )
    if config.optimizer is not None and config.optimizer not in OPTIMIZERS:
        raise unknown("optax optimizer (of those that need a gradient only)", config.optimizer, OPTIMIZERS)
    if config.shaping == "pairwise_sign" and not config.pairs:
        raise BadInput("shaping='pairwise_sign' compares antithetic pairs; leave antithetic unset, or True")


def _check_ranges(config: ESConfig) -> None:
    """Refuse numbers out of range."""
    if config.facts.pairs and config.population % 2:
        raise BadInput(
            f"population must be even for {config.strategy}, which samples in pairs, "
            f"got {config.population}; use {config.population + 1}"
        )
    for name in ("sigma", "learning_rate"):
        start = getattr(config, name)
        if start is not None and not (math.isfinite(start) and start > 0):
            raise BadInput(f"{name} must be positive, got {start}")
        decay = getattr(config, f"{name}_decay")
        if decay is not None and not 0 < decay <= 1:
            raise BadInput(f"{name}_decay is a factor per generation in (0, 1], got {decay}")
        floor = getattr(config, f"{name}_floor")
        start = config.facts.defaults.get(name) if start is None else start
        if floor is not None and not 0 <= floor <= start:
            raise BadInput(f"{name}_floor must lie between 0 and {name}={start}, got {floor}")


def _check_asynchronous(config: ESConfig) -> None:
    """Refuse asynchronous options for a strategy that needs whole generations."""
    able = [name for name, facts in STRATEGIES.items() if facts.asynchronous]
    if config.asynchronous and config.strategy not in able:
        raise BadInput(
            f"{config.strategy} waits for whole generations; asynchronous goes with {' or '.join(able)}, "
            "and with method 'pbe'"
        )
    if config.in_flight is not None and config.in_flight % config.population:
        raise BadInput(
            f"in_flight must be a multiple of the population, {config.population}, got {config.in_flight}"
        )
