"""jax's settings that numbers depend on: fixed here and in workers, whatever the environment says."""

import os
import subprocess
import sys

from discovery.executors.environment import NUMERICS, worker_environment

DRAW = """
from discovery.executors.cpu import fix_numerics
fix_numerics()
import jax
print(jax.random.normal(jax.random.key(0), (3,)).tolist(), jax.config.jax_debug_nans)
"""


def said(code: str, **settings: str) -> subprocess.CompletedProcess:
    environment = {name: value for name, value in os.environ.items() if name not in NUMERICS} | settings
    return subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)


def test_settings_change_no_number():
    usual = said(DRAW)
    other = said(DRAW, JAX_DEFAULT_PRNG_IMPL="rbg", JAX_THREEFRY_PARTITIONABLE="0", JAX_DEBUG_NANS="1")
    assert usual.returncode == other.returncode == 0, other.stderr
    assert usual.stdout == other.stdout and usual.stdout.endswith("False\n")


def test_64_bits_are_refused_by_the_name_of_the_variable():
    refused = said(DRAW, JAX_ENABLE_X64="1")
    assert refused.returncode != 0 and "BadInput" in refused.stderr and "JAX_ENABLE_X64" in refused.stderr


def test_workers_have_the_numerics_of_the_search():
    given = {"JAX_DEFAULT_PRNG_IMPL": "rbg", "JAX_ENABLE_X64": "1"}
    assert NUMERICS.items() <= worker_environment(given).items()
