"""OPEN's rule without its features, and without noise."""

import jax.numpy as jnp

from discovery.export.templates.cells import flat
from discovery.export.templates.open import scaled

OPEN_SCALE = 1e-3


def features(leaves, infos, gradients, momenta, progress, activations):
    """What the network sees of every parameter, [8, n]: parameter, momenta and gradient."""
    dtype = momenta.dtype
    x = jnp.concatenate([flat(leaves, dtype)[None], momenta, flat(gradients, dtype)[None]])
    pieces, start = [], 0
    for leaf in leaves:
        pieces.append(scaled(x[:, start : start + leaf.size]))
        start += leaf.size
    return jnp.concatenate(pieces, axis=1)


def step(o, key, leaves, infos):
    """Of all parameters [n], by the network's outputs [2, n]: c o_0 exp(c o_1)."""
    return OPEN_SCALE * o[0] * jnp.exp(OPEN_SCALE * o[1])
