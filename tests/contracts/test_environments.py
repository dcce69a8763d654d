"""What `environments.base` promises, for every environment of the catalog whose library is installed.

Those that take long to compile wait for `make test-worlds`, the extras for tests/environments/test_extras.py.
"""

import functools
import importlib.util
from typing import Any, NamedTuple

import gymnax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnax.environments import spaces

from discovery.app.commands.catalog import known
from environments.base import Environment, Step
from environments.make import FAMILIES, make, registered

IDS = tuple(known())
GYMNAX = registered()
AFFORDABLE = (
    "grid/small", "grid/rand-small", "chain/short", "chain/long",
    "memory/repeat-first", "memory/chain", "brax/fast",
)  # fmt: skip
"""Besides those of gymnax, the environments that every run of the tests can afford."""

DEAR = (
    "Seaquest-MinAtar", "Freeway-MinAtar", "Asterix-MinAtar", "SpaceInvaders-MinAtar", "Pong-misc",
    "MetaMaze-misc", "PointRobot-misc", "Swimmer-misc", "Reacher-misc", "BernoulliBandit-misc",
    "GaussianBandit-misc", "UmbrellaChain-bsuite", "MemoryChain-bsuite",
)  # fmt: skip
"""Those of gymnax that it cannot: their programs compile for long, or are like those of others."""

TOGETHER_TOO = ("brax/inverted_pendulum", "grid/rand-small", "chain/long")
"""Whose streams it does not vmap, as those of their like."""

CONTACTS = ("brax/ant", "brax/halfcheetah", "brax/humanoidstandup")
"""In whose contacts a rounding error grows, within ten steps from the fifth digit to the second."""

OPTIONS: dict[str, dict[str, Any]] = {"brax": {"episode_length": 12, "bank": 2}}
"""Of a family, so that episodes end soon."""
TERMINATE_IN_TIME = (
    "chain/short", "chain/long", "memory/repeat-first", "memory/repeat-previous", "memory/chain",
)  # fmt: skip
"""Whose episodes are never truncated, because they terminate at the horizon at the latest."""
REWARDS: dict[str, tuple[float, float]] = {
    **dict.fromkeys(("CartPole-v1", "brax/inverted_pendulum"), (1.0, 1.0)),
    **dict.fromkeys(("Catch-bsuite", "grid/sparse", "grid/rand-sparse"), (-1.0, 1.0)),
    **dict.fromkeys(("chain/short", "chain/long"), (-1.0, 1.0)),
    **dict.fromkeys(("FourRooms-misc", "FrozenLake-misc"), (0.0, 1.0)),
    "Acrobot-v1": (-1.0, 0.0),
    "MountainCar-v0": (-1.0, -1.0),
    "Pendulum-v1": (-16.28, 0.0),
    "brax/reacher": (-3.0, 0.0),
}
"""Smallest and largest reward of a step, where they are known."""

N_STEPS = {"brax": 40}
STEPS = 210
"""Longer than all horizons up to 200; longer horizons are met by starting late."""
SEEDS = (0, 1, 0, 2, 3)
"""One episode stream each: the first and the third must agree in every bit."""
LATE = {3: 2, 4: 1}
"""Streams that start so many steps before the time limit."""


def family(id: str) -> str:
    """The part before the slash; gymnax's ids have none."""
    return id.partition("/")[0] if "/" in id else "gymnax"


def made(id: str) -> Environment:
    return make(id, OPTIONS.get(family(id)))


def params(ids: tuple[str, ...], gymnax_too: bool = True, but: tuple[str, ...] = ()) -> list[Any]:
    """Ids as parameters: what is not quick is marked, what needs a library that is not there is skipped."""
    found = []
    for id in ids:
        marks = [pytest.mark.xdist_group(id)]  # its tests share what one process has compiled
        if id in (*but, *DEAR) or (id not in AFFORDABLE and not (gymnax_too and id in GYMNAX)):
            marks.append(pytest.mark.worlds)
        requires = FAMILIES[family(id)].requires if family(id) in FAMILIES else ""
        if requires and importlib.util.find_spec(requires) is None:
            marks.append(pytest.mark.skip(reason=f"needs {requires}"))
        found.append(pytest.param(id, marks=marks))
    return found


