"""How many trainings fit into a device's memory side by side: found by compiling, and cached.

A program's memory grows linearly with its lanes, so two narrow programs predict how wide one may be; that one
is compiled as a check. Memory is allocated before the program runs and does not depend on the numbers.
"""

import contextlib
import hashlib
import json
import math
import os
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import jax

from discovery.core.files import write_whole
from discovery.core.jobs import AlgorithmSpec
from discovery.core.versions import versions
from discovery.inner.compile import Arguments, arguments_of, executable
from environments.task import Task

SHARE = 0.8
"""Share of a device's memory that a program may take; allocations leave gaps, and libraries need some."""

PROBES = 4, 8
"""Lanes per device of the programs that measure how memory grows."""

MOST = 2**14
"""Most lanes to try; generations are not larger."""


def lanes_that_fit(bytes_at: Callable[[int], float], limit: float, devices: int = 1) -> int:
    """The largest power of two of lanes for each device, times `devices`, that takes at most `limit` bytes.

    Args:
        bytes_at: memory of a program with so many lanes on each device; infinity if it cannot be compiled.
        limit: bytes of each device.
        devices: number of devices over which the lanes are spread.

    Raises:
        MemoryError: not even one training fits on each device.
    """
    few, more = (lanes * devices for lanes in PROBES)
    slope = max((bytes_at(more) - bytes_at(few)) / (more - few), 1.0)
    room = few + (limit - bytes_at(few)) / slope
    lanes = devices * 2 ** int(math.log2(min(max(room, devices), MOST) / devices))
    while bytes_at(lanes) > limit:
        if lanes == devices:
            raise MemoryError(
                f"one training takes {bytes_at(lanes) / 2**20:.3g} MiB on a device, of {limit / 2**20:.3g} "
                "that it may; lower n_envs or n_steps"
            )
        lanes //= 2
    return lanes


def bytes_of(program: Any) -> int:
    """Memory of a compiled program on each device: arguments, results, temporaries and code.

    A donated argument shares memory with the results, so it counts once.
    """
    memory = program.memory_analysis()
    return (
        memory.argument_size_in_bytes
        + memory.output_size_in_bytes
        - memory.alias_size_in_bytes
        + memory.temp_size_in_bytes
        + memory.generated_code_size_in_bytes
    )


def memory_of_device() -> int:
    """Bytes that jax may use on each device of this process.

    Raises:
        ValueError: jax does not report it, as on a CPU.
    """
    device = jax.local_devices()[0]
    told = (device.memory_stats() or {}).get("bytes_limit")
    if not told:
        raise ValueError(f"{device.device_kind} does not report its memory; set agents_per_call")
    return told


def program_bytes(spec: AlgorithmSpec, task: Task, one: Arguments, lanes: int) -> float:
    """Memory of the program with so many lanes on each device; `one` are the arguments of a single lane."""

    def wider(leaf: Any) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct((lanes, *leaf.shape[1:]), leaf.dtype)

    try:
        program, _ = executable(spec, task.setup, Arguments(one.numbers, *jax.tree.map(wider, one[1:])))
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        return math.inf
    return float(bytes_of(program))


def measure_lanes(algorithm: AlgorithmSpec, task: Task, *lane: Any) -> tuple[dict[str, int], None, float]:
    """How many such trainings fit side by side here; trains none.

    Takes the arguments of `run_chunk`, with one `lane`, so any executor can run it.

    Returns:
        ``{"lanes": that number}``, which becomes the job's `JobResult.extra`; None; and the seconds it took.

    Raises:
        MemoryError: not even one fits.
        ValueError: jax does not report the memory, as on a CPU.
    """
    started, devices, memory = time.perf_counter(), jax.local_devices(), memory_of_device()
    one = arguments_of(algorithm, task, *lane)

    def find() -> int:
        limit = SHARE * memory
        return lanes_that_fit(lambda n: program_bytes(algorithm, task, one, n), limit, len(devices))

    depends = {
        "algorithm": asdict(algorithm),
        "setup": asdict(task.setup),
        "shapes": [[list(leaf.shape), leaf.dtype.str] for leaf in jax.tree.leaves(one)],
        "devices": [device.device_kind for device in devices],
        "memory": memory,
        "versions": {**versions(), "commit": ""},  # the source has its own hash
    }
    return {"lanes": remembered(depends, find)}, None, time.perf_counter() - started


def remembered(depends: Any, find: Callable[[], int]) -> int:
    """The result of `find`, cached for equal `depends` (plain data).

    It is kept in a file in ``rl-discovery/room`` below ``$XDG_CACHE_HOME``, by default ``~/.cache``; if that
    is not possible, it is computed again.
    """
    text = json.dumps(depends, sort_keys=True, default=str)
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    path = home / "rl-discovery" / "room" / f"{hashlib.sha256(text.encode()).hexdigest()[:24]}.json"
    try:
        return int(json.loads(path.read_text(encoding="utf-8"))["lanes"])
    except (OSError, ValueError, KeyError, TypeError):
        lanes = find()
    with contextlib.suppress(OSError):
        write_whole(path, json.dumps({"lanes": lanes, "depends": json.loads(text)}, indent=1))
    return lanes
