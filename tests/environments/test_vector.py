"""What one agent steps: statistics against loops in plain Python, normalization against numpy."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from environments import vector
from environments.make import make
from environments.task import Setup

GAMMA = 0.9


def play(environment, setup, n_steps, seed=0, gamma=GAMMA):
    """Random discrete actions. Returns the first state, and (action, step) ``[T, E]``, in numpy."""

    @jax.jit
    def program(key, gamma):
        reset_key, key = jax.random.split(key)
        first = vector.reset(environment, setup, reset_key)
        body = functools.partial(random_step, environment, setup, gamma)
        return first, jax.lax.scan(body, first, jax.random.split(key, n_steps))

    return jax.tree.map(np.asarray, program(jax.random.key(seed), gamma))


def random_step(environment, setup, gamma, state, key):
    action_key, step_key = jax.random.split(key)
    action = jax.random.randint(action_key, (setup.n_envs,), 0, environment.n_actions)
    state, step = vector.step(environment, setup, gamma, step_key, state, action)
    return state, (action, step)


def test_instances_have_keys_and_actions_of_their_own():
    """Episodes on CartPole against those of single instances, summed up in Python."""
    environment, n_steps = make("CartPole-v1"), 60
    _, (_, (actions, steps)) = play(environment, Setup(n_envs=3), n_steps)

    reset_key, key = jax.random.split(jax.random.key(0))
    _, reset_key = jax.random.split(reset_key)
    reset, step = jax.jit(environment.reset), jax.jit(environment.step)
    states = [reset(k, ())[0] for k in jax.random.split(reset_key, 3)]
    returns, completed = [0.0] * 3, []
    for t, step_key in enumerate(jax.random.split(key, n_steps)):
        _, step_key = jax.random.split(step_key)
        for e, instance_key in enumerate(jax.random.split(step_key, 3)):
            states[e], one = step(instance_key, states[e], actions[t, e], ())
            returns[e] += float(one.reward)
            if one.terminated or one.truncated:
                completed.append((t, e, returns[e], returns[e]))  # as long as it is good
                returns[e] = 0.0
    ours = [
        (t, e, steps.episode_return[t, e], steps.episode_length[t, e]) for t, e in np.argwhere(steps.finished)
    ]
    assert len(completed) > 3
    assert ours == completed


@pytest.mark.parametrize("level", [3, 5, 9])
def test_how_an_episode_ends(fake, level):
    """Level 3 terminates, level 9 is truncated, level 5 does both; each starts again by itself."""
    setup = Setup(n_envs=2)
    seed = next(s for s in range(99) if level_of(fake, s) == level)
    first, (last, (action, step)) = play(fake, setup, n_steps=11, seed=seed)
    length = min(level, fake.horizon)
    time = np.arange(11) % length
    ends = time == length - 1

    assert first.level == last.level == level
    for e in range(2):
        np.testing.assert_array_equal(step.finished[:, e], ends)
        np.testing.assert_array_equal(step.terminated[:, e], ends if level <= 5 else np.zeros(11, bool))
        np.testing.assert_array_equal(step.truncated[:, e], ends if level >= 5 else np.zeros(11, bool))
        np.testing.assert_array_equal(step.final_observation[:, e, 0], time + 1)
        np.testing.assert_array_equal(step.observation[:, e, 0], np.where(ends, 0, time + 1))
        np.testing.assert_array_equal(step.reward[:, e], time + 10 * action[:, e])
        np.testing.assert_array_equal(step.episode_length[:, e], time + 1)
        starts = [t - t % length for t in range(11)]
        expected = [step.reward[start : t + 1, e].sum() for t, start in enumerate(starts)]
        np.testing.assert_array_equal(step.episode_return[:, e], expected)
    np.testing.assert_array_equal(last.episode_length, 11 % length)


def level_of(environment, seed):
    reset_key, _ = jax.random.split(jax.random.key(seed))
    return int(environment.sample_level(jax.random.split(reset_key)[0]))


def test_normalizes_observations():
    """Against moments of all values so far, computed anew in float64 at every step."""
    environment = make("CartPole-v1")
    first_raw, (_, (_, raw)) = play(environment, Setup(n_envs=4), n_steps=40)
    first, (last, (_, step)) = play(environment, Setup(n_envs=4, normalize_observation=True), n_steps=40)

    seen = [first_raw.observation]
    np.testing.assert_allclose(first.observation, standardized(seen, seen[0]), rtol=1e-4, atol=1e-5)
    for t in range(40):
        seen.append(raw.observation[t])
        close = functools.partial(np.testing.assert_allclose, rtol=1e-3, atol=1e-4)
        close(step.observation[t], standardized(seen, raw.observation[t]))
        close(step.final_observation[t], standardized(seen, raw.final_observation[t]))

    assert raw.finished.any()
    same = ~raw.finished
    np.testing.assert_array_equal(step.observation[same], step.final_observation[same])
    np.testing.assert_array_equal(last.observation, step.observation[-1])
    assert isinstance(last.obs_stats, vector.Moments)
    mean, var, count = moments(seen)
    np.testing.assert_allclose(last.obs_stats.mean, mean, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(last.obs_stats.var, var, rtol=1e-4, atol=1e-7)
    np.testing.assert_allclose(last.obs_stats.count, count, rtol=1e-6)
    assert_all_else_equal(raw, step, "observation", "final_observation")


def test_normalizes_rewards(fake):
    """Against discounted returns summed up in a loop, which start anew after an episode's end."""
    setup = Setup(n_envs=4, normalize_reward=True)
    _, (_, (_, raw)) = play(fake, Setup(n_envs=4), n_steps=25)
    _, (last, (_, step)) = play(fake, setup, n_steps=25)

    seen, discounted_return = [], np.zeros(4)
    for t in range(25):
        discounted_return = GAMMA * discounted_return + raw.reward[t]
        seen.append(discounted_return)
        _, var, _ = moments(seen)
        np.testing.assert_allclose(step.reward[t], raw.reward[t] / np.sqrt(var + 1e-8), rtol=1e-4)
        discounted_return = np.where(raw.finished[t], 0.0, discounted_return)

    assert raw.finished.any()
    assert isinstance(last.reward_stats, vector.RewardStats)
    np.testing.assert_allclose(last.reward_stats.discounted_return, discounted_return, rtol=1e-5)
    assert_all_else_equal(raw, step, "reward")


