"""A table of the available evolution strategies; imports no jax.

| strategy     | pairs | what it reads of the scores           | step size                      | moves by |
|--------------|-------|---------------------------------------|--------------------------------|----------|
| Open_ES      | yes   | our utilities                         | ours: sigma, decay, floor      | optax    |
| PGPE         | yes   | our utilities                         | adapts per entry (at most 20%) | optax    |
| ARS          | yes   | our utilities; best half of the pairs | ours: sigma, decay, floor      | optax    |
| SNES         | no    | their order                           | adapts per entry               | optax    |
| xNES         | no    | their order                           | adapts, one and per entry      | optax    |
| SimpleES     | no    | their order; the best half            | adapts per entry               | optax    |
| CMA_ES       | no    | their order                           | adapts, full covariance        | own rule |
| Sep_CMA_ES   | no    | their order                           | adapts per entry               | own rule |
| CR_FM_NES    | yes   | their order                           | adapts, diagonal plus rank one | own rule |
| RandomSearch | no    | the best proposal of all so far       | sigma, around the initial mean | jumps    |

Open_ES can also sample without pairs (`antithetic=False`). CMA_ES holds and decomposes a matrix of d x d
entries, xNES builds P of them: use other strategies for thousands of meta-parameters. More than
`LARGEST_MATRIX` entries are refused (`generation.check_size`).

Other strategies of evosax are left out: they need state that the caller must hold, or special inputs.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from discovery.core.config.generations import TaskNormalization

StrategyName = Literal[
    "Open_ES",
    "SNES",
    "Sep_CMA_ES",
    "CMA_ES",
    "PGPE",
    "ARS",
    "xNES",
    "CR_FM_NES",
    "SimpleES",
    "RandomSearch",
]
Shaping = Literal["centered_rank", "z_score", "pairwise_sign", "none"]

GRADIENT_OPTIONS = frozenset(
    {"optimizer", "learning_rate", "learning_rate_decay", "learning_rate_floor", "optimizer_options"}
)
SIGMA_OPTIONS = frozenset({"sigma_decay", "sigma_floor"})

LARGEST_MATRIX = 10**8
"""Most entries of a strategy's matrices: 10,000 x 10,000, 400 MB."""

OPTIMIZERS = (
    "adabelief",
    "adadelta",
    "adafactor",
    "adagrad",
    "adam",
    "adamax",
    "adamaxw",
    "adamw",
    "adan",
    "amsgrad",
    "fromage",
    "lamb",
    "lars",
    "lion",
    "nadam",
    "nadamw",
    "novograd",
    "optimistic_adam_v2",
    "optimistic_gradient_descent",
    "radam",
    "rmsprop",
    "rprop",
    "sgd",
    "sign_sgd",
    "signum",
    "sm3",
    "yogi",
)
"""Every optax optimizer that needs a gradient and a learning rate and nothing else."""


@dataclass(frozen=True)
class Strategy:
    """What one strategy uses, so that an option it would ignore can be refused.

    Attributes:
        reads: "utility": our shaped utilities as numbers; "order": only the order of the proposals;
            "best": the best proposal so far, so numbers must compare across generations.
        pairs: proposals i and i + P/2 are the mean plus and minus the same noise.
        options: names of the `ESConfig` fields it uses besides those that all use.
        defaults: values of its unset options.
        shapings: values of `shaping` that suit it.
        task_normalizations: values of `task_normalization` that suit it.
        matrices: of d x d entries that it needs for d meta-parameters: none, one, or one per proposal.
        asynchronous: whether it can learn from generations that were sampled some updates ago.
    """

    reads: Literal["utility", "order", "best"]
    pairs: bool
    options: frozenset[str] = frozenset()
    defaults: Mapping[str, Any] = field(default_factory=dict)
    shapings: tuple[Shaping, ...] = ()
    task_normalizations: tuple[TaskNormalization, ...] = ("z_score", "rank", "reference", "none")
    matrices: Literal["none", "one", "one per proposal"] = "none"
    asynchronous: bool = False


_SCHEDULES = {
    "sigma_decay": 1.0,
    "sigma_floor": 0.0,
    "learning_rate_decay": 1.0,
    "learning_rate_floor": 0.0,
    "task_normalization": "z_score",
}
_ADAM = {**_SCHEDULES, "optimizer": "adam", "learning_rate": 0.1, "shaping": "centered_rank"}
_NATURAL = {**_SCHEDULES, "optimizer": "sgd", "learning_rate": 1.0}
_ALL_SHAPINGS: tuple[Shaping, ...] = ("centered_rank", "z_score", "pairwise_sign", "none")

STRATEGIES: Mapping[str, Strategy] = {
    "Open_ES": Strategy(
        reads="utility",
        pairs=True,
        options=GRADIENT_OPTIONS | SIGMA_OPTIONS | {"shaping", "antithetic"},
        defaults={**_ADAM, "antithetic": True},
        shapings=_ALL_SHAPINGS,
        asynchronous=True,
    ),
    # With pairwise_sign both members of every pair sum to 1, so its step size stays constant.
    "PGPE": Strategy(
        reads="utility",
        pairs=True,
        options=GRADIENT_OPTIONS | {"shaping"},
        defaults=_ADAM,
        shapings=_ALL_SHAPINGS,
    ),
    # It standardizes by itself (z_score would change nothing) and picks pairs by their better
    # member (pairwise_sign would make every pair equally good).
    "ARS": Strategy(
        reads="utility",
        pairs=True,
        options=GRADIENT_OPTIONS | SIGMA_OPTIONS | {"shaping"},
        defaults={**_ADAM, "shaping": "none"},
        shapings=("none", "centered_rank"),
    ),
    "SNES": Strategy(reads="order", pairs=False, options=GRADIENT_OPTIONS, defaults=_NATURAL),
    "xNES": Strategy(
        reads="order",
        pairs=False,
        options=GRADIENT_OPTIONS,
        defaults=_NATURAL,
        matrices="one per proposal",
    ),
    "SimpleES": Strategy(reads="order", pairs=False, options=GRADIENT_OPTIONS, defaults=_NATURAL),
    "CMA_ES": Strategy(reads="order", pairs=False, defaults=_SCHEDULES, matrices="one"),
    "Sep_CMA_ES": Strategy(reads="order", pairs=False, defaults=_SCHEDULES),
    "CR_FM_NES": Strategy(reads="order", pairs=True, defaults=_SCHEDULES),
    # A proposal of this generation competes with the best of all earlier ones: scores relative
    # to their generation are not comparable.
    "RandomSearch": Strategy(
        reads="best",
        pairs=False,
        defaults={**_SCHEDULES, "task_normalization": "none"},
        task_normalizations=("reference", "none"),
    ),
}


def users_of(*options: str) -> list[str]:
    """Names of the strategies that use all of `options`."""
    return [name for name, strategy in STRATEGIES.items() if set(options) <= strategy.options]
