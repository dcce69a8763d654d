"""Chunks of trainings, compiled once per (algorithm structure, task shape, width).

If this process has several devices, a chunk's lanes are divided evenly among them, and no device waits for
another. A lane's numbers differ by rounding with the width of its program and the number of devices.
"""

import functools
import math
import os
import threading
import time
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from discovery.core.jobs import AlgorithmSpec, Outcome
from discovery.inner.compilation_cache import compiling
from discovery.inner.loops import loop_of, trained_on
from discovery.inner.loops.on_policy import check_numbers, complete
from environments.task import Setup, Task
from objectives import build
from objectives.base import Algorithm

MAX_PROGRAMS = 128
"""Compiled programs that a process keeps; beyond this, the least recently used one is dropped."""


@functools.lru_cache(maxsize=256)
def build_algorithm(spec: AlgorithmSpec) -> Algorithm:
    """The algorithm of a spec, one object per process, so compiled programs are reused."""
    return build(spec.name, dict(spec.options))


class Arguments(NamedTuple):
    """Arguments of a program of W lanes; see `run_chunk`.

    Without `until` every lane is trained to its end, and there is no checkpoint.

    Attributes:
        numbers: plain numbers by name, the same for all lanes.
        meta_params: searched entries ``[W, ...]``.
        keys: raw key data, uint32 ``[W, 2]``.
        lifetimes: int32 ``[W]``.
        until: int32 ``[W]``, updates after which to stop and return a checkpoint.
        fresh: bool ``[W]``, whether a lane starts afresh and ignores its `checkpoint`.
        checkpoint: leaves ``[W, ...]`` of the states to continue from.
    """

    numbers: Any
    meta_params: Any
    keys: Any
    lifetimes: Any
    until: Any = None
    fresh: Any = None
    checkpoint: Any = None


def _train_lane(
    algorithm: Algorithm,
    setup: Setup,
    numbers: Any,
    meta_params: Any,
    key_data: Any,
    lifetime: Any,
    until: Any,
    fresh: Any,
    checkpoint: Any,
) -> tuple[Outcome, Any]:
    """One lane of `Arguments`: its outcome, and a checkpoint if `until` is given.

    Fresh and continued trainings share a program, so that splitting a training changes no bit.
    """
    full, loop = complete(algorithm, numbers, meta_params), loop_of(algorithm)
    state = loop.init(algorithm, setup, full, jax.random.wrap_key_data(key_data), lifetime)
    if until is None:
        state, _ = loop.advance(algorithm, setup, full, state, lifetime)
        return loop.report(setup, state), None
    leaves = [jnp.where(fresh, new, old) for new, old in zip(_plain(state), checkpoint, strict=True)]
    state = _with_keys(state, leaves)
    state, _ = loop.advance(algorithm, setup, full, state, until - state.update)
    return loop.report(setup, state), tuple(_plain(state))


def _plain(state: Any) -> list[Any]:
    """The leaves, with keys as raw data, which numpy can hold."""
    return [
        jax.random.key_data(leaf) if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key) else leaf
        for leaf in jax.tree.leaves(state)
    ]


def _with_keys(like: Any, leaves: list[Any]) -> Any:
    """Inverse of `_plain`; `like` is a state of the same structure."""
    kinds, structure = jax.tree.flatten(like)
    typed = [
        jax.random.wrap_key_data(leaf) if jnp.issubdtype(kind.dtype, jax.dtypes.prng_key) else leaf
        for kind, leaf in zip(kinds, leaves, strict=True)
    ]
    return jax.tree.unflatten(structure, typed)


def _no_checkpoint(algorithm: Algorithm, setup: Setup, arguments: Arguments) -> tuple[np.ndarray, ...]:
    """Zeros ``[W, ...]`` in the shape of checkpoints, for lanes that start afresh."""

    def initial(numbers: Any, meta_params: Any, key_data: Any, lifetime: Any) -> list[Any]:
        full, key = complete(algorithm, numbers, meta_params), jax.random.wrap_key_data(key_data)
        return _plain(loop_of(algorithm).init(algorithm, setup, full, key, lifetime))

    shapes = jax.eval_shape(jax.vmap(initial, in_axes=(None, 0, 0, 0)), *arguments[:4])
    return tuple(np.zeros(leaf.shape, leaf.dtype) for leaf in shapes)


def _devices(width: int) -> tuple[Any, ...]:
    """The devices over which W lanes are spread evenly: all of this process, if their number divides W."""
    local = jax.local_devices()
    return tuple(local[: math.gcd(width, len(local))])


@functools.lru_cache(maxsize=256)
def _program(algorithm: Algorithm, setup: Setup, devices: tuple[Any, ...]) -> Any:
    """A function of `Arguments`, with lanes spread over `devices`; it reuses the memory of checkpoints."""
    lane = functools.partial(_train_lane, algorithm, setup)
    others = len(Arguments._fields) - 1
    lanes, donated = jax.vmap(lane, in_axes=(None, *[0] * others)), (Arguments._fields.index("checkpoint"),)
    if len(devices) == 1:
        return jax.jit(lanes, donate_argnums=donated)
    mesh = Mesh(np.asarray(devices), ("lanes",), axis_types=(AxisType.Auto,))
    specs = (P(), *[P("lanes")] * others)
    # not jit's own partitioning: its loop would ask all devices, at each turn, whether a life goes on
    spread = jax.shard_map(lanes, mesh=mesh, in_specs=specs, out_specs=P("lanes"), check_vma=False)
    shardings = tuple(NamedSharding(mesh, spec) for spec in specs)
    return jax.jit(spread, in_shardings=shardings, donate_argnums=donated)


