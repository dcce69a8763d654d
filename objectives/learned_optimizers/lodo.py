"""LODO (Liao et al. 2023, arXiv 2210.06171): an optimizer that learns a quasi-Newton step while it runs.

    x <- x - G(theta) m,   G(theta) = alpha E^T M(theta)^T M(theta) E,   M(theta) = B_N P_N ... B_1 P_1

E pads n numbers to h, P_l are fixed random permutations of h, B_l have h / k blocks of k x k on their
diagonals: theta, which begins as random orthogonal ones, so that G = alpha I. After each step, the gradient g
at the new point moves theta downhill, by Adam on d loss / d theta = -(d (G(theta) m) / d theta)^T g, and
enters the momentum m. Nothing is searched. Memory: theta and Adam's moments are 6 h N k numbers, some 400 n
with N = 16 and k = 4.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, PRNGKeyArray

from objectives.base import Algorithm, MetaParams
from objectives.family import Family
from objectives.learned_optimizers.open import ppo_with
from objectives.optimizers import clip_by_global_norm
from objectives.parts import nothing_to_search
from objectives.per_parameter import flat, precision, unflat


class Operator(NamedTuple):
    """M: its learned blocks and its fixed permutations.

    Attributes:
        blocks: theta.
        order: ``order[l]`` is P_l: coordinate i of the result is coordinate order[l, i] of the input.
        back: the inverses.
    """

    blocks: Float[Array, "N h_k k k"]
    order: Int[Array, "N h"]
    back: Int[Array, "N h"]


class LodoState(NamedTuple):
    """The operator, Adam's state on its blocks, and the momentum ``[n]``."""

    operator: Operator
    adam: Any
    momentum: Float[Array, " n"]


def initial_operator(
    key: PRNGKeyArray, n: int, layers: int, block: int, dtype: Any = jnp.float32
) -> Operator:
    """Random orthogonal blocks and random orders, for n parameters: h = 2n + k - (2n mod k)."""
    width = 2 * n + block - 2 * n % block
    key_blocks, key_order = jax.random.split(key)
    gaussian = jax.random.normal(key_blocks, (layers, width // block, block, block), dtype)
    order = jax.vmap(lambda k: jax.random.permutation(k, width))(jax.random.split(key_order, layers))
    return Operator(jnp.linalg.qr(gaussian).Q, order, jnp.argsort(order, axis=1))


def forward(operator: Operator, x: Float[Array, "n v"]) -> Float[Array, "h v"]:
    """M E x, for v vectors side by side."""
    width, block = operator.order.shape[1], operator.blocks.shape[-1]

    def step(z: Array, layer: Operator) -> tuple[Array, None]:
        pieces = z[layer.order].reshape(-1, block, z.shape[1])
        return (layer.blocks @ pieces).reshape(z.shape), None

    padded = jnp.pad(x, ((0, width - len(x)), (0, 0)))
    return jax.lax.scan(step, padded, operator)[0]


def backward(operator: Operator, z: Float[Array, "h v"], n: int) -> Float[Array, "n v"]:
    """E^T M^T z."""
    block = operator.blocks.shape[-1]

    def step(z: Array, layer: Operator) -> tuple[Array, None]:
        pieces = z.reshape(-1, block, z.shape[1])
        return (jnp.swapaxes(layer.blocks, 1, 2) @ pieces).reshape(z.shape)[layer.back], None

    return jax.lax.scan(step, z, operator, reverse=True)[0][:n]


def scale_by_lodo(
    step_size: Array | float,
    rate: Array | float,
    momentum: Array | float,
    eps: Array | float = 1e-8,
    layers: int = 16,
    block: int = 4,
) -> optax.GradientTransformation:
    """LODO's step -alpha M^T M m: m is the momentum, and M learns from each gradient.

    The gradients are clipped already. The hypergradient needs no second evaluation of a loss: it is that of
    -alpha <M E g, M E m>, with the m that made the last step. The first step is not preceded by one, and
    theta then stays. Blocks and orders are drawn from a fixed key and kept in the state.

    Args:
        step_size: alpha.
        rate: of Adam on theta.
        momentum: beta of m <- beta m + (1 - beta) g, from zero on.
        eps: Adam's.
        layers: N.
        block: k.
    """
    adam = optax.scale_by_adam(eps=eps, eps_root=1e-30)  # type: ignore[arg-type]

    def init(params: Any) -> LodoState:
        leaves = jax.tree.leaves(params)
        n, dtype = sum(leaf.size for leaf in leaves), precision(leaves)
        operator = initial_operator(jax.random.key(0), n, layers, block, dtype)
        return LodoState(operator, adam.init(operator.blocks), jnp.zeros(n, dtype))

    def update(updates: Any, state: LodoState, params: Any = None) -> tuple[Any, LodoState]:
        leaves, treedef = jax.tree.flatten(updates)
        operator, m = state.operator, state.momentum
        alpha, beta, meta_rate = (jnp.asarray(x, m.dtype) for x in (step_size, momentum, rate))
        g = flat(leaves, m.dtype)

        def loss(blocks: Array) -> Array:
            images = forward(operator._replace(blocks=blocks), jnp.stack([g, m], axis=1))
            return -alpha * (images[:, 0] @ images[:, 1])

        direction: Any
        direction, adam_state = adam.update(jax.grad(loss)(operator.blocks), state.adam)
        operator = operator._replace(blocks=operator.blocks - meta_rate * direction)
        m = beta * m + (1 - beta) * g
        step = -alpha * backward(operator, forward(operator, m[:, None]), len(m))[:, 0]
        return unflat(step, leaves, treedef), LodoState(operator, adam_state, m)

    return optax.GradientTransformation(init, update)  # type: ignore[arg-type]


def lodo(layers: int = 16, block: int = 4) -> Algorithm:
    """PPO whose optimizer is LODO, after a norm clip. Its minibatches are fresh, as LODO needs them.

    Its numbers are "lodo_step" (alpha, the one that must suit the problem), "lodo_rate", "lodo_momentum" and
    "lodo_eps", with the paper's values. It accepts the numbers of PPO's recipes too, but of Adam's it reads
    only the clip's.

    Args:
        layers: N.
        block: k.

    Raises:
        ValueError: for sizes below 1.
    """
    if layers < 1 or block < 1:
        raise ValueError(f"layers and block must be at least 1, got layers={layers}, block={block}")

    def optimizer(meta_params: MetaParams) -> optax.GradientTransformationExtraArgs:
        """A norm clip, then LODO's step. There is no learning rate."""
        return optax.chain(
            clip_by_global_norm(meta_params["max_grad_norm"], meta_params["clip_by_torso"]),
            scale_by_lodo(
                meta_params["lodo_step"],
                meta_params["lodo_rate"],
                meta_params["lodo_momentum"],
                meta_params["lodo_eps"],
                layers,
                block,
            ),
        )

    numbers = {"lodo_step": 1.0, "lodo_rate": 1e-3, "lodo_momentum": 0.9, "lodo_eps": 1e-8}
    return ppo_with("lodo", optimizer, nothing_to_search, numbers)


LODO = Family(lodo, baselines=("ppo",), optimizer=True, export="objectives.learned_optimizers.export:LODO")
