"""A task: an environment, an agent and a recipe, a budget, and a score.

`Setup` has what a compiled program depends on; `Task` adds the numbers, which are traced.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from decimal import Decimal
from typing import Any, Literal

from environments.fields import check_fields
from environments.make import make

Option = bool | int | float | str

INT32_MAX = 2**31 - 1
LARGEST_CURVE = 100_000
"""Most points of a learning curve; every metric of every training has as many numbers."""

SCORES = {"final": "mean return, last fifth of training", "auc": "mean return over training"}
"""The kinds of `Task.score`, in words."""


class Settings(dict[str, Any]):
    """An immutable mapping, so that objects with it can be cache keys."""

    def __hash__(self) -> int:  # type: ignore[override]
        return hash(frozenset(self.items()))


@dataclass(frozen=True)
class Setup:
    """The structure of an inner training: change any field and it compiles again."""

    environment: str = "CartPole-v1"
    """Environment id: gymnax's own, "brax/ant", "grid/all" ..., or a user-defined
    "package.module:function"."""
    n_envs: int = 8
    """E: environments that one agent steps in parallel."""
    n_steps: int = 64
    """T: steps per environment between updates."""
    n_epochs: int = 8
    """Passes over each rollout."""
    n_minibatches: int = 4
    """Minibatches per pass; must divide n_envs * n_steps, or a recurrent agent's number of sequences."""
    hidden: tuple[int, ...] = (64, 64)
    """Widths of the hidden layers."""
    activation: Literal["tanh", "relu", "swish"] = "tanh"
    """Nonlinearity of the hidden layers."""
    shared_torso: bool = False
    """Share the hidden layers between all heads."""
    filters: tuple[int, ...] = ()
    """Numbers of 3 x 3 filters of the convolutions before the hidden layers, for images; () for none."""
    layer_norm: bool = False
    """Normalize each layer before its nonlinearity, convolutions over their filters."""
    experts: int = 0
    """Number of experts in the soft mixture that is the last hidden layer, each of its width; 0 for an
    ordinary layer."""
    recurrence: Literal["none", "gru", "linear"] = "none"
    """Layer after the hidden layers, as wide as the last: none; a gated recurrent unit; or a diagonal linear
    recurrence, parallel over chunks of time."""
    sequence_length: int | None = None
    """Length of the sequences that a recurrent agent learns from; must divide n_steps. Default: n_steps."""
    matmul: Literal["float32", "tensorfloat32", "bfloat16"] = "float32"
    """Precision of the factors in matrix products, except in recurrences; sums are float32."""
    normalize_observation: bool = False
    """Standardize observations by running statistics."""
    normalize_reward: bool = False
    """Divide rewards by the running standard deviation of the discounted return."""
    actions: Literal["clip", "squash"] = "clip"
    """How an unbounded continuous action u is brought within bounds: clipped, or as
    low + (high - low) (tanh(u) + 1) / 2. Log-probabilities and entropy are those of u in both cases."""
    exact: bool = False
    """Train mirror maps by exact policy mirror descent on the level's process, without rollouts or a network.
    An update is one descent step, and total_steps counts these."""
    legacy_truncation: bool = False
    """Treat a time limit as termination, as papers built on PureJaxRL did."""
    curve_points: int = 20
    """K: number of points of the learning curve."""
    options: Mapping[str, Option] = field(default_factory=Settings)
    """Options of the environment, for example backend or tabular; `discovery envs ID` lists them."""
    vary: Mapping[str, tuple[float, float]] = field(default_factory=Settings)
    """Parameters of the environment that each training draws uniformly between a lowest and a highest value:
    gymnax's ("gravity" of CartPole), or factors ("gravity" and "mass" in brax)."""

    def __post_init__(self) -> None:
        check_fields(self)
        object.__setattr__(self, "options", Settings(self.options))
        object.__setattr__(self, "vary", Settings(self.vary))
        for name, ends in self.vary.items():
            if len(ends) != 2 or not ends[0] <= ends[1]:
                raise ValueError(f"vary needs the lowest and the highest value of {name!r}, got {list(ends)}")
        if self.exact:
            self._check_exact()
        for name in ("n_envs", "n_steps", "n_epochs", "n_minibatches", "curve_points"):
            most = LARGEST_CURVE if name == "curve_points" else INT32_MAX
            if not 1 <= getattr(self, name) <= most:
                raise ValueError(f"{name} must be between 1 and {most}, got {getattr(self, name)}")
        if self.sequence_length is not None and (
            self.sequence_length < 1 or self.n_steps % self.sequence_length
        ):
            raise ValueError(
                f"sequence_length must divide n_steps = {self.n_steps}, got {self.sequence_length}"
            )
        if self.sequence_length is not None and self.recurrence == "none":
            raise ValueError(
                f"sequence_length is for agents with a recurrence, got {self.sequence_length} without one"
            )
        size = self.steps_per_update // self.steps_per_sequence
        if size % self.n_minibatches:
            what = "n_envs * n_steps" if self.recurrence == "none" else "the number of sequences in a rollout"
            raise ValueError(f"n_minibatches must divide {what} = {size}, got {self.n_minibatches}")
        if self.experts < 0 or self.experts == 1:
            raise ValueError(f"experts must be 0, or at least 2, got {self.experts}")
        for name in ("hidden", "filters"):
            if any(width < 1 for width in getattr(self, name)):
                raise ValueError(f"{name} must be at least 1 each, got {getattr(self, name)}")

    def _check_exact(self) -> None:
        """Refuse what exact training would ignore."""
        ones = ("n_envs", "n_steps", "n_epochs", "n_minibatches")
        kept = (*ones, "exact", "environment", "curve_points", "options", "vary")
        for field_ in fields(self):
            wanted = 1 if field_.name in ones else field_.default
            if (field_.name in ones or field_.name not in kept) and getattr(self, field_.name) != wanted:
                raise ValueError(
                    f"exact training has no rollouts and no network: {field_.name} must be {wanted}, got "
                    f"{getattr(self, field_.name)}"
                )

    @property
    def steps_per_update(self) -> int:
        """Environment steps in one rollout of one agent, E * T."""
        return self.n_envs * self.n_steps

    @property
    def steps_per_sequence(self) -> int:
        """L: length of the sequences that are learned from; 1 for agents without a memory."""
        return 1 if self.recurrence == "none" else self.sequence_length or self.n_steps


