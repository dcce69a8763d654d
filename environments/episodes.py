"""Makes an `Environment` of a game that only begins and moves: time limits, new episodes, stable types.

Six libraries (brax, craftax, jumanji, navix, pgx, xminigrid) have only this in common. Their adapters define
how a game begins and moves, and this module does the rest:

* time: counted here, and the library's limit is turned off or never reached, because most report it as the
  end of the task -> `truncated`, never `terminated`;
* new episodes: each from a new reset, with a new key; if resets are costly, from a bank of first states that
  is renewed once per rollout, or never;
* `final_observation`: the observation before the reset;
* keys: typed here, uint32 ``[2]`` for the libraries, which keep them in their states;
* types: float32 observations ``[D]``, and a state whose types never change.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int, PRNGKeyArray

from environments.base import Environment, Step, autoreset, uniform_levels


class Game(NamedTuple):
    """A library's game, without time limit and without auto-reset.

    Keys are uint32 ``[2]``. An observation is an array of any shape and type.

    Attributes:
        begin: ``(key, level) -> (state, observation)``.
        move: ``(key, state, action, level) -> (state, observation, reward, terminated)``; a game whose state
            has a key ignores `key`.
        n_actions: the number of discrete actions, or the dimension of a continuous action.
        bounds: lowest and highest continuous action ``[A]``, which `move` clips to; None for discrete ones.
    """

    begin: Callable[[Array, Any], tuple[Any, Array]]
    move: Callable[[Array, Any, Array, Any], tuple[Any, Array, Array, Array]]
    n_actions: int
    bounds: tuple[np.ndarray, np.ndarray] | None = None


class Running(NamedTuple):
    """A running instance.

    Attributes:
        game: the library's state.
        time: steps of the episode so far.
        bank: prepared beginnings, ``(states, observations)`` with a leading axis ``[B]``, which the next
            episodes use in turn; or the empty tuple.
        used: how many of them were used.
    """

    game: Any
    time: Int[Array, ""]
    bank: Any
    used: Int[Array, ""]


def with_episodes(
    id: str,
    game: Game,
    episode_length: int,
    bank: int = 0,
    sample_level: Callable[[PRNGKeyArray], Any] | None = None,
    renew: bool = True,
) -> Environment:
    """Makes an environment of a game.

    Args:
        id: the environment's id.
        game: how it begins and moves.
        episode_length: steps after which an episode is truncated.
        bank: B, beginnings that each instance keeps prepared. With 0, every episode has a new reset, which is
            computed at every step.
        sample_level: of the environment; by default, there are no levels.
        renew: whether the bank is renewed, once per rollout.

    Raises:
        ValueError: invalid numbers.
    """
    if episode_length < 1:
        raise ValueError(f"episode_length of environment {id!r} must be at least 1, got {episode_length}")
    if bank < 0:
        raise ValueError(f"bank of environment {id!r} must be at least 0, got {bank}")
    sample_level = sample_level or uniform_levels({})

    def begin(key: Array, level: Any) -> tuple[Any, Array]:
        state, observation = game.begin(key, level)
        return strong(state), _flat(observation)

    def prepare(key: Array, level: Any) -> Any:
        return jax.vmap(lambda key_of: begin(key_of, level))(jax.random.split(key, bank))

    def reset(key: PRNGKeyArray, level: Any) -> tuple[Running, Array]:
        prepared = prepare(_legacy(key), level) if bank else ()
        state, observation = _nth(prepared, 0) if bank else begin(_legacy(key), level)
        return Running(state, jnp.int32(0), prepared, jnp.int32(1)), observation

    def step(key: PRNGKeyArray, state: Running, action: Array, level: Any) -> tuple[Running, Step]:
        key_move, key_next = jax.random.split(_legacy(key))
        reached, observation, reward, terminated = game.move(key_move, state.game, action, level)
        terminated = jnp.asarray(terminated, jnp.bool_).reshape(())
        truncated = state.time + 1 >= episode_length
        over = terminated | truncated
        first = _nth(state.bank, state.used % bank) if bank else begin(key_next, level)
        reward = jnp.asarray(reward, jnp.float32).reshape(())
        now, taken = autoreset(first, (strong(reached), _flat(observation)), reward, terminated, truncated)
        return Running(now, jnp.where(over, 0, state.time + 1), state.bank, state.used + over), taken

    def refresh(key: PRNGKeyArray, state: Running, level: Any) -> Running:
        return state._replace(bank=prepare(_legacy(key), level), used=jnp.int32(0))

    key = jax.ShapeDtypeStruct((2,), jnp.uint32)
    level = jax.eval_shape(sample_level, jax.random.key(0))
    shape = jax.eval_shape(game.begin, key, level)[1].shape
    return Environment(
        id=id,
        observation_size=math.prod(shape),
        observation_shape=tuple(shape),
        n_actions=game.n_actions,
        continuous=game.bounds is not None,
        action_low=game.bounds[0] if game.bounds else None,
        action_high=game.bounds[1] if game.bounds else None,
        horizon=episode_length,
        shortest_truncation=episode_length,
        sample_level=sample_level,
        reset=reset,
        step=step,
        refresh=refresh if bank and renew else None,
    )


def strong(state: Any) -> Any:
    """Strips weak types: a carry of `scan` and an argument of `jit` must keep its type."""
    return jax.tree.map(lambda leaf: jnp.asarray(leaf).astype(jnp.asarray(leaf).dtype), state)


def check_name(id: str, name: str, names: Iterable[str]) -> None:
    """Raise a ValueError unless `name`, the part of `id` after its family, is among `names`."""
    if name not in (known := sorted(names)):
        raise ValueError(f"no environment is called {id!r}; there are: {', '.join(known)}")


def check_varied(id: str, vary: Mapping[str, Any], numbers: Iterable[str] = ()) -> None:
    """Raise a ValueError unless everything in `vary` is among `numbers`."""
    for name in vary:
        if name not in (known := tuple(numbers)):
            raise ValueError(
                f"environment {id!r} has no parameter {name!r} that can vary; "
                f"there are: {', '.join(known) or 'none'}"
            )


def one_hot(symbols: Array, sizes: Iterable[int]) -> Array:
    """Symbols ``[..., L]``, layer l of which counts to ``sizes[l]``, as float32 ``[..., sum of sizes]``."""
    layers = [jax.nn.one_hot(symbols[..., index], size) for index, size in enumerate(sizes)]
    return jnp.concatenate(layers, axis=-1)


def _legacy(key: Array) -> Array:
    """A typed key's raw data, which gives the same random numbers."""
    return jax.random.key_data(key) if jnp.issubdtype(key.dtype, jax.dtypes.prng_key) else key


def _flat(observation: Array) -> Array:
    return jnp.asarray(observation, jnp.float32).reshape(-1)


def _nth(bank: Any, index: Array | int) -> Any:
    """One of the beginnings ``[B, ...]``."""
    return jax.tree.map(lambda leaf: leaf[index], bank)
