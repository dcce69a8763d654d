"""How a learned optimizer imitates another optimizer: by the steps of a small agent's parameters."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from objectives.base import Algorithm, MetaParams, Progress
from objectives.family import Lesson

STEPS = 16
"""Steps of a synthetic training, over which optimizers are compared."""

TRAININGS = 2
"""Number of such trainings at once."""


def optimizer_answers(
    algorithm: Algorithm, meta_params: MetaParams, key: PRNGKeyArray, agent: Any
) -> Float[Array, "1 trainings steps n"]:
    """Steps of the parameters of a small actor-critic, over some minibatches of a training.

    Gradients are synthetic: their size is log-uniform in [1e-4, 1], and each element is the sum of a
    constant, a drifting part and noise. Activations are those for random observations. The length of the
    training and the position of the steps in it are random too. Each optimizer updates its own copy of the
    parameters.
    """
    keys = jax.random.split(key, TRAININGS)
    return jax.vmap(lambda k: _steps(algorithm, meta_params, k, agent))(keys)[None]


def _steps(
    algorithm: Algorithm, meta_params: MetaParams, key: PRNGKeyArray, agent: Any
) -> Float[Array, "steps n"]:
    key_params, key_size, key_persisting, key_life, key_begin, key_steps = jax.random.split(key, 6)
    shapes = jax.eval_shape(agent.init, key)
    params = jax.tree.map(lambda x: 0.3 * x, _like(key_params, shapes))  # quicker to compile than its `init`
    size = jnp.exp(jax.random.uniform(key_size, (), minval=jnp.log(1e-4), maxval=0.0))
    persisting = _like(key_persisting, params)
    n_updates = jnp.exp(jax.random.uniform(key_life, (), minval=jnp.log(20.0), maxval=jnp.log(2000.0)))
    begin = jax.random.uniform(key_begin) * n_updates
    optimizer = algorithm.optimizer(meta_params)

    def step(carry: tuple[Any, Any, Any], inputs: tuple[Array, Array]) -> tuple[Any, Array]:
        params, state, drifting = carry
        index, key = inputs
        key_drift, key_noise, key_seen, key_step = jax.random.split(key, 4)
        drifting = jax.tree.map(lambda d, e: 0.9 * d + 0.44 * e, drifting, _like(key_drift, params))
        noise = _like(key_noise, params)
        gradient = jax.tree.map(lambda p, d, e: size * (p + d + e) / 3**0.5, persisting, drifting, noise)
        progress = Progress(jnp.floor(begin + index // 8), jnp.ceil(n_updates), index % 8 // 2, 4)
        extra = {"key": key_step, "progress": progress, "param_info": agent.param_info}
        seen = _activations(agent, params, key_seen)
        updates, state = optimizer.update(gradient, state, params, activations=seen, **extra)
        params = jax.tree.map(jnp.add, params, updates)
        return (params, state, drifting), jnp.concatenate([x.ravel() for x in jax.tree.leaves(updates)])

    drifting = jax.tree.map(jnp.zeros_like, params)
    inputs = jnp.arange(STEPS), jax.random.split(key_steps, STEPS)
    return jax.lax.scan(step, (params, optimizer.init(params), drifting), inputs)[1]


def _like(key: PRNGKeyArray, tree: Any) -> Any:
    """Standard normal numbers in a tree's shapes, drawn at once: much quicker to compile."""
    leaves, treedef = jax.tree.flatten(tree)
    ends = np.cumsum([leaf.size for leaf in leaves])
    drawn = jnp.split(jax.random.normal(key, (ends[-1],)), ends[:-1])
    return jax.tree.unflatten(treedef, [x.reshape(y.shape) for x, y in zip(drawn, leaves, strict=True)])


def _activations(agent: Any, params: Any, key: PRNGKeyArray) -> Any:
    """Activations of the network on random observations."""
    observation = jax.random.normal(key, (16, 6))
    return agent.unroll(params, agent.initial_carry(16), observation, jnp.zeros(16, bool))[2]


LESSON = Lesson(optimizer_answers, lambda algorithm: True, "steps of the agent's parameters", 3e-3)
