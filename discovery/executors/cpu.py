"""Cores, and jax's CPU thread pool, which compiled trainings must not share with other threads.

On a pool of two threads a whole jitted training can stop for ever, and more threads gain next to
nothing; so whoever trains on a CPU runs with ``PJRT_NPROC=1``, and has one process a core.
"""

import os
import sys
from pathlib import Path

from discovery.core.errors import BadInput, ExecutorError
from discovery.executors.environment import NUMERICS


def cores() -> int:
    """How many cores this process may use: affinity and container quota respected."""
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
    """Threads in the pool of jax's CPU backend; 0 before it starts, None where it cannot be told."""
    if not backend_started():
        return 0
    tasks = Path("/proc/self/task")
    if not tasks.is_dir():
        return None
    return sum(_comm(task).startswith("tf_XLAEigen") for task in tasks.iterdir())


def fix_numerics() -> None:
    """Set what numbers depend on (`NUMERICS`) in this process, whatever the environment says.

    Raises:
        BadInput: 64-bit numbers are on, which other code in this process may need.
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
    """Have jax's CPU pool start with one thread, unless it runs already or the user asked for others."""
    if not backend_started() and _platform_asked() in ("", "cpu"):
        os.environ.setdefault("PJRT_NPROC", "1")  # read when the backend starts


def ensure_single_thread() -> None:
    """Make jax's CPU pool have one thread, if jax computes on a CPU.

    Raises:
        ExecutorError: jax runs with more threads already.
        BadInput: JAX_PLATFORMS names what jax cannot start here, or 64-bit numbers are on.
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
            "compiled trainings can hang for ever; set PJRT_NPROC=1 in the environment and start again "
            '(in a notebook: os.environ["PJRT_NPROC"] = "1" in the first cell, then restart the kernel)'
        )


def _start(platform: str) -> None:
    import jax

    try:
        jax.devices()
    except Exception as error:  # a RuntimeError, or an AssertionError without a word
        why = " ".join(str(error).split())[:300] or "it finds no such device, or has no plugin for it"
        raise BadInput(f"jax cannot start on {platform!r}, which JAX_PLATFORMS names: {why}") from error


def keep_to_cpu() -> None:
    """Have jax compute on the CPU in this process, unless it runs already: workers need the accelerators.

    jax takes three quarters of a GPU's memory where it starts.
    """
    if not backend_started():
        os.environ["JAX_PLATFORMS"] = "cpu"
        if jax := sys.modules.get("jax"):
            jax.config.update("jax_platforms", "cpu")  # the variable was read when jax was imported


def _platform_asked() -> str:
    """First platform that the user asked jax for; "" if none."""
    jax = sys.modules.get("jax")
    asked = jax.config.jax_platforms if jax else os.environ.get("JAX_PLATFORMS")
    return (asked or "").split(",")[0].strip().lower()


def _comm(task: Path) -> str:
    try:
        return (task / "comm").read_text()
    except OSError:  # the thread has just ended
        return ""
