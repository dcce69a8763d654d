"""Small trainings that several tests share, so that each program compiles once; and states as bytes."""

import functools
from dataclasses import replace
from typing import Any

import jax
import numpy as np

from discovery.inner import compile as compiled
from discovery.inner.loops.on_policy import TrainingState, advance, complete, init, parts
from discovery.inner.rollout import rollout
from environments.task import Setup
from objectives import build
from objectives.base import Progress

CATCH = Setup(
    environment="Catch-bsuite",
    n_envs=4,
    n_steps=8,
    n_epochs=2,
    n_minibatches=2,
    hidden=(16,),
    normalize_observation=True,
    normalize_reward=True,
    curve_points=5,
)
ENDINGS = replace(
    CATCH,
    environment="tests.inner.worlds:endings",
    n_steps=12,
    n_epochs=1,
    n_minibatches=1,
    normalize_observation=False,
    normalize_reward=False,
)
PPO = build("ppo")

PRODUCTION = compiled.ON_CPU

begin = jax.jit(init, static_argnums=(0, 1), compiler_options=PRODUCTION)
go = jax.jit(advance, static_argnums=(0, 1), compiler_options=PRODUCTION)
quick_begin = jax.jit(init, static_argnums=(0, 1))
quick_go = jax.jit(advance, static_argnums=(0, 1))


def is_key(leaf: Any) -> bool:
    return jax.numpy.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def to_bytes(state: TrainingState) -> list[tuple[bool, str, tuple[int, ...], bytes]]:
    """Every leaf as plain bytes, random keys included."""
    leaves = [
        (is_key(x), np.asarray(jax.random.key_data(x) if is_key(x) else x)) for x in jax.tree.leaves(state)
    ]
    return [(key, x.dtype.str, x.shape, x.tobytes()) for key, x in leaves]


def from_bytes(like: TrainingState, stored: list[tuple[bool, str, tuple[int, ...], bytes]]) -> TrainingState:
    """The state again, from its bytes and the structure of one of its kind."""
    arrays = [(key, np.frombuffer(data, dtype).reshape(shape)) for key, dtype, shape, data in stored]
    leaves = [
        jax.random.wrap_key_data(jax.numpy.asarray(x)) if key else jax.numpy.asarray(x) for key, x in arrays
    ]
    return jax.tree.unflatten(jax.tree.structure(like), leaves)


def assert_same_bits(a: Any, b: Any) -> None:
    """Equal in structure, types and every bit (so NaN equals NaN)."""
    assert jax.tree.structure(a) == jax.tree.structure(b)
    paths = [jax.tree_util.keystr(path) for path, _ in jax.tree.leaves_with_path(a)]
    different = [path for path, x, y in zip(paths, to_bytes(a), to_bytes(b), strict=True) if x != y]
    assert not different, f"differ in {different}"


def assert_splitting_changes_no_bit(algorithm: Any, meta_params: Any, begin: Any, go: Any) -> None:
    """3 + 4 updates, through bytes in between, against 7 at once and 7 times 1."""
    setup = CATCH
    start = begin(algorithm, setup, meta_params, jax.random.key(0), 20)
    whole, total = go(algorithm, setup, meta_params, start, 7)
    part, first = go(algorithm, setup, meta_params, start, 3)
    part = from_bytes(start, to_bytes(part))
    part, second = go(algorithm, setup, meta_params, part, 4)
    assert_same_bits(whole, part)
    assert float(first.updates + second.updates) == float(total.updates) == 7.0
    single = start
    for _ in range(7):
        single, _ = go(algorithm, setup, meta_params, single, 1)
    assert_same_bits(whole, single)
    moved = jax.tree.map(lambda a, b: bool((a != b).any()), start.params, whole.params)
    assert any(jax.tree.leaves(moved))
    assert not np.array_equal(jax.random.key_data(start.key), jax.random.key_data(whole.key))


def numbers(**others: float) -> dict[str, Any]:
    """Complete `meta_params` of PPO."""
    return complete(PPO, {"learning_rate": 3e-3, **others}, {})


def applied(network, params, x):
    """Outputs and activations of a network without a memory."""
    return network.unroll(params, {}, x, jax.numpy.zeros(x.shape[:-1], bool))[1:]


@functools.cache
def recorded(legacy=False, recurrence="none"):
    """A newborn agent in the world of endings, a rollout of it, its network and its targets."""
    setup = replace(ENDINGS, legacy_truncation=legacy, recurrence=recurrence)
    environment, network = parts(PPO, setup)

    @jax.jit
    def act(meta_params):
        state = init(PPO, setup, meta_params, jax.random.key(0), 10)
        args = (state.params, (state.environments, state.carry), Progress(0, 10), jax.random.key(1))
        following, experience = rollout(PPO, environment, setup, network, meta_params, *args)
        trajectory = experience.trajectory
        return (
            state,
            following[0],
            experience,
            PPO.targets(meta_params, (), trajectory, Progress(0, 10)),
        )

    return network, *act(numbers())
