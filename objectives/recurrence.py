"""Recurrent cells as pure functions, and a backward pass over a rollout with them.

Weights are ``{"kernel": [F, G H], "bias": [G H], "inner": [H, G H], ...}``: G gates side by side, of H units
each, that see F inputs.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, PRNGKeyArray

Weights = Mapping[str, Array]
Carry = tuple[Array, ...]
"""A cell's state: arrays ``[E, H]``, the first of which is its output."""

matrix = jax.nn.initializers.lecun_normal()
rotation = jax.nn.initializers.orthogonal()


class Cell(NamedTuple):
    """A recurrent cell.

    Attributes:
        gates: G.
        arrays: how many arrays its carry has.
        inner_bias: whether the candidate's recurrent part has its own bias, ``"inner_bias"`` ``[H]``.
        step: ``(weights, carry, seen [E, G H]) -> carry``, where seen = x kernel + bias.
    """

    gates: int
    arrays: int
    inner_bias: bool
    step: Callable[[Weights, Carry, Array], Carry]


def _gru(weights: Weights, carry: Carry, seen: Array) -> Carry:
    """Cho et al. 2014, in the form of flax and cuDNN.

    r = s(x_r + U_r h), z = s(x_z + U_z h), n = tanh(x_n + r (U_n h + c)), h' = (1 - z) n + z h.
    """
    (h,) = carry
    x_r, x_z, x_n = jnp.split(seen, 3, axis=-1)
    h_r, h_z, h_n = jnp.split(h @ weights["inner"], 3, axis=-1)
    z = jax.nn.sigmoid(x_z + h_z)
    n = jnp.tanh(x_n + jax.nn.sigmoid(x_r + h_r) * (h_n + weights["inner_bias"]))
    return ((1.0 - z) * n + z * h,)


def _lstm(weights: Weights, carry: Carry, seen: Array) -> Carry:
    """Hochreiter & Schmidhuber 1997, with forget gates (Gers et al. 2000).

    i, f, g, o = x + U h; c' = s(f) c + s(i) tanh(g), h' = s(o) tanh(c').
    """
    h, c = carry
    i, f, g, o = jnp.split(seen + h @ weights["inner"], 4, axis=-1)
    c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
    return jax.nn.sigmoid(o) * jnp.tanh(c), c


CELLS: dict[str, Cell] = {
    "gru": Cell(gates=3, arrays=1, inner_bias=True, step=_gru),
    "lstm": Cell(gates=4, arrays=2, inner_bias=False, step=_lstm),
}
"""Cells by name. Gates are in the order (r, z, n) and (i, f, g, o)."""


def initial_weights(cell: Cell, key: PRNGKeyArray, inputs: int, width: int) -> dict[str, Array]:
    """Random weights of a cell of `width` H that sees `inputs` F numbers.

    Input matrices are normal with variance 1 / F, recurrent ones orthogonal, gate by gate; biases are zero.
    """
    keys = jax.random.split(key, (2, cell.gates))
    weights = {
        "kernel": jnp.concatenate([matrix(k, (inputs, width)) for k in keys[0]], axis=-1),
        "bias": jnp.zeros(cell.gates * width),
        "inner": jnp.concatenate([rotation(k, (width, width)) for k in keys[1]], axis=-1),
    }
    return {**weights, "inner_bias": jnp.zeros(width)} if cell.inner_bias else weights


def read_backwards(
    cell: Cell, weights: Weights, x: Float[Array, "T E F"], ended: Bool[Array, "T E"]
) -> Float[Array, "T E H"]:
    """Outputs h_t of a cell that reads x_T-1, ..., x_0: h_t depends on x_t and later inputs.

    The carry is zero before x_T-1 is read, and is set to zero before x_t is read where `ended`, since later
    inputs there belong to another episode.
    """
    seen = x @ weights["kernel"] + weights["bias"]
    nothing = jnp.zeros((x.shape[1], weights["inner"].shape[0]), seen.dtype)

    def read(carry_tp1: Carry, inputs: tuple[Array, Array]) -> tuple[Any, Array]:
        seen_t, ended_t = inputs
        carry_tp1 = tuple(jnp.where(ended_t[:, None], 0.0, c) for c in carry_tp1)
        carry_t = cell.step(weights, carry_tp1, seen_t)
        return carry_t, carry_t[0]

    _, h = jax.lax.scan(read, (nothing,) * cell.arrays, (seen, ended), reverse=True)
    return h
