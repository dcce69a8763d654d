"""The adapter for brax 0.14: its quirks end here.

What brax does, and what leaves this file instead:

* its auto-reset forgets the observation an episode ended in, and returns to the same first state for
  ever -> `final_observation`, and a fresh random start for every episode (`starts`);
* `done` covers time limits, as a float -> `terminated` and `truncated`;
* an action repeated beyond the end of an episode goes on being rewarded -> it stops there;
* actions are expected in [-1, 1] -> clipped;
* swimmer's water calls jax by an argument name that is gone -> `_mended`;
* loading a model warns, prints, and leaves a log file behind -> `_quiet`.

Brax environments are frozen benchmarks: only its training code is maintained since 0.13.
"""

import contextlib
import copy
import importlib
import io
import warnings
from collections.abc import Iterator, Mapping, Sequence
from types import SimpleNamespace
from typing import Any, Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int, PRNGKeyArray

from environments.base import Environment, Step, uniform_levels

Backend = Literal["generalized", "positional", "spring", "mjx"]
Starts = Literal["bank", "fresh", "same"]

ONLY: Mapping[str, tuple[str, ...]] = {"swimmer": ("generalized",)}
"""Environments that do not go together with every backend, and the backends they do go with."""

VARIABLE = ("gravity", "mass")
"""What `vary` can change: factors on the model's gravity, and on the mass and inertia of every link."""


class BraxState(NamedTuple):
    """A running instance.

    Attributes:
        env: brax's own state.
        time: control steps of the episode so far, repeats included.
        bank: prepared first states ``[B, ...]``: the next episodes begin in them, in turn; or the one
            first state, where `starts` is "same"; or the empty tuple.
        used: how many of them were used.
    """

    env: Any
    time: Int[Array, ""]
    bank: Any
    used: Int[Array, ""]


