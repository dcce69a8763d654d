"""Algorithms by name: what is said of functions of the user's own that are not what they should be."""

import subprocess
import sys
import textwrap

import pytest

from discovery.app.command_line import main
from objectives import build, factory

OWN = """
from objectives import build
from objectives.known import ppo

def three():
    return 3

def worse(width=8):
    raise KeyError("width")

def stubborn():
    raise ValueError("I would rather not")

def needy(width):
    return ppo()

def formless():
    return ppo()._replace(init=lambda key: key.nothing)

def numberless():
    return ppo()._replace(defaults=(("gamma", "high"),))

def fine():
    "A fine one."
    return ppo()
"""


@pytest.fixture(autouse=True)
def own(tmp_path_factory, monkeypatch):
    folder = tmp_path_factory.mktemp("own")
    (folder / "own_algorithms.py").write_text(textwrap.dedent(OWN))
    (folder / "broken_algorithms.py").write_text("1 / 0\n")
    monkeypatch.syspath_prepend(folder)
    yield
    sys.modules.pop("own_algorithms", None)


def test_something_else_than_an_algorithm():
    message = "algorithm 'own_algorithms:three' must return an objectives.base.Algorithm, got int"
    with pytest.raises(ValueError, match=rf"^{message}$"):
        build("own_algorithms:three")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"width": "abc"}, "option 'width' of algorithm 'lpo' must be a whole number, got 'abc'"),
        ({"width": 4.5}, "option 'width' of algorithm 'lpo' must be a whole number, got 4.5"),
        ({"width": True}, "option 'width' of algorithm 'lpo' must be a whole number, got True"),
        ({"anchored": 1}, "option 'anchored' of algorithm 'lpo' must be true or false, got 1"),
    ],
)
def test_options_of_another_type(options, message):
    with pytest.raises(ValueError, match=rf"^{message}$"):
        build("lpo", options)


def test_a_module_that_is_not_there():
    with pytest.raises(
        ValueError, match=r"No module named 'nowhere'; it must be installed, or lie on PYTHON"
    ):
        factory("nowhere:make")
    with pytest.raises(ValueError, match=r"has no attribute 'thre'$"):
        factory("own_algorithms:thre")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("own_algorithms:three", "must return an objectives.base.Algorithm, got int"),
        ("own_algorithms:worse", "raises KeyError: 'width'"),
        ("own_algorithms:stubborn", "raises ValueError: I would rather not"),
        ("own_algorithms:needy", "raises TypeError: needy() missing 1 required positional argument: 'width'"),
        ("own_algorithms:formless", "raises AttributeError: "),
        ("own_algorithms:numberless", "raises ValueError: could not convert string to float: 'high'"),
        ("own_algorithms:OWN", "cannot be imported: module 'own_algorithms' has no attribute 'OWN'"),
        ("broken_algorithms:make", "raises ZeroDivisionError: division by zero"),
        ("nowhere:make", "cannot be imported: No module named 'nowhere'; it must be installed, or lie on"),
    ],
)
def test_the_command_line_blames_the_function(name, message, capfd):
    """Bad input, in one line, with nothing printed before."""
    code = main(["objectives", name])
    out, err = capfd.readouterr()
    assert (code, out) == (2, "")
    assert err.startswith(f"error: algorithm {name!r} {message}") and err.count("\n") == 1


def test_the_command_line_describes_the_users_own(capfd):
    assert main(["objectives", "own_algorithms:fine"]) == 0
    out = capfd.readouterr().out
    assert out.startswith("own_algorithms:fine: A fine one.\n\nOptions") and out.endswith(
        "Searched: nothing\nCompare with: ppo, dpo\n"
    )


def test_what_may_be_left_out_is_in_brackets(capfd):
    for verb, name in (("presets", "PRESET"), ("envs", "ID"), ("objectives", "NAME")):
        assert main([verb, "--help"]) == 0
        assert f"usage: discovery {verb} [-h] [{name}]" in capfd.readouterr().out


def test_names_import_no_jax():
    code = "import sys, objectives; print([name for name in ('jax', 'numpy') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
