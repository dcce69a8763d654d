"""Small networks that run once for every parameter of an agent: tens of thousands at a time.

Arrays are ``[features, n]``, n the agent's parameters: long rows keep a CPU's vector units busy where rows of
8 or 16 features would not.
"""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

Weights = Mapping[str, Any]


def gru(weights: Weights, h: Float[Array, "G n"], x: Float[Array, "F n"]) -> Float[Array, "G n"]:
    """Gated recurrent unit (Cho et al. 2014), as flax and cuDNN have it.

    r = sigma(W_r x + b_r + U_r h), z = sigma(W_z x + b_z + U_z h), y = tanh(W_y x + b_y + r (U_y h + c)),
    h' = (1 - z) y + z h.
    """
    width = len(h)
    seen = weights["input"] @ x + weights["input_bias"][:, None]
    held = weights["inner"] @ h
    gates = jax.nn.sigmoid(seen[: 2 * width] + held[: 2 * width])
    r, z = gates[:width], gates[width:]
    y = jnp.tanh(seen[2 * width :] + r * (held[2 * width :] + weights["inner_bias"][:, None]))
    return y + z * (h - y)


def normalized_layer(weights: Weights, x: Float[Array, "F n"]) -> Float[Array, "H n"]:
    """relu(LayerNorm(W x + b)), normalized over its H outputs with epsilon 1e-6, then scaled and shifted.

    The mean over outputs is linear in x, so it is taken out of W and b beforehand, once for all n; the
    variance is a product with a row of ones, which is faster than a sum down the columns.
    """
    kernel, bias = weights["kernel"], weights["bias"]
    centered = (kernel - kernel.mean(0, keepdims=True)) @ x + (bias - bias.mean())[:, None]
    variance = jnp.full((1, len(bias)), 1 / len(bias), x.dtype) @ jnp.square(centered)
    normal = centered * jax.lax.rsqrt(variance + 1e-6)
    return jax.nn.relu(normal * weights["scale"][:, None] + weights["shift"][:, None])


def layer(weights: Weights, x: Float[Array, "F n"]) -> Float[Array, "H n"]:
    """W x + b."""
    return weights["kernel"] @ x + weights["bias"][:, None]


def initial_gru(key: PRNGKeyArray, features: int, width: int) -> dict[str, Array]:
    """Weights of `gru`: inputs normal with variance 1 / features, recurrent ones orthogonal, biases zero."""
    key_input, key_inner = jax.random.split(key)
    orthogonal = jax.nn.initializers.orthogonal()
    inner = [orthogonal(k, (width, width), jnp.float32) for k in jax.random.split(key_inner, 3)]
    return {
        "input": jax.random.normal(key_input, (3 * width, features)) / features**0.5,
        "input_bias": jnp.zeros(3 * width),
        "inner": jnp.concatenate(inner),
        "inner_bias": jnp.zeros(width),
    }


def initial_layer(key: PRNGKeyArray, features: int, width: int) -> dict[str, Array]:
    """Weights of `layer`: normal with variance 1 / features, biases zero."""
    kernel = jax.random.normal(key, (width, features)) / features**0.5
    return {"kernel": kernel, "bias": jnp.zeros(width)}


def initial_normalized_layer(key: PRNGKeyArray, features: int, width: int) -> dict[str, Array]:
    """Weights of `normalized_layer`: those of `layer`, scales one, shifts zero."""
    return {**initial_layer(key, features, width), "scale": jnp.ones(width), "shift": jnp.zeros(width)}


def precision(leaves: list[Array]) -> Any:
    """The type to compute in: the widest of the parameters', and at least single precision."""
    return jnp.result_type(jnp.float32, *leaves)


def flat(leaves: list[Array], dtype: Any) -> Float[Array, " n"]:
    """All elements of all tensors, one after the other."""
    return jnp.concatenate([leaf.astype(dtype).ravel() for leaf in leaves])


def unflat(x: Float[Array, " n"], leaves: list[Array], treedef: Any) -> Any:
    """The way back to a tree with the shapes and types of `leaves`."""
    parts, start = [], 0
    for leaf in leaves:
        parts.append(x[start : start + leaf.size].reshape(leaf.shape).astype(leaf.dtype))
        start += leaf.size
    return jax.tree.unflatten(treedef, parts)