def assert_all_else_equal(raw, step, *normalized):
    """Normalization changes what it should, and neither flags nor episode statistics."""
    for name in set(vector.VectorStep._fields) - set(normalized):
        np.testing.assert_array_equal(getattr(raw, name), getattr(step, name))
    for name in normalized:
        assert not np.array_equal(getattr(raw, name), getattr(step, name))


def moments(batches):
    """Two passes in float64, with a prior of weight 1e-4, mean 0 and variance 1."""
    values = np.concatenate(batches).astype(np.float64)
    count = 1e-4 + len(values)
    mean = values.sum(0) / count
    var = (1e-4 * (1 + mean**2) + ((values - mean) ** 2).sum(0)) / count
    return mean, var, count


def standardized(batches, value):
    mean, var, _ = moments(batches)
    return (value - mean) / np.sqrt(var + 1e-8)


def test_moments_of_values_far_from_zero():
    """Mean of squares minus square of the mean, the naive formula, would be off by several percent."""
    batches = np.random.default_rng(0).normal(300.0, 0.1, size=(500, 8)).astype(np.float32)
    stats, _ = jax.lax.scan(
        lambda stats, batch: (vector._merge(stats, batch), ()), vector._no_samples(()), jnp.asarray(batches)
    )
    mean, var, _ = moments(batches)
    np.testing.assert_allclose(stats.mean, mean, rtol=1e-6)
    np.testing.assert_allclose(stats.var, var, rtol=1e-3)


SQUASHED = Setup("Pendulum-v1", n_envs=3, actions="squash")


def bounds(low, high):
    """An environment with these bounds; nobody steps it."""
    low, high = np.asarray(low, np.float32), np.asarray(high, np.float32)
    return make("Pendulum-v1")._replace(n_actions=low.size, action_low=low, action_high=high)


def test_squashed_actions_at_known_values():
    environment = bounds([-2.0, 0.0, -0.1], [2.0, 1.0, 0.3])
    chosen = jnp.array([[0.0] * 3, [np.arctanh(0.5)] * 3, [-np.arctanh(0.5)] * 3, [1e9] * 3, [-1e9] * 3])
    expected = [[0.0, 0.5, 0.1], [1.0, 0.75, 0.2], [-1.0, 0.25, 0.0], [2.0, 1.0, 0.3], [-2.0, 0.0, -0.1]]
    np.testing.assert_allclose(vector.bounded(environment, SQUASHED, chosen), expected, atol=1e-6)
    clipped = vector.bounded(environment, Setup("Pendulum-v1"), chosen)
    np.testing.assert_array_equal(clipped, chosen)  # the environment clips


def test_squashed_actions_never_exceed_the_bounds():
    """In float32 the formula alone does: 0.1 + (0.7 - 0.1) is more than 0.7."""
    ends = np.random.default_rng(0).uniform(-3, 3, (2, 500)).astype(np.float32)
    low, high = np.sort(ends, axis=0)
    environment = bounds(low, high)
    assert (low + (high - low) > high).any()
    for chosen in (-np.inf, -50.0, -9.0, -0.3, 0.3, 9.0, 50.0, np.inf):
        action = np.asarray(vector.bounded(environment, SQUASHED, jnp.full(500, chosen)))
        assert (low <= action).all() and (action <= high).all()


@pytest.mark.parametrize(
    ("environment", "found"),
    [(make("CartPole-v1"), "discrete"), (bounds([-np.inf, 0.0], [np.inf, 1.0]), r"\[inf, 1.0\]")],
    ids=["discrete", "infinite"],
)
def test_what_cannot_be_squashed_is_refused(environment, found):
    with pytest.raises(ValueError, match=found):
        vector.reset(environment, SQUASHED, jax.random.key(0))
    with pytest.raises(ValueError, match=found):
        vector.bounded(environment, SQUASHED, jnp.zeros((3, environment.n_actions)))
