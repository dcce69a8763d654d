"""``discovery doctor``: checks of this installation."""

import importlib.util
import json
import os
import platform
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import metadata
from multiprocessing.connection import wait
from pathlib import Path

from discovery.app.commands.findings import READY_SECONDS, Finding
from discovery.app.commands.folders import OUTPUT
from discovery.app.commands.parsing import parse
from discovery.core.errors import BadInput
from discovery.core.versions import HOME, PACKAGES

PROG = "discovery doctor"

DESCRIPTION = """Check this installation: versions, devices, cores, the threads of jax's CPU backend, whether
a worker starts, and whether other packages hide ours.

The exit code is 1 if something is wrong.
"""

DISTRIBUTION = "rl-discovery"
EXTRAS = (
    "ray",
    "openai",
    "torch",
    "brax",
    "craftax",
    "jumanji",
    "navix",
    "pgx",
    "xminigrid",
    "rejax",
    "marimo",
)


@dataclass(frozen=True)
class Doctor:
    """Arguments of `discovery doctor`."""

    output: Path = OUTPUT
    """Folder of the runs, where a test file is written."""
    ray: bool = False
    """Check Ray instead: whether it starts, what the cluster has, and a worker on each of its cores."""
    address: str = ""
    """With --ray: address of a cluster, "host:port" or "auto"; "" starts Ray on this machine."""
    json: bool = False
    """Print one JSON object per line, for programs: what, found and verdict ("ok", "hint" or "wrong")."""


def main(argv: Sequence[str]) -> int:
    """Run the verb."""
    args = parse(Doctor, argv, PROG, DESCRIPTION)
    hints = wrong = 0
    if args.address and not args.ray:
        raise BadInput(f"--address {args.address!r} needs --ray")
    if args.ray:
        from discovery.app.commands.doctor_ray import ray_found

        found = ray_found(args.address)
    else:
        found = findings(args.output)
    for finding in found:
        mark = {"ok": "  ", "hint": "? ", "wrong": "! "}[finding.verdict]
        text = f"{mark}{finding.what:<13} {finding.found}"
        print(json.dumps(finding._asdict()) if args.json else text, flush=True)
        hints += finding.verdict == "hint"
        wrong += finding.verdict == "wrong"
    if not args.json:
        print(f"\n{_conclusion(hints, wrong)}")
    return 1 if wrong else 0


def _conclusion(hints: int, wrong: int) -> str:
    if wrong:
        return f"{wrong} problem{'s' * (wrong > 1)}, marked with '!'."
    return "No problems; see the hints, marked with '?'." if hints else "No problems."


def findings(output: Path) -> Iterator[Finding]:
    """All checks, quick ones first."""
    yield Finding("python", f"{platform.python_version()} at {sys.executable}, {platform.platform()}")
    yield from packages()
    yield from requirements()
    yield extras()
    yield cores_found()
    yield folder(output)
    yield from jax_found()
    yield worker()


def packages() -> Iterator[Finding]:
    """Whether each of our packages is the one that Python imports: their names are common."""
    home = HOME
    for name in PACKAGES:
        spec = importlib.util.find_spec(name)
        places = [] if spec is None else list(spec.submodule_search_locations or [spec.origin or "?"])
        if not places:
            yield Finding(name, f"cannot be imported; reinstall {DISTRIBUTION}", "wrong")
        elif Path(places[0]).resolve() != home / name:
            yield Finding(name, f"comes from {places[0]}, not from {home}: {_remedy(name)}", "wrong")
        elif getattr(importlib.import_module(name), "__distribution__", None) != DISTRIBUTION:
            yield Finding(name, f"{places[0]} is another package: {_remedy(name)}", "wrong")
        elif others := _shadowed(name, home):
            yield Finding(name, f"{home / name}, which hides {', '.join(others)}", "hint")
        else:
            yield Finding(name, str(home / name))


def _remedy(name: str) -> str:
    owners = set(metadata.packages_distributions().get(name, [])) - {DISTRIBUTION}
    whose = f"it belongs to {', '.join(sorted(owners))}; " if owners else ""
    return f"{whose}install {DISTRIBUTION} into a separate environment"


def _shadowed(name: str, home: Path) -> list[str]:
    """Packages of the same name elsewhere on the import path."""
    places = {Path(entry or ".").resolve() / name for entry in sys.path} - {home / name}
    return sorted(str(place) for place in places if (place / "__init__.py").is_file())


