"""Grid-worlds against a plain simulator, brute force, and the laws their levels must follow."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from environments.chain import LENGTHS, from_chain
from environments.gridworld import (
    MOVES,
    Grid,
    GridState,
    Level,
    make_gridworld,
    move,
    observe,
    reset,
    transition,
)
from environments.levels import reachable, solvable
from environments.levelsets import SETS
from environments.optimal import optimal_return

TINY = Grid(size=3, objects=2, kinds=2)
PLACED = TINY._replace(tabular=False)
RANDOM = Grid(size=5, objects=3, kinds=2, tabular=False, random_places=True)

moved = jax.jit(move)


@functools.cache
def stepping(grid):
    return jax.jit(functools.partial(transition, grid))


@functools.cache
def observing(grid):
    return jax.jit(functools.partial(observe, grid))


def level(
    walls=(), start=0, cell=(2, 8), reward=(1.0, -0.5), p_terminate=(0.0, 1.0), p_respawn=(1.0, 0.0), steps=9
):
    """A hand-made level of the 3 x 3 grid."""
    blocked = np.zeros(9, bool)
    blocked[list(walls)] = True
    return Level(
        walls=jnp.asarray(blocked),
        start=jnp.int32(start),
        present=jnp.ones(2, bool),
        cell=jnp.asarray(cell, jnp.int32),
        kind=jnp.arange(2),
        reward=jnp.asarray(reward, jnp.float32),
        p_terminate=jnp.asarray(p_terminate, jnp.float32),
        p_respawn=jnp.asarray(p_respawn, jnp.float32),
        max_steps=jnp.int32(steps),
    )


def walk(grid, one, actions, key=0):
    """States, rewards and ends along a sequence of actions, without resets."""
    step = stepping(grid)
    state, seen = reset(grid, jax.random.key(key), one), []
    for index, action in enumerate(actions):
        state, reward, terminated, truncated = step(jax.random.key(index), state, action, one)
        seen.append((state, float(reward), bool(terminated), bool(truncated)))
    return seen


UP, DOWN, LEFT, RIGHT, STAY = (jnp.int32(action) for action in range(5))

# --- one step ----------------------------------------------------------------------------------


def test_moves_against_coordinates():
    size = 4
    walls = np.random.default_rng(0).random((size, size)) < 0.3
    for row, column, action in itertools.product(range(size), range(size), range(len(MOVES))):
        to_row, to_column = row + MOVES[action][0], column + MOVES[action][1]
        blocked = not (0 <= to_row < size and 0 <= to_column < size) or walls[to_row, to_column]
        expected = (row, column) if blocked else (to_row, to_column)
        got = int(moved(jnp.asarray(walls.reshape(-1)), jnp.int32(row * size + column), jnp.int32(action)))
        assert divmod(got, size) == expected


def test_collecting_rewards_and_removes_and_nothing_reappears_in_the_same_step():
    first, second, third, fourth = walk(TINY, level(), [RIGHT, RIGHT, STAY, STAY])
    assert first[1:] == (0.0, False, False)
    assert second[1:] == (1.0, False, False) and second[0].exists.tolist() == [False, True]
    assert third[1] == 0.0 and third[0].exists.tolist() == [True, True]  # p_respawn 1, a step later
    assert fourth[1] == 1.0  # collected by who stayed where it re-appeared


def test_terminated_and_truncated():
    end = walk(TINY, level(), [DOWN, DOWN, RIGHT, RIGHT])[-1]
    assert end[1:] == (-0.5, True, False) and int(end[0].agent) == 8
    assert [one[3] for one in walk(TINY, level(steps=2), [STAY, STAY, STAY])] == [False, True, True]
    both = walk(TINY, level(steps=4), [DOWN, DOWN, RIGHT, RIGHT])[-1]
    assert both[2:] == (True, True)


def test_what_is_not_present_is_not_there():
    one = level()._replace(present=jnp.array([False, True]))
    seen = walk(TINY, one, [RIGHT, RIGHT, STAY])
    assert [reward for _, reward, _, _ in seen] == [0.0, 0.0, 0.0]
    assert not any(state.exists[0] for state, *_ in seen)


def test_probabilities():
    one = level(start=1, p_terminate=(0.3, 0.0), p_respawn=(0.2, 0.1))
    keys = jax.random.split(jax.random.key(1), 20_000)
    absent = GridState(jnp.int32(1), jnp.array([True, False]), one.cell, jnp.int32(0))
    step = jax.jit(jax.vmap(lambda key: transition(TINY, key, absent, RIGHT, one)))
    state, reward, terminated, _ = step(keys)
    assert np.all(np.asarray(reward) == 1.0) and not state.exists[:, 0].any()
    assert np.mean(terminated) == pytest.approx(0.3, abs=0.015)
    assert np.mean(state.exists[:, 1]) == pytest.approx(0.1, abs=0.01)


# --- observations ------------------------------------------------------------------------------


def test_tabular_observation():
    one = level()
    state = GridState(jnp.int32(4), jnp.array([True, False]), one.cell, jnp.int32(250))
    seen = np.asarray(observing(TINY)(state, one))
    assert seen.shape == (9 * 4 + 1,) and seen.dtype == np.float32
    assert np.flatnonzero(seen[:-1]).tolist() == [9 * 0b01 + 4] and seen[-1] == np.float32(0.25)
    every = {
        int(
            np.asarray(
                observing(TINY)(
                    GridState(jnp.int32(cell), jnp.array(exists), one.cell, jnp.int32(0)),
                    one,
                )
            )[:-1].argmax()
        )
        for cell in range(9)
        for exists in itertools.product([False, True], repeat=2)
    }
    assert every == set(range(36))


def test_planes():
    one = level()._replace(kind=jnp.array([1, 1]))
    state = GridState(jnp.int32(4), jnp.array([True, True]), one.cell, jnp.int32(1))
    seen = np.asarray(observing(PLACED)(state, one))
    planes = seen[:-1].reshape(3, 9)
    assert [np.flatnonzero(plane).tolist() for plane in planes] == [[4], [], [2, 8]]
    gone = np.asarray(observing(PLACED)(state._replace(exists=jnp.array([False, True])), one))
    assert np.flatnonzero(gone[:-1].reshape(3, 9)[2]).tolist() == [8]


# --- random places -----------------------------------------------------------------------------


def test_random_places_are_free_and_uniform():
    """GROOVE compared cell numbers with a wall mask, so that objects could appear in walls."""
    walls = np.zeros(25, bool)
    walls[[0, 6, 7, 24]] = True
    three = jnp.ones(3)
    kind, nowhere = jnp.array([0, 0, 1]), jnp.zeros(3, jnp.int32)
    one = Level(
        jnp.asarray(walls), jnp.int32(12), three > 0, nowhere, kind, three, 0 * three, three, jnp.int32(50)
    )
    keys = jax.random.split(jax.random.key(0), 6000)
    begun = jax.jit(jax.vmap(lambda key: reset(RANDOM, key, one)))(keys)
    cells = np.asarray(begun.cell)
    assert not walls[cells].any() and not (cells == 12).any()
    assert all(len(set(row)) == 3 for row in cells)
    counts = np.bincount(cells.reshape(-1), minlength=25)[~walls & (np.arange(25) != 12)]
    assert counts.std() < 3 * np.sqrt(counts.mean())

    # One object is collected: it comes back a step later, somewhere else that is free.
    taken = GridState(jnp.int32(12), jnp.array([False, True, True]), jnp.array([12, 3, 20]), jnp.int32(4))
    state = jax.jit(jax.vmap(lambda key: transition(RANDOM, key, taken, STAY, one)[0]))(keys[:2000])
    assert state.exists.all() and np.array_equal(np.unique(state.cell[:, 1:], axis=0), [[3, 20]])
    assert set(np.unique(state.cell[:, 0])) == set(range(25)) - {0, 6, 7, 24, 12, 3, 20}


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
    level(steps=5, p_respawn=(0.3, 0.1)),
    level(walls=(1, 4), steps=5, p_terminate=(0.4, 0.9), reward=(0.7, 0.9), p_respawn=(0.5, 0.2)),
    level(start=4, cell=(1, 3), steps=5, reward=(-1.0, 0.6), p_terminate=(0.0, 0.25), p_respawn=(1.0, 0.5)),
    level(start=8, cell=(7, 5), steps=4)._replace(present=jnp.array([True, False])),
]


def test_optimal_returns_against_brute_force():
    best = jax.jit(jax.vmap(functools.partial(optimal_return, TINY)))
    found = best(jax.tree.map(lambda *leaves: jnp.stack(leaves), *CASES))
    np.testing.assert_allclose(found, [brute_force(one) for one in CASES], atol=1e-5)
    with pytest.raises(ValueError, match="random_places"):
        optimal_return(RANDOM, CASES[0])


# --- what can be reached ------------------------------------------------------------------------


def test_solvable_sees_what_is_sealed_off():
    sealed, around = level(walls=(5, 7)), level(walls=(4,))
    assert not solvable(sealed.walls, sealed.start) and solvable(around.walls, around.start)
    assert not solvable(around.walls, jnp.int32(4))
    assert np.flatnonzero(reachable(sealed.walls, jnp.int32(8))).tolist() == [8]


def test_objects_find_the_last_free_cells():
    """Five cells are free: the agent's, those of two objects, and two for the others."""
    grid = Grid(size=3, objects=4, kinds=4, tabular=False, random_places=True)
    walls = jnp.zeros(9, bool).at[jnp.array([2, 5, 7, 8])].set(True)
    one = Level(
        walls=walls,
        start=jnp.int32(0),
        present=jnp.ones(4, bool),
        cell=jnp.array([1, 3, 4, 6]),
        kind=jnp.arange(4),
        reward=jnp.ones(4),
        p_terminate=jnp.zeros(4),
        p_respawn=jnp.ones(4),
        max_steps=jnp.int32(100),
    )
    state = GridState(jnp.int32(0), jnp.array([True, True, False, False]), one.cell, jnp.int32(0))
    step = jax.jit(functools.partial(transition, grid))
    for seed in range(10):
        reached, *_ = step(jax.random.key(seed), state, jnp.int32(4), one)
        assert reached.exists.all()
        assert reached.cell[:2].tolist() == [1, 3] and set(reached.cell[2:].tolist()) == {4, 6}


