"""(e) Environments through our adapters against the bare libraries, with random actions; one thread each.

Both sides are one jitted scan over E instances with auto-reset, as a user of either would write it: gymnax
resets by itself, brax with an option of `brax.envs.create`. Our adapters keep what the libraries drop (final
observations, fresh initial states); the ratio shows the cost of that.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import gymnax
import jax

from benchmarks.timing import Figure, rate, ratio, rounds, timed
from environments.base import Environment
from environments.make import make


class World(NamedTuple):
    """An environment, and how many steps to take: E instances for T steps, in `repeats` rollouts."""

    id: str
    n_envs: int
    n_steps: int
    options: dict[str, Any] = {}  # noqa: RUF012
    repeats: int = 1


WORLDS = (
    World("CartPole-v1", 64, 128, repeats=400),
    World("Breakout-MinAtar", 64, 128, repeats=60),
    World("Pendulum-v1", 64, 128, repeats=400),
    World("brax/inverted_pendulum", 64, 128, repeats=16),
    World("brax/reacher", 64, 128, {"backend": "generalized"}, repeats=2),
    World("brax/ant", 64, 128, {"backend": "spring"}, repeats=2),
)


def random_actions(environment: Environment, n_envs: int, key: Any) -> Any:
    """Uniform, within bounds."""
    if not environment.continuous:
        return jax.random.randint(key, (n_envs,), 0, environment.n_actions)
    low, high = environment.action_low, environment.action_high
    assert low is not None and high is not None
    return jax.random.uniform(key, (n_envs, environment.n_actions), minval=low, maxval=high)


def ours(world: World) -> tuple[Callable[..., Any], Any]:
    """A rollout through our adapter, and its initial state."""
    environment = make(world.id, world.options)
    level = environment.sample_level(jax.random.key(0))
    steps = jax.vmap(environment.step, in_axes=(0, 0, 0, None))

    def act(state: Any, key: Any) -> tuple[Any, Any]:
        key_action, key_step = jax.random.split(key)
        action = random_actions(environment, world.n_envs, key_action)
        state, step = steps(jax.random.split(key_step, world.n_envs), state, action, level)
        return state, (step.reward.sum(), step.observation.sum(), step.final_observation.sum())

    def play(state: Any, key: Any) -> tuple[Any, Any]:
        if environment.refresh is not None:
            keys = jax.random.split(key, world.n_envs)
            state = jax.vmap(environment.refresh, in_axes=(0, 0, None))(keys, state, level)
        return jax.lax.scan(act, state, jax.random.split(key, world.n_steps))

    keys = jax.random.split(jax.random.key(0), world.n_envs)
    return play, jax.jit(jax.vmap(environment.reset, in_axes=(0, None)))(keys, level)[0]


def bare(world: World) -> tuple[Callable[..., Any], Any]:
    """The same with the bare library."""
    if world.id.startswith("brax/"):
        return _bare_brax(world)
    environment = make(world.id)
    env, params = gymnax.make(world.id)
    keys = jax.random.split(jax.random.key(0), world.n_envs)

    def act(state: Any, key: Any) -> tuple[Any, Any]:
        key_action, key_step = jax.random.split(key)
        action = random_actions(environment, world.n_envs, key_action)
        step = jax.vmap(env.step, in_axes=(0, 0, 0, None))
        observation, state, reward, _, _, info = step(
            jax.random.split(key_step, world.n_envs), state, action, params
        )
        return state, (reward.sum(), observation.sum(), info["final_observation"].sum())

    def play(state: Any, key: Any) -> tuple[Any, Any]:
        return jax.lax.scan(act, state, jax.random.split(key, world.n_steps))

    _, state = jax.jit(jax.vmap(env.reset, in_axes=(0, None)))(keys, params)
    return play, jax.tree.map(lambda leaf: leaf.astype(leaf.dtype), state)  # a carry keeps its types


def _bare_brax(world: World) -> tuple[Callable[..., Any], Any]:
    from brax import envs

    environment = make(world.id, world.options)
    name = world.id.removeprefix("brax/")
    env = envs.create(name, auto_reset=True, batch_size=world.n_envs, **world.options)

    def act(state: Any, key: Any) -> tuple[Any, Any]:
        state = env.step(state, random_actions(environment, world.n_envs, key))
        return state, (state.reward.sum(), state.obs.sum())

    def play(state: Any, key: Any) -> tuple[Any, Any]:
        return jax.lax.scan(act, state, jax.random.split(key, world.n_steps))

    return play, jax.jit(env.reset)(jax.random.key(0))


def repeated(side: tuple[Callable[..., Any], Any], world: World) -> Callable[[], None]:
    """`world.repeats` rollouts that continue from the last state, compiled on the first call."""
    play, state = side
    program = jax.jit(play)
    kept = [state]
    keys = list(jax.random.split(jax.random.key(1), world.repeats))

    def run() -> None:
        for key in keys:
            kept[0], out = program(kept[0], key)
        jax.block_until_ready(out)

    return run


def compared(world: World, n: int) -> Figure:
    """Our speed relative to the library's."""
    seconds = rounds(
        {"ours": timed(repeated(ours(world), world)), "bare": timed(repeated(bare(world), world))}, n
    )
    steps = world.n_envs * world.n_steps * world.repeats
    rates = {name: rate(steps, values) for name, values in seconds.items()}
    options = "".join(f", {value}" for value in world.options.values())
    name = f"{world.id}{options}, {world.n_envs} instances: our stepping / the bare library's"
    return ratio(name, seconds["bare"], seconds["ours"], rates, at_least=0.95)


def measure(n: int) -> list[Figure]:
    """Every environment of `WORLDS`."""
    return [compared(world, n) for world in WORLDS]
