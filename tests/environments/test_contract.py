"""What `environments.base` promises, for every environment that has a name."""

import functools
from typing import Any, NamedTuple

import gymnax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnax.environments import spaces

from environments.base import Environment, Step
from environments.make import make, registered

IDS = registered()
N_STEPS = 210
"""Longer than all horizons up to 200; longer horizons are met by starting late."""
SEEDS = (0, 1, 0, 2, 3)
"""One episode stream each: the first and the third must agree in every bit."""
LATE = {3: 2, 4: 1}
"""Streams that start so many steps before the horizon."""


class Rollout(NamedTuple):
    """Random actions, one stream of episodes per seed; arrays are ``[5, N_STEPS, ...]``."""

    first_observation: Any
    step: Step
    bare: Step
    """What gymnax itself returns for the same key, state and action."""
    time: Any
    """Time in the state that the step returned."""


@functools.cache
def rollout(id: str) -> tuple[Rollout, Any]:
    """The rollout, and the jitted function that made it: one compilation for all tests of an id.

    The streams are run one after the other, because a vmapped program takes twice as long to compile.
    """
    program = jax.jit(functools.partial(stream, make(id), *bare_environment(id)))
    streams = [program(*stream_arguments(make(id), i)) for i in range(len(SEEDS))]
    return jax.tree.map(lambda *leaves: np.stack(leaves), *streams), program


def stream_arguments(environment: Environment, i: int):
    """Keys ``[N_STEPS + 1, 2]`` as raw data, actions ``[N_STEPS, ...]``, and the time to start at."""
    generator = np.random.default_rng(SEEDS[i])
    keys = generator.integers(2**32, size=(N_STEPS + 1, 2), dtype=np.uint32)
    start = environment.horizon - LATE[i] if i in LATE else 0
    return keys, random_actions(environment, generator), np.int32(start)


def random_actions(environment: Environment, generator: np.random.Generator) -> np.ndarray:
    """Uniform; a continuous action exceeds its bounds in a third of the cases."""
    if not environment.continuous:
        return generator.integers(environment.n_actions, size=N_STEPS, dtype=np.int32)
    assert environment.action_low is not None and environment.action_high is not None
    low, high = 1.5 * environment.action_low, 1.5 * environment.action_high
    return generator.uniform(low, high, (N_STEPS, environment.n_actions)).astype(np.float32)


def stream(environment: Environment, env, params, keys, actions, start) -> Rollout:
    keys = jax.random.wrap_key_data(keys)
    state, first_observation = environment.reset(keys[0], ())
    state = state.replace(time=state.time + start.astype(state.time.dtype))

    def body(state, inputs):
        key, action = inputs
        bare = bare_step(env, params, key, state, action)
        state, step = environment.step(key, state, action, ())
        return state, (step, bare, state.time)

    _, recorded = jax.lax.scan(body, state, (keys[1:], actions))
    return Rollout(first_observation, *recorded)


@functools.cache
def bare_environment(id: str):
    return gymnax.make(id)


def bare_step(env, params, key, state, action) -> Step:
    space = env.action_space(params)
    if isinstance(space, spaces.Box):
        action = jnp.clip(action, space.low, space.high)
    observation, _, reward, terminated, truncated, info = env.step(key, state, action, params)
    return Step(observation, reward, terminated, truncated, info["final_observation"])


def flattened(environment: Environment, observation: Any) -> np.ndarray:
    """A gymnax observation as ours should be, in numpy: one-hot, or flat float32."""
    env, params = bare_environment(environment.id)
    if isinstance(env.observation_space(params), spaces.Discrete):
        return np.eye(environment.observation_size, dtype=np.float32)[observation]
    n_batch_axes = observation.ndim - len(environment.observation_shape)
    return observation.astype(np.float32).reshape(*observation.shape[:n_batch_axes], -1)


def arrays(tree):
    """Shape, dtype and weak type of every leaf."""
    return jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype, getattr(leaf, "weak_type", False)), tree)


def abstract_step(environment: Environment):
    """Types of ``(state, observation)`` after reset, and of ``(state, Step)`` after a step."""
    key = jax.random.key(0)
    before = jax.eval_shape(environment.reset, key, ())
    _, actions, _ = stream_arguments(environment, 0)
    return before, jax.eval_shape(environment.step, key, before[0], actions[0], ())


pytestmark = pytest.mark.parametrize("id", IDS)


