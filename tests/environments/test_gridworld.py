"""Grid-worlds against a plain simulator, brute force, and the laws their levels must follow."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from environments.chain import LENGTHS, from_chain
from environments.explicit import explicit
from environments.gridworld import (
    MOVES,
    Grid,
    GridState,
    Level,
    move,
    observe,
    reset,
    transition,
)
from environments.levels import reachable, solvable
from environments.optimal import optimal_return

TINY = Grid(size=3, objects=2, kinds=2)
PLACED = TINY._replace(tabular=False)
RANDOM = Grid(size=5, objects=3, kinds=2, tabular=False, random_places=True)


@functools.cache
def stepping(grid):
    return jax.jit(functools.partial(transition, grid))


def level(walls=(), cells=9, present=(True, True), **fields):
    """A hand-made level, of the 3 x 3 grid unless something else is said."""
    numbers = {"start": 0, "cell": (2, 8), "kind": np.arange(len(present)), "max_steps": 5}
    numbers |= {"reward": (1.0, -0.5), "p_terminate": (0.0, 1.0), "p_respawn": (1.0, 0.0)}
    blocked = jnp.zeros(cells, bool).at[jnp.array(walls, int)].set(True)
    arrays = {name: jnp.asarray(value) for name, value in (numbers | fields).items()}
    return Level(walls=blocked, present=jnp.array(present), **arrays)


def state_at(agent, exists, cell=(2, 8), time=0):
    return GridState(jnp.int32(agent), jnp.array(exists), jnp.array(cell), jnp.int32(time))


def walk(one, actions):
    """States, rewards and ends along a sequence of actions in the 3 x 3 grid, without resets."""
    state, seen = reset(TINY, jax.random.key(0), one), []
    for index, action in enumerate(actions):
        state, reward, terminated, truncated = stepping(TINY)(jax.random.key(index), state, action, one)
        seen.append((state, float(reward), bool(terminated), bool(truncated)))
    return seen


UP, DOWN, LEFT, RIGHT, STAY = (jnp.int32(action) for action in range(5))

# --- one step ----------------------------------------------------------------------------------


def test_moves_against_coordinates():
    size = 4
    walls = np.random.default_rng(0).random((size, size)) < 0.3
    moved = jax.jit(functools.partial(move, jnp.asarray(walls.reshape(-1))))
    for row, column, action in itertools.product(range(size), range(size), range(len(MOVES))):
        to_row, to_column = row + MOVES[action][0], column + MOVES[action][1]
        blocked = not (0 <= to_row < size and 0 <= to_column < size) or walls[to_row, to_column]
        expected = (row, column) if blocked else (to_row, to_column)
        assert divmod(int(moved(jnp.int32(row * size + column), jnp.int32(action))), size) == expected


def test_collecting_rewards_and_removes_and_nothing_reappears_in_the_same_step():
    first, second, third, fourth = walk(level(), [RIGHT, RIGHT, STAY, STAY])
    assert first[1:] == (0.0, False, False)
    assert second[1:] == (1.0, False, False) and second[0].exists.tolist() == [False, True]
    assert third[1] == 0.0 and third[0].exists.tolist() == [True, True]  # p_respawn 1, a step later
    assert fourth[1] == 1.0  # collected by who stayed where it re-appeared
    seen = walk(level(present=(False, True)), [RIGHT, RIGHT, STAY])
    assert all(reward == 0.0 and not state.exists[0] for state, reward, *_ in seen)


def test_terminated_and_truncated():
    end = walk(level(), [DOWN, DOWN, RIGHT, RIGHT])[-1]
    assert end[1:] == (-0.5, True, False) and int(end[0].agent) == 8
    assert [one[3] for one in walk(level(max_steps=2), [STAY, STAY, STAY])] == [False, True, True]
    assert walk(level(max_steps=4), [DOWN, DOWN, RIGHT, RIGHT])[-1][2:] == (True, True)


def test_probabilities():
    one = level(start=1, p_terminate=(0.3, 0.0), p_respawn=(0.2, 0.1))
    keys = jax.random.split(jax.random.key(1), 20_000)
    absent = state_at(1, [True, False])
    step = jax.jit(jax.vmap(lambda key: transition(TINY, key, absent, RIGHT, one)))
    state, reward, terminated, _ = step(keys)
    assert np.all(np.asarray(reward) == 1.0) and not state.exists[:, 0].any()
    assert np.mean(terminated) == pytest.approx(0.3, abs=0.015)
    assert np.mean(state.exists[:, 1]) == pytest.approx(0.1, abs=0.01)


# --- observations ------------------------------------------------------------------------------


def test_tabular_observation():
    """One-hot over (which objects exist, cell), and the time in thousands."""
    seeing = jax.jit(functools.partial(observe, TINY))
    for cell, first, second in itertools.product(range(9), [False, True], [False, True]):
        seen = np.asarray(seeing(state_at(cell, [first, second], time=250), level()))
        expected = np.append(np.arange(36) == 9 * (first + 2 * second) + cell, 0.25)
        np.testing.assert_array_equal(seen, expected.astype(np.float32))
        assert seen.dtype == np.float32


def test_planes():
    one = level(kind=(1, 1))
    for exists, shown in (([True, True], [2, 8]), ([False, True], [8])):
        planes = np.asarray(observe(PLACED, state_at(4, exists, time=1), one))[:-1].reshape(3, 9)
        assert [np.flatnonzero(plane).tolist() for plane in planes] == [[4], [], shown]


# --- random places -----------------------------------------------------------------------------


def test_random_places_are_free_and_uniform():
    """GROOVE compared cell numbers with a wall mask, so that objects could appear in walls."""
    walls = [0, 6, 7, 24]
    objects = {"cell": (0, 0, 0), "kind": (0, 0, 1), "reward": (1.0,) * 3}
    odds = {"p_terminate": (0.0,) * 3, "p_respawn": (1.0,) * 3}
    one = level(walls, 25, (True,) * 3, start=12, max_steps=50, **objects, **odds)
    keys = jax.random.split(jax.random.key(0), 6000)
    cells = np.asarray(jax.jit(jax.vmap(lambda key: reset(RANDOM, key, one)))(keys).cell)
    free = sorted(set(range(25)) - {*walls, 12})
    assert set(cells.reshape(-1)) == set(free)
    assert all(len(set(row)) == 3 for row in cells)
    counts = np.bincount(cells.reshape(-1), minlength=25)[free]
    assert counts.std() < 3 * np.sqrt(counts.mean())

    # One object is collected: it comes back a step later, somewhere else that is free.
    taken = state_at(12, [False, True, True], (12, 3, 20), time=4)
    state = jax.jit(jax.vmap(lambda key: transition(RANDOM, key, taken, STAY, one)[0]))(keys[:2000])
    assert state.exists.all() and np.array_equal(np.unique(state.cell[:, 1:], axis=0), [[3, 20]])
    assert set(np.unique(state.cell[:, 0])) == set(free) - {3, 20}


def test_objects_find_the_last_free_cells():
    """Five cells are free: the agent's, those of two objects, and two for the others."""
    grid = Grid(size=3, objects=4, kinds=4, tabular=False, random_places=True)
    odds = {"reward": (1.0,) * 4, "p_terminate": (0.0,) * 4, "p_respawn": (1.0,) * 4}
    one = level((2, 5, 7, 8), 9, (True,) * 4, cell=(1, 3, 4, 6), **odds)
    state = state_at(0, [True, True, False, False], (1, 3, 4, 6))
    for seed in range(10):
        reached, *_ = stepping(grid)(jax.random.key(seed), state, STAY, one)
        assert reached.exists.all()
        assert reached.cell[:2].tolist() == [1, 3] and set(reached.cell[2:].tolist()) == {4, 6}


