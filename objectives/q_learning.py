"""Parallelized Q-networks (PQN): Q-learning on rollouts, without replay buffer and target network.

Reference: Gallici et al. 2025, arXiv 2407.04811.
"""

from typing import Any

import jax
import jax.numpy as jnp
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
    Progress,
    Trajectory,
)
from objectives.distributions import Discrete
from objectives.family import Family
from objectives.optimizers import OPTIMIZERS
from objectives.parts import nothing_to_search

PQN_DEFAULTS: dict[str, float] = {
    "learning_rate": 5e-4,
    "max_grad_norm": 10.0,
    "gamma": 0.99,
    "q_lambda": 0.65,
    "epsilon_start": 1.0,
    "epsilon_end": 0.05,
    "epsilon_decay": 0.1,
    "reward_scale": 1.0,
}
"""The paper's values for MinAtar. `epsilon_decay` is the share of the training after which epsilon is
`epsilon_end`; rewards are multiplied by `reward_scale` in targets."""


def _heads(n_actions: int, continuous: bool) -> dict[str, Head]:
    if continuous:
        raise ValueError("pqn needs discrete actions, since each has a value; these are continuous")
    return {"q": Head(n_actions, torso="critic")}


def epsilon(meta_params: MetaParams, progress: Progress) -> Float[Array, ""]:
    """Probability of a uniformly random action: linear from "epsilon_start" to "epsilon_end" over the share
    "epsilon_decay" of the training, constant after it.
    """
    start, end = meta_params["epsilon_start"], meta_params["epsilon_end"]
    return start + (end - start) * jnp.clip(progress.fraction / meta_params["epsilon_decay"], 0.0, 1.0)


def epsilon_greedy(meta_params: MetaParams, outputs: Outputs, progress: Progress) -> Distribution:
    """The action with the greatest value with probability 1 - epsilon, else a uniformly random one."""
    q, exploring = outputs["q"], epsilon(meta_params, progress)
    greedy = jax.nn.one_hot(jnp.argmax(q, axis=-1), q.shape[-1], dtype=q.dtype)
    return Discrete(exploring / q.shape[-1] + (1.0 - exploring) * greedy)


def lambda_returns(
    meta_params: MetaParams, memory: Any, trajectory: Trajectory, progress: Progress
) -> Float[Array, "T E"]:
    """Q(lambda) returns (Gallici et al. 2025, Algorithm 1), with time limits handled.

    G_t = r_t + gamma (1 - terminated_t) ((1 - lambda) max_a Q(s'_t, a) + lambda G_{t+1}), where s'_t is the
    state reached. After the last step and where an episode was truncated, max_a Q(s'_t, a) replaces G_{t+1}.

    Reads "gamma", "q_lambda" and "reward_scale".
    """
    best = trajectory.outputs_next["q"].max(-1)
    decay = meta_params["q_lambda"]

    def backward(following: Array, inputs: tuple[Array, ...]) -> tuple[Array, Array]:
        reward, terminated, truncated, best = inputs
        ahead = jnp.where(truncated, best, (1.0 - decay) * best + decay * following)
        now = reward + meta_params["gamma"] * jnp.where(terminated, 0.0, ahead)
        return now, now

    rewards = meta_params["reward_scale"] * trajectory.reward
    steps = (rewards, trajectory.terminated, trajectory.truncated, best)
    return jax.lax.scan(backward, best[-1], steps, reverse=True)[1]


def q_loss(
    meta_params: MetaParams, batch: Batch, outputs: Outputs, progress: Progress, key: PRNGKeyArray
) -> Float[Array, " B"]:
    """(Q(s, a) - G)^2 / 2 per sample."""
    chosen = batch.action[:, None] == jnp.arange(outputs["q"].shape[-1])
    return 0.5 * jnp.square(jnp.where(chosen, outputs["q"], 0.0).sum(-1) - batch.targets)


def pqn(optimizer: str = "radam") -> Algorithm:
    """PQN (Gallici et al. 2025): Q(lambda) returns, epsilon-greedy; no replay buffer, no target network.

    It relies on layer norms: use it with ``Setup(layer_norm=True)``.

    Args:
        optimizer: a name in `objectives.optimizers.OPTIMIZERS`.

    Raises:
        ValueError: for an unknown optimizer.
    """
    if optimizer not in OPTIMIZERS:
        raise ValueError(f"optimizer must be one of {', '.join(OPTIMIZERS)}, got {optimizer!r}")
    steps, defaults = OPTIMIZERS[optimizer]
    return Algorithm(
        name="pqn",
        policy=Policy(_heads, epsilon_greedy),
        targets=lambda_returns,
        loss=Loss(q_loss),
        optimizer=steps,
        memory=NO_MEMORY,
        init=nothing_to_search,
        defaults=tuple(sorted({**defaults, **PQN_DEFAULTS}.items())),
    )


PQN = Family(
    pqn,
    limits={
        "q_lambda": (0.0, 1.0),
        "epsilon_start": (0.0, 1.0),
        "epsilon_end": (0.0, 1.0),
        "epsilon_decay": (1e-6, 1.0),
    },
    baselines=("pqn", "ppo"),
)
