"""Options: what is refused, and how it is said."""

import inspect
from typing import get_args

import optax
import pytest
import tyro

from discovery.core.config.evolution import ESConfig
from discovery.core.config.strategies import OPTIMIZERS, STRATEGIES, StrategyName
from discovery.core.errors import BadInput

OPTIONS = {
    "optimizer": "sgd",
    "learning_rate": 0.5,
    "learning_rate_decay": 0.5,
    "optimizer_options": {"momentum": 0.9},
    "sigma_decay": 0.9,
    "shaping": "centered_rank",
    "antithetic": True,
}


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_an_option_is_used_and_resolved_or_refused(strategy):
    for option, value in OPTIONS.items():
        if option in STRATEGIES[strategy].options:
            ESConfig(strategy=strategy, **{option: value})
            continue
        with pytest.raises(BadInput, match=f"{strategy}.* {option}=") as error:
            ESConfig(strategy=strategy, **{option: value})
        assert all(name in str(error.value) for name, row in STRATEGIES.items() if option in row.options)
    config = ESConfig(strategy=strategy).resolved()
    assert config.resolved() == config
    for option in OPTIONS.keys() - {"optimizer_options"} | {"sigma_floor", "learning_rate_floor"}:
        assert (getattr(config, option) is not None) == (option in config.facts.options)
    assert config.task_normalization is not None


def test_what_was_set_survives_resolving():
    config = ESConfig(learning_rate=0.02, shaping="pairwise_sign").resolved()
    assert (config.learning_rate, config.optimizer, config.shaping) == (0.02, "adam", "pairwise_sign")
    assert config.task_normalization is None


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"population": 7}, "population must be even"),
        ({"antithetic": False, "population": 9}, "even"),
        ({"strategy": "CMA_ES", "population": 1}, "population"),
        ({"strategy": "OpenES"}, "Open_ES"),
        ({"optimizer": "lbfgs"}, "lbfgs"),
        ({"shaping": "pairwise_sign", "antithetic": False}, "antithetic"),
        ({"shaping": "pairwise_sign", "task_normalization": "rank"}, "task_normalization"),
        ({"strategy": "ARS", "shaping": "z_score"}, "z_score"),
        ({"strategy": "RandomSearch", "task_normalization": "rank"}, "reference"),
        ({"sigma": float("nan")}, "sigma"),
        ({"learning_rate": -1.0}, "learning_rate"),
        ({"sigma_decay": 1.5}, "sigma_decay"),
        ({"sigma_floor": 0.1}, "without sigma_decay"),
        ({"sigma_decay": 0.9, "sigma_floor": 0.4}, "sigma_floor"),
        ({"learning_rate_decay": 0.9, "learning_rate_floor": 0.4}, "learning_rate_floor"),
        ({"mean_every": -1}, "mean_every"),
        ({"strategy": "SNES", "asynchronous": True}, "SNES"),
        ({"asynchronous": True, "population": 8, "in_flight": 12}, "in_flight"),
    ],
)
def test_bad_options_are_named(options, word):
    with pytest.raises(BadInput, match=word):
        ESConfig(**options)


def test_pairs():
    assert ESConfig(strategy="CMA_ES", population=7).population == 7  # odd where nothing is paired
    paired = {name for name in get_args(StrategyName) if ESConfig(strategy=name).pairs}
    assert set(get_args(StrategyName)) == set(STRATEGIES)
    assert paired == {"Open_ES", "PGPE", "ARS", "CR_FM_NES"}
    assert not ESConfig(antithetic=False).pairs


def test_the_list_of_optimizers_is_complete():
    """New optax optimizers must be added, or refused here with their reason."""
    refused = {
        "lbfgs",  # needs the loss as a function
        "noisy_sgd",  # needs a key
        "optimistic_adam",  # deprecated for optimistic_adam_v2
    }
    found = {
        name
        for name, value in vars(optax).items()
        if name.islower()
        and not name.startswith("_")
        and callable(value)
        and "learning_rate" in inspect.signature(value).parameters
        and not name.startswith("scale_by_")
    }
    assert found - refused == set(OPTIMIZERS)


def test_the_command_line_reads_it():
    arguments = "--strategy Open_ES --sigma-decay 0.98 --optimizer-options b1 0.99 --antithetic False"
    config = tyro.cli(ESConfig, args=arguments.split(), default=ESConfig(population=8))
    assert config == ESConfig(
        population=8, sigma_decay=0.98, optimizer_options={"b1": 0.99}, antithetic=False
    )