every = pytest.mark.parametrize("id", params(IDS))


class Rollout(NamedTuple):
    """Random actions, one stream of episodes per seed; arrays are ``[5, N_STEPS, ...]``."""

    first_observation: Any
    step: Step
    bare: Any  # what gymnax itself returns for the same key, state and action; () for other families
    time: Any  # in the state that the step returned; () where states have none
    limit: Any  # steps after which the level's episodes are truncated, [5]


@functools.cache
def rollout(id: str) -> tuple[Rollout, Any]:
    """The rollout, and the jitted function that made it stream by stream: a vmapped one compiles longer."""
    environment = made(id)
    bare = functools.partial(bare_step, *gymnax.make(id)) if id in GYMNAX else None
    program = jax.jit(functools.partial(stream, environment, bare))
    streams = [program(*stream_arguments(environment, i)) for i in range(len(SEEDS))]
    return jax.tree.map(lambda *leaves: np.stack(leaves), *streams), program


def stream_arguments(environment: Environment, i: int):
    """Keys ``[N + 1, 2]`` as raw data, actions ``[N, ...]``, and how many steps to begin before the limit."""
    generator = np.random.default_rng(SEEDS[i])
    n_steps = N_STEPS.get(family(environment.id), STEPS)
    keys = generator.integers(2**32, size=(n_steps + 1, 2), dtype=np.uint32)
    return keys, random_actions(environment, generator, n_steps), np.int32(LATE.get(i, 0))


def random_actions(environment: Environment, generator: np.random.Generator, n_steps: int) -> np.ndarray:
    """Uniform; a continuous action exceeds its bounds in a third of the cases."""
    if not environment.continuous:
        return generator.integers(environment.n_actions, size=n_steps, dtype=np.int32)
    low, high = (1.5 * np.asarray(bound) for bound in (environment.action_low, environment.action_high))
    return generator.uniform(low, high, (n_steps, environment.n_actions)).astype(np.float32)


def stream(environment: Environment, bare: Any, keys, actions, late) -> Rollout:
    keys = jax.random.wrap_key_data(keys)
    level = environment.sample_level(jax.random.fold_in(keys[0], 1))
    limit = jnp.int32(getattr(level, "max_steps", environment.horizon))
    state, first_observation = environment.reset(keys[0], level)
    state = at_time(state, jnp.where(late > 0, limit - late, 0))

    def body(state, inputs):
        key, action = inputs
        beside = bare(key, state, action) if bare else ()
        state, step = environment.step(key, state, action, level)
        return state, (step, beside, getattr(state, "time", ()))

    _, recorded = jax.lax.scan(body, state, (keys[1:], actions))
    return Rollout(first_observation, *recorded, limit)


def at_time(state: Any, time: Any) -> Any:
    """The same state at another time of its episode, where states have a time."""
    if not hasattr(state, "time"):
        return state
    replace = getattr(state, "_replace", None) or state.replace
    return replace(time=time.astype(state.time.dtype))


def bare_step(env, env_params, key, state, action) -> Step:
    space = env.action_space(env_params)
    if isinstance(space, spaces.Box):
        action = jnp.clip(action, space.low, space.high)
    observation, _, reward, terminated, truncated, info = env.step(key, state, action, env_params)
    return Step(observation, reward, terminated, truncated, info["final_observation"])


