"""The meta-network of DiscoRL (Oh et al. 2025): it reads each rollout backward, and the training forward.

Its weights are a tree of 42 arrays, 754,778 numbers at the published sizes:

    look_back      the trajectory's recurrence reads 27 numbers per step (see `step_inputs`) backward in time
    gate           its output is multiplied by a linear image of the lifetime's state
    y_hat, z_hat   logits of targets for the agent's predictions, linear in that product
    pi_hat         logits of a target policy, from the product and each action's embedding
    summary        one more number per step, for the lifetime
    lifetime       reads the mean over a rollout, once per rollout, with separate weights for the inputs

An LSTM's matrix is one array for inputs and state, gates in the order of `objectives.recurrence`. The
lifetime's state is zero at first. The gate's bias is initialized to zero, too; while it is zero, the first
rollout's y_hat and z_hat are their biases.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from objectives.base import Trajectory
from objectives.disco.values import Moments, Values, chosen, every_output, normalize
from objectives.recurrence import CELLS, Carry, matrix, read_backwards

STEP_INPUTS = 27
"""Numbers that are read of each step."""
ACTION_INPUTS = 9
"""Numbers that are read of each action at each step."""
ACTION_SIZE = 2
"""Size of an action's embedding."""


class DiscoTargets(NamedTuple):
    """The targets of each step; ``[T, E, ...]``, or ``[B, ...]`` in a minibatch.

    Attributes:
        pi_hat: logits of a policy.
        y_hat: logits of the prediction for the state.
        z_hat: logits of the prediction for the action taken.
        policy_next: logits of the agent's policy at the state reached.
        q_target: Q_hat.
    """

    pi_hat: Float[Array, "*steps A"]
    y_hat: Float[Array, "*steps m"]
    z_hat: Float[Array, "*steps m"]
    policy_next: Float[Array, "*steps A"]
    q_target: Float[Array, "*steps"]


def initial_network(
    key: PRNGKeyArray, predictions: int, units: int, lifetime: int, embedding: int
) -> dict[str, Any]:
    """Random weights: variance 1 / inputs, but standard deviations of 1 for the gate and 0.3 for the output
    layers; all normal, truncated at two standard deviations. Biases are zero.

    Args:
        key: a random key.
        predictions: m, corners of the simplexes of y and z.
        units: H, of the recurrence over a trajectory.
        lifetime: of the recurrence over a training.
        embedding: hidden units of all small layers.
    """
    keys = jax.random.split(key, 11)
    out = jax.nn.initializers.truncated_normal(0.3)
    summed_up = STEP_INPUTS + 2
    return {
        "inputs": _initial_inputs(keys[0], predictions, embedding),
        "look_back": _dense(keys[1], STEP_INPUTS + units, 4 * units),
        "gate": _dense(keys[2], lifetime, units, jax.nn.initializers.truncated_normal(1.0)),
        "y_hat": _dense(keys[3], units, predictions, out),
        "z_hat": _dense(keys[4], units, predictions, out),
        "summary": _dense(keys[5], units, 1, out),
        "pi_hat": {
            "context": _dense(keys[6], 2 * (units + ACTION_SIZE), embedding),
            "out": _dense(keys[7], embedding, 1, out),
        },
        "lifetime": {
            "inputs": _initial_inputs(keys[8], predictions, embedding),
            "step": _dense(keys[9], summed_up, embedding),
            "recurrence": _dense(keys[10], embedding + lifetime, 4 * lifetime),
        },
    }


def _initial_inputs(key: PRNGKeyArray, predictions: int, embedding: int) -> dict[str, Any]:
    """Weights of `step_inputs`: f_y, f_z, and the action embedding's two layers."""
    keys = jax.random.split(key, 6)
    return {
        "y": {"in": _dense(keys[0], predictions, embedding), "out": _dense(keys[1], embedding, 1)},
        "z": {"in": _dense(keys[2], predictions, embedding), "out": _dense(keys[3], embedding, 1)},
        "actions": {
            "in": _dense(keys[4], 2 * ACTION_INPUTS, embedding),
            "out": _dense(keys[5], 2 * embedding, ACTION_SIZE),
        },
    }


def initial_life(width: int) -> Carry:
    """The initial state of the lifetime: h and c."""
    return jnp.zeros(width), jnp.zeros(width)


def meta_network(
    weights: Any, life: Carry, trajectory: Trajectory, values: Values, moments: Moments
) -> tuple[DiscoTargets, Carry]:
    """Targets of every step, and the lifetime's state after this rollout.

    The recurrence is reset where an episode terminated or was truncated.

    Args:
        weights: as from `initial_network`.
        life: the lifetime's state.
        trajectory: with heads "logits", "y", "z" and "q", of the agent and of its target network.
        values: along the trajectory.
        moments: of advantages, including the current ones.
    """
    inputs, actions = step_inputs(weights["inputs"], trajectory, values, moments)
    ended = trajectory.terminated | trajectory.truncated
    looked_back = _cell_weights(weights["look_back"], STEP_INPUTS)
    x = read_backwards(CELLS["lstm"], looked_back, inputs, ended) * _apply(weights["gate"], life[0])
    for_each = jnp.broadcast_to(x[..., None, :], (*actions.shape[:-1], x.shape[-1]))
    of_actions = _in_context(weights["pi_hat"]["context"], jnp.concatenate([for_each, actions], axis=-1))
    targets = DiscoTargets(
        pi_hat=_apply(weights["pi_hat"]["out"], of_actions)[..., 0],
        y_hat=_apply(weights["y_hat"], x),
        z_hat=_apply(weights["z_hat"], x),
        policy_next=jax.lax.stop_gradient(trajectory.outputs_next["logits"]),
        q_target=values.q_target,
    )
    summary = _apply(weights["summary"], x)

    own = weights["lifetime"]
    inputs, _ = step_inputs(own["inputs"], trajectory, values, moments)
    said = _embed(own["inputs"]["y"], targets.y_hat)[..., None]
    lived = _apply(own["step"], jnp.concatenate([inputs, summary, said], axis=-1)).mean((0, 1))
    cell = _cell_weights(own["recurrence"], len(lived))
    return targets, CELLS["lstm"].step(cell, life, lived @ cell["kernel"] + cell["bias"])


