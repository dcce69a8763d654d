"""(g) Learned optimizers against Adam: single steps, and whole trainings, with the recipe for MinAtar.

Seconds are CPU time of the process, so that other programs on the machine do not influence them.
"""

import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.tasks import BREAKOUT, PPO, inputs, shortened
from benchmarks.timing import Figure, median, ratio, rounds, timed
from discovery.core.jobs import AlgorithmSpec
from discovery.inner.compile import build_algorithm, compiler_options, run_chunk
from discovery.inner.loops.on_policy import complete, parts
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
"""The goal: a training with OPEN takes at most this many times as long as with Adam."""


def weights(spec: AlgorithmSpec) -> dict[str, Any]:
    """Random searched entries, small enough that the agent does not diverge."""
    shapes = jax.eval_shape(build_algorithm(spec).init, jax.random.key(0))
    rng = np.random.default_rng(0)
    return jax.tree.map(lambda s: rng.normal(0, 0.1, s.shape).astype(np.float32), shapes)


def stepping(spec: AlgorithmSpec) -> Callable[[], object]:
    """`STEPS` steps of the optimizer, on one agent of the task."""
    algorithm = build_algorithm(spec)
    _, network = parts(algorithm, TASK.setup)
    meta_params = complete(algorithm, TASK.numbers, weights(spec))
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

    program = jax.jit(steps, compiler_options=compiler_options())
    start, keys = (params, optimizer.init(params)), jax.random.split(jax.random.key(1), STEPS)
    return lambda: jax.block_until_ready(program(start, keys))


def training(spec: AlgorithmSpec, agents: int) -> Callable[[], object]:
    """Whole trainings of `agents` in one call."""
    keys, lifetimes = inputs(TASK, agents)
    searched = jax.tree.map(lambda w: np.stack([w] * agents), weights(spec))
    return lambda: run_chunk(spec, TASK, searched, keys, lifetimes)


def measure(n: int) -> list[Figure]:
    """A step of every rule of `RULES`, and trainings with OPEN, of one agent and of four in one call."""
    figures, clock = [], time.process_time
    seconds = rounds({name: timed(stepping(s), clock) for name, s in {"Adam": PPO, **RULES}.items()}, n)
    for name in RULES:
        notes = {who: f"{1e3 * median(seconds[who]) / STEPS:.2f} ms" for who in (name, "Adam")}
        figures.append(ratio(f"a step of {name} / of Adam", seconds[name], seconds["Adam"], notes))
    for agents in (1, 4):
        specs = {"Adam": PPO, "OPEN": RULES["OPEN"]}
        seconds = rounds({name: timed(training(s, agents), clock) for name, s in specs.items()}, n)
        rollouts = TASK.n_updates * agents
        notes = {who: f"{1e3 * median(found) / rollouts:.0f} ms a rollout" for who, found in seconds.items()}
        name = f"training with OPEN / with Adam, {agents} side by side"
        figures.append(ratio(name, seconds["OPEN"], seconds["Adam"], notes, at_most=LIMIT))
    return figures
