"""The potential of Euclidean projections."""

import jax.numpy as jnp


def inverse(y):
    """phi^{-1}(y) = y: Euclidean projections, sparse policies."""
    return y


def phi(x):
    """max(x, 0)."""
    return jnp.maximum(x, 0.0)
