"""Algorithms by name: what is said of functions of the user's own that are not what they should be."""

import subprocess
import sys
import textwrap

import pytest

from discovery.app.command_line import main
from objectives import build

OWN = """
from objectives import build
from objectives.known import ppo

def three():
    return 3

def worse(width=8):
    raise KeyError("width")

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


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"width": "abc"}, "'width' .*'abc'"),
        ({"width": 4.5}, "'width' .*4.5"),
        ({"width": True}, "'width' .*True"),
        ({"anchored": 1}, "'anchored' .*1"),
    ],
)
def test_options_of_another_type_are_refused(options, says):
    with pytest.raises(ValueError, match=says):
        build("lpo", options)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("own_algorithms:three", "got int"),
        ("own_algorithms:worse", "KeyError: 'width'"),
        ("own_algorithms:needy", "'width'"),
        ("own_algorithms:formless", "AttributeError"),
        ("own_algorithms:numberless", "'high'"),
        ("own_algorithms:thre", "'thre'"),
        ("broken_algorithms:make", "ZeroDivisionError"),
        ("nowhere:make", "'nowhere'"),
    ],
)
def test_the_command_line_blames_the_function(name, says, capfd):
    """Bad input, in one line, with nothing printed before."""
    code = main(["objectives", name])
    out, err = capfd.readouterr()
    assert (code, out) == (2, "")
    assert name in err and says in err and err.count("\n") == 1


def test_the_command_line_describes_the_users_own(capfd):
    assert main(["objectives", "own_algorithms:fine"]) == 0
    assert "A fine one." in capfd.readouterr().out


def test_names_import_no_jax():
    code = "import sys, objectives; print([name for name in ('jax', 'numpy') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
