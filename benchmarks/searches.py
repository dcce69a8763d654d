"""Searches that benchmarks judge: kept in a folder, and gone on with, not searched again."""

from pathlib import Path

from discovery.app.api import discover, resume
from discovery.app.loaded import LoadedRun, load_run
from discovery.core.config.search import SearchConfig


def searched(out: Path, name: str, config: SearchConfig) -> LoadedRun:
    """The run of a search, from where it stands to its end.

    Raises:
        SystemExit: there is another search of that name.
    """
    if not (out / name).exists():
        return discover(config, out, name)
    run = resume(out / name)
    if run.config != config:
        raise SystemExit(f"{out / name} is another search; remove it, or choose another --out")
    return load_run(out / name)
