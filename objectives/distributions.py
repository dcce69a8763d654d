"""Action distributions, small and ours, so that second derivatives are under our control.

All are NamedTuples of arrays (so they are pytrees), batched over leading axes ``...``.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray

_HALF_LOG_2PI = 0.9189385332046727


class Categorical(NamedTuple):
    """Discrete actions; `logits` ``[..., A]`` need not be normalized."""

    logits: Float[Array, "... A"]

    def sample(self, key: PRNGKeyArray) -> Int[Array, "..."]:
        """An action per batch element, int32."""
        return jax.random.categorical(key, self.logits).astype(jnp.int32)

    def log_prob(self, action: Int[Array, "..."]) -> Float[Array, "..."]:
        """log pi(action). A masked sum, because the gradient of a gather is a slow scatter."""
        chosen = action[..., None] == jnp.arange(self.logits.shape[-1])
        return jnp.where(chosen, jax.nn.log_softmax(self.logits), 0.0).sum(-1)

    def entropy(self) -> Float[Array, "..."]:
        """-sum_a pi(a) log pi(a), nats; actions of probability zero count as zero."""
        log_p = jax.nn.log_softmax(self.logits)
        p = jnp.exp(log_p)
        return -jnp.where(p > 0, p * jnp.where(p > 0, log_p, 0.0), 0.0).sum(-1)

    def mode(self) -> Int[Array, "..."]:
        """The most probable action, int32."""
        return jnp.argmax(self.logits, axis=-1).astype(jnp.int32)


class Discrete(NamedTuple):
    """Discrete actions by their probabilities ``[..., A]``, which sum to 1 and may be exactly zero."""

    probabilities: Float[Array, "... A"]

    def sample(self, key: PRNGKeyArray) -> Int[Array, "..."]:
        """An action per batch element, int32; none of probability zero."""
        return jax.random.categorical(key, jnp.log(self.probabilities)).astype(jnp.int32)

    def log_prob(self, action: Int[Array, "..."]) -> Float[Array, "..."]:
        """log pi(action), at least that of the smallest normal number: -87 in float32."""
        chosen = action[..., None] == jnp.arange(self.probabilities.shape[-1])
        p = jnp.where(chosen, self.probabilities, 0.0).sum(-1)
        return jnp.log(jnp.maximum(p, jnp.finfo(p.dtype).tiny))

    def entropy(self) -> Float[Array, "..."]:
        """-sum_a pi(a) log pi(a), nats; actions of probability zero count as zero."""
        p = self.probabilities
        return -jnp.where(p > 0, p * jnp.log(jnp.where(p > 0, p, 1.0)), 0.0).sum(-1)

    def mode(self) -> Int[Array, "..."]:
        """The most probable action, int32."""
        return jnp.argmax(self.probabilities, axis=-1).astype(jnp.int32)


class Gaussian(NamedTuple):
    """Diagonal Gaussian over ``[..., A]``; unbounded: clipped or squashed on the way to the environment."""

    mean: Float[Array, "... A"]
    log_std: Float[Array, "... A"]

    def sample(self, key: PRNGKeyArray) -> Float[Array, "... A"]:
        """An action per batch element."""
        return self.mean + jnp.exp(self.log_std) * jax.random.normal(key, self.mean.shape, self.mean.dtype)

    def log_prob(self, action: Float[Array, "... A"]) -> Float[Array, "..."]:
        """Log density, summed over action dimensions."""
        z = (action - self.mean) * jnp.exp(-self.log_std)
        return (-0.5 * jnp.square(z) - self.log_std - _HALF_LOG_2PI).sum(-1)

    def entropy(self) -> Float[Array, "..."]:
        """Differential entropy, nats: sum_i log_std_i + A/2 (1 + log 2 pi)."""
        return (self.log_std + 0.5 + _HALF_LOG_2PI).sum(-1)

    def mode(self) -> Float[Array, "... A"]:
        """The mean."""
        return self.mean


class Logistic(NamedTuple):
    """Independent logistic variables over ``[..., A]``: u = mean + scale logit(U), U uniform in (0, 1).

    With mean 0 and scale 1/2, (tanh(u) + 1) / 2 = sigmoid(2 u) = U: squashed between bounds, it is uniform.
    """

    mean: Float[Array, "... A"]
    scale: Float[Array, "... A"]

    def sample(self, key: PRNGKeyArray) -> Float[Array, "... A"]:
        """An action per batch element."""
        return self.mean + self.scale * jax.random.logistic(key, self.mean.shape, self.mean.dtype)

    def log_prob(self, action: Float[Array, "... A"]) -> Float[Array, "..."]:
        """Log density, summed over action dimensions: log s(z) + log s(-z) - log scale, s the sigmoid."""
        z = (action - self.mean) / self.scale
        return (jax.nn.log_sigmoid(z) + jax.nn.log_sigmoid(-z) - jnp.log(self.scale)).sum(-1)

    def entropy(self) -> Float[Array, "..."]:
        """Differential entropy, nats: sum_i log scale_i + 2 A."""
        return (jnp.log(self.scale) + 2.0).sum(-1)

    def mode(self) -> Float[Array, "... A"]:
        """The mean."""
        return self.mean
