"""A counter: the smallest environment in which every way to end an episode happens.

The level L is drawn from {3, 5, 9}; an episode terminates after L steps and is truncated after 5.
So episodes on level 3 terminate, those on level 9 are truncated, and those on level 5 end both ways.
"""

import jax
import jax.numpy as jnp

from environments.base import Environment, Step

HORIZON = 5
LEVELS = (3, 5, 9)


def make() -> Environment:
    return Environment(
        id="tests.environments.fake:make",
        observation_size=2,
        observation_shape=(2,),
        n_actions=2,
        horizon=HORIZON,
        sample_level=lambda key: jax.random.choice(key, jnp.array(LEVELS)),
        reset=_reset,
        step=_step,
    )


def not_an_environment() -> str:
    return "CartPole-v1"


def _reset(key, level):
    del key
    return jnp.zeros((), jnp.int32), _observe(0, level)


def _step(key, time, action, level):
    """The reward is the time before the step, plus ten times the action."""
    reward = (time + 10 * action).astype(jnp.float32)
    time = time + 1
    terminated, truncated = time == level, time == HORIZON
    ended = terminated | truncated
    final_observation = _observe(time, level)
    _, first_observation = _reset(key, level)
    observation = jnp.where(ended, first_observation, final_observation)
    return jnp.where(ended, 0, time), Step(observation, reward, terminated, truncated, final_observation)


def _observe(time, level):
    return jnp.stack([jnp.float32(time), jnp.float32(level)])
