"""(b) Our training against rejax 0.1.3's PPO: same environment, network, recipe, width; one thread each."""

import math
from typing import Any

import gymnax
import jax
import jax.numpy as jnp
import numpy as np
from gymnax.environments import spaces

from benchmarks.tasks import BREAKOUT, CARTPOLE, PPO, inputs, shortened, steps
from benchmarks.timing import Figure, rate, ratio, rounds, timed
from discovery.inner.compile import run_chunk
from environments.task import Task


class FiveValues:
    """gymnax 1.0 as rejax 0.1.3 wants it: five-value steps and flat float observations."""

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


def _rejax(task: Task, width: int) -> Any:
    """rejax's training of `width` agents, compiled; call it to run it."""
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
    train = jax.jit(jax.vmap(RejaxPPO.train, in_axes=(None, 0))).lower(algorithm, keys).compile()
    return lambda: jax.block_until_ready(train(algorithm, keys))


def _against_rejax(task: Task, width: int, n: int) -> Figure:
    keys, lifetimes = inputs(task, width)
    seconds = rounds(
        {
            "ours": timed(lambda: run_chunk(PPO, task, {}, keys, lifetimes)),
            "rejax": timed(_rejax(task, width)),
        },
        n,
    )
    rates = {name: rate(steps(task, width), values) for name, values in seconds.items()}
    name = f"{task.name}, {width} agents per call: our speed / rejax's"
    return ratio(name, seconds["rejax"], seconds["ours"], rates, at_least=1.0)


def measure(n: int) -> list[Figure]:
    """Agents one at a time, and as many as our workers batch."""
    half = shortened(BREAKOUT, 0.5)
    return [
        _against_rejax(CARTPOLE, 1, n),
        _against_rejax(CARTPOLE, 8, n),
        _against_rejax(half, 1, n),
        _against_rejax(half, 2, n),
    ]
