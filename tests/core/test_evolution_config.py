"""Options: what is refused, and how it is said."""

import dataclasses
import inspect
import subprocess
import sys
from typing import get_args

import optax
import pytest
import tyro

from discovery.core.config.evolution import ESConfig
from discovery.core.config.generations import GenerationsConfig
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
@pytest.mark.parametrize("option", OPTIONS)
def test_an_option_is_used_or_refused(strategy, option):
    if option in STRATEGIES[strategy].options:
        ESConfig(strategy=strategy, **{option: OPTIONS[option]})
        return
    with pytest.raises(BadInput) as error:
        ESConfig(strategy=strategy, **{option: OPTIONS[option]})
    message = str(error.value)
    assert f"{strategy} would ignore {option}={OPTIONS[option]!r}" in message
    assert all(name in message for name, row in STRATEGIES.items() if option in row.options)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_resolving_sets_exactly_what_is_used(strategy):
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
    ("options", "words"),
    [
        ({"population": 7}, ["population must be even for Open_ES", "7", "8"]),
        ({"strategy": "CR_FM_NES", "population": 9}, ["even for CR_FM_NES"]),
        ({"antithetic": False, "population": 9}, ["even"]),
        ({"strategy": "CMA_ES", "population": 1}, ["at least 2"]),
        ({"strategy": "OpenES"}, ["OpenES", "Open_ES"]),
        ({"optimizer": "adm"}, ["adm", "adam"]),
        ({"optimizer": "lbfgs"}, ["lbfgs"]),
        ({"shaping": "pairwise_sign", "antithetic": False}, ["pairs", "antithetic"]),
        ({"shaping": "pairwise_sign", "task_normalization": "rank"}, ["ignore task_normalization='rank'"]),
        ({"strategy": "ARS", "shaping": "pairwise_sign"}, ["'pairwise_sign'", "ARS", "centered_rank"]),
        ({"strategy": "ARS", "shaping": "z_score"}, ["'z_score'", "ARS"]),
        ({"strategy": "SNES", "shaping": "pairwise_sign"}, ["SNES", "Open_ES"]),
        ({"strategy": "RandomSearch", "task_normalization": "rank"}, ["RandomSearch", "reference"]),
        ({"shaping": "ranks"}, ["'ranks'", "centered_rank"]),
        ({"sigma": 0.0}, ["sigma must be positive"]),
        ({"sigma": float("nan")}, ["sigma must be positive"]),
        ({"learning_rate": -1.0}, ["learning_rate must be positive"]),
        ({"sigma_decay": 1.5}, ["sigma_decay", "(0, 1]"]),
        ({"sigma_floor": 0.1}, ["no effect without sigma_decay"]),
        ({"sigma_decay": 0.9, "sigma_floor": 0.4}, ["sigma_floor", "0.3"]),
        ({"learning_rate_decay": 0.9, "learning_rate_floor": 0.4}, ["learning_rate_floor", "0.1"]),
        ({"mean_every": -1}, ["mean_every"]),
    ],
)
def test_bad_options_are_named(options, words):
    with pytest.raises(BadInput) as error:
        ESConfig(**options)
    assert all(word in str(error.value) for word in words), str(error.value)


def test_odd_populations_where_nothing_is_paired():
    assert ESConfig(strategy="CMA_ES", population=7).population == 7


def test_pairs():
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


def test_every_field_is_documented():
    source = inspect.getsource(ESConfig) + inspect.getsource(GenerationsConfig)
    for field in dataclasses.fields(ESConfig):
        declaration = source[source.index(f"    {field.name}: ") :]
        assert declaration.splitlines()[1].strip().startswith('"""'), field.name


def test_it_imports_no_jax():
    program = "import sys, discovery.core.config.evolution; sys.exit('jax' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"strategy": "SNES", "asynchronous": True}, ["SNES", "Open_ES", "pbe"]),
        ({"asynchronous": True, "in_flight": 12}, ["in_flight", "population, 8", "12"]),
        ({"asynchronous": True, "in_flight": 0}, ["in_flight", "0"]),
    ],
    ids=str,
)
def test_what_cannot_be_asynchronous_is_refused(options, words):
    with pytest.raises(BadInput) as refused:
        ESConfig(population=8, **options)
    assert all(word in str(refused.value) for word in words)
