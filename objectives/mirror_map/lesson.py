"""How a mirror map imitates another policy: by the probabilities of four actions with given scores."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from objectives.base import Algorithm, MetaParams, Progress
from objectives.family import Lesson

SAMPLES = 2048
"""Inputs of a step."""

ACTIONS = 4


def policy_answers(
    algorithm: Algorithm, meta_params: MetaParams, key: PRNGKeyArray, agent: Any = None
) -> Float[Array, "1 B A"]:
    """Probabilities of four actions by their scores: N(0, s^2), log s anywhere in [log 0.1, log 10]."""
    key_scale, key_score, key_time = jax.random.split(key, 3)
    scale = jnp.exp(jax.random.uniform(key_scale, (SAMPLES, 1), minval=jnp.log(0.1), maxval=jnp.log(10.0)))
    scores = scale * jax.random.normal(key_score, (SAMPLES, ACTIONS))
    progress = Progress(jax.random.uniform(key_time, ()) * 100.0, 100)  # type: ignore[arg-type]
    outputs = {"scores": scores, "logits": scores}
    distribution = algorithm.policy.distribution(meta_params, outputs, progress)
    every = [distribution.log_prob(jnp.full(SAMPLES, action)) for action in range(ACTIONS)]
    return jnp.exp(jnp.stack(every, axis=-1))[None]


def has_scores(algorithm: Algorithm) -> bool:
    """Whether the algorithm's policy is made of scores or logits."""
    return bool({"scores", "logits"} & set(algorithm.policy.heads(ACTIONS, False)))


LESSON = Lesson(policy_answers, has_scores, "probabilities of actions by their scores", 1e-2)
