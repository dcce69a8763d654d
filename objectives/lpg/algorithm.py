"""LPG, learned targets, and its temporally-aware variant (Oh et al. 2020; Jackson et al. 2023, 2024).

The agent has a policy pi(a|s) and a bootstrap vector y(s), a point of the simplex with m corners, without
predefined meaning. A network with weights ``meta_params["lpg"]`` reads each rollout backward (see
`learned_targets`) and gives every step two targets, a number pi_hat and a point y_hat of the simplex. The
agent minimizes

    - log pi(a|s) pi_hat + alpha_y KL(y(s) || y_hat),

with one gradient step per rollout (`n_epochs = 1` and `n_minibatches = 1` are the setup's). That is the
published sign: pi_hat > 0 makes an action more probable. GROOVE's source minimizes + log pi pi_hat.

The network reads pi and y from the trajectory, so the loss passes no gradient through them to the agent.
Gradients of meta_params do pass, since pi and y depend on earlier updates.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from objectives.base import (
    NO_MEMORY,
    Algorithm,
    Batch,
    Head,
    Loss,
    MetaParams,
    Optimizer,
    Outputs,
    Policy,
    Progress,
    Trajectory,
)
from objectives.lpg.learned_targets import LpgTargets, initial_network, learned_targets, time_inputs
from objectives.optimizers import ADAM_DEFAULTS, adam, sgd
from objectives.parts import actor_critic_policy
from objectives.recurrence import CELLS

DEEP_LPG: dict[str, float] = ADAM_DEFAULTS | {
    "learning_rate": 5e-4,
    "anneal": 0.0,
    "clip_by_torso": 1.0,
    "alpha_y": 0.5,
}
"""Defaults with Adam: GROOVE's agents with hidden layers. Policy and bootstrap vector are separate networks,
each clipped separately."""

TABULAR_LPG: dict[str, float] = {
    "learning_rate": 40.0,
    "critic_rate": 0.1,
    "bias_rate": 0.0,
    "anneal": 0.0,
    "max_grad_norm": 0.5,
    "clip_by_torso": 1.0,
    "alpha_y": 0.5,
}
"""Defaults with SGD: GROOVE's tabular agents, policy 40 and bootstrap vector 4, each network clipped at 0.5.
The agent is linear without biases: `Setup(hidden=())`, 64 environments, 20 steps. LPG (Oh et al. 2020) tunes
its agents' rate over {20, 40, 80, ...}."""

OPTIMIZERS: dict[str, tuple[Optimizer, dict[str, float]]] = {
    "adam": (adam, DEEP_LPG),
    "sgd": (sgd, TABULAR_LPG),
}
"""Optimizers of the agent by name, each with the defaults of an algorithm with it."""

REGULARIZERS: dict[str, float] = {
    "policy_entropy": 0.05,
    "bootstrap_entropy": 0.001,
    "pi_hat_square": 0.005,
    "y_hat_square": 0.001,
}
"""The numbers of `regularizer`, b0 to b3, with GROOVE's values. They belong to the objective of
meta-gradients: the agent reads none of them."""


def lpg(
    recurrence: str = "gru",
    width: int = 256,
    embedding: int = 16,
    targets: int = 8,
    temporal: bool = False,
    raw_time: bool = False,
    discount_input: bool = False,
    initial: str = "zeros",
    optimizer: str = "adam",
) -> Algorithm:
    """LPG: learned targets for the policy and for a bootstrap vector, ``meta_params["lpg"]``.

    The defaults are GROOVE's network (Jackson et al. 2023). LPG's (Oh et al. 2020) is
    ``recurrence="lstm", targets=30, discount_input=True``.

    Args:
        recurrence: "gru" or "lstm".
        width: H, its units.
        embedding: hidden units of the network phi that reads the bootstrap vector.
        targets: m, corners of the bootstrap vector's simplex.
        temporal: the network also reads n/N and log N (TA-LPG, Jackson et al. 2024, eq. 9).
        raw_time: it reads n and N instead, as in the released source.
        discount_input: the network also reads "gamma", which is then a number of the algorithm.
        initial: "zeros", where the paper's evolution strategy begins: a policy that never changes. Or
            "random", for meta-gradients, which at zero are nonzero only for biases.
        optimizer: the agent's, "adam" or "sgd"; its numbers are in `DEEP_LPG` and `TABULAR_LPG`.

    Raises:
        ValueError: for unknown names, sizes below 1, or `raw_time` without `temporal`.
    """
    _check_name("recurrence", recurrence, CELLS)
    _check_name("initial", initial, ("zeros", "random"))
    _check_name("optimizer", optimizer, OPTIMIZERS)
    if min(width, embedding, targets) < 1:
        raise ValueError(
            "width, embedding and targets must be at least 1, "
            f"got width={width}, embedding={embedding}, targets={targets}"
        )
    if raw_time and not temporal:
        raise ValueError("raw_time needs temporal = true; got temporal = false")
    cell = CELLS[recurrence]
    steps, numbers = OPTIMIZERS[optimizer]
    n_context = discount_input + 2 * temporal

    def heads(n_actions: int, continuous: bool) -> dict[str, Head]:
        actor = actor_critic_policy.heads(n_actions, continuous)
        del actor["value"]
        return {**actor, "bootstrap": Head(targets, torso="critic")}

    def random(key: PRNGKeyArray) -> dict[str, Any]:
        return {"lpg": initial_network(key, cell, width, embedding, targets, n_context)}

    def zeros(key: PRNGKeyArray) -> dict[str, Any]:
        return jax.tree.map(lambda leaf: jnp.zeros(leaf.shape), jax.eval_shape(random, key))

    def look_back(
        meta_params: MetaParams, memory: Any, trajectory: Trajectory, progress: Progress
    ) -> LpgTargets:
        context = [meta_params["gamma"]] if discount_input else []
        if temporal:
            context += time_inputs(progress, raw_time)
        return learned_targets(cell, meta_params["lpg"], trajectory, context)

    return Algorithm(
        name=("ta_" if temporal else "") + "lpg",
        policy=Policy(heads, actor_critic_policy.distribution),
        targets=look_back,
        loss=Loss(lpg_loss),
        optimizer=steps,
        memory=NO_MEMORY,
        init=random if initial == "random" else zeros,
        defaults=tuple(sorted({**numbers, **({"gamma": 0.99} if discount_input else {})}.items())),
    )


