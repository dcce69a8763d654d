"""Small trainings that several tests share, so that each program compiles once; and states as bytes."""

import functools
from dataclasses import replace
from typing import Any

import jax
import numpy as np

from discovery.inner.compile import ON_CPU as PRODUCTION
from discovery.inner.loops.on_policy import TrainingState, advance, complete, init, parts
from discovery.inner.rollout import rollout
from environments.task import Setup
from objectives import build
from objectives.base import Progress

SMALL: dict[str, Any] = {"n_envs": 4, "hidden": (16,), "curve_points": 5}
NORMAL: dict[str, Any] = {"normalize_observation": True, "normalize_reward": True}
CATCH = Setup("Catch-bsuite", n_steps=8, n_epochs=2, n_minibatches=2, **SMALL, **NORMAL)
ENDINGS = Setup("tests.inner.worlds:endings", n_steps=12, n_epochs=1, n_minibatches=1, **SMALL)
PPO = build("ppo")

begin = jax.jit(init, static_argnums=(0, 1), compiler_options=PRODUCTION)
go = jax.jit(advance, static_argnums=(0, 1), compiler_options=PRODUCTION)
quick_begin = jax.jit(init, static_argnums=(0, 1))
quick_go = jax.jit(advance, static_argnums=(0, 1))


def data(leaf: Any) -> np.ndarray:
    """A leaf as plain numbers, random keys too."""
    is_key = jax.numpy.issubdtype(leaf.dtype, jax.dtypes.prng_key)
    return np.asarray(jax.random.key_data(leaf) if is_key else leaf)


def through_bytes(state: TrainingState) -> TrainingState:
    """The state again, made of the bytes of its leaves."""

    def again(leaf: Any) -> Any:
        plain = data(leaf)
        read = jax.numpy.asarray(np.frombuffer(plain.tobytes(), plain.dtype).reshape(plain.shape))
        return read if read.dtype == leaf.dtype else jax.random.wrap_key_data(read)

    return jax.tree.map(again, state)


def assert_same_bits(a: Any, b: Any) -> None:
    """Equal in structure, types and every bit (so NaN equals NaN)."""
    assert jax.tree.structure(a) == jax.tree.structure(b)
    for (path, x), y in zip(jax.tree.leaves_with_path(a), jax.tree.leaves(b), strict=True):
        ours, theirs = data(x), data(y)
        same = x.dtype == y.dtype and x.shape == y.shape and ours.tobytes() == theirs.tobytes()
        assert same, f"{jax.tree_util.keystr(path)} differs"


def assert_splitting_changes_no_bit(algorithm: Any, meta_params: Any, begin: Any, go: Any) -> None:
    """3 + 4 updates, through bytes in between, against 7 at once and 7 times 1."""
    setup = CATCH
    start = begin(algorithm, setup, meta_params, jax.random.key(0), 20)
    whole, total = go(algorithm, setup, meta_params, start, 7)
    part, first = go(algorithm, setup, meta_params, start, 3)
    part, second = go(algorithm, setup, meta_params, through_bytes(part), 4)
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
    return jax.jit(network.unroll)(params, {}, x, jax.numpy.zeros(x.shape[:-1], bool))[1:]


def initialized(module, key=0, *given):
    """The first parameters of a network, or of a module at what it is given."""
    return jax.jit(module.init)(jax.random.key(key), *given)


@functools.cache
def recorded(legacy=False):
    """A newborn agent in the world of endings, a rollout of it, its network and its targets."""
    setup = replace(ENDINGS, legacy_truncation=legacy)
    environment, network = parts(PPO, setup)

    @jax.jit
    def act(meta_params):
        state, now = init(PPO, setup, meta_params, jax.random.key(0), 10), Progress(0, 10)
        args = (state.params, (state.environments, state.carry), now, jax.random.key(1))
        following, experience = rollout(PPO, environment, setup, network, meta_params, *args)
        targets = PPO.targets(meta_params, (), experience.trajectory, now)
        return state, following[0], experience, targets

    return network, *act(numbers())
