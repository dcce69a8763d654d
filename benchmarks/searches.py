"""Searches of benchmarks: kept in a folder, and resumed instead of repeated."""

from pathlib import Path

from discovery.app.api import discover, resume
from discovery.app.loaded import LoadedRun, load_run
from discovery.core.config.search import SearchConfig


def searched(out: Path, name: str, config: SearchConfig) -> LoadedRun:
    """Run a search to its end, or resume it.

    Raises:
        SystemExit: another search has this name.
    """
    if not (out / name).exists():
        return discover(config, out, name)
    run = resume(out / name)
    if run.config != config:
        raise SystemExit(f"{out / name} is another search; remove it, or choose another --out")
    return load_run(out / name)
