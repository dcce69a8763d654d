"""What exported optimizers are made of: small networks that run once for every number of an agent."""

import jax
import jax.numpy as jnp


def precision(leaves):
    """The type to compute in: the widest of the leaves', and at least single precision."""
    return jnp.result_type(jnp.float32, *leaves)


def flat(leaves, dtype):
    """All elements of all arrays, one after the other, [n]."""
    return jnp.concatenate([leaf.astype(dtype).ravel() for leaf in leaves])


def unflat(x, leaves, treedef):
    """The way back to a tree with the shapes and types of `leaves`."""
    parts, start = [], 0
    for leaf in leaves:
        parts.append(x[start : start + leaf.size].reshape(leaf.shape).astype(leaf.dtype))
        start += leaf.size
    return jax.tree.unflatten(treedef, parts)


def gru(weights, h, x):
    """A gated recurrent unit for all n numbers together: state h [G, n], features x [F, n] -> [G, n]."""
    width = len(h)
    seen = weights["input"] @ x + weights["input_bias"][:, None]
    held = weights["inner"] @ h
    gates = jax.nn.sigmoid(seen[: 2 * width] + held[: 2 * width])
    r, z = gates[:width], gates[width:]
    y = jnp.tanh(seen[2 * width :] + r * (held[2 * width :] + weights["inner_bias"][:, None]))
    return (1.0 - z) * y + z * h


def linear(weights, x):
    """W x + b, [F, n] -> [H, n]."""
    return weights["kernel"] @ x + weights["bias"][:, None]


def normalized(weights, x):
    """relu(LayerNorm(W x + b)), [F, n] -> [H, n], normalized over H."""
    x = linear(weights, x)
    x = x - x.mean(0)
    x = x * jax.lax.rsqrt(jnp.square(x).mean(0) + 1e-6)
    return jax.nn.relu(x * weights["scale"][:, None] + weights["shift"][:, None])
