"""Options of population-based evolution: what they mean when unset, what is refused, how they are written."""

import dataclasses
import inspect
import subprocess
import sys

import pytest

from discovery.app.commands.parsing import parse
from discovery.app.commands.search import DESCRIPTION, PROG, Search, switches
from discovery.core.config.evolution import ESConfig
from discovery.core.config.population import PBEConfig
from discovery.core.config.search import SearchConfig
from discovery.core.errors import BadInput
from discovery.core.toml import dumps, loads


def config(population=32, sigma=0.4, **options) -> ESConfig:
    return ESConfig(strategy="PBE", population=population, sigma=sigma, pbe=PBEConfig(**options))


def test_defaults():
    assert config().resolved().pbe == PBEConfig(
        order=0,
        parents=4,
        mutation="additive",
        self_referential=False,
        beta=((0.4 / 4) ** 2,),
        gene_sigmas=(),
        elitism=False,
    )
    assert config().resolved().task_normalization == "z_score"
    assert [config(population=p).resolved().pbe.parents for p in (2, 5, 64, 128)] == [1, 4, 8, 16]


def test_numbers_of_each_order_are_a_hundredth_of_those_below():
    additive = config(order=2).resolved().pbe
    assert additive.beta == pytest.approx((0.1**2, 0.001**2, 0.00001**2))
    assert additive.gene_sigmas == pytest.approx((0.001, 0.00001))
    multiplicative = config(order=2, mutation="multiplicative").resolved().pbe
    assert multiplicative.beta == pytest.approx((0.00001**2,))
    assert multiplicative.gene_sigmas == pytest.approx((0.1, 0.001))
    free = config(order=2, mutation="multiplicative", self_referential=True).resolved().pbe
    assert free.beta is None


def test_one_beta_is_that_of_all_orders():
    assert config(order=2, beta=(1e-4,)).resolved().pbe.beta == (1e-4, 1e-4, 1e-4)


@pytest.mark.parametrize("options", [{}, {"order": 3}, {"order": 2, "mutation": "multiplicative"}])
def test_resolving_twice_changes_nothing(options):
    resolved = config(**options).resolved()
    assert resolved.resolved() == resolved


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"order": -1}, "pbe.order must be between"),
        ({"parents": 0}, "pbe.parents must be at least 1"),
        ({"parents": 32}, "fewer than the population of 32"),
        ({"order": 1, "parents": 1}, "children of one parent all inherit the same steps"),
        ({"self_referential": True}, "pbe.self_referential needs pbe.order of at least 1"),
        ({"mutation": "multiplicative"}, "'multiplicative' needs pbe.order of at least 1"),
        ({"order": 2, "beta": (1e-4, 1e-4)}, "1 number, or 3 for x_0 to x_2, got 2"),
        ({"order": 2, "beta": (1e-4,) * 3, "mutation": "multiplicative"}, "must have 1 number, got 3"),
        (
            {"order": 1, "beta": (1e-4,), "mutation": "multiplicative", "self_referential": True},
            "no free noise; leave pbe.beta unset",
        ),
        ({"order": 2, "gene_sigmas": (0.1,)}, "2 at pbe.order 2, got 1"),
        ({"gene_sigmas": (0.1,)}, "0 at pbe.order 0, got 1"),
        ({"beta": (0.0,)}, "pbe.beta must have positive numbers, got 0.0"),
        ({"order": 1, "gene_sigmas": (float("nan"),)}, "pbe.gene_sigmas must have positive numbers"),
    ],
)
def test_bad_options_are_named(options, words):
    with pytest.raises(BadInput) as error:
        config(**options)
    assert words in str(error.value), str(error.value)


def test_one_parent_is_enough_where_nothing_is_inherited_but_x_0():
    assert config(parents=1).resolved().pbe.parents == 1


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"strategy": "SNES", "pbe": PBEConfig(order=0)}, "SNES would ignore pbe.order=0"),
        ({"pbe": PBEConfig(elitism=False)}, "Open_ES would ignore pbe.elitism=False"),
        ({"strategy": "PBE", "learning_rate": 0.1}, "PBE would ignore learning_rate=0.1"),
        ({"strategy": "PBE", "shaping": "none"}, "PBE would ignore shaping='none'"),
        (
            {"strategy": "PBE", "learning_rate": 0.1, "sigma_decay": 0.9},
            "PBE would ignore learning_rate=0.1, sigma_decay=0.9; leave them unset, or use one of Open_ES",
        ),
    ],
)
def test_options_without_effect_are_refused(options, words):
    with pytest.raises(BadInput, match=words):
        ESConfig(**options)


def test_antithetic_tasks_are_refused():
    with pytest.raises(BadInput, match="antithetic pairs, which PBE"):
        SearchConfig(meta=config(), antithetic_tasks=True)


def test_files_say_what_was_set_and_nothing_else():
    assert "pbe" not in dumps(SearchConfig())
    search = SearchConfig(meta=config(order=1, beta=(1e-2, 1e-6), elitism=True))
    text = dumps(search)
    assert "[meta.pbe]\norder = 1\n" in text and "gene_sigmas" not in text
    assert loads(text, "text") == search
    with pytest.raises(BadInput, match=r"did you mean meta\.pbe\.order"):
        loads(text.replace("order =", "oder ="), "text")


def parsed(line, meta) -> SearchConfig:
    preset = Search("preset", config=SearchConfig(meta=meta))
    return parse(Search, ["preset", *line.split()], PROG, DESCRIPTION, preset).config


def test_the_command_line_reads_it():
    line = "--meta.strategy PBE --meta.pbe.order 1 --meta.pbe.beta 1e-2 1e-6 --meta.pbe.self-referential True"
    meta = parsed(line, ESConfig()).meta
    assert meta == ESConfig(strategy="PBE", pbe=PBEConfig(order=1, beta=(1e-2, 1e-6), self_referential=True))
    assert parsed("--meta.pbe.beta None --meta.pbe.order 2", meta).meta.pbe == PBEConfig(
        order=2, self_referential=True
    )
    assert not {"elitism", "self-referential"} & switches()  # they take a value


@pytest.mark.parametrize(
    ("line", "word"),
    [
        ("--meta.pbe.order 1", "pbe.order=1"),
        ("--meta.strategy PBE --meta.sigma-decay 0.9", "sigma_decay=0.9"),
        ("--meta.strategy PBE --meta.pbe.beta x", "--meta.pbe.beta"),
        ("--meta.strategy PBE --meta.pbe.mutation add", "additive"),
        ("--meta.pbe.oder 1", "--meta.pbe.order"),
    ],
)
def test_bad_lines_name_what_is_wrong_or_nearest(line, word, capsys):
    with pytest.raises(SystemExit, match="2"):
        parsed(line, ESConfig())
    assert word in capsys.readouterr().err


def test_every_field_is_documented():
    source = inspect.getsource(PBEConfig)
    for field in dataclasses.fields(PBEConfig):
        declaration = source[source.index(f"    {field.name}: ") :]
        assert declaration.splitlines()[1].strip().startswith('"""'), field.name


def test_it_imports_no_jax():
    program = "import sys, discovery.core.config.population; sys.exit('jax' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
