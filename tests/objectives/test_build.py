"""Algorithms by name: which names and options are refused, and what is said of the user's own functions."""

import subprocess
import sys

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

def needy(width):
    return ppo()

def formless():
    return ppo()._replace(init=lambda key: key.nothing)

def numberless():
    return ppo()._replace(defaults=(("gamma", "high"),))
"""


@pytest.fixture
def own(tmp_path_factory, monkeypatch):
    folder = tmp_path_factory.mktemp("own")
    (folder / "own_algorithms.py").write_text(OWN)
    (folder / "broken_algorithms.py").write_text("1 / 0\n")
    monkeypatch.syspath_prepend(folder)
    yield
    sys.modules.pop("own_algorithms", None)


@pytest.mark.parametrize(
    ("name", "options", "says"),
    [
        ("lpo", {"widht": 3}, "'widht'.*width"),
        ("random", {"widht": 3}, "none"),
        ("lpo", {"width": "abc"}, "'width' .*'abc'"),
        ("lpo", {"width": 4.5}, "'width' .*4.5"),
        ("lpo", {"width": True}, "'width' .*True"),
        ("lpo", {"anchored": 1}, "'anchored' .*1"),
        ("lpo", {"activation": "sigmoid"}, "'sigmoid'"),
        ("lpo", {"width": 0}, "width=0"),
        ("lpo", {"xi": 0.0}, "xi=0"),
        ("lpo", {"log_ratio_clip": 0.0}, "log_ratio_clip=0"),
        ("ppo", {"optimizer": "sdg"}, "'sdg'"),
        ("disco", {"units": 0}, "600, 0"),
        ("disco", {"bins": 1}, "and 1$"),
        ("disco", {"optimizer": "sgd"}, "'sgd'"),
        ("lpg", {"recurrence": "rnn"}, "'rnn'"),
        ("lpg", {"initial": "ones"}, "'ones'"),
        ("lpg", {"optimizer": "rmsprop"}, "'rmsprop'"),
        ("lpg", {"width": 0}, "width=0"),
        ("lpg", {"raw_time": True}, "temporal"),
        ("ampo", {"map": "entropy"}, "'entropy'"),
        ("ampo", {"units": 0}, "got 0$"),
        ("ampo", {"units": 100}, "got 100$"),
        ("ampo", {"map": "l2", "temporal": True}, "temporal"),
        ("ampo", {"map": "l2", "normalized": True}, "normalized"),
        ("open", {"gru_width": -1}, "gru_width=-1"),
        ("open", {"width": 0}, "width=0"),
        ("open", {"features": "gradient,layers"}, "'gradient,layers'"),
        ("open", {"features": "raw,layer"}, "'raw,layer'"),
        ("open", {"start": "adam"}, "'adam'"),
        ("optim4rl", {"width": 0}, "got 0"),
        ("optim4rl", {"start": "one"}, "'one'"),
        ("lodo", {"layers": 0}, "layers=0"),
        ("lodo", {"block": 0}, "block=0"),
    ],
)
def test_options_that_make_no_sense_are_refused(name, options, says):
    with pytest.raises(ValueError, match=says):
        build(name, options)


@pytest.mark.parametrize(("name", "says"), [("ppoo", "mean ppo"), ("xyzzy", "a2c")])
def test_unknown_algorithms_are_refused_with_the_nearest_names(name, says):
    with pytest.raises(ValueError, match=f"{name}.*{says}"):
        build(name)


def test_a_place_is_the_family_that_it_holds():
    assert factory("objectives.known:ppo") is factory("ppo")


@pytest.mark.parametrize("name", ["ampo", "disco", "pqn"])
def test_continuous_actions_are_refused_where_each_action_has_a_number(name):
    with pytest.raises(ValueError, match="discrete actions"):
        build(name).policy.heads(2, True)


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
def test_the_command_line_blames_the_function(name, says, own, capfd):
    """Bad input, in one line, with nothing printed before."""
    code = main(["objectives", name])
    out, err = capfd.readouterr()
    assert (code, out) == (2, "")
    assert name in err and says in err and err.count("\n") == 1


def test_names_import_no_jax():
    code = "import sys, objectives; print([name for name in ('jax', 'numpy') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
