"""(g) Learned optimizers against Adam: a step alone, and whole trainings, on the recipe for MinAtar.

Seconds are those that the process computes, which other programs on the machine do not change.
"""

import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.tasks import BREAKOUT, PPO, inputs, shortened
from benchmarks.timing import Figure, ratio, rounds
from discovery.core.jobs import AlgorithmSpec
from discovery.inner.compile import _compiler_options, build_algorithm, run_chunk
from discovery.inner.loops.on_policy import complete, parts
from environments.task import Task
from objectives.base import Progress

TASK = shortened(BREAKOUT, 1 / 3)
STEPS = 20
MINIBATCH = TASK.setup.steps_per_update // TASK.setup.n_minibatches
RULES = {
    "OPEN": AlgorithmSpec("open"),
    "OPEN, multi-task": AlgorithmSpec("open", (("gru_width", 16), ("width", 32))),
    "OPEN, feed-forward": AlgorithmSpec("open", (("gru_width", 0),)),
    "Optim4RL": AlgorithmSpec("optim4rl"),
}
LIMIT = 4.0
"""How many times as long as with Adam a training with OPEN may take."""


def computing(run: Callable[[], object]) -> Callable[[], float]:
    """`run` as a function that returns how many seconds of computing it took."""

    def call() -> float:
        started = time.process_time()
        run()
        return time.process_time() - started

    return call


def weights(spec: AlgorithmSpec) -> dict[str, Any]:
    """Searched entries that do something, small enough not to break the agent."""
    shapes = jax.eval_shape(build_algorithm(spec).init, jax.random.key(0))
    rng = np.random.default_rng(0)
    return jax.tree.map(lambda s: rng.normal(0, 0.1, s.shape).astype(np.float32), shapes)


def stepping(spec: AlgorithmSpec, task: Task = TASK) -> Callable[[], object]:
    """`STEPS` steps of the optimizer alone, on one agent of the task."""
    algorithm = build_algorithm(spec)
    _, network = parts(algorithm, task.setup)
    meta_params = complete(algorithm, task.numbers, weights(spec))
    params = network.init(jax.random.key(0))
    observation = jnp.ones((MINIBATCH, params["actor"]["hidden_0"]["kernel"].shape[0]))
    _, _, activations = network.unroll(params, {}, observation, jnp.zeros(MINIBATCH, bool))
    optimizer = algorithm.optimizer(meta_params)

    def step(carry: Any, key: Any) -> tuple[Any, None]:
        params, state = carry
        gradients = jax.tree.map(lambda p: 0.1 * p + 1e-3, params)
        updates, state = optimizer.update(
            gradients,
            state,
            params,
            key=key,
            progress=Progress(1, 10, 1, 4),
            activations=activations,
            param_info=network.param_info,
        )
        return (jax.tree.map(jnp.add, params, updates), state), None

    def steps(carry: Any, keys: Any) -> Any:
        return jax.lax.scan(step, carry, keys)[0]

    program = jax.jit(steps, compiler_options=_compiler_options())
    start, keys = (params, optimizer.init(params)), jax.random.split(jax.random.key(1), STEPS)
    return lambda: jax.block_until_ready(program(start, keys))


def training(spec: AlgorithmSpec, agents: int) -> Callable[[], object]:
    """Whole trainings of `agents` side by side."""
    keys, lifetimes = inputs(TASK, agents)
    searched = jax.tree.map(lambda w: np.stack([w] * agents), weights(spec))
    return lambda: run_chunk(spec, TASK, searched, keys, lifetimes)


def measure(n: int) -> list[Figure]:
    """A step of every rule of `RULES`, and trainings with OPEN, one agent and four side by side."""
    figures = []
    seconds = rounds({name: computing(stepping(s)) for name, s in {"Adam": PPO, **RULES}.items()}, n)
    for name in RULES:
        notes = {who: f"{1e3 * _median(seconds[who]) / STEPS:.2f} ms" for who in (name, "Adam")}
        figures.append(ratio(f"a step of {name} / of Adam", seconds[name], seconds["Adam"], notes))
    updates = TASK.n_updates
    for agents in (1, 4):
        seconds = rounds(
            {
                name: computing(training(s, agents))
                for name, s in {"Adam": PPO, "OPEN": RULES["OPEN"]}.items()
            },
            n,
        )
        notes = {
            who: f"{1e3 * _median(found) / updates / agents:.0f} ms a rollout"
            for who, found in seconds.items()
        }
        figures.append(
            ratio(
                f"training with OPEN / with Adam, {agents} side by side",
                seconds["OPEN"],
                seconds["Adam"],
                notes,
                at_most=LIMIT,
            )
        )
    return figures


def _median(seconds: list[float | None]) -> float:
    return float(np.median([s for s in seconds if s is not None]))
