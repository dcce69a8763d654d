"""Tasks that cannot be solved from the current observation: an agent needs memory.

* *repeat-first* (POPGym's RepeatFirst): symbols are shown one after another, and at every step the agent
  has to name the first of them.
* *repeat-previous* (POPGym's RepeatPrevious): it has to name the k-th symbol from the end, i.e. the one shown
  k - 1 steps ago.
* *cartpole-position* (POPGym's PositionOnlyCartPole): CartPole without the two velocities.
* *chain*: gymnax's MemoryChain with any length: a bit is shown, and asked for at the end.

The first two follow POPGym (Morad et al. 2023; github.com/proroklab/popgym): of `length` symbols, the first
is seen at the reset and one more after each of length - 1 actions. A right answer is worth as much as a wrong
one costs, so a perfect episode returns 1 and one of wrong answers -1. An action before the k-th symbol is
worth 0. The end is part of the task: `terminated`.

Differences: POPGym deals 52 cards without replacement, so later ones give some information about the first;
here all symbols are independent. The observation begins with a flag that marks an episode's first symbol, as
in POPGym's description and its first versions; it later dropped the flag.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray

from environments.base import Environment, Step, autoreset
from environments.gymnax import from_gymnax

Vary = Mapping[str, tuple[float, float]]


class SymbolState(NamedTuple):
    """Actions taken, and the symbols that are or will be asked for, the next one first."""

    time: Int[Array, ""]
    kept: Int[Array, " k"]


def repeat_first(vary: Vary, length: int = 52, symbols: int = 4) -> Environment:
    """Name the first symbol at every step; each answer is worth +-1 / (length - 1).

    Raises:
        ValueError: for invalid options or a nonempty `vary`, as for all of these tasks.
    """
    _check("repeat-first", vary, length=(length, 2), symbols=(symbols, 2))
    return _recall("repeat-first", length, symbols, 1)


def repeat_previous(vary: Vary, length: int = 52, symbols: int = 4, k: int = 4) -> Environment:
    """Name the k-th symbol from the end; each answer, from the k-th on, is worth +-1 / (length - k)."""
    _check("repeat-previous", vary, k=(k, 1), length=(length, k + 1), symbols=(symbols, 2))
    return _recall("repeat-previous", length, symbols, k)


def cartpole_position(vary: Vary) -> Environment:
    """CartPole-v1 with only the cart's position and the pole's angle observed."""
    full = from_gymnax("CartPole-v1", vary)

    def hide(observation: Float[Array, " 4"]) -> Float[Array, " 2"]:
        return observation[::2]

    def reset(key, level):
        state, observation = full.reset(key, level)
        return state, hide(observation)

    def step(key, state, action, level):
        state, taken = full.step(key, state, action, level)
        seen, final = hide(taken.observation), hide(taken.final_observation)
        return state, taken._replace(observation=seen, final_observation=final)

    return full._replace(
        id="memory/cartpole-position",
        observation_size=2,
        observation_shape=(2,),
        reset=reset,
        step=step,
    )


def chain(vary: Vary, length: int = 10) -> Environment:
    """gymnax's MemoryChain, as in bsuite (Osband et al. 2020): recall a bit after `length` more steps.

    Observations are (1 - t / length, which bit is asked for, the bit as +-1). As in bsuite, a step returns
    the observation of the state before it, so the bit is shown at the reset and again after the first step.
    The last of the length + 1 actions is the answer, worth 1 or -1.
    """
    _check("chain", vary, length=(length, 1))
    parameters = {"memory_length": length, "max_steps_in_episode": length + 2}  # it ends before
    environment = from_gymnax("MemoryChain-bsuite", parameters=parameters)
    return environment._replace(id="memory/chain", horizon=length + 1, shortest_truncation=length + 1)


TASKS: Mapping[str, Callable[..., Environment]] = {
    "repeat-first": repeat_first,
    "repeat-previous": repeat_previous,
    "cartpole-position": cartpole_position,
    "chain": chain,
}
"""Every task by name, as made by "memory/NAME"."""


def _check(name: str, vary: Vary, **counts: tuple[int, int]) -> None:
    """Raise unless nothing varies, and each (value, lowest) is a whole number not below its lowest."""
    if vary:
        raise ValueError(f"environment 'memory/{name}' has nothing that can vary, got {', '.join(vary)}")
    for option, (value, lowest) in counts.items():
        if isinstance(value, bool) or not isinstance(value, int) or value < lowest:
            raise ValueError(
                f"option {option!r} of 'memory/{name}' must be a whole number of at least {lowest}, "
                f"got {value!r}"
            )


def _recall(name: str, length: int, symbols: int, k: int) -> Environment:
    """Symbols of which the agent has to name the first, or the k-th from the end."""
    worth = 1.0 / (length - k)

    def observe(time: Array, symbol: Array) -> Float[Array, " D"]:
        return jnp.concatenate([jnp.atleast_1d(time == 0), jnp.arange(symbols) == symbol]).astype(jnp.float32)

    def reset(key: PRNGKeyArray, level: tuple[()]) -> tuple[SymbolState, Array]:
        symbol, time = jax.random.randint(key, (), 0, symbols), jnp.int32(0)
        return SymbolState(time, jnp.zeros(k, jnp.int32).at[-1].set(symbol)), observe(time, symbol)

    def step(
        key: PRNGKeyArray, state: SymbolState, action: Array, level: tuple[()]
    ) -> tuple[SymbolState, Step]:
        key_symbol, key_reset = jax.random.split(key)
        answer = jnp.where(action == state.kept[0], worth, -worth)
        reward = jnp.where(state.time >= k - 1, answer, 0.0).astype(jnp.float32)  # no weak type
        symbol, time = jax.random.randint(key_symbol, (), 0, symbols), state.time + 1
        kept = state.kept if name == "repeat-first" else jnp.append(state.kept[1:], symbol)
        reached = SymbolState(time, kept), observe(time, symbol)
        return autoreset(reset(key_reset, level), reached, reward, terminated=time >= length - 1)

    return Environment(
        id=f"memory/{name}",
        observation_size=symbols + 1,
        observation_shape=(symbols + 1,),
        n_actions=symbols,
        horizon=length - 1,
        sample_level=lambda key: (),
        reset=reset,
        step=step,
    )
