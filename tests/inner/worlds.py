"""Environments of a few lines, for what gymnax has no sharp example of."""

import jax
import jax.numpy as jnp

from environments.base import Environment, autoreset

FINAL = 9.0  # what an agent sees in an episode's last moment, and at no other
SIZES = 2, (2,), 2, 8  # observations of two numbers, two actions, and the horizon


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
        first = jnp.int32(0), (kind + 1) % 3
        reached = (time, kind), jnp.where(over, FINAL, observe(time, kind))
        terminated, truncated = over & (kind != 1), over & (kind != 0)
        return autoreset((first, observe(*first)), reached, jnp.float32(1), terminated, truncated)

    return Environment("endings", *SIZES, lambda key: (), reset, step)


STEPS_UNTIL_INFINITY = 40


def explosive() -> Environment:
    """Reward 1 a step, episodes of 4; in about half of all trainings (the level) one reward is infinite."""

    def reset(key, level):
        return jnp.int32(0), jnp.zeros(2)

    def step(key, state, action, level):
        steps, over = state + 1, (state + 1) % 4 == 0
        reward = jnp.where(level & (steps == STEPS_UNTIL_INFINITY), jnp.float32(jnp.inf), 1.0)
        reached = steps, jnp.where(over, FINAL, jnp.full(2, steps % 4, jnp.float32))
        return autoreset((steps, jnp.zeros(2)), reached, reward, over)

    return Environment("explosive", *SIZES, jax.random.bernoulli, reset, step)
