"""A level as arrays: against steps of the grid-world, and against its optimal return."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from environments.explicit import explicit
from environments.gridworld import Grid, GridState, Level, transition
from environments.optimal import optimal_return
from objectives.mirror_map.learned_potential import learned
from tests.objectives.maps import mirror_descent, network

GRID = Grid(3, 2, 2)
arrays = jax.jit(functools.partial(explicit, GRID))


def level(present=(True, True), max_steps=7):
    return Level(
        walls=jnp.zeros(9, bool).at[4].set(True),
        start=jnp.int32(6),
        present=jnp.asarray(present),
        cell=jnp.asarray([2, 7]),
        kind=jnp.asarray([0, 1]),
        reward=jnp.asarray([1.0, -0.5]),
        p_terminate=jnp.asarray([0.75, 0.2]),
        p_respawn=jnp.asarray([0.1, 0.6]),
        max_steps=jnp.int32(max_steps),
    )


def test_shapes_and_the_first_state():
    process = arrays(level())
    assert process.transition.shape == (36, 5, 36) and process.reward.shape == (36, 5)
    assert int(process.start) == 3 * 9 + 6
    assert int(arrays(level((True, False))).start) == 1 * 9 + 6
    total = np.asarray(process.transition).sum(-1)
    assert (total <= 1 + 1e-6).all() and (total > 0.19).all()


def test_against_the_steps_of_the_grid_world():
    """Frequencies of 4000 steps from each of four states and actions; rewards and endings too."""
    one, n = level(), 4000
    process = arrays(one)
    step = jax.jit(jax.vmap(functools.partial(transition, GRID), (0, None, None, None)))
    keys = jax.random.split(jax.random.key(0), n)
    for cell, exists, action in (
        (6, (True, True), 3),
        (6, (False, True), 0),
        (1, (True, False), 3),
        (5, (False, False), 0),
    ):
        state = GridState(jnp.int32(cell), jnp.asarray(exists), one.cell, jnp.int32(0))
        after, reward, terminated, _ = step(keys, state, jnp.int32(action), one)
        index = int(np.dot(exists, [1, 2])) * 9 + cell
        reached = np.asarray((after.exists * jnp.asarray([1, 2])).sum(-1) * 9 + after.agent)
        counted = np.bincount(reached[~np.asarray(terminated)], minlength=36) / n
        np.testing.assert_allclose(process.transition[index, action], counted, atol=0.03)
        np.testing.assert_array_equal(reward, process.reward[index, action])


def test_value_iteration_on_the_arrays_is_the_optimal_return():
    """Exactly, for two levels; `optimal_return` is tested by enumeration."""
    for one in (level(), level((True, False), 12)):
        process = arrays(one)
        p, r, value = np.asarray(process.transition), np.asarray(process.reward), np.zeros(36)
        for _ in range(int(one.max_steps)):
            value = (r + p @ value).max(-1)
        expected = jax.jit(functools.partial(optimal_return, GRID))(one)
        assert value[int(process.start)] == pytest.approx(float(expected), rel=1e-5)


def test_exact_mirror_descent_solves_a_level():
    """In no state does a step lower the value; of a random learned map of 126 units."""
    process = arrays(level())
    run = jax.jit(lambda w, p, r: mirror_descent(learned, w, p, r, 0.9, 5.0, 20)[1])
    values = np.asarray(run(network(seed=6), process.transition, process.reward))
    assert (np.diff(values, axis=0) >= -1e-5).all()
    p, r, best = np.asarray(process.transition), np.asarray(process.reward), np.zeros(36)
    for _ in range(300):
        best = (r + 0.9 * p @ best).max(-1)
    start = int(process.start)
    assert values[0, start] < 0.6 * best[start]
    assert values[-1, start] == pytest.approx(best[start], rel=1e-3)


def test_random_places_are_refused():
    with pytest.raises(ValueError, match="random_places"):
        explicit(GRID._replace(random_places=True), level())
