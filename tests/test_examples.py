"""docs/examples: the commands in their docstrings run, the loss is what it says, agents learn from both."""

import ast
import shlex
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from discovery.app.command_line import main
from discovery.inner.loops import train
from discovery.inner.loops.on_policy import complete
from environments.make import make
from environments.task import Setup
from objectives import build
from objectives.base import Progress

EXAMPLES = Path(__file__).parents[1] / "docs" / "examples"
NOW = Progress(0, 10)


@pytest.fixture(autouse=True)
def on_the_path(monkeypatch):
    monkeypatch.syspath_prepend(EXAMPLES)


def commands() -> list[list[str]]:
    """What the docstrings tell to type, without the environment variable."""
    found = []
    for path in sorted(EXAMPLES.glob("*.py")):
        text = (ast.get_docstring(ast.parse(path.read_text())) or "").replace("\\\n", " ")
        for line in text.splitlines():
            if line.strip().startswith("PYTHONPATH="):
                assignment, program, *arguments = shlex.split(line)
                assert (assignment, program) == ("PYTHONPATH=docs/examples", "discovery")
                found.append(arguments)
    return found


@pytest.mark.parametrize("arguments", commands(), ids=" ".join)
def test_the_commands_run(arguments, tmp_path, capfd):
    """Searches are dry, and look for earlier runs, whose speed they would report, where there are none."""
    dry = "--dry-run" in arguments
    assert dry == (arguments[0] == "search")
    code = main([*arguments, *(["--output", str(tmp_path)] if dry else [])])
    out, err = capfd.readouterr()
    assert (code, err) == (0, "")
    assert "my_objective:soft_clip" in out or "my_environment:corridor" in out
    assert not list(tmp_path.iterdir())


def test_every_example_shows_commands():
    assert len(commands()) == 4


def soft_clip_loss(above, below):
    """The loss of (log r, A), with widths given."""
    policy_loss = build("my_objective:soft_clip").policy_loss
    assert policy_loss is not None
    meta_params = {"log_width": jnp.log(jnp.array([above, below]))}
    return lambda log_ratio, advantage: policy_loss.per_sample(
        meta_params, log_ratio, jnp.zeros_like(log_ratio), advantage, NOW
    )


def test_the_loss_by_hand():
    """-(1 + 0.2 tanh(0.5 / 0.2)) 2, and -(1 - 0.4 tanh(0.5 / 0.4)) (-1); unclipped where r A falls."""
    loss = soft_clip_loss(0.2, 0.4)
    got = loss(jnp.log(jnp.array([1.5, 0.5, 1.5, 0.5])), jnp.array([2.0, -1.0, -1.0, 2.0]))
    expected = [-2.0 * (1 + 0.2 * 0.9866143), 1 - 0.4 * 0.8482836, 1.5, -1.0]
    np.testing.assert_allclose(got, expected, rtol=1e-6)


def test_the_drift_is_legal():
    """Zero and flat at ratio 1, so that the loss is -A with the slope -A; nowhere negative."""
    loss = soft_clip_loss(0.2, 0.4)
    for advantage in (-1.5, 0.0, 2.0):
        value, slope = jax.value_and_grad(loss)(jnp.float32(0), jnp.float32(advantage))
        assert (float(value), float(slope)) == (-advantage, -advantage)
    log_ratio, advantage = jnp.meshgrid(jnp.linspace(-3, 3, 101), jnp.linspace(-3, 3, 31))
    drift = loss(log_ratio, advantage) + jnp.exp(log_ratio) * advantage
    assert float(drift.min()) > -1e-5 and float(drift.max()) > 1


def test_the_option():
    start = build("my_objective:soft_clip", {"width": 0.3}).init(jax.random.key(0))
    np.testing.assert_allclose(jnp.exp(start["log_width"]), [0.3, 0.3], rtol=1e-6)
    with pytest.raises(ValueError, match=r"width must be positive, got 0"):
        build("my_objective:soft_clip", {"width": 0})


def walk(actions):
    """Steps of one episode in the corridor, from its beginning."""
    environment, key = make("my_environment:corridor"), jax.random.key(0)
    state, _ = environment.reset(key, ())

    def move(state, action):
        return environment.step(key, state, action, ())

    return jax.lax.scan(move, state, jnp.array(actions, jnp.int32))


def test_the_end_of_the_corridor():
    state, steps = walk([1] * 5)
    np.testing.assert_array_equal(steps.reward, [0, 0, 0, 0, 1])
    np.testing.assert_array_equal(steps.terminated, [False] * 4 + [True])
    assert not steps.truncated.any()
    np.testing.assert_array_equal(steps.final_observation.argmax(1), [1, 2, 3, 4, 5])
    np.testing.assert_array_equal(steps.observation.argmax(1), [1, 2, 3, 4, 0])
    assert (int(state.position), int(state.time)) == (0, 0)


def test_the_corridor_runs_out_of_time():
    state, steps = walk([0] * 10 + [1, 1])
    assert not steps.terminated.any() and not steps.reward.any()
    np.testing.assert_array_equal(steps.truncated, [False] * 11 + [True])
    np.testing.assert_array_equal(steps.final_observation.argmax(1), [0] * 10 + [1, 2])
    assert int(steps.observation[-1].argmax()) == 0
    assert (int(state.position), int(state.time)) == (0, 0)


def test_an_agent_learns_the_corridor_by_the_loss():
    """A random agent arrives in time in a fifth of its episodes."""
    algorithm = build("my_objective:soft_clip")
    setup = Setup("my_environment:corridor", 8, 16, 4, 2, (16,), curve_points=5)
    meta_params = complete(algorithm, {"learning_rate": 1e-2}, algorithm.init(jax.random.key(0)))
    run = jax.jit(lambda key: train(algorithm, setup, meta_params, key, 20))
    outcome = run(jax.random.key(1))
    assert int(outcome.nonfinite_step) == -1 and float(outcome.curve[0]) < 0.6 and float(outcome.final) > 0.9