def flattened(environment: Environment, observation: Any) -> np.ndarray:
    """A gymnax observation as ours should be, in numpy: one-hot, or flat float32."""
    env, env_params = gymnax.make(environment.id)
    if isinstance(env.observation_space(env_params), spaces.Discrete):
        return np.eye(environment.observation_size, dtype=np.float32)[observation]
    n_batch_axes = observation.ndim - len(environment.observation_shape)
    return observation.astype(np.float32).reshape(*observation.shape[:n_batch_axes], -1)


def arrays(tree):
    """Shape, dtype and weak type of every leaf."""
    return jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype, getattr(leaf, "weak_type", False)), tree)


@functools.cache
def abstract_step(id: str):
    """Types of a level, of ``(state, observation)`` after reset, and of ``(state, Step)`` after a step."""
    environment = made(id)
    key = jax.random.key(0)
    level = jax.eval_shape(environment.sample_level, key)
    before = jax.eval_shape(environment.reset, key, level)
    _, actions, _ = stream_arguments(environment, 0)
    return level, before, jax.eval_shape(environment.step, key, before[0], actions[0], level)


@every
def test_describes_itself(id):
    environment = made(id)
    assert made(id) is environment and environment.id == id
    for size in (environment.horizon, environment.observation_size, environment.n_actions):
        assert type(size) is int and size > 0
    assert environment.observation_size == np.prod(environment.observation_shape)
    for bound in (environment.action_low, environment.action_high):
        if environment.continuous:
            assert isinstance(bound, np.ndarray)
            assert bound.dtype == np.float32 and bound.shape == (environment.n_actions,)
        else:
            assert bound is None


@every
def test_types_and_shapes(id):
    environment = made(id)
    _, (_, observation), (_, step) = abstract_step(id)
    vector = ((environment.observation_size,), np.float32, False)
    flag = ((), np.bool_, False)
    assert arrays(observation) == vector
    assert tuple(arrays(step)) == (vector, ((), np.float32, False), flag, flag, vector)


@every
def test_state_keeps_its_types(id):
    """A state may be carried by scan, and compiles a jitted step once; a renewed one as well."""
    environment = made(id)
    level, (state, _), (next_state, _) = abstract_step(id)
    assert arrays(state) == arrays(next_state)
    if environment.refresh is not None:
        assert arrays(jax.eval_shape(environment.refresh, jax.random.key(0), state, level)) == arrays(state)


@pytest.mark.parametrize("id", params(IDS, gymnax_too=False, but=TOGETHER_TOO))
def test_together_is_one_by_one(id):
    """The streams of a vmapped program are those of one that knows of no other."""
    environment = made(id)
    alone, _ = rollout(id)
    arguments = [stream_arguments(environment, i) for i in (1, 3)]
    program = jax.jit(jax.vmap(functools.partial(stream, environment, None)))
    together = program(*(np.stack(argument) for argument in zip(*arguments, strict=True)))
    first, error = (8, 5e-3) if id in CONTACTS else (None, 1e-4)
    for one, other in zip(alone.step, together.step, strict=True):
        np.testing.assert_allclose(one[[1, 3], :first], other[:, :first], rtol=error, atol=error)


@every
def test_equal_keys_give_equal_episodes_without_compiling_again(id):
    result, program = rollout(id)
    jax.tree.map(lambda leaf: np.testing.assert_array_equal(leaf[0], leaf[2]), result)
    again = program(*stream_arguments(made(id), 1))
    assert program._cache_size() == 1
    jax.tree.map(lambda leaf, same: np.testing.assert_array_equal(leaf[1], same), result, again)


@every
def test_levels_differ_between_keys(id):
    """Those of gymnax have none, unless their physics vary."""
    draw = made(id).sample_level
    keys = jax.random.split(jax.random.key(0), 8)
    levels = jax.tree.leaves(jax.jit(lambda keys: jax.lax.map(draw, keys))(keys))
    if family(id) in ("gymnax", "brax"):
        assert draw(jax.random.key(0)) == ()
    assert not levels or any(len(np.unique(leaf, axis=0)) > 1 for leaf in levels)


