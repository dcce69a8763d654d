"""Cores, and jax's CPU thread pool, which must have one thread.

On a pool of two threads a fully jitted training can hang forever, and more threads gain almost nothing. So
every process that trains on a CPU sets ``PJRT_NPROC=1``, and there is one process per core.
"""

import os
import sys
from pathlib import Path

from discovery.core.errors import BadInput, ExecutorError
from discovery.executors.environment import NUMERICS


def cores() -> int:
    """How many cores this process may use, by its affinity and its container's quota."""
    try:
        usable = len(os.sched_getaffinity(0))
    except AttributeError:  # not Linux
        usable = os.cpu_count() or 1
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        usable = min(usable, int(quota) // int(period))
    except (OSError, ValueError):  # no cgroup v2, or "max": no quota
        pass
    return max(usable, 1)


def backend_started() -> bool:
    """Whether jax has started its backends in this process; does not import jax."""
    bridge = sys.modules.get("jax._src.xla_bridge")
    return bridge is not None and bridge.backends_are_initialized()


def cpu_pool_threads() -> int | None:
    """Threads in the pool of jax's CPU backend; 0 before it starts, None where they cannot be counted."""
    if not backend_started():
        return 0
    tasks = Path("/proc/self/task")
    if not tasks.is_dir():
        return None
    return sum(_comm(task).startswith("tf_XLAEigen") for task in tasks.iterdir())


def fix_numerics() -> None:
    """Apply `NUMERICS` to this process, overriding its environment.

    Raises:
        BadInput: 64-bit numbers are enabled; other code in this process may need them.
    """
    jax = sys.modules.get("jax")
    wide = (
        jax.config.jax_enable_x64 if jax else os.environ.get("JAX_ENABLE_X64", "0").lower() in ("1", "true")
    )
    if wide:
        raise BadInput(
            "trainings use 32 bits, but JAX_ENABLE_X64 (or jax_enable_x64 in this process) is set; unset it"
        )
    for name, value in NUMERICS.items():
        os.environ[name] = value
        if jax:
            jax.config.update(name.lower(), {"true": True, "false": False}.get(value, value))


def prefer_single_thread() -> None:
    """Make jax's CPU pool start with one thread, unless it already runs or the user chose another number."""
    if not backend_started() and _platform_asked() in ("", "cpu"):
        os.environ.setdefault("PJRT_NPROC", "1")  # read when the backend starts


def ensure_single_thread() -> None:
    """Make jax's CPU pool have one thread, if jax computes on a CPU.

    Raises:
        ExecutorError: jax already runs with more threads.
        BadInput: JAX_PLATFORMS names a platform that jax cannot start here, or 64-bit numbers are enabled.
    """
    fix_numerics()
    if not backend_started():
        if (asked := _platform_asked()) in ("", "cpu"):
            os.environ["PJRT_NPROC"] = "1"  # read when the backend starts
        else:
            _start(asked)
        return
    if sys.modules["jax"].default_backend() != "cpu":
        return
    threads = cpu_pool_threads()
    single = os.environ.get("PJRT_NPROC") == "1" if threads is None else threads <= 1
    if not single:
        raise ExecutorError(
            f"jax already runs a CPU pool of {threads or 'several'} threads in this process, on which "
            "compiled trainings can hang forever; set PJRT_NPROC=1 in the environment and start again "
            '(in a notebook: os.environ["PJRT_NPROC"] = "1" in the first cell, then restart the kernel)'
        )


def _start(platform: str) -> None:
    import jax

    try:
        jax.devices()
    except Exception as error:  # a RuntimeError, or an AssertionError without a text
        why = " ".join(str(error).split())[:300] or "it finds no such device, or has no plugin for it"
        raise BadInput(f"jax cannot start on {platform!r}, which JAX_PLATFORMS names: {why}") from error


def keep_to_cpu() -> None:
    """Make jax compute on the CPU in this process, unless its backends already run.

    Workers need the accelerators, and jax reserves three quarters of a GPU's memory when it starts.
    """
    if not backend_started():
        os.environ["JAX_PLATFORMS"] = "cpu"
        if jax := sys.modules.get("jax"):
            jax.config.update("jax_platforms", "cpu")  # the variable was read when jax was imported


def _platform_asked() -> str:
    """First platform that JAX_PLATFORMS names; "" if none."""
    jax = sys.modules.get("jax")
    asked = jax.config.jax_platforms if jax else os.environ.get("JAX_PLATFORMS")
    return (asked or "").split(",")[0].strip().lower()


def _comm(task: Path) -> str:
    try:
        return (task / "comm").read_text()
    except OSError:  # the thread has just ended
        return ""
