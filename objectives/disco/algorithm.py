"""DiscoRL (Oh et al., Nature 2025): policy and predictions are learned from the outputs of a network.

The agent has a policy pi(a|s), predictions y(s) and z(s, a) without predefined meaning (points of a simplex
with m corners), action values q(s, a), and p(.|s, a), which predicts its policy one step ahead. A network
with weights ``meta_params["disco"]`` reads each rollout, and gives targets of pi, y and z (see `network.py`).
The agent minimizes

    KL(pi_hat || pi) + KL(y_hat || y) + KL(z_hat || z_a)
        + (1 - terminated) KL(pi' || p_a) + 0.2 CE(Q_hat, q_a),

with one gradient step per rollout (`n_epochs = 1` and `n_minibatches = 1` are the setup's), on its own
rollouts, without the paper's replay.

No step is masked. The paper's trajectories contain the states that episodes end in, with an action that does
nothing, and a last state that is only bootstrapped from; here, trajectories are transitions with the state
reached, so every step has a future and an effective action.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from objectives.base import (
    Algorithm,
    Batch,
    Distribution,
    Head,
    Loss,
    Memory,
    MetaParams,
    Outputs,
    Policy,
    Progress,
    Trajectory,
)
from objectives.disco.network import DiscoTargets, initial_life, initial_network, meta_network
from objectives.disco.values import Moments, add_to_moments, chosen, no_moments, two_hot, values_of
from objectives.distributions import Categorical
from objectives.optimizers import ADAM_DEFAULTS, CAPPED_ADAM_DEFAULTS, adam, capped_adam
from objectives.recurrence import Carry

DISCO_DEFAULTS: dict[str, float] = {
    "gamma": 0.997,
    "trace_lambda": 0.95,
    "target_rate": 0.1,
    "moments_decay": 0.99,
    "policy_coef": 1.0,
    "y_coef": 1.0,
    "z_coef": 1.0,
    "next_policy_coef": 1.0,
    "q_coef": 0.2,
}
"""Numbers that targets, memory and loss read, with the paper's values."""

OPTIMIZERS = {
    "capped_adam": (capped_adam, CAPPED_ADAM_DEFAULTS),
    "adam": (adam, {**ADAM_DEFAULTS, "anneal": 0.0}),
}
"""Optimizers of the agent by name, each with the defaults of an algorithm that is made with it."""


class DiscoMemory(NamedTuple):
    """The state that lasts as long as the agent.

    Attributes:
        target: parameters theta^- of the target network.
        latest: the agent's parameters theta, which collect the next rollout.
        advantages: moments of past advantages.
        life: the state of the meta-network's lifetime recurrence.
    """

    target: Any
    latest: Any
    advantages: Moments
    life: Carry


def disco(
    predictions: int = 600,
    units: int = 256,
    lifetime: int = 128,
    embedding: int = 16,
    bins: int = 601,
    action_units: int = 128,
    optimizer: str = "capped_adam",
) -> Algorithm:
    """DiscoRL: a network with memory of the training gives targets of the agent's policy and predictions.

    For discrete actions. The agent's torso is the setup's; the paper's has `hidden = (512, 512)` with "relu".
    Here, the last hidden layer is activated as well; the published torso ends with the second linear layer.
    Heads are initialized as published, everything else as in other networks of the setup (ADR 15).

    Args:
        predictions: m, corners of the simplexes of y and z.
        units: of the meta-network's recurrence over a rollout.
        lifetime: of its recurrence over a training.
        embedding: of its small layers.
        bins: of action values; at least 2.
        action_units: of the agent's action model and of its heads' hidden layers.
        optimizer: the agent's, "capped_adam" as published, or "adam", which meta-gradients pass completely.

    Raises:
        ValueError: for sizes below 1, fewer than 2 bins, or an unknown optimizer.
    """
    sizes = (predictions, units, lifetime, embedding, action_units)
    if min(sizes) < 1 or bins < 2:
        raise ValueError(
            "predictions, units, lifetime, embedding and action_units must be at least 1, and bins 2, "
            f"got {', '.join(map(str, sizes))} and {bins}"
        )
    if optimizer not in OPTIMIZERS:
        raise ValueError(f"optimizer must be one of {', '.join(OPTIMIZERS)}, got {optimizer!r}")
    steps, numbers = OPTIMIZERS[optimizer]

    def heads(n_actions: int, continuous: bool) -> dict[str, Head]:
        if continuous:
            raise ValueError("disco needs discrete actions, since it predicts each one; these are continuous")

        def of_actions(size: int) -> Head:
            return Head(size, actions=n_actions, units=action_units, deviation=action_units**-0.5)

        return {
            "logits": Head(n_actions, deviation=0.01),
            "y": Head(predictions, deviation=0.01),
            "z": of_actions(predictions),
            "next_policy": of_actions(n_actions),
            "q": of_actions(bins),
        }

    def init(key: PRNGKeyArray) -> dict[str, Any]:
        return {"disco": initial_network(key, predictions, units, lifetime, embedding)}

    def newborn(meta_params: MetaParams, params: Any, key: PRNGKeyArray) -> DiscoMemory:
        return DiscoMemory(params, params, no_moments(), initial_life(lifetime))

    return Algorithm(
        name="disco",
        policy=Policy(heads, _distribution),
        targets=disco_targets,
        loss=Loss(disco_loss),
        optimizer=steps,
        memory=Memory(newborn, remember, lambda memory: memory.target),
        reads_terminal_outputs=True,
        init=init,
        defaults=tuple(sorted({**numbers, **DISCO_DEFAULTS}.items())),
    )


