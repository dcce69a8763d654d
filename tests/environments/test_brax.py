"""brax through our adapter: the same physics as the bare library, and none of its quirks."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

pytest.importorskip("brax")

from environments import vector
from environments.make import make
from environments.task import Setup

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # mujoco's, about itself

NAME = "brax/inverted_pendulum"
PUSH = jnp.array([0.3])


@functools.cache
def jitted(**options):
    environment = make(NAME, options)
    return environment, jax.jit(environment.reset), jax.jit(environment.step)


def episode(n_steps, action=PUSH, level=(), **options):
    """States and steps of a few episodes, one after the other."""
    _, reset, step = jitted(**options)
    state, _ = reset(jax.random.key(0), level)
    seen = []
    for index in range(n_steps):
        state, taken = step(jax.random.key(index), state, action, level)
        seen.append((state, taken))
    return seen


def firsts(seen):
    """Observations in which the episodes after the first began."""
    return [np.asarray(taken.observation) for _, taken in seen if taken.terminated | taken.truncated]


def test_it_is_the_bare_physics():
    import brax.envs

    environment, reset, step = jitted()
    bare = brax.envs.get_environment("inverted_pendulum", backend="generalized")
    state, observation = reset(jax.random.key(5), ())
    theirs = jax.jit(bare.reset)(jax.random.split(jax.random.key(5))[0])
    np.testing.assert_array_equal(observation, theirs.obs)
    move = jax.jit(bare.step)
    for index in range(8):
        action = jnp.array([0.1 * (-1) ** index])
        state, taken = step(jax.random.key(index), state, action, ())
        theirs = move(theirs, action)
        np.testing.assert_allclose(taken.final_observation, theirs.obs, rtol=1e-5, atol=1e-6)
        assert float(taken.reward) == float(theirs.reward) and bool(taken.terminated) == bool(theirs.done)
    assert environment.continuous and environment.horizon == 1000


def test_time_limits_truncate_and_keep_the_final_observation():
    seen = episode(3, 0.0 * PUSH, episode_length=3)
    assert [(bool(t.terminated), bool(t.truncated)) for _, t in seen] == [
        (False, False),
        (False, False),
        (False, True),
    ]
    state, last = seen[-1]
    assert not np.array_equal(last.observation, last.final_observation)
    np.testing.assert_array_equal(last.observation, state.env.obs)
    assert int(state.time) == 0


@pytest.mark.parametrize(("starts", "different"), [("bank", 3), ("fresh", 6), ("same", 1)])
def test_where_episodes_begin(starts, different):
    """brax itself returns to the same state for ever; a bank of three goes round, until it is renewed."""
    begun = firsts(episode(12, episode_length=2, starts=starts, bank=3))
    assert len(begun) == 6
    assert len({tuple(first) for first in begun}) == different
    if starts == "same":
        _, reset, _ = jitted(episode_length=2, starts=starts, bank=3)
        np.testing.assert_array_equal(begun[0], reset(jax.random.key(0), ())[1])


def test_a_rollout_renews_the_bank():
    environment, _, _ = jitted(episode_length=2, starts="bank", bank=3)
    setup = Setup(NAME, n_envs=2, options={"episode_length": 2, "starts": "bank", "bank": 3})
    state = vector.reset(environment, setup, jax.random.key(0))
    renewed = jax.jit(functools.partial(vector.refresh, environment, setup))(jax.random.key(1), state)
    assert not np.array_equal(renewed.env_state.bank.obs, state.env_state.bank.obs)
    np.testing.assert_array_equal(renewed.env_state.env.obs, state.env_state.env.obs)
    assert make(NAME, {"starts": "same"}).refresh is None


def test_repeated_actions_add_rewards_and_stop_where_the_episode_ends():
    seen = episode(40, PUSH, action_repeat=7)
    environment, _, _ = jitted(action_repeat=7)
    assert environment.horizon == 143
    ended = next(index for index, (_, taken) in enumerate(seen) if taken.terminated)
    rewards = [float(taken.reward) for _, taken in seen[: ended + 1]]
    assert rewards[:-1] == [7.0] * ended
    alone = episode(300, PUSH)
    steps = next(index for index, (_, taken) in enumerate(alone) if taken.terminated) + 1
    assert sum(rewards) == steps  # one for each control step, the last one included


def test_physics_can_vary():
    environment = make(NAME, {}, {"gravity": (0.5, 2.0), "mass": (1.0, 1.0)})
    levels = jax.vmap(environment.sample_level)(jax.random.split(jax.random.key(0), 200))
    assert 0.5 <= levels["gravity"].min() < 0.6 and 1.9 < levels["gravity"].max() <= 2.0
    step = jax.jit(environment.step)

    def after(gravity):
        level = {"gravity": jnp.float32(gravity), "mass": jnp.float32(1.0)}
        state, _ = environment.reset(jax.random.key(0), level)
        for index in range(5):
            state, taken = step(jax.random.key(index), state, PUSH, level)
        return np.asarray(taken.observation)

    same = episode(5)[-1][1].observation
    np.testing.assert_allclose(after(1.0), same, rtol=1e-4, atol=1e-5)
    assert np.abs(after(2.0) - same).max() > 1e-3


@pytest.mark.parametrize(
    ("id", "options", "vary", "message"),
    [
        ("brax/antt", {}, {}, "no environment is called 'brax/antt'; there are: ant"),
        (
            "brax/swimmer",
            {"backend": "spring"},
            {},
            "does not go together with backend 'spring'; use generalized",
        ),
        ("brax/ant", {"backend": "sprng"}, {}, "no backend 'sprng'; there are: generalized"),
        ("brax/ant", {"starts": "new"}, {}, "no starts 'new'; there are: bank"),
        ("brax/ant", {"bank": 0}, {}, "bank of environment 'brax/ant' must be at least 1, got 0"),
        ("brax/ant", {"lenght": 1}, {}, "no option 'lenght'; its options are: backend"),
        ("brax/ant", {}, {"wind": (0.0, 1.0)}, "no parameter to vary 'wind'; there are: gravity, mass"),
    ],
)
def test_what_does_not_go_together_is_one_clear_line(id, options, vary, message):
    with pytest.raises(ValueError, match=message):
        make(id, options, vary)
