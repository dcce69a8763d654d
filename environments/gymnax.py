"""The adapter for gymnax 1.0.

What differs between its environments -> what this adapter returns:

* observations: images, int32 vectors, a bare integer (FrozenLake) -> float32 ``[D]``, integers of
  a `Discrete` space one-hot;
* rewards: int32 or bool in places -> float32 scalar;
* actions: out-of-bounds continuous ones reach some rewards unclipped -> clipped in `step`;
* horizon: a float in BernoulliBandit -> int;
* parameters that depend on others (CartPole's) do not follow their changes -> they follow;
* state: Python numbers in `reset`, arrays in `step` -> arrays whose types never change, so a program compiles
  once.

Auto-reset, `terminated`, `truncated` and `final_observation` are gymnax's own and already right.
"""

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from environments.base import Environment, Step, uniform_levels
from environments.deferred import deferred
from environments.episodes import strong

with deferred("matplotlib.pyplot", "seaborn"):  # for its drawings; they take most of the time of the import
    import gymnax
    from gymnax.environments import spaces

DERIVED: Mapping[str, Callable[[Any], Any]] = {
    "total_mass": lambda params: params.masscart + params.masspole,
    "polemass_length": lambda params: params.masspole * params.length,
}
"""Parameters of CartPole that depend on others but that gymnax stores as numbers: they cannot vary."""


class _Actions(NamedTuple):
    """The fields of `Environment` about actions, and how to hand one of ours to gymnax."""

    n_actions: int
    continuous: bool
    low: np.ndarray | None
    high: np.ndarray | None
    decode: Callable[[Array], Array]


def from_gymnax(
    id: str,
    vary: Mapping[str, tuple[float, float]] | None = None,
    parameters: Mapping[str, int | float] | None = None,
) -> Environment:
    """Makes the registered gymnax environment `id`.

    Its parameters are constants: the defaults, except those in `parameters`. A level draws each parameter in
    `vary` uniformly from (lowest, highest), so every training has different physics.

    Raises:
        ValueError: `vary` names something that is not a number among the parameters.
    """
    env, params = gymnax.make(id)
    params = params.replace(**(parameters or {}))
    vary = vary or {}
    _check_varied(id, params, vary)
    derived = [name for name in DERIVED if hasattr(params, name)]

    def at(level: Any) -> Any:
        if not vary:
            return params
        varied = params.replace(**level)
        return varied.replace(**{name: DERIVED[name](varied) for name in derived})

    shape, encode = _observations(id, env, params)
    actions = _actions(id, env.action_space(params))

    def reset(key, level):
        observation, state = env.reset(key, at(level))
        return strong(state), encode(observation)

    def step(key, state, action, level):
        observation, state, reward, terminated, truncated, info = env.step(
            key, state, actions.decode(action), at(level)
        )
        return strong(state), Step(
            observation=encode(observation),
            reward=_scalar(reward, jnp.float32),
            terminated=_scalar(terminated, jnp.bool_),
            truncated=_scalar(truncated, jnp.bool_),
            final_observation=encode(info["final_observation"]),
        )

    return Environment(
        id=id,
        observation_size=math.prod(shape),
        observation_shape=shape,
        n_actions=actions.n_actions,
        continuous=actions.continuous,
        action_low=actions.low,
        action_high=actions.high,
        horizon=int(params.max_steps_in_episode),
        shortest_truncation=int(params.max_steps_in_episode),
        sample_level=uniform_levels(vary),
        reset=reset,
        step=step,
    )


def _check_varied(id: str, params: Any, vary: Mapping[str, tuple[float, float]]) -> None:
    """Raise unless everything in `vary` is a number among the environment's parameters."""
    fields = (field.name for field in dataclasses.fields(params))
    numbers = [name for name in fields if isinstance(getattr(params, name), float) and name not in DERIVED]
    for name in vary:
        if name not in numbers:
            raise ValueError(
                f"environment {id!r} has no parameter {name!r} that can vary; "
                f"there are: {', '.join(numbers) or 'none'}"
            )


def _observations(
    id: str, env: Any, params: Any
) -> tuple[tuple[int, ...], Callable[[Array], Float[Array, " D"]]]:
    """Returns the shape before flattening, and the function that makes an observation float32 ``[D]``."""
    space = env.observation_space(params)
    if isinstance(space, spaces.Discrete):
        n = int(space.n)
        return (n,), lambda observation: jax.nn.one_hot(observation, n, dtype=jnp.float32).reshape(n)
    if not isinstance(space, spaces.Box):
        raise ValueError(_unsupported(id, "observation", space))
    # The space is only declared; the returned shape counts.
    observation, _ = jax.eval_shape(env.reset, jax.random.key(0), params)
    return tuple(observation.shape), lambda observation: observation.astype(jnp.float32).reshape(-1)


def _actions(id: str, space: Any) -> _Actions:
    """Reads an action space; a continuous action is flattened to ``[A]``."""
    if isinstance(space, spaces.Discrete):
        return _Actions(int(space.n), False, None, None, lambda action: jnp.asarray(action, space.dtype))
    if not isinstance(space, spaces.Box):
        raise ValueError(_unsupported(id, "action", space))
    low, high = (
        np.broadcast_to(np.asarray(bound, np.float32), space.shape).reshape(-1)
        for bound in (space.low, space.high)
    )

    def decode(action):
        return jnp.clip(jnp.asarray(action, jnp.float32), low, high).reshape(space.shape).astype(space.dtype)

    return _Actions(low.size, True, low, high, decode)


def _unsupported(id: str, kind: str, space: Any) -> str:
    return (
        f"environment {id!r} has {kind} space {space!r}; supported are Discrete and Box: "
        'wrap it in a function and pass "package.module:function"'
    )


def _scalar(value: Array, dtype: Any) -> Array:
    return jnp.asarray(value, dtype).reshape(())
