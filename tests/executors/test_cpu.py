"""jax's CPU thread pool and the settings that numbers depend on. Real jax here."""

import os
import subprocess
import sys

import jax
import pytest

from discovery.executors.environment import NUMERICS

INLINE = "from discovery.executors.inline import Inline; Inline()\n"
COUNT = "from discovery.executors.cpu import cpu_pool_threads; print(cpu_pool_threads())\n"
START = "import jax; jax.devices()\n"
PUBLIC = "import jax, discovery as d; d.load_run; d.discover\n" + START
OTHERS = "from discovery.executors import make_executor; make_executor('processes', 1).close()\n"
BACKEND = "import jax; print(jax.default_backend())\n"
DRAW = """
from discovery.executors.cpu import fix_numerics
fix_numerics()
import jax
print(jax.random.normal(jax.random.key(0), (3,)).tolist(), jax.config.jax_debug_nans)
"""


def python(code, **environment):
    """What `code` prints in a process that has only the given settings of jax's; its errors."""
    unset = {*NUMERICS, "PJRT_NPROC"}
    inherited = {name: value for name, value in os.environ.items() if name not in unset}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=inherited | {"PYTHONPATH": os.pathsep.join(sys.path), "JAX_PLATFORMS": "cpu"} | environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    return done.stdout.split(), done.stderr


@pytest.mark.parametrize(
    ("code", "wished", "printed"),
    [
        ("import jax\n" + INLINE + START + COUNT + INLINE, "4", ["1"]),
        # gymnax and evosax start jax when they are imported
        (PUBLIC + COUNT + INLINE, None, ["1"]),
        pytest.param(PUBLIC + COUNT, "3", ["3"], marks=pytest.mark.slow),
    ],
)
def test_the_pool_has_one_thread_unless_another_number_is_wished(code, wished, printed):
    assert python(code, **{"PJRT_NPROC": wished} if wished else {}) == (printed, "")


def test_inline_refuses_a_pool_of_several_threads_and_says_what_to_do():
    counted, errors = python(COUNT + START + COUNT + INLINE, PJRT_NPROC="3")
    last = errors.strip().splitlines()[-1]
    assert counted == ["0", "3"] and "ExecutorError" in last and "PJRT_NPROC=1" in last


@pytest.mark.parametrize(
    ("code", "platforms", "printed"),
    [
        (INLINE + "import os; print(os.environ.get('PJRT_NPROC'))", "cuda,cpu", "None"),
        # where others train, this process needs no accelerator: jax would not start on this platform
        pytest.param(OTHERS + BACKEND, "tpu", "cpu", marks=pytest.mark.slow),
        ("import jax\n" + OTHERS + BACKEND, "tpu", "cpu"),
    ],
)
def test_other_platforms_are_left_to_who_trains(code, platforms, printed):
    found, errors = python(code, JAX_PLATFORMS=platforms)
    assert found == [printed], errors


def test_settings_change_no_number_and_64_bits_are_refused():
    drawn, errors = python(
        DRAW, JAX_DEFAULT_PRNG_IMPL="rbg", JAX_THREEFRY_PARTITIONABLE="0", JAX_DEBUG_NANS="1"
    )
    usual = jax.random.normal(jax.random.key(0), (3,)).tolist()  # nothing is set in this process
    assert drawn == [*str(usual).split(), "False"], errors
    printed, errors = python(DRAW, JAX_ENABLE_X64="1")
    assert not printed and "BadInput" in errors and "JAX_ENABLE_X64" in errors
