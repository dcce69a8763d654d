"""(b) Our training against rejax 0.1.3's PPO: same environment, network, recipe, width; one thread each."""

import math
from collections.abc import Callable
from typing import Any

import gymnax
import jax
import jax.numpy as jnp
import numpy as np
from gymnax.environments import spaces

from benchmarks.tasks import BREAKOUT, CARTPOLE, PPO, inputs, shortened, steps
from benchmarks.timing import Figure, rate, ratio, rounds, timed
from discovery.inner.compile import compiler_options, run_chunk
from environments.task import Task

_HALF = shortened(BREAKOUT, 0.5)
CALLS = ((CARTPOLE, 1), (CARTPOLE, 8), (_HALF, 1), (_HALF, 2))
"""Tasks and agents per call: one agent, and as many as our workers batch."""


class FiveValues:
    """gymnax 1.0 with the interface that rejax 0.1.3 expects: five-value steps, flat float observations."""

    def __init__(self, environment: Any) -> None:
        self._environment = environment

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self._environment, name)

    def observation_space(self, params: Any) -> Any:
        shape = self._environment.observation_space(params).shape
        return spaces.Box(-np.inf, np.inf, (math.prod(shape),))

    def reset(self, key: Any, params: Any) -> Any:
        observation, state = self._environment.reset(key, params)
        return observation.reshape(-1).astype(jnp.float32), state

    def step(self, key: Any, state: Any, action: Any, params: Any) -> Any:
        out = self._environment.step(key, state, action, params)
        observation, state, reward, terminated, truncated, info = out
        return observation.reshape(-1).astype(jnp.float32), state, reward, terminated | truncated, info


def rejax_program(task: Task, width: int) -> tuple[Any, tuple[Any, ...]]:
    """rejax's training of `width` agents under one vmap on an environment of gymnax, compiled as ours is for
    this device; and its arguments.
    """
    from rejax import PPO as RejaxPPO

    environment, params = gymnax.make(task.setup.environment)
    setup, numbers, total = task.setup, task.numbers, steps(task, 1)
    algorithm = RejaxPPO.create(
        env=FiveValues(environment),
        env_params=params,
        agent_kwargs={"activation": setup.activation, "hidden_layer_sizes": setup.hidden},
        num_envs=setup.n_envs,
        num_steps=setup.n_steps,
        num_epochs=setup.n_epochs,
        num_minibatches=setup.n_minibatches,
        learning_rate=numbers["learning_rate"],
        ent_coef=numbers["entropy_coef"],
        max_grad_norm=0.5,
        gamma=0.99,
        gae_lambda=0.95,
        clip_eps=0.2,
        vf_coef=0.5,
        total_timesteps=total,
        eval_freq=total,
        skip_initial_evaluation=True,
    )
    algorithm = algorithm.replace(eval_callback=lambda algorithm, state, key: (jnp.zeros(()), jnp.zeros(())))
    keys = jax.random.split(jax.random.key(0), width)
    train = jax.jit(jax.vmap(RejaxPPO.train, in_axes=(None, 0))).lower(algorithm, keys)
    return train.compile(compiler_options=compiler_options()), (algorithm, keys)


def _rejax(task: Task, width: int) -> Callable[[], object]:
    program, arguments = rejax_program(task, width)
    return lambda: jax.block_until_ready(program(*arguments))


def compared(library: str, theirs: Callable[[], object], task: Task, width: int, n: int) -> Figure:
    """Our speed over a library's, whose training of the same task and width is `theirs`."""
    keys, lifetimes = inputs(task, width)
    ours = timed(lambda: run_chunk(PPO, task, {}, keys, lifetimes))
    seconds = rounds({"ours": ours, library: timed(theirs)}, n)
    rates = {name: rate(steps(task, width), values) for name, values in seconds.items()}
    name = f"{task.name}, {width} agents per call: our speed / {library}'s"
    return ratio(name, seconds[library], seconds["ours"], rates, at_least=1.0)


def measure(n: int) -> list[Figure]:
    """Every call of `CALLS`."""
    return [compared("rejax", _rejax(task, width), task, width, n) for task, width in CALLS]
