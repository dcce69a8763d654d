"""docs/examples: their commands run, the loss is what it says, agents learn from both."""

import re
import shlex
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from discovery.inner.loops import train
from discovery.inner.loops.on_policy import complete
from environments.make import make
from environments.task import Setup
from objectives import build
from objectives.base import Progress

EXAMPLES = Path(__file__).parents[1] / "docs" / "examples"


@pytest.fixture(autouse=True)
def on_the_path(monkeypatch):
    monkeypatch.syspath_prepend(EXAMPLES)


def test_the_commands_run(says, tmp_path, monkeypatch):
    """Those of the docstrings. Searches are dry, and look for earlier runs where there are none.

    No training is traced: below, an agent learns by the loss.
    """
    monkeypatch.setattr("discovery.search.check._trace", lambda *_: None)
    text = "".join(path.read_text().replace("\\\n", " ") for path in EXAMPLES.glob("*.py"))
    commands = re.findall("^ +PYTHONPATH=docs/examples discovery (.*)$", text, re.MULTILINE)
    assert len(commands) == 6
    for command in map(shlex.split, commands):
        dry = ["--output", tmp_path] if command[0] == "search" else []
        assert says(*command, *dry)[0] == 0
    assert not list(tmp_path.iterdir())


def loss(log_ratio, advantage):
    """The loss with a width of 0.2 above ratio 1, and of 0.4 below."""
    policy_loss = build("my_objective:soft_clip").policy_loss
    assert policy_loss is not None
    meta_params = {"log_width": jnp.log(jnp.array([0.2, 0.4]))}
    return policy_loss.per_sample(
        meta_params, log_ratio, jnp.zeros_like(log_ratio), advantage, Progress(0, 10)
    )


def test_the_loss_by_hand():
    """-(1 + 0.2 tanh(0.5 / 0.2)) 2, and -(1 - 0.4 tanh(0.5 / 0.4)) (-1); unclipped where r A falls."""
    got = loss(jnp.log(jnp.array([1.5, 0.5, 1.5, 0.5])), jnp.array([2.0, -1.0, -1.0, 2.0]))
    expected = [-2.0 * (1 + 0.2 * 0.9866143), 1 - 0.4 * 0.8482836, 1.5, -1.0]
    np.testing.assert_allclose(got, expected, rtol=1e-6)


def test_the_drift_is_legal():
    """Zero and flat at ratio 1, so that the loss is -A with the slope -A; nowhere negative."""
    advantage = jnp.array([-1.5, 0.0, 2.0])
    value, slope = jax.jit(jax.vmap(jax.value_and_grad(loss)))(jnp.zeros(3), advantage)
    np.testing.assert_array_equal(value, -advantage)
    np.testing.assert_array_equal(slope, -advantage)
    log_ratio, advantage = jnp.meshgrid(jnp.linspace(-3, 3, 101), jnp.linspace(-3, 3, 31))
    drift = loss(log_ratio, advantage) + jnp.exp(log_ratio) * advantage
    assert float(drift.min()) > -1e-5 and float(drift.max()) > 1


@pytest.mark.parametrize(
    ("actions", "reached", "reward"),
    [([1] * 5, [1, 2, 3, 4, 5], 1), ([0] * 10 + [1, 1], [0] * 10 + [1, 2], 0)],
    ids=["its end", "out of time"],
)
def test_an_episode_in_the_corridor(actions, reached, reward):
    environment, key = make("my_environment:corridor"), jax.random.key(0)
    state, _ = environment.reset(key, ())

    def move(state, action):
        return environment.step(key, state, action, ())

    state, steps = jax.lax.scan(move, state, jnp.array(actions, jnp.int32))
    last = np.arange(len(actions)) == len(actions) - 1
    np.testing.assert_array_equal(steps.reward, reward * last)
    np.testing.assert_array_equal(steps.terminated, last & (reward == 1))
    np.testing.assert_array_equal(steps.truncated, last & (reward == 0))
    np.testing.assert_array_equal(steps.final_observation.argmax(1), reached)
    np.testing.assert_array_equal(steps.observation.argmax(1), [*reached[:-1], 0])
    assert (int(state.position), int(state.time)) == (0, 0)


def test_an_agent_learns_the_corridor_by_the_loss():
    """A random agent arrives in time in a fifth of its episodes."""
    algorithm = build("my_objective:soft_clip")
    setup = Setup("my_environment:corridor", 8, 16, 4, 2, (16,), curve_points=5)
    meta_params = complete(algorithm, {"learning_rate": 1e-2}, algorithm.init(jax.random.key(0)))
    run = jax.jit(lambda key: train(algorithm, setup, meta_params, key, 20))
    outcome = run(jax.random.key(1))
    assert int(outcome.nonfinite_step) == -1 and float(outcome.curve[0]) < 0.6 and float(outcome.final) > 0.9
