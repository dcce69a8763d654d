"""Options of population-based evolution: what they mean when unset, what is refused, how they are written."""

import dataclasses
import inspect

import pytest

from discovery.app.commands.parsing import parse
from discovery.app.commands.search import DESCRIPTION, PROG, Search, switches
from discovery.core.config.evolution import ESConfig
from discovery.core.config.generations import GenerationsConfig
from discovery.core.config.population import PBEConfig
from discovery.core.config.search import SearchConfig
from discovery.core.errors import BadInput
from discovery.core.toml import dumps, loads


def config(sigma=0.4, **options) -> PBEConfig:
    return PBEConfig(sigma=sigma, **options)


def test_defaults():
    assert config().resolved() == PBEConfig(
        sigma=0.4,
        order=0,
        parents=4,
        mutation="additive",
        self_referential=False,
        beta=((0.4 / 4) ** 2,),
        gene_sigmas=(),
        elitism=False,
        task_normalization="z_score",
    )
    assert [config(population=p).resolved().parents for p in (2, 5, 64, 128)] == [1, 4, 8, 16]
    assert config(parents=1).resolved().parents == 1


def test_numbers_of_each_order_are_a_hundredth_of_those_below():
    additive = config(order=2).resolved()
    assert additive.beta == pytest.approx((0.1**2, 0.001**2, 0.00001**2))
    assert additive.gene_sigmas == pytest.approx((0.001, 0.00001))
    multiplicative = config(order=2, mutation="multiplicative").resolved()
    assert multiplicative.beta == pytest.approx((0.00001**2,))
    assert multiplicative.gene_sigmas == pytest.approx((0.1, 0.001))
    free = config(order=2, mutation="multiplicative", self_referential=True).resolved()
    assert free.beta is None


def test_one_beta_is_that_of_all_orders():
    assert config(order=2, beta=(1e-4,)).resolved().beta == (1e-4, 1e-4, 1e-4)


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"order": -1}, "order"),
        ({"parents": 32}, "parents"),
        ({"order": 1, "parents": 1}, "parent"),
        ({"self_referential": True}, "self_referential"),
        ({"mutation": "multiplicative"}, "multiplicative"),
        ({"order": 2, "beta": (1e-4, 1e-4)}, "3"),
        ({"order": 2, "beta": (1e-4,) * 3, "mutation": "multiplicative"}, "1 number"),
        ({"order": 1, "beta": (1e-4,), "mutation": "multiplicative", "self_referential": True}, "beta"),
        ({"order": 2, "gene_sigmas": (0.1,)}, "gene_sigmas"),
        ({"beta": (0.0,)}, "beta"),
        ({"order": 1, "gene_sigmas": (float("nan"),)}, "gene_sigmas"),
        ({"batch": 2}, "asynchronous"),
        ({"asynchronous": True, "batch": 3}, "batch"),
        ({"asynchronous": True, "batch": 4, "in_flight": 6}, "in_flight"),
    ],
)
def test_bad_options_are_named(options, word):
    with pytest.raises(BadInput, match=word):
        config(**options)


def test_files_say_what_was_set_and_nothing_else():
    search = SearchConfig(meta=PBEConfig(order=1, beta=(1e-2, 1e-6), elitism=True))
    text = dumps(search)
    assert 'method = "pbe"\n' in text and "order = 1\n" in text and "gene_sigmas" not in text
    assert loads(text, "text") == search
    with pytest.raises(BadInput, match=r"did you mean meta\.order"):
        loads(text.replace("order =", "oder ="), "text")


def test_files_of_older_runs_are_read():
    old = """
    [meta]
    strategy = "PBE"
    population = 8
    asynchronous = true
    brood = 2
    pbe = { order = 1, parents = 2 }
    """
    meta = PBEConfig(population=8, asynchronous=True, batch=2, order=1, parents=2)
    assert loads(old, "text").meta == meta


def parsed(line, meta) -> SearchConfig:
    preset = Search("preset", config=SearchConfig(meta=meta))
    return parse(Search, ["preset", *line.split()], PROG, DESCRIPTION, preset).config


def test_the_command_line_reads_it():
    line = "--meta.order 1 --meta.beta 1e-2 1e-6 --meta.self-referential True"
    meta = parsed(line, PBEConfig()).meta
    assert meta == PBEConfig(order=1, beta=(1e-2, 1e-6), self_referential=True)
    assert parsed("--meta.beta None --meta.order 2", meta).meta == PBEConfig(order=2, self_referential=True)
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


@pytest.mark.parametrize("method", [ESConfig, PBEConfig])
def test_every_field_is_documented(method):
    source = inspect.getsource(method) + inspect.getsource(GenerationsConfig)
    for field in dataclasses.fields(method):
        declaration = source[source.index(f"    {field.name}: ") :]
        assert declaration.splitlines()[1].strip().startswith('"""'), field.name
