"""Exact policy mirror descent on a Markov decision process in arrays (Xiao 2022; Alfano et al. 2023).

A process is ``transition [S, A, S]``, ``reward [S, A]`` and a discount. Rows of `transition` may sum to less
than 1: the rest is the probability that the episode ends, after which all values are zero.
"""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from objectives.mirror_map.potentials import Potential
from objectives.mirror_map.simplex import project

SMALLEST = 1e-8
"""Replaces probability zero, where phi^{-1} may be infinite."""


def evaluate(
    transition: Float[Array, "S A S"],
    reward: Float[Array, "S A"],
    discount: Float[Array, ""] | float,
    policy: Float[Array, "S A"],
) -> tuple[Float[Array, " S"], Float[Array, "S A"]]:
    """The values V of a policy, from (I - discount P_pi) V = r_pi, and Q = r + discount P V.

    The system must have a solution: discount < 1, or a policy under which every episode ends.
    """
    onward = jnp.einsum("sa,sat->st", policy, transition)
    system = jnp.eye(len(policy), dtype=policy.dtype) - discount * onward
    value = jnp.linalg.solve(system, (policy * reward).sum(-1))
    return value, reward + discount * transition @ value


def mirror_descent_step(
    potential: Potential,
    weights: Any,
    policy: Float[Array, "S A"],
    action_value: Float[Array, "S A"],
    step_size: Float[Array, ""] | float,
) -> Float[Array, "S A"]:
    """argmax_p step_size <Q(s, .), p> - D(p, policy(.|s)) over the simplex, in every state.

    It is the projection of step_size Q + phi^{-1}(policy).
    """
    dual = potential.inverse(weights, jnp.maximum(policy, SMALLEST))
    return project(potential, weights, step_size * action_value + dual)
