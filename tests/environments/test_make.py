"""Names and errors of `environments.make`, and what the package imports."""

import importlib
import subprocess
import sys

import gymnax
import jax
import pytest
from gymnax import registration
from gymnax.environments import spaces
from gymnax.environments.classic_control.cartpole import CartPole

import environments
from environments.make import DOWNLOADS_DATA, _make, make, registered
from environments.task import Setup, Task


def test_supports_every_environment_but_those_that_download():
    assert set(registered()) == set(gymnax.registered_envs) - set(DOWNLOADS_DATA)
    assert "CartPole-v1" in registered()
    assert "MNISTBandit-bsuite" not in registered()


def test_a_second_make_compiles_nothing():
    """The very functions are the same, so jax finds what it compiled for them."""
    reset = jax.jit(make("CartPole-v1").reset)
    reset(jax.random.key(0), ())
    again = jax.jit(Task(setup=Setup("CartPole-v1")).environment().reset)
    again(jax.random.key(1), ())
    assert again._cache_size() == 1  # pyright: ignore[reportAttributeAccessIssue]


def test_first_made_while_tracing():
    """Its constants are real arrays, not tracers of the function it was first made in."""
    _make.cache_clear()
    jax.jit(lambda key: make("DeepSea-bsuite").reset(key, ())[1])(jax.random.key(0))
    _, observation = make("DeepSea-bsuite").reset(jax.random.key(0), ())
    assert observation.sum() == 1


@pytest.mark.parametrize(
    ("id", "nearest"),
    [
        ("CartPole-v0", "CartPole-v1"),
        ("breakout", "Breakout-MinAtar"),
        ("pendulum-V1", "Pendulum-v1"),
        ("", "-"),
    ],
)
def test_an_unknown_id_names_the_nearest(id, nearest):
    with pytest.raises(ValueError, match=nearest) as info:
        make(id)
    assert repr(id) in str(info.value)
    assert "\n" not in str(info.value)


def test_an_environment_that_downloads_is_refused():
    with pytest.raises(ValueError, match="it downloads data"):
        make("MNISTBandit-bsuite")


def test_the_users_own(fake):
    assert make("tests.environments.fake:make") is fake
    assert fake.id == "tests.environments.fake:make"


@pytest.mark.parametrize(
    ("id", "message"),
    [
        ("no_such_package.module:make", "cannot import module 'no_such_package.module'"),
        (":make", "cannot import module ''"),
        ("tests.environments.fake:mak", "has no function 'mak'; nearest: make"),
        ("tests.environments.fake:", "has no function ''"),
        ("tests.environments.fake:HORIZON", "has no function 'HORIZON'"),
        ("tests.environments.fake:not_an_environment", "must return an .*Environment, got str"),
    ],
)
def test_the_users_own_explains_what_is_wrong(fake, monkeypatch, request, id, message):
    monkeypatch.syspath_prepend(request.config.rootpath)
    with pytest.raises(ValueError, match=message):
        make(id)


def test_all_is_there():
    assert environments.__distribution__ == "rl-discovery"
    for name in environments.__all__:
        assert getattr(environments, name) is not None
    assert environments.Environment is importlib.import_module("environments.base").Environment
    with pytest.raises(AttributeError, match="no_such_name"):
        environments.no_such_name  # noqa: B018


def test_configuration_imports_no_jax():
    code = (
        "import sys, environments, environments.make, environments.task;"
        "environments.task.Task();"
        "print([name for name in ('jax', 'gymnax', 'jaxtyping', 'numpy') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_an_id_registered_with_gymnax_by_the_user(monkeypatch):
    """`gymnax.register` is enough; kinds of spaces that no network of ours reads are refused."""

    class Pairs(CartPole):
        def observation_space(self, params):
            return spaces.Tuple((spaces.Discrete(2), spaces.Discrete(2)))

    monkeypatch.setitem(registration._registry, "Pairs", Pairs)
    monkeypatch.setitem(registration._registry, "Poles", CartPole)
    monkeypatch.setattr(gymnax, "registered_envs", [*gymnax.registered_envs, "Pairs", "Poles"])
    assert make("Poles").observation_size == 4
    with pytest.raises(ValueError, match=r"'Pairs' has observation space Tuple.*are Discrete and Box"):
        make("Pairs")
