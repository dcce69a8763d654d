"""The fixed conditions under which the net's numbers are recorded and compared; imports no jax.

Compiled programs round by the CPU's instructions, by the version of jax and by XLA's flags. The flags are
fixed here, also the instruction set, so that CPUs differ as little as they can. Where jax's version or the
kind of CPU is not the recorded one, bits are not compared.
"""

import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).parents[2]

XLA_FLAGS = (
    "--xla_cpu_max_isa=AVX2 --xla_backend_optimization_level=0 --xla_cpu_use_fusion_emitters=false"
    " --xla_cpu_parallel_codegen_split_count=1"
)
"""AVX2 alone. Level 0 compiles four times as fast, and no vectorizer sums in an order of its own."""


def environment(**more: str) -> dict[str, str]:
    """Variables of a process of the net: what tests and users set for jax is left out."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("JAX_", "XLA_"))}
    fixed = {
        "PYTHONPATH": str(ROOT),
        "PJRT_NPROC": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "JAX_PLATFORMS": "cpu",
        "MPLBACKEND": "Agg",
        "XLA_FLAGS": XLA_FLAGS,
        "COLUMNS": "200",
        "NO_COLOR": "1",
    }
    return kept | fixed | more


def python(*arguments: object, folder: Path, **more: str) -> subprocess.CompletedProcess[str]:
    """Run Python under the fixed conditions, in a folder."""
    command = [sys.executable, *map(str, arguments)]
    return subprocess.run(
        command, cwd=folder, env=environment(**more), capture_output=True, text=True, timeout=600
    )


def discovery(*arguments: object, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a verb of the command line in a folder."""
    return python("-m", "discovery", *arguments, folder=folder)


def conditions() -> dict[str, str]:
    """What bits depend on."""
    return {"cpu": _cpu(), "jax": metadata.version("jax"), "xla_flags": XLA_FLAGS}


def _cpu() -> str:
    """The kind of the first core, as Linux tells it."""
    file, said = Path("/proc/cpuinfo"), {}
    for line in reversed(file.read_text().splitlines() if file.exists() else []):
        name, _, value = line.partition(":")
        said[name.strip()] = value.strip()
    names = ("vendor_id", "cpu family", "model")
    return " ".join([os.uname().machine, *(said.get(name, "?") for name in names)])