def step_inputs(
    weights: Any, trajectory: Trajectory, values: Values, moments: Moments
) -> tuple[Float[Array, "T E F"], Float[Array, "T E A G"]]:
    """The 27 inputs of each step, and a pair for each of its actions.

    With l(x) = sign(x) log(1 + |x|), ' for the state reached, and minus signs for the target network:

        pi(a), mu(a), l(r), 1 - terminated, l(V), l(V'), l(advantage), normalized advantage, pi^-(a),
        f_y(y), f_y(y'), f_y(y^-), f_y(y^-'),
        f_z(z_a), E f_z(z), E f_z(z'), max f_z(z), max f_z(z'), and those five of z^-,
        mean of the action embedding, that of the action taken (2 each)

    E is the mean under pi; it and max are over actions. The inputs of each action are in `action_inputs`.
    Gradients reach the agent's parameters through y and z of both networks only.
    """
    taken = trajectory.action
    pi, pi_next, pi_target, _ = jax.nn.softmax(jax.lax.stop_gradient(every_output(trajectory, "logits")))
    y = _embed(weights["y"], every_output(trajectory, "y"))
    z = _embed(weights["z"], every_output(trajectory, "z"))
    seen = action_inputs(trajectory, values, moments, pi, pi_target, z[0], z[2])
    actions = _in_context(weights["actions"]["out"], _in_context(weights["actions"]["in"], seen))

    def over_actions(z: Array, z_next: Array) -> list[Array]:
        means = (pi * z).sum(-1), (pi_next * z_next).sum(-1)
        return [chosen(z, taken), *means, z.max(-1), z_next.max(-1)]

    numbers = [
        chosen(pi, taken),
        jnp.exp(jax.lax.stop_gradient(trajectory.log_prob)),
        signed_log(trajectory.reward),
        1.0 - trajectory.terminated,
        signed_log(values.value),
        signed_log(values.value_next),
        signed_log(values.advantage),
        normalize(moments, values.advantage),
        chosen(pi_target, taken),
        *y,
        *over_actions(z[0], z[1]),
        *over_actions(z[2], z[3]),
    ]
    embedded = [actions.mean(-2), chosen(actions, taken)]
    return jnp.concatenate([jnp.stack(numbers, axis=-1), *embedded], axis=-1), actions


def action_inputs(
    trajectory: Trajectory,
    values: Values,
    moments: Moments,
    pi: Float[Array, "T E A"],
    pi_target: Float[Array, "T E A"],
    z: Float[Array, "T E A"],
    z_target: Float[Array, "T E A"],
) -> Float[Array, "T E A F"]:
    """The nine inputs of each action.

    pi, mu, pi^-, f_z(z), f_z(z^-), l(q^-), l(q^- - V^-), q^- - V^- normalized as advantages are, and whether
    it is the action taken. The policy that acted is the one that learns, so mu is pi.
    """
    taken = trajectory.action[..., None] == jnp.arange(pi.shape[-1])
    numbers = [
        pi,
        pi,
        pi_target,
        z,
        z_target,
        signed_log(values.action_value),
        signed_log(values.action_advantage),
        normalize(moments, values.action_advantage),
        taken,
    ]
    return jnp.stack(numbers, axis=-1)


def signed_log(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """sign(x) log(1 + |x|)."""
    return jnp.sign(x) * jnp.log1p(jnp.abs(x))


def _dense(key: PRNGKeyArray, inputs: int, outputs: int, initial: Any = matrix) -> dict[str, Array]:
    return {"kernel": initial(key, (inputs, outputs)), "bias": jnp.zeros(outputs)}


def _apply(layer: Any, x: Array) -> Array:
    return x @ layer["kernel"] + layer["bias"]


def _embed(embedding: Any, logits: Float[Array, "*steps m"]) -> Float[Array, "*steps"]:
    """f_y and f_z: a number for a point of the simplex; one hidden layer."""
    hidden = jax.nn.relu(_apply(embedding["in"], jax.nn.softmax(logits)))
    return _apply(embedding["out"], hidden)[..., 0]


def _in_context(layer: Any, x: Float[Array, "*steps A F"]) -> Float[Array, "*steps A G"]:
    """A layer that reads each action's numbers and their mean over all actions."""
    mean = jnp.broadcast_to(x.mean(-2, keepdims=True), x.shape)
    return jax.nn.relu(_apply(layer, jnp.concatenate([x, mean], axis=-1)))


def _cell_weights(layer: Any, inputs: int) -> dict[str, Array]:
    """An LSTM's weights in the form of `objectives.recurrence`."""
    return {"kernel": layer["kernel"][:inputs], "inner": layer["kernel"][inputs:], "bias": layer["bias"]}
