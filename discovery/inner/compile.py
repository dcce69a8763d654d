"""Chunks of trainings, compiled once per (algorithm structure, task shape, width).

Where this process has several devices, a chunk's lanes are spread over them in equal shares, and none waits
for another. A lane's numbers differ by rounding with the width of its program, and with the devices it has.
"""

import functools
import math
import os
import threading
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from discovery.core.jobs import AlgorithmSpec, Outcome
from discovery.inner.loops import exact
from discovery.inner.loops import on_policy as train
from discovery.inner.loops.on_policy import check_numbers, complete
from discovery.inner.record import summarize
from environments.task import Setup, Task
from objectives import build
from objectives.base import Algorithm

_lock = threading.Lock()


@functools.lru_cache(maxsize=256)
def build_algorithm(spec: AlgorithmSpec) -> Algorithm:
    """The algorithm of a spec, one object per process, so that compiled programs are found again."""
    return build(spec.name, dict(spec.options))


class Life(NamedTuple):
    """How a setup is trained: states with an `update` and a `record` that begin, and advance.

    Attributes:
        check: ``(algorithm, setup)``: raises a ValueError unless they go together.
        init: ``(algorithm, setup, meta_params, key, lifetime) -> state``.
        advance: ``(algorithm, setup, meta_params, state, n_updates) -> state``.
    """

    check: Callable[[Algorithm, Setup], Any]
    init: Callable[..., Any]
    advance: Callable[..., Any]


_AGENTS = Life(train.parts, train.init, lambda *arguments: train.advance(*arguments)[0])
_TABLES = Life(exact.parts, exact.init, exact.advance)


def life_of(setup: Setup) -> Life:
    """Agents that learn from rollouts, or tables that are improved with exact values."""
    return _TABLES if setup.exact else _AGENTS


def _train_lane(
    algorithm: Algorithm, setup: Setup, numbers: Any, meta_params: Any, key_data: Any, lifetime: Any
) -> Outcome:
    full, life = complete(algorithm, numbers, meta_params), life_of(setup)
    state = life.init(algorithm, setup, full, jax.random.wrap_key_data(key_data), lifetime)
    state = life.advance(algorithm, setup, full, state, lifetime)
    return summarize(state.record, setup.steps_per_update)


def _stretch_lane(
    algorithm: Algorithm,
    setup: Setup,
    numbers: Any,
    meta_params: Any,
    key_data: Any,
    lifetime: Any,
    until: Any,
    unborn: Any,
    begun: Any,
) -> tuple[Outcome, Any]:
    """A life up to rollout `until`: from birth where `unborn`, else from a state's leaves.

    One program for both, so that it makes no difference to the bits where a life was split.
    """
    full, life = complete(algorithm, numbers, meta_params), life_of(setup)
    born = life.init(algorithm, setup, full, jax.random.wrap_key_data(key_data), lifetime)
    leaves = [jnp.where(unborn, new, old) for new, old in zip(_plain(born), begun, strict=True)]
    state = _with_keys(born, leaves)
    state = life.advance(algorithm, setup, full, state, until - state.update)
    return summarize(state.record, setup.steps_per_update), tuple(_plain(state))


def _plain(state: Any) -> list[Any]:
    """Its leaves, keys as raw data, which numpy can hold."""
    return [
        jax.random.key_data(leaf) if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key) else leaf
        for leaf in jax.tree.leaves(state)
    ]


def _with_keys(like: Any, leaves: list[Any]) -> Any:
    """The way back; `like` is a state of the same structure."""
    kinds, structure = jax.tree.flatten(like)
    typed = [
        jax.random.wrap_key_data(leaf) if jnp.issubdtype(kind.dtype, jax.dtypes.prng_key) else leaf
        for kind, leaf in zip(kinds, leaves, strict=True)
    ]
    return jax.tree.unflatten(structure, typed)


def _blank(algorithm: Algorithm, setup: Setup, arguments: tuple[Any, ...]) -> tuple[np.ndarray, ...]:
    """Leaves ``[W, ...]`` of no states, where a program expects some."""

    def birth(numbers: Any, meta_params: Any, key_data: Any, lifetime: Any) -> list[Any]:
        full = complete(algorithm, numbers, meta_params)
        key = jax.random.wrap_key_data(key_data)
        return _plain(life_of(setup).init(algorithm, setup, full, key, lifetime))

    shapes = jax.eval_shape(jax.vmap(birth, in_axes=(None, 0, 0, 0)), *arguments)
    return tuple(np.zeros(leaf.shape, leaf.dtype) for leaf in shapes)


def _devices(width: int) -> tuple[Any, ...]:
    """Those over which W lanes are spread evenly: all of this process, if their number divides W."""
    local = jax.local_devices()
    return tuple(local[: math.gcd(width, len(local))])


