"""Known algorithms as an `Algorithm` each: baselines, and references for tests.

Mirror learning (Kuba et al. 2022) writes a policy loss as -(r A - f(r, A)), r = pi / pi_old, with
a *drift* f that is non-negative, zero at r = 1, and flat there. `ppo_drift` and `dpo_drift` are such
f; algorithms without one (VSOP, A2C) define their loss directly.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, PRNGKeyArray

from objectives.base import (
    NO_MEMORY,
    Algorithm,
    Batch,
    Distribution,
    Head,
    Loss,
    MetaParams,
    Outputs,
    Policy,
    PolicyLoss,
    Progress,
    Trajectory,
)
from objectives.distributions import Categorical, Logistic
from objectives.parts import DEFAULTS, actor_critic, nothing_to_search

Drift = Callable[[MetaParams, Array, Array, Progress], Array]
"""``(meta_params, log_ratio, advantage, progress) -> drift``, elementwise."""

LOG_RATIO_LIMIT = 60.0
"""log r is clipped to +- this, far outside anything useful: beyond 88, r overflows float32 and f - r A
is inf - inf where PPO's own min(r A, clip(r) A) is finite."""


def drift_loss(drift: Drift, normalize_advantage: bool = True) -> PolicyLoss:
    """The mirror-learning policy loss -(r A - f(log r, A)) of a drift, elementwise."""

    def per_sample(
        meta_params: MetaParams, log_prob: Array, old_log_prob: Array, advantage: Array, progress: Progress
    ) -> Array:
        """drift - ratio * advantage."""
        log_ratio = jnp.clip(log_prob - old_log_prob, -LOG_RATIO_LIMIT, LOG_RATIO_LIMIT)
        return drift(meta_params, log_ratio, advantage, progress) - jnp.exp(log_ratio) * advantage

    return PolicyLoss(per_sample, normalize_advantage)


def no_drift(
    meta_params: MetaParams,
    log_ratio: Float[Array, "..."],
    advantage: Float[Array, "..."],
    progress: Progress,
) -> Float[Array, "..."]:
    """f = 0: the importance-weighted policy gradient."""
    return jnp.zeros_like(log_ratio * advantage)


def ppo_drift(
    meta_params: MetaParams,
    log_ratio: Float[Array, "..."],
    advantage: Float[Array, "..."],
    progress: Progress,
) -> Float[Array, "..."]:
    """f = relu((r - clip(r, 1 - c, 1 + c)) A): PPO's clipping as a drift. Reads "clip"."""
    ratio, clip = jnp.exp(log_ratio), meta_params["clip"]
    return jax.nn.relu((ratio - jnp.clip(ratio, 1.0 - clip, 1.0 + clip)) * advantage)


def kl_drift(
    meta_params: MetaParams,
    log_ratio: Float[Array, "..."],
    advantage: Float[Array, "..."],
    progress: Progress,
) -> Float[Array, "..."]:
    """f = k (r - 1 - log r), whose mean under the old policy is k KL(old || new). Reads "kl_coef"."""
    return meta_params["kl_coef"] * (jnp.expm1(log_ratio) - log_ratio)


def dpo_drift(
    meta_params: MetaParams,
    log_ratio: Float[Array, "..."],
    advantage: Float[Array, "..."],
    progress: Progress,
) -> Float[Array, "..."]:
    """Discovered Policy Optimisation (Lu et al. 2022), closed form. Reads "dpo_alpha", "dpo_beta".

    A >= 0: relu((r-1)A - a tanh((r-1)A / a)); A < 0: relu(A log r - b tanh(A log r / b)).
    """
    alpha, beta = meta_params["dpo_alpha"], meta_params["dpo_beta"]
    gain = jnp.expm1(log_ratio) * advantage
    loss = log_ratio * advantage
    positive = jax.nn.relu(gain - alpha * jnp.tanh(gain / alpha))
    negative = jax.nn.relu(loss - beta * jnp.tanh(loss / beta))
    return jnp.where(advantage >= 0, positive, negative)


def policy_gradient(optimizer: str = "adam") -> Algorithm:
    """Importance-weighted policy gradient without any trust region."""
    return actor_critic("policy_gradient", drift_loss(no_drift), optimizer=optimizer)


def ppo(optimizer: str = "adam") -> Algorithm:
    """PPO with a clipped surrogate (Schulman et al. 2017, eq. 7) and clipped value loss."""
    return actor_critic("ppo", drift_loss(ppo_drift), optimizer=optimizer)


def ppo_kl(optimizer: str = "adam") -> Algorithm:
    """PPO with a fixed KL penalty (Schulman et al. 2017, eq. 8), estimated per sample."""
    return actor_critic("ppo_kl", drift_loss(kl_drift), optimizer=optimizer, kl_coef=1.0)