_executables: dict[Any, Any] = {}
"""Compiled programs, the most recently used one last."""

_lock = threading.Lock()
"""Lock of `_executables`; not held while compiling."""


ON_CPU = {"xla_backend_optimization_level": 1}
"""LLVM's first level: 40% less compile time than the default, and the same speed."""


def compiler_options() -> dict[str, Any]:
    """The options for this device, except those that XLA_FLAGS sets."""
    said = os.environ.get("XLA_FLAGS", "")
    return {k: v for k, v in ON_CPU.items() if k not in said} if jax.default_backend() == "cpu" else {}


def executable(spec: AlgorithmSpec, setup: Setup, arguments: Arguments) -> tuple[Any, float]:
    """The compiled program for these argument shapes, and the seconds spent compiling it now.

    Two specs that build the same structure share no program. Numbers never matter, only shapes do.
    """
    leaves, structure = jax.tree.flatten(arguments)
    key = spec, setup, structure, tuple((leaf.shape, leaf.dtype.str) for leaf in leaves)
    with _lock:
        if key in _executables:
            _executables[key] = _executables.pop(key)
            return _executables[key], 0.0
    started = time.perf_counter()
    # float32 is what it says on every device; layers may have less, if the setup says so
    with jax.default_matmul_precision("float32"):
        algorithm = trained_on(build_algorithm(spec), setup)
        lowered = _program(algorithm, setup, _devices(len(arguments.keys))).lower(*arguments)
    with compiling(repr(key)):
        compiled = lowered.compile(compiler_options=compiler_options())
    with _lock:
        _executables[key] = compiled
        if len(_executables) > MAX_PROGRAMS:
            del _executables[next(iter(_executables))]
    return compiled, time.perf_counter() - started


def as_trained(leaf: Any) -> np.ndarray:
    """A leaf of `meta_params` as a training reads it: floats as float32, integers of at most 32 bits.

    Raises:
        ValueError: an integer needs more.
    """
    array = np.asarray(leaf)
    if array.dtype.kind not in "biu":
        return np.asarray(array, np.float32)
    if array.dtype.itemsize <= 4:
        return array
    narrow = array.astype(f"{array.dtype.kind}4")
    if not np.array_equal(narrow, array):
        raise ValueError(f"an integer of meta_params needs more than 32 bits: {array.min()} to {array.max()}")
    return narrow


def arguments_of(
    algorithm: AlgorithmSpec,
    task: Task,
    meta_params: Any,
    keys: np.ndarray,
    lifetimes: np.ndarray,
    until: np.ndarray | None = None,
    checkpoint: tuple[np.ndarray, ...] | None = None,
) -> Arguments:
    """The arguments of the program of `run_chunk`."""
    built = build_algorithm(algorithm)
    check_numbers(built, task.numbers)
    numbers = {**dict(built.defaults), **task.numbers}
    arguments = Arguments(
        numbers={name: np.float32(value) for name, value in numbers.items()},
        meta_params=jax.tree.map(as_trained, meta_params),
        keys=np.asarray(keys, np.uint32),
        lifetimes=np.asarray(lifetimes, np.int32),
    )
    if until is None:
        return arguments
    return arguments._replace(
        until=np.asarray(until, np.int32),
        fresh=np.full(len(keys), checkpoint is None),
        checkpoint=checkpoint or _no_checkpoint(trained_on(built, task.setup), task.setup, arguments),
    )


def run_chunk(
    algorithm: AlgorithmSpec,
    task: Task,
    meta_params: Any,
    keys: np.ndarray,
    lifetimes: np.ndarray,
    until: np.ndarray | None = None,
    checkpoint: tuple[np.ndarray, ...] | None = None,
) -> tuple[Outcome, tuple[np.ndarray, ...] | None, float]:
    """Train W agents and wait for them.

    Args:
        algorithm: which algorithm.
        task: environment, recipe, numbers.
        meta_params: searched entries, stacked ``[W, ...]``; floats become float32, integers stay integers.
        keys: raw key data, uint32 ``[W, 2]``.
        lifetimes: int32 ``[W]``.
        until: int32 ``[W]``, updates after which to stop; None: train to the end.
        checkpoint: leaves ``[W, ...]`` of the states to continue from; None: start afresh.

    Returns:
        an `Outcome` of numpy arrays ``[W, ...]``, of the training so far; the leaves of the states reached,
        if `until` is given; and the seconds spent compiling. The rest of the learning curve is empty, so
        `final` and `auc` are computed as if nothing changed any more.
    """
    arguments = arguments_of(algorithm, task, meta_params, keys, lifetimes, until, checkpoint)
    program, compile_seconds = executable(algorithm, task.setup, arguments)
    outcome, leaves = jax.tree.map(np.asarray, jax.block_until_ready(program(*arguments)))
    score = outcome.final if task.score == "final" else outcome.auc
    return outcome._replace(score=score), leaves, compile_seconds