def lpg_loss(
    meta_params: MetaParams, batch: Batch, outputs: Outputs, progress: Progress, key: PRNGKeyArray
) -> Float[Array, " B"]:
    """- log pi(a|s) pi_hat + alpha_y KL(y || y_hat), KL = sum_i y_i (log y_i - log y_hat_i).

    Reads "alpha_y".
    """
    log_prob = actor_critic_policy.distribution(meta_params, outputs, progress).log_prob(batch.action)
    log_y = jax.nn.log_softmax(outputs["bootstrap"])
    divergence = (jnp.exp(log_y) * (log_y - batch.targets.log_y_hat)).sum(-1)
    return -log_prob * batch.targets.pi_hat + meta_params["alpha_y"] * divergence


def regularizer(meta_params: MetaParams, outputs: Outputs, targets: LpgTargets) -> Float[Array, ""]:
    """The term that meta-gradients add to their loss (Oh et al. 2020; Jackson et al. 2023), minimized.

    - b0 H(pi) - b1 H(y) + b2 pi_hat^2 + b3 ||y_hat||^2, each a mean over all steps, entropies in nats.

    Reads the names in `REGULARIZERS`, b0 to b3.

    Args:
        meta_params: their coefficients.
        outputs: the network's after the update, ``[..., size]``.
        targets: those of the update, ``[...]``.
    """
    anytime = Progress(0, 1)  # this policy does not depend on it
    entropy = actor_critic_policy.distribution(meta_params, outputs, anytime).entropy()
    log_y = jax.nn.log_softmax(outputs["bootstrap"])
    bootstrap_entropy = -(jnp.exp(log_y) * log_y).sum(-1)
    return (
        meta_params["pi_hat_square"] * jnp.square(targets.pi_hat).mean()
        + meta_params["y_hat_square"] * jnp.square(targets.y_hat).sum(-1).mean()
        - meta_params["policy_entropy"] * entropy.mean()
        - meta_params["bootstrap_entropy"] * bootstrap_entropy.mean()
    )


def recommended(
    algorithm: Algorithm, meta_params: MetaParams, trajectory: Trajectory, progress: Progress
) -> LpgTargets:
    """pi_hat ``[T, E]`` and y_hat ``[T, E, m]`` that an algorithm of this family gives along a trajectory.

    Args:
        algorithm: made by `lpg`.
        meta_params: its searched entries, and numbers that replace its defaults.
        trajectory: collected, or written by hand: see `episode`.
        progress: n and N, which matter to a temporally-aware one.
    """
    return algorithm.targets({**dict(algorithm.defaults), **meta_params}, (), trajectory, progress)


def episode(
    reward: Float[Array, " T"], probability: Float[Array, " T"], bootstrap: Float[Array, "T+1 m"]
) -> Trajectory:
    """One whole episode ``[T, 1]`` as input of this family, for example a delayed chain; it terminates.

    On a delayed chain all rewards are 0 except the last, +1 or -1, which the first action decides.

    Args:
        reward: of each step.
        probability: of the action taken under the policy, in (0, 1].
        bootstrap: y at each state, the final one included; all positive, each sums to one.
    """
    length = len(reward)
    log_y = jnp.log(bootstrap)[:, None]
    return Trajectory(
        observation=jnp.zeros((length, 1, 0)),
        action=jnp.zeros((length, 1), jnp.int32),
        log_prob=jnp.log(probability)[:, None],
        reward=reward[:, None],
        terminated=(jnp.arange(length) == length - 1)[:, None],
        truncated=jnp.zeros((length, 1), bool),
        outputs={"logits": jnp.zeros((length, 1, 1)), "bootstrap": log_y[:-1]},
        outputs_next={"logits": jnp.zeros((length, 1, 1)), "bootstrap": log_y[1:]},
    )


def _check_name(option: str, given: str, choices: Any) -> None:
    if given not in choices:
        raise ValueError(f"{option} must be one of {', '.join(choices)}, got {given!r}")
