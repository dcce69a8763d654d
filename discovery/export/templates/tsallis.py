"""The potential of a Tsallis entropy."""

import jax.numpy as jnp

TSALLIS_Q = 1.5


def inverse(y):
    """phi^{-1}(y) = 1 + q (y^(q - 1) - 1) / (q - 1): a Tsallis entropy, 1 + log y where q = 1."""
    if TSALLIS_Q == 1.0:
        return 1.0 + jnp.log(y)
    return 1.0 + TSALLIS_Q * jnp.expm1((TSALLIS_Q - 1.0) * jnp.log(y)) / (TSALLIS_Q - 1.0)


def phi(x):
    """(1 + (q - 1) (x - 1) / q)_+^(1 / (q - 1)), exp(x - 1) where q = 1."""
    if TSALLIS_Q == 1.0:
        return jnp.exp(x - 1.0)
    base = (TSALLIS_Q - 1.0) * (x - 1.0) / TSALLIS_Q
    positive = base > -1.0
    power = jnp.log1p(jnp.where(positive, base, 0.0)) / (TSALLIS_Q - 1.0)
    return jnp.where(positive, jnp.exp(power), 0.0)
