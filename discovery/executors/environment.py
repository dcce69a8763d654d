"""The environment variables of processes that run trainings: one thread, and no secrets."""

import os
import re
import sys
from collections.abc import Mapping

SINGLE_THREAD = {
    "PJRT_NPROC": "1",  # XLA's pool: two threads can hang forever, see cpu.py
    "JAX_PLATFORMS": "cpu",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
}

NUMERICS = {
    "JAX_DEFAULT_PRNG_IMPL": "threefry2x32",
    "JAX_THREEFRY_PARTITIONABLE": "true",
    "JAX_ENABLE_X64": "false",
    "JAX_DEBUG_NANS": "false",
    "JAX_DEBUG_INFS": "false",
}
"""jax's settings that change numbers, or that would stop a search when a proposal diverges."""

_SECRET = re.compile("KEY|TOKEN|SECRET|PASSW|PASSPHRASE|CREDENTIAL|AUTH", re.IGNORECASE)
_SETTING = re.compile("JAX_|XLA_")  # for example, JAX_DEBUG_KEY_REUSE is not a secret


def worker_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Environment of a worker: one thread, `NUMERICS`, our import path, and no variable that looks secret."""
    kept = {name: value for name, value in environ.items() if not looks_secret(name)}
    path = os.pathsep.join(os.path.abspath(entry) for entry in sys.path)
    return kept | SINGLE_THREAD | NUMERICS | {"PYTHONPATH": path}


def looks_secret(name: str) -> bool:
    """Whether an environment variable of this name is withheld from workers."""
    return bool(_SECRET.search(name)) and not _SETTING.match(name)
