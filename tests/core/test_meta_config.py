"""Options of the methods that search: what they mean when unset, what is refused, how they are written."""

from typing import get_args

import pytest

from discovery.app.commands.parsing import parse
from discovery.app.commands.search import DESCRIPTION, PROG, Search, switches
from discovery.core.config.evolution import ESConfig
from discovery.core.config.population import PBEConfig
from discovery.core.config.search import SearchConfig
from discovery.core.config.strategies import STRATEGIES, StrategyName
from discovery.core.errors import BadInput
from discovery.core.toml import dumps, loads

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


def test_pairs():
    assert ESConfig(strategy="CMA_ES", population=7).population == 7  # odd where nothing is paired
    paired = {name for name in get_args(StrategyName) if ESConfig(strategy=name).pairs}
    assert set(get_args(StrategyName)) == set(STRATEGIES)
    assert paired == {"Open_ES", "PGPE", "ARS", "CR_FM_NES"}
    assert not ESConfig(antithetic=False).pairs


def test_numbers_of_each_order_are_a_hundredth_of_those_below():
    def resolved(**options):
        return PBEConfig(sigma=0.4, **options).resolved()

    additive = resolved(order=2)
    assert additive.beta == pytest.approx((0.1**2, 0.001**2, 0.00001**2))
    assert additive.gene_sigmas == pytest.approx((0.001, 0.00001))
    multiplicative = resolved(order=2, mutation="multiplicative")
    assert multiplicative.beta == pytest.approx((0.00001**2,))
    assert multiplicative.gene_sigmas == pytest.approx((0.1, 0.001))
    assert resolved(order=2, mutation="multiplicative", self_referential=True).beta is None
    assert resolved(order=2, beta=(1e-4,)).beta == (1e-4, 1e-4, 1e-4)
    assert [resolved(population=p).parents for p in (2, 5, 64, 128)] == [1, 4, 8, 16]


@pytest.mark.parametrize(
    ("method", "options", "word"),
    [
        (ESConfig, {"population": 7}, "population must be even"),
        (ESConfig, {"antithetic": False, "population": 9}, "even"),
        (ESConfig, {"strategy": "CMA_ES", "population": 1}, "population"),
        (ESConfig, {"strategy": "OpenES"}, "Open_ES"),
        (ESConfig, {"optimizer": "lbfgs"}, "lbfgs"),
        (ESConfig, {"shaping": "pairwise_sign", "antithetic": False}, "antithetic"),
        (ESConfig, {"shaping": "pairwise_sign", "task_normalization": "rank"}, "task_normalization"),
        (ESConfig, {"strategy": "ARS", "shaping": "z_score"}, "z_score"),
        (ESConfig, {"strategy": "RandomSearch", "task_normalization": "rank"}, "reference"),
        (ESConfig, {"sigma": float("nan")}, "sigma"),
        (ESConfig, {"sigma_decay": 1.5}, "sigma_decay"),
        (ESConfig, {"sigma_floor": 0.1}, "without sigma_decay"),
        (ESConfig, {"sigma_decay": 0.9, "sigma_floor": 0.4}, "sigma_floor"),
        (ESConfig, {"answer_every": -1}, "answer_every"),
        (ESConfig, {"strategy": "SNES", "asynchronous": True}, "SNES"),
        (ESConfig, {"asynchronous": True, "population": 8, "in_flight": 12}, "in_flight"),
        (PBEConfig, {"order": -1}, "order"),
        (PBEConfig, {"parents": 32}, "parents"),
        (PBEConfig, {"order": 1, "parents": 1}, "parent"),
        (PBEConfig, {"self_referential": True}, "self_referential"),
        (PBEConfig, {"mutation": "multiplicative"}, "multiplicative"),
        (PBEConfig, {"order": 2, "beta": (1e-4, 1e-4)}, "3"),
        (PBEConfig, {"order": 2, "beta": (1e-4,) * 3, "mutation": "multiplicative"}, "1 number"),
        (
            PBEConfig,
            {"order": 1, "beta": (1e-4,), "mutation": "multiplicative", "self_referential": True},
            "beta",
        ),
        (PBEConfig, {"order": 2, "gene_sigmas": (0.1,)}, "gene_sigmas"),
        (PBEConfig, {"beta": (0.0,)}, "beta"),
        (PBEConfig, {"batch": 2}, "asynchronous"),
        (PBEConfig, {"asynchronous": True, "batch": 3}, "batch"),
        (PBEConfig, {"asynchronous": True, "batch": 4, "in_flight": 6}, "in_flight"),
    ],
)
def test_bad_options_are_named(method, options, word):
    with pytest.raises(BadInput, match=word):
        method(**options)


def test_files_say_what_was_set_and_nothing_else():
    search = SearchConfig(meta=PBEConfig(order=1, beta=(1e-2, 1e-6), elitism=True))
    text = dumps(search)
    assert 'method = "pbe"\n' in text and "gene_sigmas" not in text and loads(text, "text") == search
    with pytest.raises(BadInput, match=r"did you mean meta\.order"):
        loads(text.replace("order =", "oder ="), "text")


def test_files_of_older_runs_are_read():
    old = """
    [meta]
    strategy = "PBE"
    population = 8
    asynchronous = true
    brood = 2
    mean_every = 3
    pbe = { order = 1, parents = 2 }
    """
    meta = PBEConfig(population=8, asynchronous=True, batch=2, answer_every=3, order=1, parents=2)
    assert loads(old, "text").meta == meta


def parsed(line, meta):
    preset = Search("preset", config=SearchConfig(meta=meta))
    return parse(Search, ["preset", *line.split()], PROG, DESCRIPTION, preset).config.meta


def test_the_command_line_reads_them():
    line = "--meta.sigma-decay 0.98 --meta.optimizer-options b1=0.99 --meta.antithetic False"
    strategy = ESConfig(population=8, sigma_decay=0.98, optimizer_options={"b1": 0.99}, antithetic=False)
    assert parsed(line, ESConfig(population=8)) == strategy
    line = "--meta.order 1 --meta.beta 1e-2 1e-6 --meta.self-referential True"
    meta = parsed(line, PBEConfig())
    assert meta == PBEConfig(order=1, beta=(1e-2, 1e-6), self_referential=True)
    assert parsed("--meta.beta None --meta.order 2", meta) == PBEConfig(order=2, self_referential=True)
    assert not {"elitism", "self-referential"} & switches()  # they take a value


@pytest.mark.parametrize(
    ("line", "meta", "word"),
    [
        ("--meta.order 1", ESConfig(), "--meta.order"),
        ("--meta.sigma-decay 0.9", PBEConfig(), "--meta.sigma-decay"),
        ("--meta.beta x", PBEConfig(), "--meta.beta"),
        ("--meta.oder 1", PBEConfig(), "--meta.order"),
    ],
)
def test_bad_lines_name_what_is_wrong_or_nearest(line, meta, word, capsys):
    with pytest.raises(SystemExit, match="2"):
        parsed(line, meta)
    assert word in capsys.readouterr().err