@pytest.mark.parametrize("id", params(GYMNAX))
def test_agrees_with_gymnax(id):
    environment = made(id)
    _, step, bare, *_ = rollout(id)[0]
    np.testing.assert_array_equal(step.reward, bare.reward.astype(np.float32))
    np.testing.assert_array_equal(step.terminated, bare.terminated)
    np.testing.assert_array_equal(step.truncated, bare.truncated)
    np.testing.assert_array_equal(step.observation, flattened(environment, bare.observation))
    np.testing.assert_array_equal(step.final_observation, flattened(environment, bare.final_observation))


@every
def test_numbers_are_finite_and_rewards_in_their_units(id):
    result, _ = rollout(id)
    for value in (result.first_observation, *result.step):
        assert np.isfinite(value).all()
    low, high = REWARDS.get(id, (-np.inf, np.inf))
    assert low <= result.step.reward.min() and result.step.reward.max() <= high


@every
def test_truncates_exactly_at_the_time_limit(id):
    result, _ = rollout(id)
    step, timed = result.step, isinstance(result.time, np.ndarray)
    assert made(id).shortest_truncation <= result.limit.min()
    finished = step.terminated | step.truncated
    age = np.zeros(len(SEEDS), int)
    for i, late in LATE.items():
        age[i] = result.limit[i] - late if timed else 0
    for t in range(finished.shape[1]):
        age += 1
        at_limit = age == result.limit
        assert (age <= result.limit).all() and finished[:, t][at_limit].all()
        truncated = np.zeros_like(at_limit) if id in TERMINATE_IN_TIME else at_limit
        np.testing.assert_array_equal(step.truncated[:, t], truncated)
        age[finished[:, t]] = 0
    if timed and id not in TERMINATE_IN_TIME:
        assert step.truncated[-1, 0]  # the last stream begins one step before the limit


@every
def test_resets_by_itself(id):
    """Where an episode ended, the next one has begun, and the final observation is what was reached."""
    result, _ = rollout(id)
    finished = result.step.terminated | result.step.truncated
    assert finished.any()
    if isinstance(result.time, np.ndarray):
        np.testing.assert_array_equal(result.time == 0, finished)
    observation, final_observation = result.step.observation, result.step.final_observation
    np.testing.assert_array_equal(observation[~finished], final_observation[~finished])
    # A bandit shows nothing, and chance may lead back to the start; elsewhere the two differ.
    if id != "SimpleBandit-bsuite":
        assert (observation[finished] != final_observation[finished]).any()


@pytest.mark.parametrize("id", params(IDS, gymnax_too=False))
def test_the_next_episode_begins_as_episodes_do(id):
    """What is seen after an end lies among what resets of that level show, in every feature."""
    environment = made(id)
    result, _ = rollout(id)
    observation, ended = result.step.observation, result.step.terminated | result.step.truncated

    @jax.jit
    def begun(keys):
        keys = jax.random.wrap_key_data(keys)
        level = environment.sample_level(jax.random.fold_in(keys[0], 1))
        return jax.lax.map(lambda key: environment.reset(key, level)[1], jax.random.split(keys[0], 1024))

    for i in range(len(SEEDS)):
        seen = np.asarray(begun(stream_arguments(environment, i)[0]))
        low, high = seen.min(0), seen.max(0)
        margin = high - low + 1e-5  # as the draws do not reach the ends
        next_first = observation[i][ended[i]]
        assert (next_first >= low - margin).all() and (next_first <= high + margin).all()


def test_every_family_and_every_environment_of_gymnax_is_in_the_catalog():
    assert {family(id) for id in IDS} == {"gymnax", *FAMILIES}
    assert {id for id in IDS if family(id) == "gymnax"} == set(GYMNAX)
    assert set(AFFORDABLE) <= set(IDS) and set(REWARDS) <= set(IDS)
