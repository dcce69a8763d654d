"""The potential of softmax policies."""

import jax.numpy as jnp


def inverse(y):
    """phi^{-1}(y) = 1 + log y: negative entropy, softmax policies."""
    return 1.0 + jnp.log(y)


def phi(x):
    """exp(x - 1)."""
    return jnp.exp(x - 1.0)