def _distribution(meta_params: MetaParams, outputs: Outputs, progress: Progress) -> Distribution:
    return Categorical(outputs["logits"])


def reflect(
    meta_params: MetaParams, memory: DiscoMemory, trajectory: Trajectory
) -> tuple[DiscoTargets, Moments, Carry]:
    """The results of a rollout: its targets, and the moments and the lifetime's state after it.

    Reads "disco", "gamma", "trace_lambda" and "moments_decay".
    """
    values = values_of(meta_params, trajectory)
    moments = add_to_moments(memory.advantages, values.advantage, meta_params["moments_decay"])
    targets, life = meta_network(meta_params["disco"], memory.life, trajectory, values, moments)
    return targets, moments, life


def disco_targets(
    meta_params: MetaParams, memory: DiscoMemory, trajectory: Trajectory, progress: Progress
) -> DiscoTargets:
    """The targets of each step, ``[T, E, ...]``; see `reflect`."""
    return reflect(meta_params, memory, trajectory)[0]


def remember(
    meta_params: MetaParams,
    memory: DiscoMemory,
    trajectory: Trajectory,
    params: Any,
    metrics: Any,
    progress: Progress,
) -> DiscoMemory:
    """theta^- <- theta^- + rate (theta - theta^-), theta from before this update; one step of the lifetime
    recurrence.

    Reads "target_rate", and what `reflect` does.
    """
    _, moments, life = reflect(meta_params, memory, trajectory)
    rate = meta_params["target_rate"]
    target = jax.tree.map(lambda old, new: old + rate * (new - old), memory.target, memory.latest)
    return DiscoMemory(target, params, moments, life)


def disco_loss(
    meta_params: MetaParams, batch: Batch, outputs: Outputs, progress: Progress, key: PRNGKeyArray
) -> Float[Array, " B"]:
    """The loss of the module's docstring, each term with a coefficient: "policy_coef" and so on.

    CE(Q_hat, q_a) is the cross-entropy of the bins of q at the action taken, to those of h(Q_hat).
    """
    targets: DiscoTargets = batch.targets
    z, next_policy, q = (chosen(outputs[name], batch.action) for name in ("z", "next_policy", "q"))
    ahead = jnp.where(batch.terminated, 0.0, divergence(targets.policy_next, next_policy))
    bins = two_hot(targets.q_target, q.shape[-1])
    return (
        meta_params["policy_coef"] * divergence(targets.pi_hat, outputs["logits"])
        + meta_params["y_coef"] * divergence(targets.y_hat, outputs["y"])
        + meta_params["z_coef"] * divergence(targets.z_hat, z)
        + meta_params["next_policy_coef"] * ahead
        - meta_params["q_coef"] * (bins * jax.nn.log_softmax(q)).sum(-1)
    )


def divergence(of: Float[Array, "... n"], from_: Float[Array, "... n"]) -> Float[Array, "..."]:
    """KL(softmax(of) || softmax(from_)), nats."""
    log_p, log_q = jax.nn.log_softmax(of), jax.nn.log_softmax(from_)
    return (jnp.exp(log_p) * (log_p - log_q)).sum(-1)