YOUNGER: Mapping[str, Any] = {"exact": False, "matmul": "float32"}
"""Fields of a setup, with their defaults, that were added after returns had been recorded."""


@dataclass(frozen=True)
class Task:
    """A setup with its numbers and budget.

    `numbers` overrides an algorithm's defaults (learning_rate, gamma, entropy_coef ...).
    """

    name: str = "CartPole-v1"
    """Name, from which seeds derive."""
    setup: Setup = field(default_factory=Setup)
    """Structure of the inner training."""
    total_steps: int = 50_000
    """Environment steps of one agent, rounded down to whole rollouts."""
    numbers: Mapping[str, float] = field(default_factory=dict)
    """Numbers of the recipe, by name, for example learning_rate=1e-3."""
    score: Literal["final", "auc"] = "final"
    """"final": mean return of episodes completed in the last fifth; "auc": mean over the curve."""
    reference: float | None = None
    """A good score on this task, if known; task_normalization "reference" divides by its size."""
    shortest_life: float = 1.0
    """Shortest lifetime in a search, as a share of total_steps; below 1, lifetimes are drawn log-uniformly
    between this share and 1."""

    def __post_init__(self) -> None:
        check_fields(self)
        if not 0 < self.shortest_life <= 1:
            raise ValueError(f"shortest_life must be in (0, 1], got {self.shortest_life}")
        if self.total_steps < self.setup.steps_per_update:
            raise ValueError(
                f"total_steps of task {self.name!r} must be at least one rollout "
                f"({self.setup.steps_per_update} steps), got {self.total_steps}"
            )
        # a training counts its steps in 32 bits, and rollouts times points of the curve
        most = min(INT32_MAX, INT32_MAX // self.setup.curve_points * self.setup.steps_per_update)
        if self.total_steps > most:
            raise ValueError(
                f"total_steps of task {self.name!r} must be at most {most}, "
                f"got {Decimal(self.total_steps):.10g}"
            )

    @property
    def n_updates(self) -> int:
        """N: rollouts in a full training."""
        return self.total_steps // self.setup.steps_per_update

    @property
    def trained_steps(self) -> int:
        """Environment steps of a full training: `total_steps`, rounded down to whole rollouts."""
        return self.n_updates * self.setup.steps_per_update

    def environment(self):
        """The environment object, one per process per id."""
        return make(self.setup.environment, self.setup.options, self.setup.vary)
