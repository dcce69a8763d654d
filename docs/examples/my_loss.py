"""A policy loss of one's own: read by `discovery compare my_loss.py ppo`, and never run there."""

import jax.numpy as jnp

WIDTH = 0.3


def policy_loss(log_ratio, advantage):
    """The policy gradient, with a quadratic penalty on ratios that leave the trust region."""
    ratio = jnp.exp(log_ratio)

    def beyond(x, limit):
        return jnp.maximum(x - limit, 0.0)

    outside = beyond(ratio, 1 + WIDTH) + beyond(-ratio, WIDTH - 1)
    return 2.0 * outside**2 - ratio * advantage