@functools.lru_cache(maxsize=256)
def _program(algorithm: Algorithm, setup: Setup, whole: bool, devices: tuple[Any, ...]) -> Any:
    """Numbers, then lanes, spread over `devices`; states to go on from, the last argument, are used up."""
    lane = functools.partial(_train_lane if whole else _stretch_lane, algorithm, setup)
    others = 3 if whole else 6
    lanes, donated = jax.vmap(lane, in_axes=(None, *[0] * others)), () if whole else (6,)
    if len(devices) == 1:
        return jax.jit(lanes, donate_argnums=donated)
    mesh = Mesh(np.asarray(devices), ("lanes",), axis_types=(AxisType.Auto,))
    specs = (P(), *[P("lanes")] * others)
    # not jit's own partitioning: its loop would ask all devices, at each turn, whether a life goes on
    spread = jax.shard_map(lanes, mesh=mesh, in_specs=specs, out_specs=P("lanes"), check_vma=False)
    shardings = tuple(NamedSharding(mesh, spec) for spec in specs)
    return jax.jit(spread, in_shardings=shardings, donate_argnums=donated)


_executables: dict[Any, Any] = {}


ON_CPU = {"xla_backend_optimization_level": 1}
"""LLVM's first level: 40% less compile time than the default, and the same speed."""


def _compiler_options() -> dict[str, Any]:
    """Those for this device, but for what XLA_FLAGS says itself."""
    said = os.environ.get("XLA_FLAGS", "")
    return {k: v for k, v in ON_CPU.items() if k not in said} if jax.default_backend() == "cpu" else {}


def executable(spec: AlgorithmSpec, setup: Setup, arguments: tuple[Any, ...]) -> tuple[Any, float]:
    """The compiled program for these argument shapes, and the seconds spent compiling it now.

    Two specs that build the same structure share nothing, but numbers never matter: only shapes do.
    """
    shapes = jax.tree.map(lambda x: (x.shape, x.dtype.str), arguments)
    leaves, treedef = jax.tree.flatten(shapes, is_leaf=lambda x: isinstance(x, tuple) and len(x) == 2)
    cache_key = (spec, setup, tuple(leaves), treedef)
    with _lock:
        if cache_key in _executables:
            return _executables[cache_key], 0.0
        started = time.perf_counter()
        devices = _devices(len(arguments[3]))
        # float32 is what it says on every device; layers may have less, if the setup says so
        with jax.default_matmul_precision("float32"):
            program = _program(build_algorithm(spec), setup, len(arguments) == 4, devices)
            lowered = program.lower(*arguments)
        compiled = lowered.compile(compiler_options=_compiler_options())
        _executables[cache_key] = compiled
        return compiled, time.perf_counter() - started


def arguments_of(
    algorithm: AlgorithmSpec,
    task: Task,
    meta_params: Any,
    keys: np.ndarray,
    lifetimes: np.ndarray,
    until: np.ndarray | None = None,
    begun: tuple[np.ndarray, ...] | None = None,
) -> tuple[Any, ...]:
    """What a program of W lanes is called with: numbers, then arrays ``[W, ...]``; see `run_chunk`."""
    built = build_algorithm(algorithm)
    numbers = {name: np.float32(value) for name, value in {**dict(built.defaults), **task.numbers}.items()}
    check_numbers(built, task.numbers)
    arguments = (
        numbers,
        jax.tree.map(lambda x: np.asarray(x, np.float32), meta_params),
        np.asarray(keys, np.uint32),
        np.asarray(lifetimes, np.int32),
    )
    if until is not None:
        begun, unborn = begun or _blank(built, task.setup, arguments), np.full(len(keys), begun is None)
        arguments += (np.asarray(until, np.int32), unborn, begun)
    return arguments


def run_chunk(
    algorithm: AlgorithmSpec,
    task: Task,
    meta_params: Any,
    keys: np.ndarray,
    lifetimes: np.ndarray,
    until: np.ndarray | None = None,
    begun: tuple[np.ndarray, ...] | None = None,
) -> tuple[Outcome, tuple[np.ndarray, ...] | None, float]:
    """Train W agents and wait for them.

    Args:
        algorithm: which algorithm.
        task: environment, recipe, numbers.
        meta_params: searched entries, stacked ``[W, ...]``.
        keys: raw key data, uint32 ``[W, 2]``.
        lifetimes: int32 ``[W]``.
        until: int32 ``[W]``, rollouts after which to stop; None: live to the end.
        begun: leaves ``[W, ...]`` of the states to go on from; None: at birth.

    Returns:
        an `Outcome` of numpy arrays ``[W, ...]``, of the life so far; the leaves of the states reached, where
        `until` was given; and the seconds spent compiling. An unlived rest of the learning curve is empty,
        so that `final` and `auc` are what they would be if nothing changed any more.
    """
    arguments = arguments_of(algorithm, task, meta_params, keys, lifetimes, until, begun)
    program, compile_seconds = executable(algorithm, task.setup, arguments)
    returned = jax.tree.map(np.asarray, jax.block_until_ready(program(*arguments)))
    outcome, leaves = (returned, None) if until is None else returned
    score = outcome.final if task.score == "final" else outcome.auc
    return outcome._replace(score=score), leaves, compile_seconds
