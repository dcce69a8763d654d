"""The optimal return of a grid-world, by finite-horizon value iteration."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from environments.gridworld import MOVES, Grid, Level, move


def optimal_return(grid: Grid, level: Level) -> Float[Array, ""]:
    """Expected undiscounted return of an optimal policy over one episode from the level's start.

    V_T = 0 and V_t(s) = max_a E[r + (1 - terminated) V_{t+1}(s')] over the states (cell, which
    objects exist), exactly; a traced level gives a traced result, so it can be vmapped over levels.

    Raises:
        ValueError: for a grid-world with random places, which has too many states.
    """
    if grid.random_places:
        raise ValueError("optimal_return needs objects that stay in their places, got random_places=True")
    cells = jnp.arange(grid.cells)
    reached = jnp.stack([move(level.walls, cells, jnp.full(grid.cells, a)) for a in range(len(MOVES))])
    there = level.present[:, None] & (level.cell[:, None] == cells)
    p_respawn = jnp.where(level.present, level.p_respawn, 0.0)

    def backup(_: Array, value: Array) -> Array:
        """From V_{t+1} to V_t, both ``[cells, 2, 2, ...]`` with one axis of 2 (absent, there) per object."""
        arrived = _after_respawn(value, p_respawn)
        for k in range(grid.objects):
            others = _after_respawn(value, p_respawn.at[k].set(0.0))
            gone = jnp.take(others, 0, axis=k + 1)
            collected = level.reward[k] + (1.0 - level.p_terminate[k]) * gone
            absent, present = jnp.take(arrived, 0, axis=k + 1), jnp.take(arrived, 1, axis=k + 1)
            here = there[k].reshape(-1, *[1] * (grid.objects - 1))
            arrived = jnp.stack([absent, jnp.where(here, collected, present)], axis=k + 1)
        return arrived[reached].max(0)

    value = jnp.zeros((grid.cells, *[2] * grid.objects))
    value = jax.lax.fori_loop(0, level.max_steps, backup, value)
    return value[(level.start, *(level.present[k].astype(int) for k in range(grid.objects)))]


def _after_respawn(value: Array, p_respawn: Float[Array, " K"]) -> Array:
    """Expected value when each absent object re-appears with its probability, independently."""
    for k in range(p_respawn.shape[0]):
        absent, present = jnp.take(value, 0, axis=k + 1), jnp.take(value, 1, axis=k + 1)
        waited = p_respawn[k] * present + (1.0 - p_respawn[k]) * absent
        value = jnp.stack([waited, present], axis=k + 1)
    return value
