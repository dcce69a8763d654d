"""Environments of a few lines, for what gymnax has no sharp example of."""

import jax
import jax.numpy as jnp
import numpy as np

from environments.base import Environment, Step

FINAL = 9.0
"""What an agent sees in an episode's last moment, and at no other."""


def _environment(id, sample_level, reset, step, horizon=8):
    return Environment(
        id=id,
        observation_size=2,
        observation_shape=(2,),
        n_actions=2,
        continuous=False,
        action_low=None,
        action_high=None,
        horizon=horizon,
        sample_level=sample_level,
        reset=reset,
        step=step,
    )


def endings() -> Environment:
    """Reward 1 a step. Episodes take turns to end by termination (3 steps), time (4), or both (5)."""

    def observe(time, kind):
        return jnp.stack([time, kind]).astype(jnp.float32)

    def reset(key, level):
        kind = jax.random.randint(key, (), 0, 3, jnp.int32)
        return (jnp.int32(0), kind), observe(jnp.int32(0), kind)

    def step(key, state, action, level):
        time, kind = state[0] + 1, state[1]
        over = time == kind + 3
        following = jnp.where(over, 0, time), jnp.where(over, (kind + 1) % 3, kind)
        observation = observe(*following)
        return following, Step(
            observation=observation,
            reward=jnp.float32(1),
            terminated=over & (kind != 1),
            truncated=over & (kind != 0),
            final_observation=jnp.where(over, FINAL, observation),
        )

    return _environment("endings", lambda key: (), reset, step)


STEPS_UNTIL_INFINITY = 40


def explosive() -> Environment:
    """Reward 1 a step, episodes of 4; in about half of all trainings (the level) one reward is infinite."""

    def reset(key, level):
        return (jnp.int32(0), jnp.int32(0)), jnp.zeros(2)

    def step(key, state, action, level):
        time, total = state[0] + 1, state[1] + 1
        over = time == 4
        reward = jnp.where(level & (total == STEPS_UNTIL_INFINITY), np.float32(np.inf), np.float32(1.0))
        observation = jnp.where(over, jnp.zeros(2), jnp.full(2, time.astype(jnp.float32)))
        return (jnp.where(over, 0, time), total), Step(
            observation=observation,
            reward=reward,
            terminated=over,
            truncated=jnp.bool_(False),
            final_observation=jnp.where(over, jnp.full(2, FINAL), observation),
        )

    return _environment("explosive", lambda key: jax.random.bernoulli(key), reset, step)
