"""The adapter for brax 0.14.

What brax does -> what this adapter does instead:

* its auto-reset drops the last observation of an episode, and always returns to the same first state ->
  `final_observation`, and a fresh random start for every episode (`starts`);
* `done` covers time limits, as a float -> `terminated` and `truncated`;
* an action repeated beyond the end of an episode still gets rewards -> it stops there;
* actions are expected in [-1, 1] -> clipped;
* backends "spring" and "positional" take masses to a power of the model's, for ant and hopper to the power
  0, so masses have no effect -> factors act on the backend's values (`_inertia`);
* swimmer's water uses a removed argument name of jax -> `_mended`;
* loading a model warns, prints, and writes a log file -> `_quiet`.

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
from jaxtyping import Array, Int

from environments.base import Environment, uniform_levels
from environments.episodes import Game, strong, with_episodes

Backend = Literal["generalized", "positional", "spring", "mjx"]
Starts = Literal["bank", "fresh", "same"]

ONLY: Mapping[str, tuple[str, ...]] = {"swimmer": ("generalized",)}
"""Environments that do not support every backend, and their backends."""

VARIABLE = ("gravity", "mass")
"""Parameters of `vary`: factors on the model's gravity, and on the mass and inertia of every link."""


class Repeated(NamedTuple):
    """brax's own state, and the control steps of the episode so far, repeats included."""

    env: Any
    time: Int[Array, ""]


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
        ValueError: unknown names, or a backend that the environment does not support.
    """
    library = _import()
    _check_names(name, sorted(library._envs), vary, backend, starts)
    _check_numbers(name, episode_length=episode_length, action_repeat=action_repeat, bank=bank)
    with _quiet():
        env = library.get_environment(name, backend=backend)
    if vary and not hasattr(env, "sys"):
        raise ValueError(f"environment 'brax/{name}' has no physics that could vary, got {list(vary)}")

    def begin(key: Array, level: Any) -> tuple[Repeated, Array]:
        first = _with(env, level).reset(key)
        return Repeated(first, jnp.int32(0)), first.obs

    def move(key: Array, state: Repeated, action: Array, level: Any) -> tuple[Repeated, Array, Array, Array]:
        moving = _with(env, level)
        action = jnp.clip(jnp.asarray(action, jnp.float32), -1.0, 1.0)

        def once(carry: tuple[Repeated, Array], _: None) -> tuple[tuple[Repeated, Array], None]:
            now, total = carry
            then = strong(moving.step(now.env, action))
            after = (Repeated(then, now.time + 1), total + then.reward)
            if action_repeat == 1:  # nothing ends before the first step
                return after, None
            over = (now.env.done > 0) | (now.time >= episode_length)
            return jax.tree.map(lambda old, new: jnp.where(over, old, new), carry, after), None

        (reached, reward), _ = jax.lax.scan(once, (state, jnp.float32(0)), None, length=action_repeat)
        return reached, reached.env.obs, reward, reached.env.done > 0

    bound = np.ones(env.action_size, np.float32)
    return with_episodes(
        f"brax/{name}",
        Game(begin, move, int(env.action_size), (-bound, bound)),
        -(-episode_length // action_repeat),
        bank={"fresh": 0, "same": 1, "bank": bank}[starts],
        sample_level=uniform_levels(vary),
        renew=starts == "bank",
    )


def _import() -> Any:
    """brax.envs, without output and with fixes."""
    with _quiet(), contextlib.redirect_stdout(io.StringIO()):  # it prints which packages are not installed
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
    mujoco: Any = importlib.import_module("mujoco")  # its type stubs are incomplete
    mujoco.set_mju_user_warning(lambda _: None)  # else also MUJOCO_LOG.TXT in the working directory
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        mujoco.set_mju_user_warning(None)


def _check_names(name: str, names: Sequence[str], vary: Mapping[str, Any], backend: str, starts: str) -> None:
    """One clear message for names that do not exist, or combinations that are not supported."""
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
            f"environment 'brax/{name}' does not support backend {backend!r}; use {' or '.join(fitting)}"
        )


def _check_numbers(name: str, **numbers: int) -> None:
    for option, value in numbers.items():
        if value < 1:
            raise ValueError(f"{option} of environment 'brax/{name}' must be at least 1, got {value}")


def _with(env: Any, level: Any) -> Any:
    """The environment with a level's physics; brax's backends and mjx read different fields."""
    if not level:
        return env
    changed, system = copy.copy(env), env.sys
    different: dict[str, Array] = {}
    if "gravity" in level:
        different |= {
            "gravity": system.gravity * level["gravity"],
            "opt.gravity": system.opt.gravity * level["gravity"],
        }
    if "mass" in level:
        different |= {
            **_inertia(system, level["mass"], env.backend),
            "body_mass": system.body_mass * level["mass"],
            "body_subtreemass": system.body_subtreemass * level["mass"],
            "body_inertia": system.body_inertia * level["mass"],
        }
    changed.sys = system.tree_replace(different)
    return changed


def _inertia(system: Any, factor: Array, backend: str) -> dict[str, Array]:
    """The links' masses and inertias times a factor, as a backend of brax uses them.

    "spring" and "positional" use m ** (1 - s) for a mass and the same, with another s, for the diagonal
    of an inertia. The factor belongs to the power, so the powers are computed here, and s is 0 from then on.
    """
    mass, inertia = system.link.inertia.mass, system.link.inertia.i
    if backend not in ("spring", "positional"):
        return {"link.inertia.mass": mass * factor, "link.inertia.i": inertia * factor}
    diagonal = jnp.diagonal(inertia, axis1=-2, axis2=-1) ** (1 - system.spring_inertia_scale)
    return {
        "link.inertia.mass": mass ** (1 - system.spring_mass_scale) * factor,
        "link.inertia.i": jax.vmap(jnp.diag)(diagonal) * factor,
        "spring_mass_scale": jnp.zeros(()),
        "spring_inertia_scale": jnp.zeros(()),
    }
