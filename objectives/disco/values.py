"""The values of DiscoRL: how action values are represented, and quantities computed from them.

An action value is a categorical over bins, spaced evenly in the space of h, which compresses large numbers:

    h(x) = sign(x) (sqrt(|x| + 1) - 1) + 1e-3 x,   q = h^-1(sum_i p_i b_i).

Online values q come from the agent, q^- from its target network. Both are constants for meta-gradients, as
are pi and the behavior policy here: gradients stop where the agent's outputs enter, so gradients of numbers
such as "gamma" pass.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from objectives.base import MetaParams, Trajectory

LIMIT = 300.0
"""The outermost bins, in the space of h; h^-1(300) is about 58,700."""
SLOPE = 1e-3
"""Slope of h, far from zero."""


def squeeze(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """h(x) = sign(x) (sqrt(|x| + 1) - 1) + 1e-3 x (Pohlen et al. 2018)."""
    size = jnp.abs(x)
    return jnp.sign(x) * (size / (jnp.sqrt(size + 1.0) + 1.0)) + SLOPE * x


def unsqueeze(y: Float[Array, "..."]) -> Float[Array, "..."]:
    """h^-1, in a form without cancellation: |x| = w (w + 2), where SLOPE w^2 + (1 + 2 SLOPE) w = |y|."""
    size, b = jnp.abs(y), 1.0 + 2.0 * SLOPE
    w = 2.0 * size / (b + jnp.sqrt(b * b + 4.0 * SLOPE * size))
    return jnp.sign(y) * w * (w + 2.0)


def two_hot(x: Float[Array, "..."], n_bins: int) -> Float[Array, "... n"]:
    """Probabilities of the two bins next to h(x), with mean h(x); beyond the limits, of the last bin."""
    place = (jnp.clip(squeeze(x), -LIMIT, LIMIT) + LIMIT) * ((n_bins - 1) / (2.0 * LIMIT))
    return jnp.maximum(0.0, 1.0 - jnp.abs(place[..., None] - jnp.arange(n_bins)))


def expected(logits: Float[Array, "... n"]) -> Float[Array, "..."]:
    """The value of a categorical over bins: h^-1 of its mean."""
    bins = jnp.linspace(-LIMIT, LIMIT, logits.shape[-1], dtype=logits.dtype)
    return unsqueeze((jax.nn.softmax(logits) * bins).sum(-1))


def chosen(x: Float[Array, "..."], action: Int[Array, "..."]) -> Float[Array, "..."]:
    """``[*steps, A, ...]`` at the actions ``[*steps]``.

    A masked sum, because the gradient of a gather is a slow scatter.
    """
    taken = action[..., None] == jnp.arange(x.shape[action.ndim])
    return jnp.where(taken.reshape(taken.shape + (1,) * (x.ndim - taken.ndim)), x, 0.0).sum(action.ndim)


class Moments(NamedTuple):
    """Exponential averages of x, of x^2 and of 1, starting at zero; the last removes the bias toward zero."""

    first: Float[Array, ""]
    second: Float[Array, ""]
    weight: Float[Array, ""]


def no_moments() -> Moments:
    """The initial averages, all zero."""
    return Moments(jnp.zeros(()), jnp.zeros(()), jnp.zeros(()))


def add_to_moments(moments: Moments, x: Float[Array, "..."], decay: Array | float) -> Moments:
    """m <- decay m + (1 - decay) mean(x), and so on."""
    seen = Moments(x.mean(), jnp.square(x).mean(), jnp.ones(()))
    return Moments(*(decay * m + (1.0 - decay) * new for m, new in zip(moments, seen, strict=True)))


def normalize(moments: Moments, x: Float[Array, "..."]) -> Float[Array, "..."]:
    """(x - mean) / (sqrt(variance + 1e-12) + 1e-6), mean and variance without the averages' bias."""
    mean = moments.first / moments.weight
    variance = jnp.maximum(moments.second / moments.weight - jnp.square(mean), 0.0)
    return (x - mean) / (jnp.sqrt(variance + 1e-12) + 1e-6)


