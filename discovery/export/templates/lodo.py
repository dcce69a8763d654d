"""LODO (Liao et al. 2023) as an optimizer of its own."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from discovery.export.templates.cells import flat, precision, unflat
from discovery.export.templates.steps import clip_by_global_norm

LAYERS = 16
BLOCK = 4
LODO_STEP = 1.0
LODO_RATE = 1e-3
LODO_MOMENTUM = 0.9
LODO_EPS = 1e-8


class Operator(NamedTuple):
    """M = B_N P_N ... B_1 P_1: `blocks` [N, h / k, k, k] are learned; `order` and `back` [N, h] are the P."""

    blocks: Any
    order: Any
    back: Any


class LodoState(NamedTuple):
    """The operator, Adam's state on its blocks, and the momentum [n]."""

    operator: Any
    adam: Any
    momentum: Any


def initial_operator(key, n, dtype):
    """Random orthogonal blocks and random orders for n parameters, h = 2n + k - (2n mod k)."""
    width = 2 * n + BLOCK - 2 * n % BLOCK
    key_blocks, key_order = jax.random.split(key)
    gaussian = jax.random.normal(key_blocks, (LAYERS, width // BLOCK, BLOCK, BLOCK), dtype)
    order = jax.vmap(lambda k: jax.random.permutation(k, width))(jax.random.split(key_order, LAYERS))
    return Operator(jnp.linalg.qr(gaussian).Q, order, jnp.argsort(order, axis=1))


def forward(operator, x):
    """M x, [n, v] -> [h, v] for v vectors side by side, padded with zeros."""

    def step(z, layer):
        pieces = z[layer.order].reshape(-1, BLOCK, z.shape[1])
        return (layer.blocks @ pieces).reshape(z.shape), None

    padded = jnp.pad(x, ((0, operator.order.shape[1] - len(x)), (0, 0)))
    return jax.lax.scan(step, padded, operator)[0]


def backward(operator, z, n):
    """The first n numbers of M^T z, [h, v] -> [n, v]."""

    def step(z, layer):
        pieces = z.reshape(-1, BLOCK, z.shape[1])
        return (jnp.swapaxes(layer.blocks, 1, 2) @ pieces).reshape(z.shape)[layer.back], None

    return jax.lax.scan(step, z, operator, reverse=True)[0][:n]


def scale_by_lodo():
    """-alpha M^T M m: m is the momentum, and M learns from each gradient how good the last step was."""
    adam = optax.scale_by_adam(eps=LODO_EPS, eps_root=1e-30)

    def init(params):
        leaves = jax.tree.leaves(params)
        n, dtype = sum(leaf.size for leaf in leaves), precision(leaves)
        operator = initial_operator(jax.random.key(0), n, dtype)
        return LodoState(operator, adam.init(operator.blocks), jnp.zeros(n, dtype))

    def update(updates, state, params=None):
        leaves, treedef = jax.tree.flatten(updates)
        operator, m = state.operator, state.momentum
        g = flat(leaves, m.dtype)

        def loss(blocks):
            images = forward(operator._replace(blocks=blocks), jnp.stack([g, m], axis=1))
            return -LODO_STEP * (images[:, 0] @ images[:, 1])

        direction, adam_state = adam.update(jax.grad(loss)(operator.blocks), state.adam)
        operator = operator._replace(blocks=operator.blocks - LODO_RATE * direction)
        m = LODO_MOMENTUM * m + (1.0 - LODO_MOMENTUM) * g
        step = -LODO_STEP * backward(operator, forward(operator, m[:, None]), len(m))[:, 0]
        return unflat(step, leaves, treedef), LodoState(operator, adam_state, m)

    return optax.GradientTransformation(init, update)


def optimizer():
    """LODO behind a norm clip, as an optax.GradientTransformationExtraArgs.

    It needs gradients alone, each at the new point and of a fresh minibatch, and ignores extra arguments. Its
    state has some 6 h LAYERS BLOCK numbers, h about twice the number of parameters.
    """
    return optax.with_extra_args_support(optax.chain(clip_by_global_norm(), scale_by_lodo()))
