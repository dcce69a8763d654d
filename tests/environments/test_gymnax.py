"""What the gymnax adapter adds to gymnax; tests/contracts compares all else with gymnax itself."""

import gymnax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnax import registration
from gymnax.environments import spaces
from gymnax.environments.classic_control.cartpole import CartPole

from environments.make import make


def test_numpy_actions_of_any_integer_type():
    """From a notebook, or a policy written in numpy."""
    environment = make("CartPole-v1")
    state, _ = environment.reset(jax.random.key(0), ())
    _, step = environment.step(jax.random.key(1), state, np.int64(1), ())  # pyright: ignore
    assert step.reward == 1.0


@pytest.mark.parametrize("changed", ["gravity", "masscart", "masspole", "length"])
def test_physics_that_vary(changed):
    """CartPole's equations of motion (Florian 2007), written out with the varied numbers."""
    environment = make("CartPole-v1", vary={changed: (0.2, 3.0)})
    assert make("CartPole-v1", {}, {changed: (0.2, 3.0)}) is environment
    drawn = jax.vmap(environment.sample_level)(jax.random.split(jax.random.key(0), 50))[changed]
    assert 0.2 <= drawn.min() < 0.7 and 2.5 < drawn.max() <= 3.0

    numbers = {"gravity": 9.8, "masscart": 1.0, "masspole": 0.1, "length": 0.5, changed: 0.7}
    level = {changed: jnp.float32(0.7)}
    state, _ = environment.reset(jax.random.key(0), level)
    x, v, angle, spin = 0.01, 0.2, 0.05, -0.4
    state = state.replace(x=x, x_dot=v, theta=angle, theta_dot=spin)
    _, step = environment.step(jax.random.key(1), state, jnp.int32(1), level)
    gravity, cart, pole, length = (numbers[name] for name in ("gravity", "masscart", "masspole", "length"))
    pushed = (10.0 + pole * length * spin**2 * np.sin(angle)) / (cart + pole)
    turning = gravity * np.sin(angle) - np.cos(angle) * pushed
    turning /= length * (4 / 3 - pole * np.cos(angle) ** 2 / (cart + pole))
    moving = pushed - pole * length * turning * np.cos(angle) / (cart + pole)
    expected = [x + 0.02 * v, v + 0.02 * moving, angle + 0.02 * spin, spin + 0.02 * turning]
    np.testing.assert_allclose(step.final_observation, expected, rtol=1e-5)


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