def from_brax(
    name: str,
    vary: Mapping[str, tuple[float, float]],
    backend: str = "generalized",
    episode_length: int = 1000,
    action_repeat: int = 1,
    starts: str = "bank",
    bank: int = 4,
) -> Environment:
    """Makes the brax environment `name`.

    Args:
        name: as brax registers it, for example "ant".
        vary: of `VARIABLE`, lowest and highest factor; a level draws each uniformly.
        backend: "generalized", "positional", "spring" or "mjx".
        episode_length: control steps after which an episode is truncated.
        action_repeat: control steps that each action is applied for; rewards are added.
        starts: where episodes begin. "fresh": each from its own reset, which is computed at every
            step and costs up to 12%. "bank": each from one of `bank` resets that are renewed once per
            rollout, used in turn. "same": as brax does, always in the state that the instance began in.
        bank: B, prepared resets per instance.

    Raises:
        ValueError: unknown names, or an environment and a backend that do not go together.
    """
    library = _import()
    _check_names(name, sorted(library._envs), vary, backend, starts)
    _check_numbers(name, episode_length=episode_length, action_repeat=action_repeat, bank=bank)
    with _quiet():
        env = library.get_environment(name, backend=backend)
    if vary and not hasattr(env, "sys"):
        raise ValueError(f"environment 'brax/{name}' has no physics that could vary, got {list(vary)}")
    size = jax.eval_shape(env.reset, jax.random.key(0)).obs.shape[-1]  # brax computes a whole reset for it

    def begin(key: PRNGKeyArray, level: Any) -> Any:
        return _strong(_with(env, level).reset(key))

    def prepare(key: PRNGKeyArray, level: Any) -> Any:
        return jax.vmap(lambda key_of: begin(key_of, level))(jax.random.split(key, bank))

    def reset(key: PRNGKeyArray, level: Any) -> tuple[BraxState, Array]:
        if starts == "bank":
            prepared = prepare(key, level)
            first = jax.tree.map(lambda leaf: leaf[0], prepared)
            return BraxState(first, jnp.int32(0), prepared, jnp.int32(1)), first.obs
        first = begin(key, level)
        return BraxState(first, jnp.int32(0), first if starts == "same" else (), jnp.int32(0)), first.obs

    def next_first(key: PRNGKeyArray, state: BraxState, level: Any) -> Any:
        if starts == "fresh":
            return begin(key, level)
        if starts == "same":
            return state.bank
        return jax.tree.map(lambda leaf: leaf[state.used % bank], state.bank)

    def step(key: PRNGKeyArray, state: BraxState, action: Array, level: Any) -> tuple[BraxState, Step]:
        moving = _with(env, level)
        action = jnp.clip(jnp.asarray(action, jnp.float32), -1.0, 1.0)

        def once(carry: tuple[Any, Array, Array], _: None) -> tuple[tuple[Any, Array, Array], None]:
            now, total, time = carry
            then = _strong(moving.step(now, action))
            after = (then, total + then.reward, time + 1)
            if action_repeat == 1:  # nothing is over before the first
                return after, None
            over = (now.done > 0) | (time >= episode_length)
            return _where(over, carry, after), None

        begun = (state.env, jnp.float32(0), state.time)
        (reached, reward, time), _ = jax.lax.scan(once, begun, None, length=action_repeat)
        terminated, truncated = reached.done > 0, time >= episode_length
        over = terminated | truncated
        first = next_first(key, state, level)
        now = _where(over, first, reached)
        state = BraxState(now, jnp.where(over, 0, time), state.bank, state.used + over)
        return state, Step(
            observation=now.obs,
            reward=jnp.asarray(reward, jnp.float32),
            terminated=terminated,
            truncated=truncated,
            final_observation=reached.obs,
        )

    def refresh(key: PRNGKeyArray, state: BraxState, level: Any) -> BraxState:
        return state._replace(bank=prepare(key, level), used=jnp.int32(0))

    return Environment(
        id=f"brax/{name}",
        observation_size=size,
        observation_shape=(size,),
        n_actions=int(env.action_size),
        continuous=True,
        action_low=-np.ones(env.action_size, np.float32),
        action_high=np.ones(env.action_size, np.float32),
        horizon=-(-episode_length // action_repeat),
        sample_level=uniform_levels(vary),
        reset=reset,
        step=step,
        refresh=refresh if starts == "bank" else None,
    )


def _import() -> Any:
    """brax.envs, quietly, and mended."""
    with _quiet(), contextlib.redirect_stdout(io.StringIO()):  # it prints what else is not installed
        import brax.envs
        import brax.fluid

    brax.fluid.jp = _mended()
    return brax.envs


def _mended() -> Any:
    """jax.numpy for brax.fluid, which calls the lower bound of `clip` `a_min`, as jax did before 0.10."""
    return SimpleNamespace(**{**vars(jnp), "clip": lambda x, a_min: jnp.maximum(x, a_min)})


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silences brax, which announces its retirement, and mujoco, which deprecates what its models use."""
    mujoco: Any = importlib.import_module("mujoco")  # its types lack what its library defines
    mujoco.set_mju_user_warning(lambda _: None)  # else also MUJOCO_LOG.TXT in the working directory
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        mujoco.set_mju_user_warning(None)


def _check_names(name: str, names: Sequence[str], vary: Mapping[str, Any], backend: str, starts: str) -> None:
    """One clear message for what does not exist, or does not go together."""
    if name not in names:
        raise ValueError(f"no environment is called 'brax/{name}'; there are: {', '.join(names)}")
    choices = [("backend", backend, get_args(Backend)), ("starts", starts, get_args(Starts))]
    for what, given, known in choices + [("parameter to vary", parameter, VARIABLE) for parameter in vary]:
        if given not in known:
            raise ValueError(
                f"environment 'brax/{name}' has no {what} {given!r}; there are: {', '.join(known)}"
            )
    fitting = ONLY.get(name, get_args(Backend))
    if backend not in fitting:
        raise ValueError(
            f"environment 'brax/{name}' does not go together with backend {backend!r}; "
            f"use {' or '.join(fitting)}"
        )


def _check_numbers(name: str, **numbers: int) -> None:
    for option, value in numbers.items():
        if value < 1:
            raise ValueError(f"{option} of environment 'brax/{name}' must be at least 1, got {value}")


def _where(condition: Array, a: Any, b: Any) -> Any:
    """`a` where the condition holds, else `b`, for trees."""
    return jax.tree.map(lambda x, y: jnp.where(condition, x, y), a, b)


def _with(env: Any, level: Any) -> Any:
    """The environment with a level's physics."""
    if not level:
        return env
    gravity, mass = level.get("gravity", 1.0), level.get("mass", 1.0)
    system, inertia = env.sys, env.sys.link.inertia
    changed = copy.copy(env)
    changed.sys = system.tree_replace(
        {
            "gravity": system.gravity * gravity,  # brax's own backends read these
            "link.inertia.mass": inertia.mass * mass,
            "link.inertia.i": inertia.i * mass,
            "opt.gravity": system.opt.gravity * gravity,  # and mjx these
            "body_mass": system.body_mass * mass,
            "body_subtreemass": system.body_subtreemass * mass,
            "body_inertia": system.body_inertia * mass,
        }
    )
    return changed


def _strong(state: Any) -> Any:
    """Arrays whose types never change, and float32 observations."""
    state = jax.tree.map(lambda leaf: jnp.asarray(leaf).astype(jnp.asarray(leaf).dtype), state)
    return state.replace(obs=state.obs.astype(jnp.float32))
