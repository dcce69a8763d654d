"""brax through our adapter: the same physics as the bare library, and none of its quirks."""

import functools
from typing import Any, get_args

import jax
import jax.numpy as jnp
import numpy as np
import pytest

pytest.importorskip("brax")

from discovery.app.commands.catalog import known
from environments.brax import ONLY, Backend, _quiet, _with
from environments.make import make

PENDULUM = "brax/inverted_pendulum"
PUSH = jnp.array([0.3])


@pytest.fixture(scope="module")
def walk():
    """A brax environment without physics, so that it compiles at once: random starts, and an end at 1."""
    import brax.envs
    from brax.envs.fast import Fast

    class Walk(Fast):
        def reset(self, rng):
            start = jax.random.uniform(rng, (2,), maxval=0.1)
            begun: Any = super().reset(rng)
            return begun.replace(obs=start)

        def step(self, state: Any, action):
            obs = state.obs + jnp.stack([action[0], 1.0])
            ended = jnp.where(obs[0] > 1, 1.0, 0.0)
            return state.replace(obs=obs, reward=jnp.float32(1), done=ended)

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(brax.envs._envs, "walk", Walk)
        yield "brax/walk"


@functools.cache
def jitted(name, **options):
    environment = make(name, options)
    return environment, jax.jit(environment.reset), jax.jit(environment.step)


def episode(name, n_steps, action=PUSH, level=(), **options):
    """States and steps of a few episodes, one after the other."""
    _, reset, step = jitted(name, **options)
    state, _ = reset(jax.random.key(0), level)
    seen = []
    for index in range(n_steps):
        state, taken = step(jax.random.key(index), state, action, level)
        seen.append((state, taken))
    return seen


@pytest.mark.slow
def test_it_is_the_bare_physics():
    import brax.envs

    environment, reset, step = jitted(PENDULUM, starts="same")
    bare = brax.envs.get_environment("inverted_pendulum", backend="generalized")
    state, observation = reset(jax.random.key(5), ())
    bank_of_one = jax.random.split(jax.random.key(5), 1)
    theirs = jax.jit(bare.reset)(bank_of_one[0])
    np.testing.assert_allclose(observation, theirs.obs, rtol=1e-6, atol=1e-7)
    move = jax.jit(bare.step)
    for index in range(8):
        action = jnp.array([0.1 * (-1) ** index])
        state, taken = step(jax.random.key(index), state, action, ())
        theirs = move(theirs, action)
        np.testing.assert_allclose(taken.final_observation, theirs.obs, rtol=1e-5, atol=1e-6)
        assert float(taken.reward) == float(theirs.reward) and bool(taken.terminated) == bool(theirs.done)
    assert environment.continuous and environment.horizon == 1000


def test_time_limits_truncate_and_keep_the_final_observation(walk):
    seen = episode(walk, 7, 0.0 * PUSH, episode_length=3)
    assert [bool(taken.truncated) for _, taken in seen] == [False, False, True] * 2 + [False]
    assert not any(taken.terminated for _, taken in seen)
    state, last = seen[2]
    np.testing.assert_allclose(last.final_observation, seen[1][1].observation + jnp.array([0.0, 1.0]))
    np.testing.assert_array_equal(last.observation, state.game.env.obs)
    assert last.observation[1] < 0.1 and int(state.time) == 0
    _, both = episode(walk, 3, jnp.array([0.4]), episode_length=3)[-1]  # an end just as time runs out
    assert both.terminated and both.truncated


def test_actions_are_clipped(walk):
    bold, bounded = (episode(walk, 1, jnp.array([a]), episode_length=3)[0][1] for a in (7.0, 1.0))
    np.testing.assert_array_equal(bold.final_observation, bounded.final_observation)


@pytest.mark.parametrize(("starts", "different"), [("bank", 3), ("fresh", 6), ("same", 1)])
def test_where_episodes_begin(walk, starts, different):
    """brax itself returns to the same state for ever; a bank of three goes round, until it is renewed."""
    options = {"episode_length": 2, "starts": starts, "bank": 3}
    begun = [taken.observation for _, taken in episode(walk, 12, **options)][1::2]
    assert len(begun) == 6
    assert len({tuple(np.asarray(first)) for first in begun}) == different
    environment, reset, _ = jitted(walk, **options)
    assert (environment.refresh is not None) == (starts == "bank")
    if starts == "same":
        np.testing.assert_array_equal(begun[0], reset(jax.random.key(0), ())[1])


