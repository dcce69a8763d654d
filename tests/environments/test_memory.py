"""Tasks of memory, against returns and observations worked out by hand."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from environments.make import make

FIRST, PREVIOUS = "memory/repeat-first", "memory/repeat-previous"
EPISODES = 600


@functools.cache
def play(id, policy, n_steps, episodes=EPISODES, **options):
    """Observations before each action ``[episodes, n_steps, D]``, actions, and what the steps returned."""
    environment = make(id, options)

    @jax.jit
    @jax.vmap
    def episode(key, index):
        key_reset, key_steps = jax.random.split(key)

        def act(carry, key):
            state, observation = carry
            action = policy(state, index)
            state, step = environment.step(key, state, action, ())
            return (state, step.observation), (observation, action, step)

        keys = jax.random.split(key_steps, n_steps)
        return jax.lax.scan(act, environment.reset(key_reset, ()), keys)[1]

    played = episode(jax.random.split(jax.random.key(0), episodes), jnp.arange(episodes))
    return jax.tree.map(np.asarray, played)


# Symbols -------------------------------------------------------------------------------------------

every_task = pytest.mark.parametrize(("id", "k"), [(FIRST, {}), (PREVIOUS, {"k": 1}), (PREVIOUS, {"k": 3})])


def always_two(state, index):
    return jnp.int32(2)


def play_small(id, k):
    """Two episodes of eight symbols of three kinds, and a step."""
    return play(id, always_two, 15, 3000, length=8, symbols=3, **k)


def symbols_of(observation):
    assert (observation[..., 1:].sum(-1) == 1).all()
    return observation[..., 1:].argmax(-1)


@every_task
def test_rewards_are_those_of_the_definition(id, k):
    """From observations alone: who always says 2 is right where the symbol that is asked for is a 2."""
    seen, _, step = play_small(id, k)
    kth = k.get("k", 1)
    for begin in (0, 7):
        symbols = symbols_of(seen[:, begin : begin + 7])
        expected = np.zeros(symbols.shape)
        for t in range(kth - 1, 7):
            asked = symbols[:, 0 if id == FIRST else t - kth + 1]
            expected[:, t] = np.where(asked == 2, 1, -1) / (8 - kth)
        np.testing.assert_allclose(step.reward[:, begin : begin + 7], expected, rtol=1e-6)


@every_task
def test_symbols_are_uniform_and_independent(id, k):
    """The joint counts of the first and each later symbol, nine cells: chi-squared, 8 degrees of freedom."""
    seen, _, step = play_small(id, k)
    symbols = np.concatenate([symbols_of(seen[:, :7]), symbols_of(step.final_observation[:, 6:7])], 1)
    for later in range(1, 8):
        counts = np.bincount(3 * symbols[:, 0] + symbols[:, later], minlength=9)
        assert ((counts - 3000 / 9) ** 2 / (3000 / 9)).sum() < 27.9  # exceeded once in 2000
    assert len(np.unique(symbols, axis=0)) > 2000  # of 6561, about 2400 expected


@every_task
def test_the_end_and_the_flag_of_the_beginning(id, k):
    seen, _, step = play_small(id, k)
    ends = np.isin(np.arange(15), (6, 13))
    np.testing.assert_array_equal(step.terminated, np.broadcast_to(ends, (3000, 15)))
    assert not step.truncated.any()
    begins = np.isin(np.arange(15), (0, 7, 14))
    np.testing.assert_array_equal(seen[..., 0], np.broadcast_to(begins, (3000, 15)))
    assert not step.final_observation[..., 0].any()  # the last one belongs to the old episode
    np.testing.assert_array_equal(step.observation[:, ~ends], step.final_observation[:, ~ends])
    for one, other in ((seen[:, 0], seen[:, 7]), (step.observation[:, 6], step.final_observation[:, 6])):
        differ = symbols_of(one) != symbols_of(other)  # the second episode has a secret of its own
        assert differ.mean() == pytest.approx(2 / 3, abs=0.05)


# CartPole ------------------------------------------------------------------------------------------


def test_position_only_cartpole_is_cartpole_step_by_step():
    hidden, full = make("memory/cartpole-position"), make("CartPole-v1")
    assert (hidden.observation_size, hidden.horizon, hidden.n_actions) == (2, 500, 2)
    steps = [jax.jit(environment.step) for environment in (hidden, full)]
    (state, seen), (other, all_seen) = (jax.jit(each.reset)(jax.random.key(3), ()) for each in (hidden, full))
    np.testing.assert_array_equal(seen, all_seen[jnp.array([0, 2])])
    ends = 0
    for t, key in enumerate(jax.random.split(jax.random.key(4), 60)):
        action = jnp.int32(t % 5 > 1)
        state, ours = steps[0](key, state, action, ())
        other, theirs = steps[1](key, other, action, ())
        for name in ("observation", "final_observation"):
            pair = getattr(ours, name), getattr(theirs, name)[jnp.array([0, 2])]
            np.testing.assert_array_equal(*pair)
        for name in ("reward", "terminated", "truncated"):
            assert getattr(ours, name) == getattr(theirs, name)
        ends += int(ours.terminated)
    assert ends >= 2  # resets were compared, too
    jax.tree.map(np.testing.assert_array_equal, state, other)
    varied = make("memory/cartpole-position", vary={"gravity": (5.0, 15.0)})
    assert 5.0 <= float(varied.sample_level(jax.random.key(0))["gravity"]) <= 15.0


# The chain -----------------------------------------------------------------------------------------


def every_other_right(state, index):
    """The bit in even episodes, the other one in odd ones."""
    return (jnp.int32(state.context[state.query]) + index) % 2


@pytest.mark.parametrize("length", [1, 4])
def test_chain_shows_a_bit_and_asks_for_it_at_the_end(length):
    """Shown twice in bsuite (at the reset and after the first step), then never; reward at the end only."""
    seen, action, step = play("memory/chain", every_other_right, 2 * length + 2, length=length)
    worth = np.where(np.arange(EPISODES) % 2, -1.0, 1.0)[:, None]
    last = np.isin(np.arange(2 * length + 2), (length, 2 * length + 1))
    np.testing.assert_array_equal(step.terminated, np.broadcast_to(last, action.shape))
    assert not step.truncated.any()
    np.testing.assert_array_equal(step.reward, np.where(last, worth, 0.0))
    signs = worth * (2.0 * action[:, [0, length + 1]] - 1.0)  # of either episode's bit
    shown = np.zeros(action.shape)
    shown[:, :2], shown[:, length + 1 : length + 3] = signs[:, :1], signs[:, 1:]
    np.testing.assert_array_equal(seen[..., 2], shown)
    assert not seen[..., 1].any()  # one bit: question number 0
    time = np.maximum(np.arange(length + 1) - 1, 0)
    np.testing.assert_allclose(seen[:, : length + 1, 0], (1 - time / length) * np.ones((EPISODES, 1)))
    assert signs.mean() == pytest.approx(0.0, abs=0.16)


def test_a_chain_longer_than_gymnax_lets_episodes_be():
    _, _, step = play("memory/chain", every_other_right, 1501, 2, length=1500)
    assert step.reward.sum(1).tolist() == [1, -1]
    assert step.terminated[:, -1].all() and not step.truncated.any()