def test_describes_itself(id):
    environment = make(id)
    assert make(id) is environment
    assert environment.id == id
    assert type(environment.horizon) is int and environment.horizon > 0
    assert type(environment.observation_size) is int
    assert environment.observation_size == np.prod(environment.observation_shape)
    assert type(environment.n_actions) is int and environment.n_actions > 0
    assert environment.sample_level(jax.random.key(0)) == ()
    for bound in (environment.action_low, environment.action_high):
        if environment.continuous:
            assert isinstance(bound, np.ndarray)
            assert bound.dtype == np.float32 and bound.shape == (environment.n_actions,)
        else:
            assert bound is None


def test_types_and_shapes(id):
    environment = make(id)
    (_, observation), (_, step) = abstract_step(environment)
    vector = ((environment.observation_size,), np.float32, False)
    flag = ((), np.bool_, False)
    assert arrays(observation) == vector
    assert tuple(arrays(step)) == (vector, ((), np.float32, False), flag, flag, vector)


def test_state_keeps_its_types(id):
    """A state may be carried by scan, and compiles a jitted step once."""
    (state, _), (next_state, _) = abstract_step(make(id))
    assert arrays(state) == arrays(next_state)


def test_runs_under_vmap(id):
    """Over keys, states and actions, with one level for all; every leaf gains the axis."""
    environment = make(id)
    keys = jax.random.split(jax.random.key(0), 3)
    _, actions, _ = stream_arguments(environment, 0)
    before = jax.eval_shape(jax.vmap(environment.reset, in_axes=(0, None)), keys, ())
    step = jax.vmap(environment.step, in_axes=(0, 0, 0, None))
    after = jax.eval_shape(step, keys, before[0], actions[:3], ())
    one_before, one_after = abstract_step(environment)
    for batched, one in ((before, one_before), (after, one_after)):
        assert arrays(batched) == jax.tree.map(
            lambda leaf: ((3, *leaf.shape), leaf.dtype, leaf.weak_type), one
        )


def test_a_second_call_gives_the_same_without_compiling(id):
    result, program = rollout(id)
    again = program(*stream_arguments(make(id), 1))
    assert program._cache_size() == 1
    jax.tree.map(lambda leaf, same: np.testing.assert_array_equal(leaf[1], same), result, again)


def test_equal_keys_give_equal_episodes(id):
    result, _ = rollout(id)
    jax.tree.map(lambda leaf: np.testing.assert_array_equal(leaf[0], leaf[2]), result)


def test_agrees_with_gymnax(id):
    environment = make(id)
    (_, step, bare, _), _ = rollout(id)
    np.testing.assert_array_equal(step.reward, bare.reward.astype(np.float32))
    np.testing.assert_array_equal(step.terminated, bare.terminated)
    np.testing.assert_array_equal(step.truncated, bare.truncated)
    np.testing.assert_array_equal(step.observation, flattened(environment, bare.observation))
    np.testing.assert_array_equal(step.final_observation, flattened(environment, bare.final_observation))


def test_numbers_are_finite(id):
    result, _ = rollout(id)
    for value in (result.first_observation, *result.step):
        assert np.isfinite(value).all()


def test_truncates_exactly_at_the_horizon(id):
    environment = make(id)
    result, _ = rollout(id)
    finished = result.step.terminated | result.step.truncated
    age = np.array([stream_arguments(environment, i)[2] for i in range(len(SEEDS))])
    for t in range(N_STEPS):
        age += 1
        np.testing.assert_array_equal(result.step.truncated[:, t], age == environment.horizon)
        age[finished[:, t]] = 0
    assert result.step.truncated[-1, 0]


def test_resets_by_itself(id):
    """Where an episode ended, the state is that of the next one; elsewhere time goes on."""
    result, _ = rollout(id)
    finished = result.step.terminated | result.step.truncated
    assert finished.any()
    assert (result.time[finished] == 0).all()
    assert (result.time[~finished] > 0).all()


def test_final_observation_is_the_one_before_the_reset(id):
    """Equal to `observation` within an episode; at its end, the one that was reached."""
    result, _ = rollout(id)
    finished = result.step.terminated | result.step.truncated
    observation, final_observation = result.step.observation, result.step.final_observation
    np.testing.assert_array_equal(observation[~finished], final_observation[~finished])
    # A bandit shows nothing, and chance may lead back to the start; elsewhere the two differ.
    if id != "SimpleBandit-bsuite":
        assert (observation[finished] != final_observation[finished]).any()