@pytest.mark.parametrize(("push", "limit"), [(0.1, 100), (0.0, 9)], ids=["terminated", "truncated"])
def test_repeated_actions_add_rewards_and_stop_where_the_episode_ends(walk, push, limit):
    options = {"episode_length": limit, "action_repeat": 4}
    seen = episode(walk, 3, jnp.array([push]), **options)
    assert jitted(walk, **options)[0].horizon == -(-limit // 4)
    alone = episode(walk, limit, jnp.array([push]), episode_length=limit)
    steps = next(time for time, (_, taken) in enumerate(alone, 1) if taken.terminated | taken.truncated)
    assert 8 < steps < 12
    assert [float(taken.reward) for _, taken in seen] == [4.0, 4.0, steps - 8.0]
    assert bool(seen[-1][1].terminated) == (push > 0) and bool(seen[-1][1].truncated) == (push == 0)
    last = alone[steps - 1][1]
    np.testing.assert_allclose(seen[-1][1].final_observation, last.final_observation, rtol=1e-5)


@pytest.mark.parametrize("backend", ["spring", "positional"])
def test_a_factor_acts_on_the_mass_that_the_backend_uses(backend):
    """Both use mass ** (1 - s), and the diagonal of the inertia likewise, with the model's s."""
    import brax.envs

    with _quiet():
        env: Any = brax.envs.get_environment("halfcheetah", backend=backend)  # with s = 0.3 and 0.8
    used, plain = _with(env, {"mass": jnp.float32(3.0)}).sys, env.sys

    def mass(system):
        return np.asarray(system.link.inertia.mass) ** (1 - float(system.spring_mass_scale))

    def inertia(system):
        diagonal = np.stack([np.diagonal(matrix) for matrix in np.asarray(system.link.inertia.i)])
        return diagonal ** (1 - float(system.spring_inertia_scale))

    assert plain.spring_mass_scale != 0
    np.testing.assert_allclose(mass(used), 3 * mass(plain), rtol=1e-5)
    np.testing.assert_allclose(inertia(used), 3 * inertia(plain), rtol=1e-5)
    np.testing.assert_array_equal(used.gravity, plain.gravity)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "backend"),
    [
        ("inverted_pendulum", "generalized"),
        ("ant", "spring"),
        ("pusher", "positional"),
        ("inverted_pendulum", "mjx"),
    ],
)
def test_physics_can_vary_in_every_backend(name, backend):
    options, vary = {"starts": "same", "backend": backend}, {"gravity": (0.5, 2.0), "mass": (0.5, 2.0)}
    plain, varied = make(f"brax/{name}", options), make(f"brax/{name}", options, vary)
    for drawn in jax.vmap(varied.sample_level)(jax.random.split(jax.random.key(0), 200)).values():
        assert 0.5 <= drawn.min() < 0.6 and 1.9 < drawn.max() <= 2.0
    action = jnp.full(plain.n_actions, 0.3)

    def after(environment, level):
        state, _ = environment.reset(jax.random.key(0), level)
        keys = jax.random.split(jax.random.key(1), 6)
        step = lambda state, key: environment.step(key, state, action, level)  # noqa: E731
        return jax.lax.scan(step, state, keys)[1].observation[-1]

    in_variation = jax.jit(functools.partial(after, varied))

    def of(gravity, mass):
        return in_variation({"gravity": jnp.float32(gravity), "mass": jnp.float32(mass)})

    same = jax.jit(functools.partial(after, plain))(())
    np.testing.assert_allclose(of(1.0, 1.0), same, rtol=1e-3, atol=1e-3)
    assert np.abs(of(1.0, 2.0) - same).max() > 5e-3
    assert np.abs(of(2.0, 1.0) - same).max() > 5e-3 or name == "pusher"  # whose arm gravity does not move


@pytest.mark.slow
@pytest.mark.parametrize("backend", get_args(Backend))
@pytest.mark.parametrize("id", [id for id in known() if id.startswith("brax/")])
def test_every_environment_and_backend_that_go_together(id, backend):
    """Each pair is stepped beyond an episode, or is refused."""
    options = {"backend": backend, "episode_length": 15, "starts": "same"}
    if backend not in ONLY.get(id.removeprefix("brax/"), get_args(Backend)):
        with pytest.raises(ValueError, match="use generalized"):
            make(id, options)
        return
    environment = make(id, options)

    def act(state, key):
        action = jax.random.uniform(key, (environment.n_actions,), minval=-1.0)
        return environment.step(key, state, action, ())

    @jax.jit
    def play(key):
        state, first = environment.reset(key, ())
        return first, jax.lax.scan(act, state, jax.random.split(key, 20))[1]

    first, steps = play(jax.random.key(0))
    assert first.shape == (environment.observation_size,)
    assert all(np.isfinite(leaf).all() for leaf in steps)
    assert (steps.terminated | steps.truncated).any()


@pytest.mark.parametrize(
    ("id", "options", "vary", "word"),
    [
        ("brax/antt", {}, {}, "'brax/antt'"),
        ("brax/swimmer", {"backend": "spring"}, {}, "'spring'"),
        ("brax/ant", {"backend": "sprng"}, {}, "'sprng'"),
        ("brax/ant", {"starts": "new"}, {}, "'new'"),
        ("brax/ant", {"bank": 0}, {}, "bank .*got 0"),
        ("brax/ant", {"lenght": 1}, {}, "'lenght'"),
        ("brax/fast", {}, {"mass": (0.5, 1.0)}, "'mass'"),
        ("brax/ant", {}, {"wind": (0.0, 1.0)}, "'wind'"),
    ],
)
def test_what_does_not_go_together_is_refused(id, options, vary, word):
    with pytest.raises(ValueError, match=word):
        make(id, options, vary)
