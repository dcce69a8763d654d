"""Learned drift functions: LPO and its temporally-aware variant (Lu et al. 2022; Jackson et al. 2024).

The drift is f = relu(g(x) - xi), or, anchored on PPO, f = relu(f_PPO + g(x) - xi), where g is a
network without biases and x are features that all vanish at r = 1:

    u = (log r, (log r)^2, 1 - r, (1 - r)^2),   x = (u, A u)           8 features
    temporally aware: x = (x, (n/N) x)                                 16 features

g(0) = 0 and the offset xi > 0 make f identically zero around r = 1, and the relu makes it
non-negative: the conditions of mirror learning hold for every value of the weights.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from objectives.base import Algorithm, MetaParams, Progress
from objectives.family import Family
from objectives.known import drift_loss, ppo_drift
from objectives.parts import actor_critic

ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "tanh": jnp.tanh,
    "relu": jax.nn.relu,
    "swish": jax.nn.swish,
    "gelu": jax.nn.gelu,
}
"""Nonlinearities with value zero at zero, which a drift needs."""


def drift_features(
    log_ratio: Float[Array, "..."],
    advantage: Float[Array, "..."],
    fraction: Array | float | None = None,
) -> Float[Array, "... F"]:
    """The network's inputs ``[..., F]``: (u, A u), and if `fraction` n/N is given also n/N (u, A u), with
    u = (log r, (log r)^2, 1 - r, (1 - r)^2).
    """
    one_minus_ratio = -jnp.expm1(log_ratio)
    u = jnp.stack([log_ratio, jnp.square(log_ratio), one_minus_ratio, jnp.square(one_minus_ratio)], axis=-1)
    x = jnp.concatenate([u, jnp.expand_dims(advantage, -1) * u], axis=-1)
    if fraction is None:
        return x
    gate = jnp.broadcast_to(jnp.asarray(fraction, x.dtype), jnp.shape(advantage))
    return jnp.concatenate([x, jnp.expand_dims(gate, -1) * x], axis=-1)


def lpo(
    anchored: bool = False,
    temporal: bool = False,
    width: int = 128,
    activation: str = "tanh",
    xi: float = 1e-4,
    log_ratio_clip: float = 3.0,
    output_scale: float | None = None,
) -> Algorithm:
    """LPO: PPO with its clipping replaced by a learned drift, ``meta_params["drift"]``.

    Args:
        anchored: add PPO's own drift inside the relu, so that zero weights are PPO.
        temporal: gate a copy of the features by n/N (TA-LPO, eq. 10 of the paper).
        width: hidden units.
        activation: a name in `ACTIVATIONS`.
        xi: offset that makes f vanish around r = 1; the original code used 1e-4.
        log_ratio_clip: log r is clipped to +- this before the features, which are unbounded and
            would let a single far-off-policy sample dominate.
        output_scale: standard deviation of the initial output weights times sqrt(width). None: 0
            when anchored (the search starts at PPO), else 1 (it starts at a random drift). The input
            weights are random in any case: a zero mean is a dead point for antithetic search, since
            g is even in its weights.
    """
    if activation not in ACTIVATIONS:
        raise ValueError(f"activation must be one of {', '.join(ACTIVATIONS)}, got {activation!r}")
    if width < 1 or xi <= 0 or log_ratio_clip <= 0:
        raise ValueError(
            "width, xi and log_ratio_clip must be positive, "
            f"got width={width}, xi={xi}, log_ratio_clip={log_ratio_clip}"
        )
    act = ACTIVATIONS[activation]
    n_features = 16 if temporal else 8
    scale = (0.0 if anchored else 1.0) if output_scale is None else output_scale

    def init(key: PRNGKeyArray) -> dict[str, Any]:
        key_in, key_out = jax.random.split(key)
        w_in = jax.random.normal(key_in, (n_features, width)) / jnp.sqrt(8.0)
        w_out = jax.random.normal(key_out, (width,)) * (scale / width**0.5)
        return {"drift": {"w_in": w_in, "w_out": w_out}}

    def drift(meta_params: MetaParams, log_ratio: Array, advantage: Array, progress: Progress) -> Array:
        """The learned drift f(r, A) >= 0, zero around r = 1."""
        weights = meta_params["drift"]
        bounded = jnp.clip(log_ratio, -log_ratio_clip, log_ratio_clip)
        features = drift_features(bounded, advantage, progress.fraction if temporal else None)
        g = act(features @ weights["w_in"]) @ weights["w_out"]
        if anchored:
            g = ppo_drift(meta_params, log_ratio, advantage, progress) + g
        return jax.nn.relu(g - xi)

    name = ("ta_" if temporal else "") + "lpo" + ("_anchored" if anchored else "")
    return actor_critic(name, drift_loss(drift), init)


LPO = Family(lpo, starts=("output_scale",))