def test_solvable_sees_what_is_sealed_off():
    sealed, around = level(walls=(5, 7)), level(walls=(4,))
    assert not solvable(sealed.walls, sealed.start) and solvable(around.walls, around.start)
    assert not solvable(around.walls, jnp.int32(4))
    assert np.flatnonzero(reachable(sealed.walls, jnp.int32(8))).tolist() == [8]


# --- value iteration ---------------------------------------------------------------------------


def brute_force(one: Level) -> float:
    """max over actions, expectation over every combination of what can happen, written out."""
    one = jax.tree.map(np.asarray, one)

    @functools.cache  # for the same question asked again
    def value(agent: int, exists: tuple[bool, ...], left: int) -> float:
        if left == 0:
            return 0.0
        best = -np.inf
        for down, right in MOVES:
            row, column = agent // 3 + down, agent % 3 + right
            inside = 0 <= row < 3 and 0 <= column < 3
            target = row * 3 + column if inside and not one.walls[row * 3 + column] else agent
            collected = [there and one.cell[k] == target for k, there in enumerate(exists)]
            reward = sum(float(one.reward[k]) for k in range(2) if collected[k])
            survive = np.prod([1 - float(one.p_terminate[k]) for k in range(2) if collected[k]])
            total = 0.0
            for comes in itertools.product([False, True], repeat=2):
                chance = 1.0
                for k in range(2):
                    p = 0.0 if exists[k] or not one.present[k] else float(one.p_respawn[k])
                    chance *= p if comes[k] else 1 - p
                if chance:
                    after = tuple(bool((exists[k] and not collected[k]) or comes[k]) for k in range(2))
                    total += chance * value(target, after, left - 1)
            best = max(best, float(reward + survive * total))
        return best

    return value(int(one.start), tuple(bool(there) for there in one.present), int(one.max_steps))


