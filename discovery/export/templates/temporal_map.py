"""The learned potential whose numbers change over a training."""

import jax.numpy as jnp

from discovery.export.templates.learned_map import Network, with_rise

ANCHOR = 1.0
START = {}
CHANGE = {}


def network_at(fraction, dtype):
    """The network at n/N: START + n/N CHANGE, of which negative numbers count as zero; c is ANCHOR more."""
    fraction = jnp.asarray(fraction, dtype)
    numbers = {name: jnp.asarray(x, dtype) + fraction * CHANGE[name] for name, x in START.items()}
    terms = numbers["terms"] + jnp.asarray([0.0, ANCHOR], dtype)
    kept = {name: jnp.maximum(x, 0.0) for name, x in {**numbers, "terms": terms}.items()}
    return with_rise(Network(**{**kept, "w_out": kept["w_out"] / kept["w_out"].size}))
