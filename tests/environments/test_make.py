"""From an id to an environment, users' own included: what is found, what is refused, what is imported."""

import importlib.util
import subprocess
import sys

import jax
import jax.numpy as jnp
import pytest

from environments.make import FAMILIES, _make, make
from tests.environments import fake

FAKE = "tests.environments.fake"
REAL = fake.make()


def test_the_order_of_options_makes_no_other_environment():
    options = {"tabular": False, "random_places": True}
    assert make("grid/small", options) is make("grid/small", dict(reversed(options.items())))


def test_first_made_while_tracing():
    """Its constants are real arrays, not tracers of the function it was first made in."""
    _make.cache_clear()
    jax.jit(lambda key: make("DeepSea-bsuite").reset(key, ())[1])(jax.random.key(0))
    _, observation = make("DeepSea-bsuite").reset(jax.random.key(0), ())
    assert observation.sum() == 1


VARY = {"gravity": (1.0, 2.0)}


@pytest.mark.parametrize(
    ("id", "options", "vary", "word"),
    [
        ("breakout", {}, {}, "'breakout'.*Breakout-MinAtar"),
        ("", {}, {}, "''"),
        ("MNISTBandit-bsuite", {}, {}, "download"),
        ("CartPole-v1", {"backend": "x"}, {}, "backend"),
        ("CartPole-v1", {}, {"max_steps_in_episode": (1.0, 2.0)}, "'max_steps_in_episode'"),
        ("CartPole-v1", {}, {"total_mass": (1.0, 2.0)}, "'total_mass'"),  # which follows from others
        ("Catch-bsuite", {}, VARY, "'gravity'"),
        ("gird/all", {}, {}, "'gird'"),
        ("grid/al", {}, {}, "'grid/al'"),
        ("grid/all", {"noise": True}, {}, "'noise'.* random_places"),
        ("grid/all", {}, VARY, "'gravity'"),
        ("chain/longest", {}, {}, "'chain/longest'"),
        ("memory/repeat", {}, {}, "repeat-first"),
        ("memory/chain", {"symbols": 4}, {}, "'symbols'"),
        ("memory/chain", {"length": 0}, {}, "'length'"),
        ("memory/chain", {}, VARY, "gravity"),
        ("memory/repeat-first", {"length": 1}, {}, "'length' .*got 1"),
        ("memory/repeat-previous", {"length": 4, "k": 4}, {}, "'length' .* at least 5, got 4"),
        ("memory/repeat-previous", {"symbols": True}, {}, "'symbols' .*got True"),
        ("no_such_package.module:make", {}, {}, "'no_such_package.module'"),
        (":make", {}, {}, "module ''"),
        (f"{FAKE}:mak", {}, {}, "'mak'; nearest: make"),
        (f"{FAKE}:", {}, {}, "function ''"),
        (f"{FAKE}:HORIZON", {}, {}, "'HORIZON'"),
        (f"{FAKE}:not_an_environment", {}, {}, "got str"),
        (f"{FAKE}:make", {"size": 3}, {}, "'size'"),
        (f"{FAKE}:make", {}, VARY, "'gravity'"),
    ],
)
def test_what_does_not_exist_is_refused_in_one_line(id, options, vary, word):
    with pytest.raises(ValueError, match=word) as refused:
        make(id, options, vary)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("family", [name for name, family in FAMILIES.items() if family.requires])
def test_a_library_that_is_not_installed_is_named_with_its_extra(family, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=rf"'rl-discovery\[{family}\]'"):
        make(f"{family}/any")


def test_the_users_own_may_have_continuous_actions(monkeypatch):
    def step(key, state, action, level):
        return REAL.step(key, state, action[0].astype(int) + action[1].astype(int), level)

    driving = REAL._replace(step=step, continuous=True)
    monkeypatch.setattr(fake, "driving", lambda: driving, raising=False)
    assert make(f"{FAKE}:driving") is driving


def stepping(**fields):
    """The fake environment, but for what its steps say."""

    def step(*arguments):
        state, taken = REAL.step(*arguments)
        return state, taken._replace(**fields)

    return REAL._replace(step=step)


@pytest.mark.parametrize(
    ("wrong", "found"),
    [
        (REAL._replace(sample_level=lambda key: {}["maze"]), "sample_level raises KeyError: 'maze'"),
        (REAL._replace(reset=lambda key, level: jnp.zeros(2)), "reset must return"),
        (REAL._replace(observation_size=7), "observation of reset is float32[2]"),
        (REAL._replace(step=lambda key, state: state), "step raises TypeError"),
        (REAL._replace(step=lambda *x: (x[1], tuple(REAL.step(*x)[1]))), "step must return"),
        (REAL._replace(step=lambda *x: 1 / 0 if x[2] > 0 else REAL.step(*x)), "TracerBoolConversionError"),
        (stepping(observation=jnp.zeros(2, int)), "observation of step is int32[2]"),
        (stepping(final_observation=jnp.zeros(1)), "final_observation of step is float32[1]"),
        (stepping(reward=jnp.int32(1)), "reward of step is int32[]"),
        (stepping(terminated=jnp.float32(0)), "terminated of step is float32[]"),
        (stepping(truncated=jnp.zeros(1, bool)), "truncated of step is bool[1]"),
        (REAL._replace(step=lambda *x: (x[1] + 0.5, REAL.step(*x)[1])), "step returns is float32[]"),
        (
            REAL._replace(step=lambda *x: ((x[1], x[1]), REAL.step(*x)[1])),
            "returns is (int32[], int32[])",
        ),
    ],
)
def test_the_users_own_must_keep_to_the_contract(wrong, found, monkeypatch):
    monkeypatch.setattr(fake, "wrong", lambda: wrong, raising=False)
    with pytest.raises(ValueError) as refused:
        make(f"{FAKE}:wrong")
    message = str(refused.value)
    assert f"{FAKE}:wrong" in message and found in message
    assert "\n" not in message and len(message) < 400


def test_a_module_of_the_users_that_raises(tmp_path, monkeypatch):
    (tmp_path / "broken_worlds.py").write_text("1 / 0\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ValueError, match="ZeroDivisionError"):
        make("broken_worlds:make")


def test_configuration_imports_no_jax():
    code = (
        "import sys, environments, environments.make, environments.task;"
        "environments.task.Task();"
        "print([name for name in ('jax', 'gymnax', 'jaxtyping', 'numpy') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
