"""What a family of algorithms learns when it imitates another: the same questions to both, on made-up inputs.

A lesson answers for one searched entry: ``(algorithm, meta_params, key) -> [answers, ...]``. The key makes
the inputs; the agents of a student that answers as its teacher learn as the teacher's. Goldie et al. 2025
(arXiv 2507.17668) distill optimizers and drifts in this way, with no training of an agent.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from discovery.inner.networks.network import Body, Network, make_network
from objectives.base import Algorithm, MetaParams, Progress
from objectives.parts import actor_critic_policy

Answers = Callable[[Algorithm, MetaParams, PRNGKeyArray], Float[Array, "K ..."]]


class Lesson(NamedTuple):
    """One kind of imitation.

    Attributes:
        answers: of which ``[k]`` has a scale of its own, by which its errors are divided.
        suits: whether an algorithm can be asked.
        what: the answers, in words.
        learning_rate: of the student, at first.
    """

    answers: Answers
    suits: Callable[[Algorithm], bool]
    what: str
    learning_rate: float


SAMPLES = 2048
"""Inputs of a step, of drifts and policies."""

ACTIONS = 4
"""Of the policies that are compared."""

STEPS = 16
"""Steps of a made-up training, over which optimizers are compared."""

TRAININGS = 2
"""So many of them at once."""


def loss_answers(algorithm: Algorithm, meta_params: MetaParams, key: PRNGKeyArray) -> Float[Array, "2 B"]:
    """Drift f = loss + r A, and slope d loss / d log r, at the points of `loss_inputs`.

    As everywhere (`Objective.drift`), what f has at r = 1 is taken off.
    """
    policy_loss = algorithm.policy_loss
    assert policy_loss is not None

    def one(log_ratio: Array, advantage: Array, fraction: Array) -> Array:
        progress = Progress(fraction, 1)  # type: ignore[arg-type]  # its `fraction` is then exactly this one

        def loss(x: Array) -> Array:
            return policy_loss.per_sample(meta_params, x, jnp.zeros_like(x), advantage, progress)

        here, slope = jax.value_and_grad(loss)(log_ratio)
        drift = here + jnp.exp(log_ratio) * advantage - loss(jnp.zeros_like(log_ratio)) - advantage
        return jnp.stack([drift, slope])

    return jax.vmap(one, out_axes=1)(*loss_inputs(key))


def loss_inputs(key: PRNGKeyArray) -> tuple[Float[Array, " B"], Float[Array, " B"], Float[Array, " B"]]:
    """Log-ratios, advantages and n/N.

    Half of the log-ratios are such as PPO's agents meet, N(0, 0.1^2), half lie anywhere in [-1.5, 1.5]; half
    of the advantages are N(0, 1), half lie anywhere in [-4, 4]; n/N anywhere in [0, 1].
    """
    keys = jax.random.split(key, 7)
    log_ratio = _either(keys[0], 0.1 * jax.random.normal(keys[1], (SAMPLES,)), _uniform(keys[2], 1.5))
    advantage = _either(keys[3], jax.random.normal(keys[4], (SAMPLES,)), _uniform(keys[5], 4.0))
    return log_ratio, advantage, jax.random.uniform(keys[6], (SAMPLES,))


def policy_answers(algorithm: Algorithm, meta_params: MetaParams, key: PRNGKeyArray) -> Float[Array, "1 B A"]:
    """Probabilities of four actions by their scores: N(0, s^2), log s anywhere in [log 0.1, log 10]."""
    key_scale, key_score, key_time = jax.random.split(key, 3)
    scale = jnp.exp(jax.random.uniform(key_scale, (SAMPLES, 1), minval=jnp.log(0.1), maxval=jnp.log(10.0)))
    scores = scale * jax.random.normal(key_score, (SAMPLES, ACTIONS))
    progress = Progress(jax.random.uniform(key_time, ()) * 100.0, 100)  # type: ignore[arg-type]
    outputs = {"scores": scores, "logits": scores}
    distribution = algorithm.policy.distribution(meta_params, outputs, progress)
    every = [distribution.log_prob(jnp.full(SAMPLES, action)) for action in range(ACTIONS)]
    return jnp.exp(jnp.stack(every, axis=-1))[None]


def optimizer_answers(
    algorithm: Algorithm, meta_params: MetaParams, key: PRNGKeyArray
) -> Float[Array, "1 trainings steps n"]:
    """Steps of the parameters of a small actor-critic, over some minibatches of a life.

    Gradients are made up: of a size log-uniform in [1e-4, 1], each element the sum of a part that persists,
    one that drifts, and noise. Activations are those for observations of noise. The length of the life, and
    where in it the steps lie, are drawn too. Each optimizer moves the parameters that it sees by itself.
    """
    return jax.vmap(lambda k: _steps(algorithm, meta_params, k))(jax.random.split(key, TRAININGS))[None]


LESSONS: dict[str, Lesson] = {
    "drift": Lesson(
        loss_answers,
        lambda algorithm: algorithm.policy_loss is not None,
        "drift and slope of the policy loss",
        1e-2,
    ),
    "potential": Lesson(
        policy_answers,
        lambda algorithm: bool({"scores", "logits"} & set(algorithm.policy.heads(ACTIONS, False))),
        "probabilities of actions by their scores",
        1e-2,
    ),
    "optimizer": Lesson(optimizer_answers, lambda algorithm: True, "steps of the agent's parameters", 3e-3),
}
"""Searched entry -> how it is learned."""


def _uniform(key: PRNGKeyArray, limit: float) -> Float[Array, " B"]:
    return jax.random.uniform(key, (SAMPLES,), minval=-limit, maxval=limit)


def _either(key: PRNGKeyArray, one: Array, other: Array) -> Array:
    return jnp.where(jax.random.bernoulli(key, 0.5, one.shape), one, other)


def _small_network() -> Network:
    return make_network(actor_critic_policy.heads(ACTIONS, False), (6,), Body(hidden=(8, 8)))


def _steps(algorithm: Algorithm, meta_params: MetaParams, key: PRNGKeyArray) -> Float[Array, "steps n"]:
    network = _small_network()
    key_params, key_size, key_persisting, key_life, key_begin, key_steps = jax.random.split(key, 6)
    shapes = jax.eval_shape(network.init, key)
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
        extra = {"key": key_step, "progress": progress, "param_info": network.param_info}
        seen = _activations(network, params, key_seen)
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


def _activations(network: Network, params: Any, key: PRNGKeyArray) -> Any:
    """Activations of the network on observations of noise."""
    observation = jax.random.normal(key, (16, 6))
    return network.unroll(params, network.initial_carry(16), observation, jnp.zeros(16, bool))[2]
