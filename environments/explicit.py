"""A grid-world as a Markov decision process in arrays, for methods that need exact values."""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from environments.gridworld import MOVES, Grid, Level, move


class Explicit(NamedTuple):
    """A Markov decision process whose episodes may end.

    States are numbered as tabular observations are: ``combination * cells + cell``, with bit k of the
    combination for "object k exists".

    Attributes:
        transition: probability of each state after an action; rows lack the probability that the
            episode ends.
        reward: of an action in a state; here it is not random.
        start: the state in which every episode begins.
    """

    transition: Float[Array, "S A S"]
    reward: Float[Array, "S A"]
    start: Int[Array, ""]


def explicit(grid: Grid, level: Level) -> Explicit:
    """The process of a level, without its time limit; a traced level gives traced arrays.

    Its S = cells * 2^objects states take 4 A S^2 bytes: 1.7 MB for "grid/small", 200 MB for "grid/large".

    Raises:
        ValueError: for a grid-world with random places, which has too many states.
    """
    if grid.random_places:
        raise ValueError("explicit needs objects that stay in their places, got random_places=True")
    cells, n_masks, n_actions = jnp.arange(grid.cells), 2**grid.objects, len(MOVES)
    exists = (jnp.arange(n_masks)[:, None] >> jnp.arange(grid.objects)) % 2 == 1
    collected = exists[:, None] & (level.cell == cells[:, None])  # [masks, cells, K], by the agent's new cell
    gain = jnp.where(collected, level.reward, 0.0).sum(-1)
    goes_on = jnp.where(collected, 1.0 - level.p_terminate, 1.0).prod(-1)
    appears = jnp.where(level.present, level.p_respawn, 0.0)
    p_exists = jnp.where(exists[:, None], jnp.where(collected, 0.0, 1.0), appears)[:, :, None]
    onward = goes_on[..., None] * jnp.where(exists, p_exists, 1.0 - p_exists).prod(-1)

    actions = jnp.arange(n_actions)
    reached = move(level.walls, *jnp.broadcast_arrays(cells[:, None], actions))  # [cells, A]
    there = reached[..., None] == cells
    transition = onward[:, reached, :, None] * there[:, :, None, :]
    n_states = n_masks * grid.cells
    return Explicit(
        transition=transition.reshape(n_states, n_actions, n_states),
        reward=gain[:, reached].reshape(n_states, n_actions),
        start=(level.present * 2 ** jnp.arange(grid.objects)).sum() * grid.cells + level.start,
    )
