"""jax's CPU thread pool: counted, kept at one thread, refused where it is too late. Real jax here."""

import os
import subprocess
import sys

import pytest

INLINE = "from discovery.executors.inline import Inline; Inline()\n"
COUNT = "from discovery.executors.cpu import cpu_pool_threads; print(cpu_pool_threads())\n"


def python(code, **environment):
    """Run `code` in a process where PJRT_NPROC is not set unless given."""
    inherited = {name: value for name, value in os.environ.items() if name != "PJRT_NPROC"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=inherited | {"PYTHONPATH": os.pathsep.join(sys.path), "JAX_PLATFORMS": "cpu"} | environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    return done.stdout.split(), done.stderr


def test_threads_of_the_pool_are_counted():
    printed, _ = python(COUNT + "import jax; jax.devices()\n" + COUNT, PJRT_NPROC="3")
    assert printed == ["0", "3"]


def test_inline_makes_the_pool_one_thread_wide_even_after_jax_was_imported():
    printed, errors = python("import jax\n" + INLINE + "jax.devices()\n" + COUNT + INLINE, PJRT_NPROC="4")
    assert printed == ["1"] and not errors


@pytest.mark.parametrize("threads", ["1", pytest.param("3", marks=pytest.mark.slow)])
def test_the_public_names_start_jax_with_one_thread_unless_told_otherwise(threads):
    """gymnax and evosax start jax when they are imported."""
    code = "import jax, discovery as d; d.load_run; d.discover; jax.devices()\n" + COUNT
    told = {} if threads == "1" else {"PJRT_NPROC": threads}
    assert python(code + INLINE * (threads == "1"), **told) == ([threads], "")


def test_inline_refuses_a_pool_of_several_threads_and_says_what_to_do():
    _, errors = python("import jax; jax.devices()\n" + INLINE, PJRT_NPROC="2")
    last = errors.strip().splitlines()[-1]
    assert "ExecutorError" in last and "PJRT_NPROC=1" in last


def test_inline_leaves_jax_alone_where_it_was_told_to_use_something_else():
    code = INLINE + "import os; print(os.environ.get('PJRT_NPROC'))"
    assert python(code, JAX_PLATFORMS="cuda,cpu")[0] == ["None"]


@pytest.mark.parametrize("before", ["", "import jax\n"])
def test_where_others_train_this_process_leaves_accelerators_alone(before):
    """jax would not start here otherwise: there is no such platform."""
    code = before + "from discovery.executors import make_executor; make_executor('processes', 1).close()\n"
    printed, errors = python(code + "import jax; print(jax.default_backend())", JAX_PLATFORMS="tpu")
    assert printed == ["cpu"], errors
