"""jax's cache of compiled programs on disk: shared by workers, later commands and later runs.

Its size is limited. It is in the user's cache folder: one folder for each kind of CPU, since code for one
kind may not run on another. jax's keys contain its version, the program and the compiler's options.
``JAX_ENABLE_COMPILATION_CACHE=0`` turns it off; ``JAX_COMPILATION_CACHE_DIR`` names another folder.
"""

import hashlib
import os
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax
from filelock import FileLock, Timeout
from jax.experimental.compilation_cache import compilation_cache

from discovery.core.versions import cpu

MAX_BYTES = 2 * 2**30
"""Size of the folder; the least recently used programs are removed first."""

MIN_SECONDS = 1.0
"""Seconds; programs that compile faster are not kept."""

WAIT_SECONDS = 900.0
"""Seconds that a process waits for another one that compiles the same program, before it does so itself."""


def default_folder() -> Path:
    """The folder of the cache, unless the user sets another one."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "rl-discovery" / re.sub(r"[^A-Za-z0-9]+", "-", cpu())


def enable() -> Path | None:
    """Turn the cache on in this process, unless the user's settings disable it.

    Returns:
        its folder; None if it is off, or its folder cannot be written.
    """
    config: Any = jax.config
    if not config.jax_enable_compilation_cache:
        return None
    if config.jax_compilation_cache_dir:
        return Path(config.jax_compilation_cache_dir)
    folder = default_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        warnings.warn(f"compiled programs are not kept, {folder}: {error.strerror}", stacklevel=2)
        jax.config.update("jax_enable_compilation_cache", False)
        return None
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_compilation_cache_max_size", MAX_BYTES)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", MIN_SECONDS)
    compilation_cache.reset_cache()  # jax may have decided already that there is no cache
    return folder


@contextmanager
def compiling(program: str) -> Iterator[None]:
    """Lock the compilation of the program with this description: the first process compiles it, and the
    others find it in the cache.
    """
    folder = enable()
    if folder is None or not folder.is_dir():
        yield
        return
    lock = FileLock(folder / f"{hashlib.sha256(program.encode()).hexdigest()[:16]}.lock")
    try:
        lock.acquire(timeout=WAIT_SECONDS)
    except (Timeout, OSError):  # a file system without locks, or a process that hangs
        yield
        return
    try:
        yield
    finally:
        lock.release()
