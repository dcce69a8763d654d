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
from environments.make import DOWNLOADS_DATA, FAMILIES, _make, make, registered
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


@pytest.mark.parametrize(("id", "nearest"), [("breakout", "Breakout-MinAtar"), ("", "-")])
def test_an_unknown_id_names_the_nearest(id, nearest):
    with pytest.raises(ValueError, match=nearest) as info:
        make(id)
    assert repr(id) in str(info.value)
    assert "\n" not in str(info.value)


def test_an_environment_that_downloads_is_refused():
    with pytest.raises(ValueError, match="download"):
        make("MNISTBandit-bsuite")


@pytest.mark.parametrize(
    ("id", "message"),
    [
        ("no_such_package.module:make", "'no_such_package.module'"),
        (":make", "module ''"),
        ("tests.environments.fake:mak", "'mak'; nearest: make"),
        ("tests.environments.fake:", "function ''"),
        ("tests.environments.fake:HORIZON", "'HORIZON'"),
        ("tests.environments.fake:not_an_environment", "got str"),
    ],
)
def test_the_users_own_explains_what_is_wrong(fake, monkeypatch, request, id, message):
    monkeypatch.syspath_prepend(request.config.rootpath)
    with pytest.raises(ValueError, match=message):
        make(id)


OWN = """
import jax, jax.numpy as jnp
from environments.base import Environment, Step
from tests.environments.fake import make

REAL = make()

def stepping(**fields):
    def step(key, state, action, level):
        state, step = REAL.step(key, state, action, level)
        return state, step._replace(**fields)
    return REAL._replace(step=step)

def right(): return REAL
def driving():
    def step(key, state, action, level):
        return REAL.step(key, state, action[0].astype(int) + action[1].astype(int), level)
    return REAL._replace(step=step, continuous=True)
def raising(): raise KeyError("maze")
def no_level(): return REAL._replace(sample_level=lambda key: level)
def lonely(): return REAL._replace(reset=lambda key, level: jnp.zeros(2))
def wide(): return REAL._replace(observation_size=7)
def deaf(): return REAL._replace(step=lambda key, state: state)
def tupled(): return REAL._replace(step=lambda *x: (REAL.step(*x)[0], tuple(REAL.step(*x)[1])))
def whole(): return stepping(observation=jnp.zeros(2, int))
def narrow(): return stepping(final_observation=jnp.zeros(1))
def counted(): return stepping(reward=jnp.int32(1))
def vague(): return stepping(terminated=jnp.float32(0))
def several(): return stepping(truncated=jnp.zeros(1, bool))
def drifting(): return REAL._replace(step=lambda k, s, a, l: (s + 0.5, REAL.step(k, s, a, l)[1]))
def growing(): return REAL._replace(step=lambda k, s, a, l: ((s, s), REAL.step(k, s, a, l)[1]))
def eager(): return REAL._replace(step=lambda k, s, a, l: 1 / 0 if a > 0 else REAL.step(k, s, a, l))
"""


@pytest.fixture(scope="module")
def own(tmp_path_factory, request):
    """A module of the user's own environments, all but two of which are wrong."""
    folder = tmp_path_factory.mktemp("own")
    (folder / "own_worlds.py").write_text(OWN)
    (folder / "broken_worlds.py").write_text("1 / 0\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(request.config.rootpath)
        patch.syspath_prepend(folder)
        yield


def test_the_users_own_is_tried(own):
    assert make("own_worlds:right").observation_size == 2
    assert make("own_worlds:driving").continuous


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("raising", "KeyError: 'maze'"),
        ("no_level", "sample_level raises NameError"),
        ("lonely", "reset must return"),
        ("wide", "observation of reset is float32[2]"),
        ("deaf", "step raises TypeError"),
        ("tupled", "step must return"),
        ("whole", "observation of step is int32[2]"),
        ("narrow", "final_observation of step is float32[1]"),
        ("counted", "reward of step is int32[]"),
        ("vague", "terminated of step is float32[]"),
        ("several", "truncated of step is bool[1]"),
        ("drifting", "state that step returns is float32[]"),
        ("growing", "state that step returns is (int32[], int32[])"),
        ("eager", "step raises TracerBoolConversionError"),
    ],
)
def test_the_users_own_must_keep_to_the_contract(own, name, message):
    with pytest.raises(ValueError) as info:
        make(f"own_worlds:{name}")
    assert f"own_worlds:{name}" in str(info.value) and message in str(info.value)
    assert "\n" not in str(info.value) and len(str(info.value)) < 400


def test_a_module_of_the_users_that_raises(own):
    with pytest.raises(ValueError, match="ZeroDivisionError"):
        make("broken_worlds:make")


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
    with pytest.raises(ValueError, match=r"'Pairs' .*Tuple"):
        make("Pairs")


def test_physics_that_vary():
    """Each level has its own; what does not vary stays what gymnax says."""
    plain, varied = make("CartPole-v1"), make("CartPole-v1", vary={"gravity": (0.0, 20.0)})
    assert varied is make("CartPole-v1", {}, {"gravity": (0.0, 20.0)}) and varied is not plain
    assert plain.sample_level(jax.random.key(0)) == ()
    drawn = [float(varied.sample_level(jax.random.key(seed))["gravity"]) for seed in range(50)]
    assert 0.0 <= min(drawn) < 4.0 and 16.0 < max(drawn) <= 20.0

    def fallen(environment, level):
        state, _ = environment.reset(jax.random.key(0), level)
        for index in range(20):
            state, step = environment.step(jax.random.key(index), state, jax.numpy.int32(0), level)
        return step.observation

    level = varied.sample_level(jax.random.key(0))
    same = fallen(varied, {"gravity": jax.numpy.float32(9.8)})
    assert (same == fallen(plain, ())).all()
    assert (same != fallen(varied, {"gravity": level["gravity"]})).any()


@pytest.mark.parametrize(
    ("id", "options", "vary", "message"),
    [
        ("CartPole-v1", {"backend": "x"}, {}, "backend"),
        ("CartPole-v1", {}, {"max_steps_in_episode": (1.0, 2.0)}, "'max_steps_in_episode'"),
        ("CartPole-v1", {}, {"total_mass": (1.0, 2.0)}, "'total_mass'"),  # which follows from others
        ("Catch-bsuite", {}, {"gravity": (1.0, 2.0)}, "none"),
        ("gird/all", {}, {}, "'gird'"),
        ("grid/all", {"noise": True}, {}, "tabular, random_places"),
        ("grid/all", {}, {"gravity": (1.0, 2.0)}, "levels"),
        ("chain/longest", {}, {}, "'chain/longest'"),
    ],
)
def test_options_and_parameters_that_do_not_exist(id, options, vary, message):
    with pytest.raises(ValueError, match=message):
        make(id, options, vary)


def test_a_library_that_is_not_installed_is_named_with_its_extra(monkeypatch):
    family = FAMILIES["brax"]._replace(requires="no_such_library")
    monkeypatch.setitem(FAMILIES, "brax", family)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"pip install 'rl-discovery\[brax\]'"):
        make("brax/hopper")


def test_own_environments_take_options(fake):
    with pytest.raises(ValueError, match="'size'"):
        make(fake.id, {"size": 3})
    with pytest.raises(ValueError, match="fake"):
        make(fake.id, {}, {"gravity": (1.0, 2.0)})
