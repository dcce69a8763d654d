"""The extra environments as their own libraries run them, by their public functions alone: an oracle."""

import importlib
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

Bare = tuple[Callable[..., Any], Callable[..., Any]]
"""key -> (state, observation), and (key, state, action) -> (state, observation, reward, done).

With the library's own time limit, where it has one, and no auto-reset; observations before flattening."""


def bare(id: str, episode_length: int) -> Bare:
    family, _, name = id.partition("/")
    return {"craftax": craftax, "jumanji": jumanji, "navix": navix, "pgx": pgx, "xminigrid": xminigrid}[
        family
    ](name, episode_length)


def craftax(name, episode_length):
    make = importlib.import_module("craftax.craftax_env").make_craftax_env_from_name
    env = make(name, auto_reset=False)
    params = env.default_params.replace(max_timesteps=episode_length)

    def begin(key):
        observation, state = env.reset(key, params)
        return state, observation

    def move(key, state, action):
        observation, state, reward, done, _ = env.step(key, state, action, params)
        return state, observation, reward, done

    return begin, move


def jumanji(name, episode_length):
    library = importlib.import_module("jumanji")
    limit = {} if name == "Game2048-v1" else {"time_limit": episode_length}
    env = library.make(name, **limit)

    def shown(observation):
        if name == "Game2048-v1":
            return jnp.arange(18) == observation.board[..., None]
        if name == "Snake-v1":
            return observation.grid
        agent, target = jnp.zeros((2, 10, 10))
        agent = agent.at[tuple(observation.agent_position)].set(1)
        target = target.at[tuple(observation.target_position)].set(1)
        return jnp.stack([observation.walls, agent, target], -1)

    def begin(key):
        state, timestep = env.reset(key)
        return (state, jnp.int32(0)), shown(timestep.observation)

    def move(key, state, action):
        state, time = state
        state, timestep = env.step(state, action)
        done = timestep.last() | (time + 1 >= episode_length)  # 2048 has no limit of its own
        return (state, time + 1), shown(timestep.observation), timestep.reward, done

    return begin, move


def navix(name, episode_length):
    env = importlib.import_module("navix").make(name, max_steps=episode_length)

    def begin(key):
        timestep = env.reset(key)
        return timestep, layers(timestep.observation, (11, 6, 4))

    def move(key, timestep, action):
        timestep = env.step(timestep, action)
        return timestep, layers(timestep.observation, (11, 6, 4)), timestep.reward, timestep.is_done()

    return begin, move


def pgx(name, episode_length):
    """Truncated by hand: the library has no time limits."""
    env = importlib.import_module("pgx").make(name)

    def begin(key):
        state = env.init(key)
        return (state, jnp.int32(0)), state.observation

    def move(key, state, action):
        state, time = state
        state = env.step(state, action, key)
        done = state.terminated | (time + 1 >= episode_length)
        return (state, time + 1), state.observation, state.rewards[0], done

    return begin, move


def xminigrid(name, episode_length):
    env, params = importlib.import_module("xminigrid").make(name, max_steps=episode_length)

    def begin(key):
        timestep = env.reset(params, key)
        return timestep, layers(timestep.observation, (13, 12))

    def move(key, timestep, action):
        timestep = env.step(params, timestep, action)
        return timestep, layers(timestep.observation, (13, 12)), timestep.reward, timestep.last()

    return begin, move


def layers(symbols, sizes):
    """Each layer of symbols as rows of an identity matrix; nothing may lie outside."""
    rows = [
        jnp.eye(size).at[symbols[..., index]].get(mode="fill", fill_value=jnp.nan)
        for index, size in enumerate(sizes)
    ]
    return jnp.concatenate(rows, axis=-1)


def keys_of(key: jax.Array) -> jax.Array:
    """A typed key split in two, as the libraries take them: uint32 ``[2, 2]``."""
    return jax.random.key_data(jax.random.split(key))
