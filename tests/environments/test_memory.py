"""Tasks of memory, against returns and observations worked out by hand."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from environments.make import make

FIRST, PREVIOUS = "memory/repeat-first", "memory/repeat-previous"
SMALL = {"length": 8, "symbols": 3}
EPISODES = 600


@functools.cache
def program(id, policies, n_steps, episodes, **options):
    """Episodes of the policy whose number is given: one program for all policies of an environment."""
    environment = make(id, options)

    def episode(key, which):
        key_reset, key_steps = jax.random.split(key)
        start = environment.reset(key_reset, ())

        def act(carry, key):
            state, observation = carry
            action = jnp.stack([policy(state, observation) for policy in policies])[which]
            state, step = environment.step(key, state, action, ())
            return (state, step.observation), (observation, action, step)

        return jax.lax.scan(act, start, jax.random.split(key_steps, n_steps))[1]

    run = jax.jit(jax.vmap(episode, in_axes=(0, None)))
    keys = jax.random.split(jax.random.key(0), episodes)
    return functools.cache(lambda which: jax.tree.map(np.asarray, run(keys, jnp.int32(which))))


def play(id, policy, n_steps, episodes=EPISODES, policies=None, **options):
    """Observations before each action ``[episodes, n_steps, D]``, actions, and what the steps returned."""
    policies = policies or (policy,)
    return program(id, policies, n_steps, episodes, **options)(policies.index(policy))


def play_small(id, policy, n_steps, episodes=EPISODES, **k):
    """The first steps of the first episodes with few symbols."""
    played = play(id, policy, 15, 3000, (asked, wrong, always_two), **SMALL, **k)
    return jax.tree.map(lambda leaf: leaf[:episodes, :n_steps], played)


def asked(state, observation):
    """Who sees the state knows the answer."""
    return state.kept[0]


def wrong(state, observation):
    return (state.kept[0] + 1) % 3


def always_two(state, observation):
    return jnp.int32(2)


def symbols_of(observation):
    assert (observation[..., 1:].sum(-1) == 1).all()
    return observation[..., 1:].argmax(-1)


# Symbols -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("id", "k"), [(FIRST, {}), (PREVIOUS, {"k": 3}), (PREVIOUS, {"k": 1})])
def test_knowing_returns_one_and_being_wrong_minus_one(id, k):
    for policy, expected in ((asked, 1.0), (wrong, -1.0)):
        _, _, step = play_small(id, policy, 7, **k)
        np.testing.assert_allclose(step.reward.sum(1), expected, rtol=1e-6)


def test_default_sizes():
    for id, answers in ((FIRST, 51), (PREVIOUS, 48)):
        _, _, step = play(id, asked, 51, 4)
        np.testing.assert_allclose(step.reward.sum(1), 1.0, rtol=1e-5)
        np.testing.assert_allclose(np.abs(step.reward).max(1), 1 / answers, rtol=1e-6)
        assert step.observation.shape[-1] == 5 and make(id).n_actions == 4


def test_the_first_symbol_is_asked_for_at_every_step():
    """By the definition, from observations alone: +-1/7 for whether the first symbol is a 2."""
    seen, _, step = play_small(FIRST, always_two, 7)
    right = symbols_of(seen)[:, :1] == 2
    np.testing.assert_allclose(step.reward, np.where(right, 1 / 7, -1 / 7).repeat(7, 1), rtol=1e-6)
    # Expectation over three symbols: (1 - 1 - 1) / 3, with a standard deviation of sqrt(8)/3 per episode.
    assert step.reward.sum(1).mean() == pytest.approx(-1 / 3, abs=4 * 8**0.5 / 3 / EPISODES**0.5)


@pytest.mark.parametrize("k", [1, 3])
def test_the_kth_symbol_from_the_end_is_asked_for_once_it_was_seen(k):
    seen, _, step = play_small(PREVIOUS, always_two, 7, k=k)
    symbols = symbols_of(seen)
    expected = np.zeros_like(step.reward)
    for t in range(k - 1, 7):
        expected[:, t] = np.where(symbols[:, t - k + 1] == 2, 1, -1) / (8 - k)
    np.testing.assert_allclose(step.reward, expected, rtol=1e-6)


@pytest.mark.parametrize(("id", "k"), [(FIRST, {}), (PREVIOUS, {"k": 3})])
def test_symbols_are_uniform_and_independent(id, k):
    """The joint counts of the secret and each later symbol, nine cells: chi-squared, 8 degrees of freedom."""
    seen, _, step = play_small(id, asked, 7, 3000, **k)
    symbols = np.concatenate([symbols_of(seen), symbols_of(step.final_observation[:, -1:])], 1)
    assert symbols.shape == (3000, 8)
    for later in range(1, 8):
        counts = np.bincount(3 * symbols[:, 0] + symbols[:, later], minlength=9)
        assert ((counts - 3000 / 9) ** 2 / (3000 / 9)).sum() < 27.9  # exceeded once in 2000
    assert len(np.unique(symbols, axis=0)) > 2000  # of 6561, about 2400 expected


@pytest.mark.parametrize(("id", "k"), [(FIRST, {}), (PREVIOUS, {"k": 3})])
def test_the_end_and_the_flag_of_the_beginning(id, k):
    seen, _, step = play_small(id, asked, 15, **k)
    ends = np.isin(np.arange(15), (6, 13))
    np.testing.assert_array_equal(step.terminated, np.broadcast_to(ends, (EPISODES, 15)))
    assert not step.truncated.any()
    begins = np.isin(np.arange(15), (0, 7, 14))
    np.testing.assert_array_equal(seen[..., 0], np.broadcast_to(begins, (EPISODES, 15)))
    assert not step.final_observation[..., 0].any()  # the last one belongs to the old episode
    np.testing.assert_array_equal(step.observation[:, ~ends], step.final_observation[:, ~ends])
    np.testing.assert_allclose(step.reward[:, 7:14].sum(1), 1.0, rtol=1e-6)  # the second episode is like it
    differ = symbols_of(seen[:, 0]) != symbols_of(seen[:, 7])
    assert differ.mean() == pytest.approx(2 / 3, abs=0.1)  # and has a secret of its own
    others = symbols_of(step.observation[:, 6]) != symbols_of(step.final_observation[:, 6])
    assert others.mean() == pytest.approx(2 / 3, abs=0.1)


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
        (state, ours), (other, theirs) = (
            step(key, *at, action, ()) for step, at in zip(steps, ((state,), (other,)), strict=True)
        )
        for name in ("observation", "final_observation"):
            pair = getattr(ours, name), getattr(theirs, name)[jnp.array([0, 2])]
            np.testing.assert_array_equal(*pair)
        for name in ("reward", "terminated", "truncated"):
            assert getattr(ours, name) == getattr(theirs, name)
        ends += int(ours.terminated)
    assert ends >= 2  # resets were compared, too
    jax.tree.map(np.testing.assert_array_equal, state, other)


def steady(state, observation):
    """A controller that reads the velocities from the state."""
    push = state.theta + 0.5 * state.theta_dot + 0.05 * state.x + 0.1 * state.x_dot
    return (push > 0).astype(jnp.int32)


def test_who_knows_the_velocities_gets_500():
    _, _, step = play("memory/cartpole-position", steady, 501, 8)
    ends = np.broadcast_to(np.arange(501) == 499, (8, 501))
    np.testing.assert_array_equal(step.truncated, ends)
    assert not step.terminated.any()
    assert (step.reward[:, :500].sum(1) == 500).all()


def test_cartpole_can_vary_and_the_others_cannot():
    environment = make("memory/cartpole-position", vary={"gravity": (5.0, 15.0)})
    assert 5.0 <= float(environment.sample_level(jax.random.key(0))["gravity"]) <= 15.0
    with pytest.raises(ValueError, match="gravity"):
        make("memory/chain", vary={"gravity": (5.0, 15.0)})


# The chain -----------------------------------------------------------------------------------------


def bit(state, observation):
    return jnp.int32(state.context[state.query])


def other_bit(state, observation):
    return 1 - bit(state, observation)


@pytest.mark.parametrize("length", [1, 4])
def test_chain_shows_a_bit_and_asks_for_it_at_the_end(length):
    """Shown twice in bsuite (at the reset and after the first step), then never; reward at the end only."""
    for policy, worth in ((bit, 1.0), (other_bit, -1.0)):
        seen, action, step = play(
            "memory/chain", policy, 2 * length + 2, policies=(bit, other_bit), length=length
        )
        last = np.isin(np.arange(2 * length + 2), (length, 2 * length + 1))
        np.testing.assert_array_equal(step.terminated, np.broadcast_to(last, action.shape))
        assert not step.truncated.any()
        np.testing.assert_array_equal(step.reward, np.where(last, worth, 0.0) * np.ones(action.shape))
        signs = 2.0 * action[:, [0, length + 1]] - 1.0  # of either episode's bit, for who answers rightly
        shown = np.zeros(action.shape)
        shown[:, :2], shown[:, length + 1 : length + 3] = signs[:, :1], signs[:, 1:]
        np.testing.assert_array_equal(seen[..., 2], worth * shown)
        assert not seen[..., 1].any()  # one bit: question number 0
        time = np.maximum(np.arange(length + 1) - 1, 0)
        np.testing.assert_allclose(seen[:, : length + 1, 0], (1 - time / length) * np.ones((EPISODES, 1)))
        assert action.mean() == pytest.approx(0.5, abs=0.08)


def test_a_chain_longer_than_gymnax_lets_episodes_be():
    _, _, step = play("memory/chain", bit, 1501, 2, length=1500)
    assert (step.reward.sum(1) == 1).all() and step.terminated[:, -1].all() and not step.truncated.any()


# Mistakes ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("id", "options", "message"),
    [
        ("memory/repeat", {}, "repeat-first"),
        ("memory/chain", {"symbols": 4}, "'symbols'"),
        (FIRST, {"k": 4}, "'k'"),
        (FIRST, {"length": 1}, "'length' .*got 1"),
        (PREVIOUS, {"length": 4, "k": 4}, "'length' .* at least 5, got 4"),
        (PREVIOUS, {"symbols": True}, "'symbols' .*got True"),
        ("memory/chain", {"length": 0}, "'length'"),
    ],
)
def test_mistakes(id, options, message):
    with pytest.raises(ValueError, match=message):
        make(id, options)