CASES = [
    level(p_respawn=(0.3, 0.1)),
    level(walls=(1, 4), p_terminate=(0.4, 0.9), reward=(0.7, 0.9), p_respawn=(0.5, 0.2)),
    level(start=4, cell=(1, 3), reward=(-1.0, 0.6), p_terminate=(0.0, 0.25), p_respawn=(1.0, 0.5)),
    level(start=8, cell=(7, 5), max_steps=4, present=(True, False)),
]


def test_optimal_returns_against_brute_force():
    best = jax.jit(jax.vmap(functools.partial(optimal_return, TINY)))
    found = best(jax.tree.map(lambda *leaves: jnp.stack(leaves), *CASES))
    np.testing.assert_allclose(found, [brute_force(one) for one in CASES], atol=1e-5)
    for needs_fixed_places in (optimal_return, explicit):
        with pytest.raises(ValueError, match="random_places"):
            needs_fixed_places(RANDOM, CASES[0])


# --- a level as arrays ---------------------------------------------------------------------------

arrays = jax.jit(functools.partial(explicit, TINY))
AROUND = {"walls": (4,), "start": 6, "cell": (2, 7), "p_terminate": (0.75, 0.2), "p_respawn": (0.1, 0.6)}


def test_arrays_against_the_steps_of_the_grid_world():
    """Frequencies of 4000 steps from each of four states and actions; rewards and endings too."""
    one, n = level(max_steps=7, **AROUND), 4000
    process = arrays(one)
    step = jax.jit(jax.vmap(functools.partial(transition, TINY), (0, None, None, None)))
    keys = jax.random.split(jax.random.key(0), n)
    for cell, exists, action in (
        (6, (True, True), RIGHT),
        (6, (False, True), UP),
        (1, (True, False), RIGHT),
        (5, (False, False), UP),
    ):
        after, reward, terminated, _ = step(keys, state_at(cell, exists, one.cell), action, one)
        index = int(np.dot(exists, [1, 2])) * 9 + cell
        reached = np.asarray((after.exists * jnp.asarray([1, 2])).sum(-1) * 9 + after.agent)
        counted = np.bincount(reached[~np.asarray(terminated)], minlength=36) / n
        np.testing.assert_allclose(process.transition[index, action], counted, atol=0.03)
        np.testing.assert_array_equal(reward, process.reward[index, action])


@pytest.mark.parametrize(("present", "max_steps"), [((True, True), 7), ((True, False), 12)])
def test_value_iteration_on_the_arrays_is_the_optimal_return(present, max_steps):
    """Exactly; `optimal_return` is tested by enumeration."""
    one = level(present=present, max_steps=max_steps, **AROUND)
    process = arrays(one)
    p, r, value = np.asarray(process.transition), np.asarray(process.reward), np.zeros(36)
    for _ in range(max_steps):
        value = (r + p @ value).max(-1)
    expected = jax.jit(functools.partial(optimal_return, TINY))(one)
    assert value[int(process.start)] == pytest.approx(float(expected), rel=1e-5)


# --- chains ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "noise"), [("short", False), ("long", True)])
def test_chain(name, noise):
    environment = from_chain(name, {}, noise)
    low, high = LENGTHS[name]
    levels = jax.jit(jax.vmap(environment.sample_level))(jax.random.split(jax.random.key(0), 300))
    assert (levels.length.min(), levels.length.max()) == (low, high)
    assert np.unique(levels.good).tolist() == [0, 1]
    step = jax.jit(environment.step)
    one = jax.tree.map(lambda leaf: leaf[0], levels)._replace(length=jnp.int32(6))
    for good in (True, False):
        state, first = environment.reset(jax.random.key(0), one)
        rewards, seen = [], [int(first.argmax())]
        for time in range(6):
            action = one.good if good == (time == 0) else 1 - one.good  # later actions have no influence
            state, taken = step(jax.random.key(time), state, action, one)
            rewards.append(float(taken.reward))
            seen.append(int(taken.final_observation.argmax()))
        assert taken.terminated and not taken.truncated and rewards[-1] == (1.0 if good else -1.0)
        assert set(rewards[:-1]) <= ({1.0, -1.0} if noise else {0.0})
        assert len(set(seen)) == 7 and int(taken.observation.argmax()) == seen[0]
