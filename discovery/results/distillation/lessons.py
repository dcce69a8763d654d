"""The default lesson of a family that imitates another algorithm.

Both are evaluated on the same synthetic inputs; see `objectives.family.Lesson`. If a student answers as its
teacher does, its agents learn as the teacher's do. Goldie et al. 2025 (arXiv 2507.17668) distill optimizers
and drifts in this way, with no training of an agent.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from discovery.core.jobs import AlgorithmSpec
from discovery.inner.compile import build_algorithm
from discovery.inner.networks.network import Body, Network, make_network
from objectives import family_of
from objectives.base import Algorithm, MetaParams, Progress
from objectives.family import Lesson, load
from objectives.parts import actor_critic_policy

SAMPLES = 2048
"""Inputs of a step, of drifts and policies."""

ACTIONS = 4
"""Of the policies that are compared."""


def loss_answers(
    algorithm: Algorithm, meta_params: MetaParams, key: PRNGKeyArray, agent: Any = None
) -> Float[Array, "2 B"]:
    """Drift f = loss + r A, and slope d loss / d log r, at the points of `loss_inputs`.

    As everywhere (`Objective.drift`), the value of f at r = 1 is subtracted.
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

    Half of the log-ratios are typical of PPO, N(0, 0.1^2), half are uniform in [-1.5, 1.5]; half of the
    advantages are N(0, 1), half uniform in [-4, 4]; n/N is uniform in [0, 1].
    """
    keys = jax.random.split(key, 7)
    log_ratio = _either(keys[0], 0.1 * jax.random.normal(keys[1], (SAMPLES,)), _uniform(keys[2], 1.5))
    advantage = _either(keys[3], jax.random.normal(keys[4], (SAMPLES,)), _uniform(keys[5], 4.0))
    return log_ratio, advantage, jax.random.uniform(keys[6], (SAMPLES,))


LESSON = Lesson(
    loss_answers,
    lambda algorithm: algorithm.policy_loss is not None,
    "drift and slope of the policy loss",
    1e-2,
)
"""The lesson of families with an elementwise policy loss that do not define another."""


def lesson_of(part: AlgorithmSpec) -> Lesson | None:
    """How a part of an algorithm imitates another one; None if it cannot."""
    lesson = load(family_of(part.name).lesson)
    return lesson or (LESSON if LESSON.suits(build_algorithm(part)) else None)


def _uniform(key: PRNGKeyArray, limit: float) -> Float[Array, " B"]:
    return jax.random.uniform(key, (SAMPLES,), minval=-limit, maxval=limit)


def _either(key: PRNGKeyArray, one: Array, other: Array) -> Array:
    return jnp.where(jax.random.bernoulli(key, 0.5, one.shape), one, other)


@functools.cache
def small_agent() -> Network:
    """The network of a small actor-critic, for lessons that need one."""
    return make_network(actor_critic_policy.heads(ACTIONS, False), (6,), Body(hidden=(8, 8)))
