"""Delayed chains of LPG (Oh et al. 2020): the first action decides the reward at the end.

One of two actions, which one depends on the level, leads to +1 at the end of the chain, the other to
-1; actions in between have no effect. With noise, every step in between is rewarded with +1
or -1 at random.
"""

from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from environments.base import Environment, Step, autoreset

LENGTHS = {"short": (5, 30), "long": (5, 50)}
"""Smallest and largest number of steps, uniform."""


class ChainLevel(NamedTuple):
    """The length of the chain, and the good first action."""

    length: Int[Array, ""]
    good: Int[Array, ""]


class ChainState(NamedTuple):
    """Steps taken, and whether the first was good (undefined before it)."""

    time: Int[Array, ""]
    on_good: Bool[Array, ""]


def from_chain(name: str, vary: Mapping[str, tuple[float, float]], noise: bool = False) -> Environment:
    """The chain called `name` in `LENGTHS`; observations are one-hot over (branch, steps taken).

    Raises:
        ValueError: unknown names.
    """
    if name not in LENGTHS:
        raise ValueError(f"no environment is called 'chain/{name}'; there are: {', '.join(LENGTHS)}")
    if vary:
        raise ValueError(f"environment 'chain/{name}' varies by its levels only, got {list(vary)}")
    low, high = LENGTHS[name]

    def sample_level(key: PRNGKeyArray) -> ChainLevel:
        key_length, key_good = jax.random.split(key)
        return ChainLevel(
            jax.random.randint(key_length, (), low, high + 1), jax.random.randint(key_good, (), 0, 2)
        )

    def observe(state: ChainState) -> Float[Array, " D"]:
        branch = jnp.where(state.time > 0, state.on_good.astype(jnp.int32), 0)
        return (jnp.arange(2 * (high + 1)) == branch * (high + 1) + state.time).astype(jnp.float32)

    def reset(key: PRNGKeyArray, level: ChainLevel) -> tuple[ChainState, Array]:
        del key, level
        state = ChainState(jnp.int32(0), jnp.bool_(False))
        return state, observe(state)

    def step(
        key: PRNGKeyArray, state: ChainState, action: Array, level: ChainLevel
    ) -> tuple[ChainState, Step]:
        on_good = jnp.where(state.time == 0, action == level.good, state.on_good)
        reached = ChainState(state.time + 1, on_good)
        over = reached.time >= level.length
        between = jax.random.rademacher(key, (), jnp.float32) if noise else jnp.float32(0)
        reward = jnp.where(over, jnp.where(on_good, 1.0, -1.0), between)
        return autoreset(reset(key, level), (reached, observe(reached)), reward, terminated=over)

    return Environment(
        id=f"chain/{name}",
        observation_size=2 * (high + 1),
        observation_shape=(2 * (high + 1),),
        n_actions=2,
        horizon=high,
        sample_level=sample_level,
        reset=reset,
        step=step,
    )