def requirements() -> Iterator[Finding]:
    """Installed versions against required ones."""
    from packaging.requirements import Requirement

    try:
        wanted = [Requirement(text) for text in metadata.requires(DISTRIBUTION) or []]
    except metadata.PackageNotFoundError:
        yield Finding(DISTRIBUTION, "is imported but not installed; run `pip install -e .`", "hint")
        return
    fine = [f"{DISTRIBUTION} {metadata.version(DISTRIBUTION)}"]
    for need in wanted:
        if need.marker and not need.marker.evaluate({"extra": ""}):
            continue
        try:
            version = metadata.version(need.name)
        except metadata.PackageNotFoundError:
            yield Finding(need.name, f"is missing; {need} is required", "wrong")
            continue
        if need.specifier.contains(version, prereleases=True):
            fine.append(f"{need.name} {version}")
        else:
            yield Finding(need.name, f"{version} is installed; {need} is required", "wrong")
    yield Finding("versions", ", ".join(fine))


def extras() -> Finding:
    """Optional libraries."""
    there = {name for name in EXTRAS if importlib.util.find_spec(name)}
    missing = [name for name in EXTRAS if name not in there]
    texts = [f"{name} {metadata.version(name)}" for name in EXTRAS if name in there]
    return Finding(
        "optional", "; ".join(texts + ([f"not installed: {', '.join(missing)}"] if missing else []))
    )


def cores_found() -> Finding:
    """Usable cores, and memory."""
    from discovery.core.versions import cpu
    from discovery.executors.cpu import cores

    usable, there = cores(), os.cpu_count() or 1
    text = f"{usable} usable" + (f" of {there}" if there != usable else "") + f", {cpu()}"
    memory = _memory()
    short = memory is not None and memory < usable * 1.0
    text += "" if memory is None else f", {memory:.1f} GiB of memory available"
    if short:
        text += "; a worker takes about 1 GiB: use fewer with --workers"
    return Finding("cores", text, "hint" if short else "ok")


def _memory() -> float | None:
    """Available memory in GiB, if the system reports it."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable")) / 2**20
    except (OSError, StopIteration, ValueError):
        return None


def folder(output: Path) -> Finding:
    """Whether runs can be created: writes a temporary file where the first new folder would be."""
    place = output.absolute()
    try:
        while not place.exists():
            place = place.parent
        with tempfile.NamedTemporaryFile(dir=place):
            free = shutil.disk_usage(place).free / 2**30
    except OSError as error:
        return Finding("runs", f"{place} cannot be written: {error.strerror}; use --output", "wrong")
    if free < 1:
        return Finding("runs", f"{output} ({free:.1f} GiB free: make room, or use --output)", "hint")
    return Finding("runs", f"{output} ({free:.1f} GiB free)")


def jax_found() -> Iterator[Finding]:
    """Devices, and the threads of jax's CPU backend in our processes."""
    given = os.environ.get("PJRT_NPROC")
    from discovery.executors.cpu import cpu_pool_threads, ensure_single_thread

    try:
        ensure_single_thread()
        import jax
        import jax.numpy as jnp

        devices = jax.devices()
        total = float(jnp.arange(1000.0).sum())
    except Exception as error:  # plugins raise anything
        text = " ".join(str(error).split())[:300]
        yield Finding("devices", f"jax cannot compute: {text}; see JAX_PLATFORMS", "wrong")
        return
    kinds = ", ".join(f"{device.platform}:{device.id} {device.device_kind}" for device in devices)
    idle = jax.default_backend() == "cpu" and shutil.which("nvidia-smi")
    hint = "; this jax cannot use the NVIDIA GPU: run `pip install 'jax[cuda12]'`" if idle else ""
    yield Finding("devices", kinds + hint, "hint" if hint else "ok" if total == 499500.0 else "wrong")
    if jax.default_backend() != "cpu":
        text = "worker processes run on the CPU; use --executor inline, or ray with --gpu-workers"
        yield Finding("executor", text, "hint")
        return
    threads = cpu_pool_threads()
    text = f"{'unknown' if threads is None else threads} with PJRT_NPROC=1, which the command line sets"
    if given not in (None, "1"):
        yield Finding("XLA threads", f"{text}; PJRT_NPROC={given} in your environment is overridden", "hint")
    elif threads is not None and threads > 1:
        yield Finding(
            "XLA threads", f"{threads} although PJRT_NPROC=1: trainings in this process can hang", "wrong"
        )
    else:
        yield Finding("XLA threads", text)


def worker() -> Finding:
    """Whether a worker process starts."""
    from discovery.executors.call import RUN_CHUNK
    from discovery.executors.spawn import WorkerProcess
    from discovery.executors.worker import READY

    began = time.monotonic()
    process = WorkerProcess("doctor", RUN_CHUNK)
    try:
        heard = wait([process.connection], READY_SECONDS)
        if heard and process.connection.recv() == READY:
            return Finding("worker", f"ready after {time.monotonic() - began:.1f} s")
        return Finding("worker", f"not ready after {READY_SECONDS:g} s: {process.last_lines(1)}", "wrong")
    except (EOFError, OSError):
        return Finding("worker", f"{process.exit_report()}: {' '.join(process.last_lines(3))}", "wrong")
    finally:
        process.kill()