# --- as environments ---------------------------------------------------------------------------


def test_an_episode_ends_begins_again_and_keeps_its_final_observation():
    environment = make_gridworld("tiny", TINY, 9, lambda key: level())
    one = level(steps=2)
    state, first = environment.reset(jax.random.key(0), one)
    step = jax.jit(environment.step)
    state, middle = step(jax.random.key(1), state, RIGHT, one)
    np.testing.assert_array_equal(middle.observation, middle.final_observation)
    state, last = step(jax.random.key(2), state, RIGHT, one)
    assert last.truncated and not last.terminated and last.reward == 1.0
    np.testing.assert_array_equal(last.observation, first)
    assert int(np.argmax(last.final_observation[:-1])) == 9 * 0b10 + 2
    assert int(state.time) == 0 and state.exists.all()


def test_hundreds_of_levels_share_one_program():
    environment = make_gridworld("small", SETS["small"].grid, 100, SETS["small"].sample)
    calls = 0

    def steps(key):
        nonlocal calls
        calls += 1
        one = environment.sample_level(key)
        state, _ = environment.reset(key, one)
        return environment.step(key, state, RIGHT, one)[1].observation.argmax()

    program = jax.jit(jax.vmap(steps))
    for seed in range(2):
        assert len(np.unique(program(jax.random.split(jax.random.key(seed), 400)))) > 80
    assert calls == 1


@pytest.mark.parametrize(("name", "noise"), [("short", False), ("long", True)])
def test_chain(name, noise):
    environment = from_chain(name, {}, noise)
    low, high = LENGTHS[name]
    levels = jax.jit(jax.vmap(environment.sample_level))(jax.random.split(jax.random.key(0), 300))
    assert (levels.length.min(), levels.length.max()) == (low, high) and set(np.asarray(levels.good)) == {
        0,
        1,
    }
    step = jax.jit(environment.step)
    for good in (True, False):
        one = jax.tree.map(lambda leaf: leaf[0], levels)._replace(length=jnp.int32(6))
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
