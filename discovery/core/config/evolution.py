"""Options of a search by an evolution strategy, or by population-based evolution; imports no jax."""

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from discovery.core.config.population import PBEConfig
from discovery.core.config.strategies import (
    GRADIENT_OPTIONS,
    OPTIMIZERS,
    SIGMA_OPTIONS,
    STRATEGIES,
    Shaping,
    Strategy,
    StrategyName,
    TaskNormalization,
    users_of,
)
from discovery.core.errors import BadInput, unknown
from environments.fields import check_fields

MOST = 1_000_000
"""Proposals in a generation, or trainings in a call; more are a slip, and would not fit into memory."""


@dataclass(frozen=True)
class ESConfig:
    """An evolution strategy and its numbers.

    Options that only some strategies use are None (or empty) when not set, and then mean what the
    strategy's row in `discovery.core.config.strategies` says. Setting one that the strategy would ignore
    is an error.
    """

    strategy: StrategyName = "Open_ES"
    """Evolution strategy, by its name in evosax; or PBE, population-based evolution."""
    population: int = 32
    """P: proposals per generation; even where the strategy samples antithetic pairs."""
    sigma: float = 0.3
    """Standard deviation of the proposals around the mean, in the first generation."""
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
    task_normalization: TaskNormalization | None = None
    """How each task's scores are made comparable before they are averaged over tasks. z_score or
    rank: over the population; reference: divided by the size of the task's reference return; none.
    Default z_score; none for RandomSearch. pairwise_sign has no use for it."""
    antithetic: bool | None = None
    """Open_ES only: sample antithetic pairs. Default True."""
    scales: Mapping[str, float] = field(default_factory=dict)
    """Factors on sigma and the learning rate of searched entries, by name: for a search over parts whose
    numbers are of unlike size, for example optimizer=0.1. Default 1."""
    mean_every: int = 1
    """k: evaluate the mean on the selection seeds every k generations; 0: only after the last."""
    asynchronous: bool = False
    """Go on before a generation is whole, so that no worker waits for the slowest training. PBE learns from
    batches, in the order in which they are finished, which the ledger keeps; Open_ES from generations that
    were sampled a few updates ago."""
    in_flight: int | None = None
    """Asynchronous only: proposals that may have been asked for and not be finished. Default: the population
    (PBE), or two of them (Open_ES)."""
    batch: int | None = None
    """Asynchronous PBE only: number of proposals that are asked for, and learned from, together. Default:
    the fewest that fill `agents_per_call` with their seeds."""
    pbe: PBEConfig = field(default_factory=PBEConfig)
    """Options of population-based evolution. PBE only."""

    def __post_init__(self) -> None:
        check_fields(self, BadInput)
        if self.strategy not in STRATEGIES:
            raise unknown("evolution strategy", self.strategy, STRATEGIES)
        _check_used(self)
        _check_choices(self)
        _check_ranges(self)
        _check_pbe(self)
        _check_asynchronous(self)

    @property
    def facts(self) -> Strategy:
        """The strategy's row in the table."""
        return STRATEGIES[self.strategy]

    @property
    def pairs(self) -> bool:
        """Whether proposals i and i + P/2 form antithetic pairs."""
        return self.facts.pairs and self.antithetic is not False

    def resolved(self) -> "ESConfig":
        """The same, with the strategy's defaults for what it uses and was not set."""
        used = self.facts.options | ({"task_normalization"} if self.shaping != "pairwise_sign" else set())
        unset = [name for name in used if getattr(self, name) is None]
        defaults = {name: self.facts.defaults[name] for name in unset}
        if self.strategy == "PBE":
            defaults["pbe"] = self.pbe.resolved(self.population, self.sigma)
        return dataclasses.replace(self, **defaults)

    @property
    def batch_size(self) -> int:
        """B: proposals that are asked for together."""
        return self.batch or self.population

    @property
    def batches_in_flight(self) -> int:
        """Batches that may be asked for and not be finished."""
        if not self.asynchronous:
            return 1
        usual = self.population * (1 if self.facts.asynchronous == "batches" else 2)
        return max((self.in_flight or usual) // self.batch_size, 1)


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
    """Refuse values that are unknown, or that make no sense for this strategy."""
    for option, choices in (
        ("shaping", config.facts.shapings),
        ("task_normalization", config.facts.task_normalizations),
    ):
        value = getattr(config, option)
        if value is not None and value not in choices:
            raise BadInput(
                f"{option}={value!r} is no choice for {config.strategy}; it takes {' or '.join(choices)}"
            )
    if config.optimizer is not None and config.optimizer not in OPTIMIZERS:
        raise unknown("optax optimizer (of those that need a gradient only)", config.optimizer, OPTIMIZERS)
    if config.shaping == "pairwise_sign" and not config.pairs:
        raise BadInput("shaping='pairwise_sign' compares antithetic pairs; leave antithetic unset, or True")


def _check_ranges(config: ESConfig) -> None:
    """Refuse numbers out of range."""
    if config.population < 2:
        raise BadInput(f"population must be at least 2, got {config.population}")
    if config.population > MOST:
        raise BadInput(f"population must be at most {MOST}, got {config.population:.12g}")
    if config.facts.pairs and config.population % 2:
        raise BadInput(
            f"population must be even for {config.strategy}, which samples in pairs, "
            f"got {config.population}; use {config.population + 1}"
        )
    for entry, scale in config.scales.items():
        if not (math.isfinite(scale) and scale > 0):
            raise BadInput(f"scales are positive factors, got {entry}={scale}")
    if not 0 <= config.mean_every <= MOST:
        raise BadInput(f"mean_every must be between 0 and {MOST}, got {config.mean_every:.12g}")
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


def _check_pbe(config: ESConfig) -> None:
    """Refuse options of population-based evolution where they have no effect, or do not go together."""
    if config.strategy == "PBE":
        config.pbe.resolved(config.population, config.sigma)
        return
    for name, value in config.pbe.given.items():
        raise BadInput(
            f"{config.strategy} would ignore pbe.{name}={value!r}; leave it unset, or use strategy PBE"
        )


def _check_asynchronous(config: ESConfig) -> None:
    """Refuse batches that do not fit, and what has no effect."""
    kind = config.facts.asynchronous
    if config.asynchronous and kind == "no":
        able = [name for name, facts in STRATEGIES.items() if facts.asynchronous != "no"]
        raise BadInput(
            f"{config.strategy} waits for whole generations; asynchronous goes with {' or '.join(able)}"
        )
    for name in ("in_flight", "batch"):
        value = getattr(config, name)
        if value is None:
            continue
        if not config.asynchronous:
            raise BadInput(
                f"{name}={value} has no effect unless asynchronous is set; set it, or leave {name} out"
            )
        if not 1 <= value <= MOST:
            raise BadInput(f"{name} must be between 1 and {MOST}, got {value:.12g}")
    if config.batch is not None and kind != "batches":
        raise BadInput(
            f"{config.strategy} learns from whole generations and would ignore batch={config.batch}; "
            "leave it out"
        )
    if config.population % config.batch_size:
        raise BadInput(f"batch must divide the population, {config.population}, got {config.batch}")
    unit = config.batch_size if config.batch or kind != "batches" else 1
    if config.in_flight is not None and config.in_flight % unit:
        whole = "batch" if config.batch else "population"
        raise BadInput(f"in_flight must be a multiple of the {whole}, {unit}, got {config.in_flight}")
