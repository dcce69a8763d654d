"""The network of LPG: it reads a rollout backward and gives targets for each step.

Its inputs at step t, with phi a small network from the simplex to a number:

    x_t = (r_t, d_t, pi(a_t|s_t), phi(y(s_t)), (1 - d_t) phi(y(s'_t)))      5 inputs, and a context

Ends of episodes: d_t is `terminated` alone, as in `gae`. s'_t is the state reached, an episode's final
observation included. The recurrence is reset where an episode ended for either reason. So the network treats
a time limit like the end of the rollout: it reads no future, and y(s'_t) represents it. `legacy_truncation`
in the setup makes a time limit a termination, as in the papers.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from objectives.base import Progress, Trajectory
from objectives.recurrence import Cell, initial_weights, matrix, read_backwards

STEP_INPUTS = 5
"""Numbers that the network reads at each step, without the context."""


class LpgTargets(NamedTuple):
    """pi_hat ``[T, E]`` and log y_hat ``[T, E, m]``; ``[B]`` and ``[B, m]`` in a minibatch."""

    pi_hat: Float[Array, "*steps"]
    log_y_hat: Float[Array, "*steps m"]

    @property
    def y_hat(self) -> Float[Array, "*steps m"]:
        """Points of the simplex."""
        return jnp.exp(self.log_y_hat)


def initial_network(
    key: PRNGKeyArray, cell: Cell, width: int, embedding: int, size: int, context: int
) -> dict[str, Any]:
    """Random weights: kernels normal with variance 1 / inputs, recurrent matrices orthogonal, biases zero.

    Args:
        key: a random key.
        cell: of the recurrence.
        width: H, its units.
        embedding: hidden units of phi.
        size: m, corners of the simplex.
        context: numbers that are read with every step.
    """
    key_in, key_out, key_cell, key_pi, key_y = jax.random.split(key, 5)
    return {
        "embedding": {"in": _dense(key_in, size, embedding), "out": _dense(key_out, embedding, 1)},
        "recurrence": initial_weights(cell, key_cell, STEP_INPUTS + context, width),
        "pi_hat": _dense(key_pi, width, 1),
        "y_hat": _dense(key_y, width, size),
    }


def learned_targets(
    cell: Cell, weights: Any, trajectory: Trajectory, context: Sequence[Array | float] = ()
) -> LpgTargets:
    """pi_hat_t = w relu(h_t) + b and y_hat_t = softmax(W relu(h_t) + c), h the recurrence over x_T-1 ... x_0.

    Args:
        cell: of the recurrence.
        weights: as from `initial_network`.
        trajectory: with a head "bootstrap", logits of y.
        context: scalars that are read with every step.
    """
    x = step_inputs(weights["embedding"], trajectory, context)
    ended = trajectory.terminated | trajectory.truncated
    h = jax.nn.relu(read_backwards(cell, weights["recurrence"], x, ended))
    return LpgTargets(_apply(weights["pi_hat"], h)[..., 0], jax.nn.log_softmax(_apply(weights["y_hat"], h)))


def step_inputs(
    embedding: Any, trajectory: Trajectory, context: Sequence[Array | float] = ()
) -> Float[Array, "T E F"]:
    """The inputs of each step: x_t of the module's docstring, then `context`.

    A density is unbounded, so for A continuous actions p / (1 + p) replaces pi, where p is the density's A-th
    root: it is in (0, 1) too, and of similar size for all A. The papers have discrete actions only.
    """
    log_prob, done = trajectory.log_prob, trajectory.terminated
    if "logits" in trajectory.outputs:
        probability = jnp.exp(log_prob)
    else:
        probability = jax.nn.sigmoid(log_prob / trajectory.action.shape[-1])
    phi, phi_next = (
        _embed(embedding, outputs["bootstrap"]) for outputs in (trajectory.outputs, trajectory.outputs_next)
    )
    phi_next = jnp.where(done, 0.0, phi_next)
    everywhere = [jnp.broadcast_to(jnp.asarray(value), done.shape) for value in context]
    return jnp.stack([trajectory.reward, done, probability, phi, phi_next, *everywhere], axis=-1)


def time_inputs(progress: Progress, raw: bool = False) -> list[Array]:
    """n/N and log N (Jackson et al. 2024, eq. 9); or n and N, in rollouts, as in the released source."""
    update, n_updates = (jnp.asarray(x, "float32") for x in (progress.update, progress.n_updates))
    return [update, n_updates] if raw else [progress.fraction, jnp.log(n_updates)]


def _dense(key: PRNGKeyArray, inputs: int, outputs: int) -> dict[str, Array]:
    return {"kernel": matrix(key, (inputs, outputs)), "bias": jnp.zeros(outputs)}


def _apply(layer: Any, x: Array) -> Array:
    return x @ layer["kernel"] + layer["bias"]


def _embed(embedding: Any, bootstrap: Float[Array, "T E m"]) -> Float[Array, "T E"]:
    """phi(y): one hidden layer."""
    hidden = jax.nn.relu(_apply(embedding["in"], jax.nn.softmax(bootstrap)))
    return _apply(embedding["out"], hidden)[..., 0]