class Values(NamedTuple):
    """The values that the meta-network reads, and the target of the agent's q.

    Attributes:
        value: V(s_t) = sum_a pi(a|s_t) q(s_t, a), online.
        value_next: V at the state reached.
        action_value: q^-(s_t, .).
        action_advantage: q^-(s_t, .) - V^-(s_t), where V^- = sum_a pi q^-.
        q_target: Q_hat_t, see `retrace`.
        advantage: Q_hat_t - V^-(s_t).
    """

    value: Float[Array, "T E"]
    value_next: Float[Array, "T E"]
    action_value: Float[Array, "T E A"]
    action_advantage: Float[Array, "T E A"]
    q_target: Float[Array, "T E"]
    advantage: Float[Array, "T E"]


def values_of(meta_params: MetaParams, trajectory: Trajectory) -> Values:
    """`Values` along a trajectory with heads "logits" and "q" ``[T, E, A, n]``, of both networks.

    c_t = lambda min(1, pi(a_t|s_t) / mu(a_t|s_t)), mu the policy that acted. Reads "gamma", "trace_lambda".
    """
    logits, q = (jax.lax.stop_gradient(every_output(trajectory, name)) for name in ("logits", "q"))
    log_pi, (pi, pi_next, *_) = jax.nn.log_softmax(logits[0]), jax.nn.softmax(logits)
    value, value_next, action_value, action_value_next = expected(q)
    log_mu = jax.lax.stop_gradient(trajectory.log_prob)
    target_value = (pi * action_value).sum(-1)
    ratio = jnp.exp(jnp.minimum(chosen(log_pi, trajectory.action) - log_mu, 0.0))
    q_target = retrace(
        reward=trajectory.reward,
        discount=jnp.where(trajectory.terminated, 0.0, meta_params["gamma"]),
        ended=trajectory.terminated | trajectory.truncated,
        action_value=chosen(action_value, trajectory.action),
        value_next=(pi_next * action_value_next).sum(-1),
        trace=meta_params["trace_lambda"] * ratio,
    )
    return Values(
        value=(pi * value).sum(-1),
        value_next=(pi_next * value_next).sum(-1),
        action_value=action_value,
        action_advantage=action_value - target_value[..., None],
        q_target=q_target,
        advantage=q_target - target_value,
    )


def every_output(trajectory: Trajectory, head: str) -> Float[Array, "4 T E ..."]:
    """A head at s_t and at s'_t, of the agent; then both of its target network."""
    of_agent = trajectory.outputs[head], trajectory.outputs_next[head]
    return jnp.stack([*of_agent, trajectory.target_outputs[head], trajectory.target_outputs_next[head]])


def retrace(
    reward: Float[Array, "T E"],
    discount: Float[Array, "T E"],
    ended: Bool[Array, "T E"],
    action_value: Float[Array, "T E"],
    value_next: Float[Array, "T E"],
    trace: Float[Array, "T E"],
) -> Float[Array, "T E"]:
    """Retrace targets (Munos et al. 2016), which look ahead to the end of an episode or of the rollout.

    Q_hat_t = r_t + discount_t (V(s'_t) + c_{t+1} (Q_hat_{t+1} - Q(s_{t+1}, a_{t+1}))), c = 0 after an end.

    Args:
        reward: r_t.
        discount: gamma, and 0 where an episode terminated.
        ended: where an episode terminated or was truncated.
        action_value: Q(s_t, a_t).
        value_next: V at the state reached.
        trace: c_t.
    """

    def look_back(
        correction_tp1: Array, inputs: tuple[Array, Array, Array, Array, Array, Array]
    ) -> tuple[Array, Array]:
        reward_t, discount_t, ended_t, action_value_t, value_tp1, trace_t = inputs
        future = value_tp1 + jnp.where(ended_t, 0.0, correction_tp1)
        target_t = reward_t + discount_t * future
        return trace_t * (target_t - action_value_t), target_t

    inputs = (reward, discount, ended, action_value, value_next, trace)
    return jax.lax.scan(look_back, jnp.zeros_like(value_next[-1]), inputs, reverse=True)[1]
