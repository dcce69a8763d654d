"""The quirks that the gymnax adapter ends, one by one; tests/contracts tests what all share."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from environments.make import make


def play(id, actions, seed=0):
    """Steps through `actions` from a reset; returns the steps, stacked over time."""
    environment = make(id)
    key, reset_key = jax.random.split(jax.random.key(seed))

    def body(state, inputs):
        return environment.step(inputs[0], state, inputs[1], ())

    state, _ = environment.reset(reset_key, ())
    keys = jax.random.split(key, len(actions))
    _, steps = jax.jit(lambda state: jax.lax.scan(body, state, (keys, actions)))(state)
    return jax.tree.map(np.asarray, steps)


def test_deep_sea_ends_with_both_flags():
    steps = play("DeepSea-bsuite", jnp.zeros(16, jnp.int32))
    ends = np.arange(16) % 8 == 7
    np.testing.assert_array_equal(steps.terminated, ends)
    np.testing.assert_array_equal(steps.truncated, ends)


@pytest.mark.parametrize("id", ["Pendulum-v1", "MountainCarContinuous-v0"])
def test_continuous_actions_are_clipped(id):
    """In the reward too: MountainCarContinuous charges for what was asked, not for what was done."""
    environment = make(id)
    low, high = environment.action_low, environment.action_high
    assert low is not None and high is not None
    actions = jnp.stack([low, high] * 4)
    inside, outside = play(id, actions), play(id, 3 * actions)
    jax.tree.map(np.testing.assert_array_equal, inside, outside)
    assert not np.array_equal(inside.reward, play(id, actions / 2).reward)


def test_a_discrete_observation_is_one_hot():
    environment = make("FrozenLake-misc")
    _, observation = environment.reset(jax.random.key(0), ())
    np.testing.assert_array_equal(observation, np.eye(16, dtype=np.float32)[0])
    steps = play("FrozenLake-misc", jnp.array([1, 2, 1, 2] * 5))
    assert (steps.final_observation.sum(-1) == 1).all()
    assert len(np.unique(steps.final_observation.argmax(-1))) > 1


def test_an_image_keeps_its_shape_on_record():
    environment = make("Breakout-MinAtar")
    assert environment.observation_shape == (10, 10, 4)
    _, observation = environment.reset(jax.random.key(0), ())
    image = observation.reshape(environment.observation_shape)
    assert image[9, :, 0].sum() == 1  # the paddle, in the bottom row of its channel


def test_numpy_actions_of_any_integer_type():
    """From a notebook, or a policy written in numpy."""
    environment = make("CartPole-v1")
    state, _ = environment.reset(jax.random.key(0), ())
    _, step = environment.step(jax.random.key(1), state, np.int64(1), ())  # pyright: ignore
    assert step.reward == 1.0


@pytest.mark.parametrize("changed", ["masscart", "masspole", "length"])
def test_what_follows_from_a_varied_parameter_follows(changed):
    """CartPole's equations of motion (Florian 2007), written out with the varied numbers."""
    environment = make("CartPole-v1", vary={changed: (0.2, 3.0)})
    numbers = {"masscart": 1.0, "masspole": 0.1, "length": 0.5, changed: 0.7}
    level = {changed: jnp.float32(0.7)}
    state, _ = environment.reset(jax.random.key(0), level)
    x, v, angle, spin = 0.01, 0.2, 0.05, -0.4
    state = state.replace(x=x, x_dot=v, theta=angle, theta_dot=spin)
    _, step = environment.step(jax.random.key(1), state, jnp.int32(1), level)
    cart, pole, length = numbers["masscart"], numbers["masspole"], numbers["length"]
    pushed = (10.0 + pole * length * spin**2 * np.sin(angle)) / (cart + pole)
    turning = 9.8 * np.sin(angle) - np.cos(angle) * pushed
    turning /= length * (4 / 3 - pole * np.cos(angle) ** 2 / (cart + pole))
    moving = pushed - pole * length * turning * np.cos(angle) / (cart + pole)
    expected = [x + 0.02 * v, v + 0.02 * moving, angle + 0.02 * spin, spin + 0.02 * turning]
    np.testing.assert_allclose(step.final_observation, expected, rtol=1e-5)