def dpo(optimizer: str = "adam") -> Algorithm:
    """DPO, the closed form derived from LPO (Lu et al. 2022), alpha = 2, beta = 0.6."""
    return actor_critic("dpo", drift_loss(dpo_drift), optimizer=optimizer, dpo_alpha=2.0, dpo_beta=0.6)


def _vsop_loss(
    meta_params: MetaParams, log_prob: Array, old_log_prob: Array, advantage: Array, progress: Progress
) -> Array:
    """-log pi max(A, 0)."""
    return -log_prob * jax.nn.relu(advantage)


def _a2c_loss(
    meta_params: MetaParams, log_prob: Array, old_log_prob: Array, advantage: Array, progress: Progress
) -> Array:
    """-log pi A."""
    return -log_prob * advantage


def vsop(optimizer: str = "adam") -> Algorithm:
    """VSOP (Jesson et al. 2023): -log pi max(A, 0); advantages not normalized; unclipped value loss.

    Its value loss 0.5 mean (V - R)^2 corresponds to value_coef = 1 here.
    """
    return actor_critic(
        "vsop",
        PolicyLoss(_vsop_loss, normalize_advantage=False),
        optimizer=optimizer,
        value_clip=float("inf"),
        value_coef=1.0,
    )


TABULAR_A2C: dict[str, float] = {
    "learning_rate": 40.0,
    "critic_rate": 0.1,
    "bias_rate": 0.0,
    "anneal": 0.0,
    "max_grad_norm": 0.5,
    "gamma": 0.99,
    "gae_lambda": 0.95,
    "entropy_coef": 0.01,
    "value_coef": 2.0,
}
"""GROOVE's A2C on tabular grid-worlds (Jackson et al. 2023, and the defaults of its source), as numbers of a
task for ``a2c(optimizer="sgd", normalize_advantage=True)``: actor 40 and critic 4, each network clipped at
0.5; its mean (V - R)^2 is value_coef = 2 here. The agent is linear without biases: `Setup(hidden=())`, 64
environments, 20 steps, one epoch of one minibatch. LPG (Oh et al. 2020) tunes its agents' rate over
{20, 40, 80, ...}."""


def a2c(optimizer: str = "adam", normalize_advantage: bool = False) -> Algorithm:
    """A2C-style: -log pi A, no ratio; unclipped value loss.

    It is on-policy: use it with one epoch, since it is known to fail with many.

    Args:
        optimizer: "adam" or "sgd"; numbers for tabular agents trained by SGD are in `TABULAR_A2C`.
        normalize_advantage: standardize advantages over the minibatch.
    """
    loss = PolicyLoss(_a2c_loss, normalize_advantage)
    return actor_critic("a2c", loss, optimizer=optimizer, value_clip=float("inf"))


def _uniform_heads(n_actions: int, continuous: bool) -> dict[str, Head]:
    return {"mean" if continuous else "logits": Head(n_actions)}


def _uniform(meta_params: MetaParams, outputs: Outputs, progress: Progress) -> Distribution:
    if "logits" in outputs:
        return Categorical(jnp.zeros_like(outputs["logits"]))
    zeros = jnp.zeros_like(outputs["mean"])
    return Logistic(zeros, zeros + 0.5)


def _no_targets(
    meta_params: MetaParams, memory: Any, trajectory: Trajectory, progress: Progress
) -> tuple[()]:
    return ()


def _no_loss(
    meta_params: MetaParams, batch: Batch, outputs: Outputs, progress: Progress, key: PRNGKeyArray
) -> Float[Array, " B"]:
    return jnp.zeros_like(batch.reward)


def _stay(meta_params: MetaParams) -> optax.GradientTransformationExtraArgs:
    return optax.with_extra_args_support(optax.set_to_zero())


def random_policy() -> Algorithm:
    """Uniformly random actions: the network is ignored, nothing is learned. Defines the normalized score 0.

    Discrete actions are equally probable. Continuous ones are u = logit(U) / 2 with U uniform: with
    ``actions = "squash"`` the environment receives low + (high - low) U, uniform within its bounds; with
    "clip" it does not.

    It takes the numbers of PPO's recipes, so that both can be compared on a task, and reads none of them.
    """
    return Algorithm(
        name="random",
        policy=Policy(_uniform_heads, _uniform),
        targets=_no_targets,
        loss=Loss(_no_loss),
        optimizer=_stay,
        memory=NO_MEMORY,
        init=nothing_to_search,
        defaults=tuple(sorted(DEFAULTS.items())),
    )
