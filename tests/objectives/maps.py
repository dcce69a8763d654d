"""Potentials with weights, random learned ones among them, a slow projection, and mirror descent."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy import optimize

from objectives.mirror_map.learned_potential import MonotoneNetwork, learned
from objectives.mirror_map.potentials import Potential, l2, negative_entropy, tsallis
from objectives.tabular import evaluate, mirror_descent_step


def networks(n, units=126, seed=0, **fixed):
    """`n` random learned maps: numbers cut off at zero, so that half of each are. `fixed`: linear, log."""
    rng = np.random.default_rng(seed)
    shapes = {name: (n, 6, units // 6) for name in ("w_out", "w_in", "bias")}
    shapes |= {name: (n,) for name in ("linear", "log")}
    drawn = {name: np.maximum(rng.normal(0, 1, shape), 0.0) for name, shape in shapes.items()}
    drawn["w_out"] /= units
    drawn |= {name: np.full(n, value) for name, value in fixed.items()}
    drawn["terms"] = np.stack([drawn.pop("linear"), drawn.pop("log")], axis=-1)
    return MonotoneNetwork(**{name: jnp.asarray(x, float) for name, x in drawn.items()})


def network(seed=0, units=126, **fixed):
    return jax.tree.map(lambda x: x[0], networks(1, units, seed, **fixed))


def members():
    """Name to (potential, weights); the last two are learned, without and with exact zeros."""
    return {
        "negative_entropy": (negative_entropy, ()),
        "l2": (l2, ()),
        "tsallis_0.5": (tsallis, jnp.asarray(0.5)),
        "tsallis_1.5": (tsallis, jnp.asarray(1.5)),
        "learned": (learned, network(log=0.3)),
        "learned_sparse": (learned, network(seed=1, log=0.0, linear=0.5)),
    }


def slow_projection(inverse, z, low=1e-8):
    """p of one row by nested root finding, given phi^{-1} alone; less than `low` is zero."""

    find_root: Any = optimize.brentq

    def phi(x):
        if x < inverse(low):
            return 0.0
        return find_root(lambda y: inverse(y) - x, low, 1.0 + 1e-9, xtol=1e-15, rtol=1e-14)

    def excess(offset):
        return sum(phi(z_a + offset) for z_a in z) - 1.0

    top = max(z)
    bracket = inverse(1.0 / len(z)) - top - 1e-9, inverse(1.0) - top
    offset = find_root(excess, *bracket, xtol=1e-15, rtol=1e-14)
    return np.array([phi(z_a + offset) for z_a in z])


def bregman(potential: Potential, weights: Any, p: Any, q: Any) -> Any:
    """D(p, q) = sum_a H(p_a) - H(q_a) - phi^{-1}(q_a) (p_a - q_a) >= 0, for positive q."""
    gap = potential.integral(weights, p) - potential.integral(weights, q)
    return (gap - potential.inverse(weights, q) * (p - q)).sum(-1)


def mirror_descent(potential, weights, transition, reward, discount, step_size, n_steps):
    """`n_steps` steps of policy mirror descent from the uniform policy, with exact values.

    Returns:
        the last policy, and the values before the first step and after each, ``[n_steps + 1, S]``.
    """

    def step(policy, _):
        value, action_value = evaluate(transition, reward, discount, policy)
        return mirror_descent_step(potential, weights, policy, action_value, step_size), value

    uniform = jnp.full_like(reward, 1.0 / reward.shape[-1])
    policy, values = jax.lax.scan(step, uniform, None, length=n_steps)
    last, _ = evaluate(transition, reward, discount, policy)
    return policy, jnp.concatenate([values, last[None]])
