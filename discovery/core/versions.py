"""What a run's numbers depend on besides its config: versions, platform, kind of CPU and source.

Nothing here names the machine.
"""

import functools
import hashlib
import platform
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from importlib import metadata
from pathlib import Path

HOME = Path(__file__).parents[2]
PACKAGES = ("discovery", "objectives", "environments", "llm_prompts")
LIBRARIES = ("jax", "jaxlib", "numpy", "flax", "optax", "evosax", "gymnax")
CPUINFO = Path("/proc/cpuinfo")
VENDORS = {"AuthenticAMD": "AMD", "GenuineIntel": "Intel"}
VECTORS = ("avx512f", "avx2", "avx", "sve2", "sve", "asimd")
"""CPU flags for the width of vectors, the best first."""


def versions() -> dict[str, str]:
    """Versions, platform, kind of CPU, commit and a hash of the source, by name."""
    found = {"python": platform.python_version(), "platform": f"{platform.system()} {platform.machine()}"}
    found["cpu"] = cpu()
    for name in ("rl-discovery", *LIBRARIES):
        with suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found | {"commit": commit(), "source": source_hash()}


def changes(recorded: Mapping[str, str]) -> list[str]:
    """What differs now from what a run recorded, except the commit, each as "name was X, is Y"."""
    now = versions()
    names = [name for name in now if name != "commit" and name in recorded]
    return [f"{name} was {recorded[name]}, is {now[name]}" for name in names if recorded[name] != now[name]]


def commit() -> str:
    """The commit of this source tree, with "+" if it has changed since; "" outside a checkout."""
    try:
        said = subprocess.run(
            ["git", "describe", "--always", "--abbrev=12", "--dirty=+"],
            cwd=HOME / "discovery", capture_output=True, text=True, timeout=10, check=True,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return ""
    return said.stdout.strip()


@functools.cache
def cpu() -> str:
    """The kind of CPU, for example "AMD family 25 model 1, avx2".

    Compilers choose instructions, and so the order of sums, by it: CPUs of different kinds round differently.
    """
    try:
        text = CPUINFO.read_text()
    except OSError:
        return platform.processor() or platform.machine()
    fields = (line.partition(":") for line in reversed(text.splitlines()))
    said = {name.strip(): value.strip() for name, _, value in fields}  # of the first core
    if "vendor_id" in said:
        vendor = VENDORS.get(said["vendor_id"], said["vendor_id"])
        kind = f"{vendor} family {said.get('cpu family', '?')} model {said.get('model', '?')}"
    elif "CPU implementer" in said:
        kind = f"ARM implementer {said['CPU implementer']} part {said.get('CPU part', '?')}"
    else:
        kind = platform.machine()
    flags = (said.get("flags") or said.get("Features") or "").split()
    return ", ".join([kind, *[vector for vector in VECTORS if vector in flags][:1]])


@functools.cache
def source_hash() -> str:
    """Twelve hex digits that identify this source, committed or not; computed once per process."""
    content = hashlib.sha256()
    for package in PACKAGES:
        for path in sorted((HOME / package).rglob("*.py")):
            content.update(f"{path.relative_to(HOME).as_posix()}\0".encode() + path.read_bytes())
    return content.hexdigest()[:12]
