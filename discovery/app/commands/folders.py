"""Find runs by name, and report their progress. Ledgers are opened for reading only."""

import fcntl
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from discovery.core.config.search import SearchConfig
from discovery.core.errors import BadInput, DiscoveryError, unknown
from discovery.core.toml import CONFIG, is_run

if TYPE_CHECKING:
    from discovery.store.run import Run

OUTPUT = Path("runs")
"""Default folder of runs."""


def find_run(name: str, output: Path = OUTPUT) -> Path:
    """The folder of the run `name`: a path, or the name of a folder in `output`.

    Raises:
        BadInput: there is no such run; the message has the nearest names.
    """
    for folder in (Path(name), output / name):
        if is_run(folder):
            return folder
    if Path(name).exists():
        raise BadInput(f"{name} is not a run, since it has no {CONFIG}; `discovery list` lists the runs")
    base, at, _ = name.rpartition("@")
    if at and any(is_run(folder) for folder in (Path(base), output / base)):
        raise BadInput(f"expected a whole run, got {name!r}; use {base!r}")
    names = [folder.name for folder in run_folders(output)]
    if not names:
        raise BadInput(f"there is no run {name!r}, and {output} has no runs; `discovery search` starts one")
    error = unknown("run", Path(name).name, names[-20:])
    raise BadInput(f"{error} (in {output}; `discovery list` lists all)")


def run_folders(output: Path) -> list[Path]:
    """The runs in a folder, oldest first."""
    try:
        folders = [path for path in output.iterdir() if is_run(path)]
        return sorted(folders, key=lambda path: ((path / CONFIG).stat().st_mtime, path.name))
    except OSError:
        return []


def is_running(folder: Path) -> bool:
    """Whether a process is writing to the run."""
    try:
        descriptor = os.open(folder / "lock", os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False


@dataclass(frozen=True)
class Status:
    """The progress of a run.

    Attributes:
        folder: of the run.
        state: "done", "running", "interrupted", or "unreadable".
        closed: number of closed generations.
        config: its config; None if unreadable.
        meta: the entries of its ledger's table `meta`.
        chosen: the generation that the search would choose now; None before any mean is evaluated.
        scores: selection scores of that generation by task, each ``[S]``.
        trouble: why it is unreadable.
    """

    folder: Path
    state: str
    closed: int
    config: SearchConfig | None
    meta: dict[str, str]
    chosen: int | None
    scores: dict[str, Any]
    trouble: str = ""


def status(folder: Path) -> Status:
    """The progress of a run; `trouble` says why a run cannot be read."""
    from discovery.store.run import Run

    running = is_running(folder)
    try:
        with Run.open(folder) as run:
            return status_of(run, running)
    except DiscoveryError as error:
        return Status(folder, "unreadable", 0, None, {}, None, {}, str(error))


def status_of(run: "Run", running: bool = False) -> Status:
    """The progress of an open run."""
    from discovery.search.selection import choose, is_settled, selection_scores

    scores = selection_scores(run)
    last = run.ledger.last_generation()
    closed = 0 if last is None else last + 1
    chosen = choose(run) if scores else None
    return Status(
        run.folder,
        "running" if running else "done" if is_settled(run) else "interrupted",
        closed,
        run.config,
        run.ledger.meta,
        None if chosen is None else chosen.generation,
        {} if chosen is None else in_order(run.config, chosen.scores),
    )


def in_order(config: SearchConfig, scores: Mapping[str, Any]) -> dict[str, Any]:
    """Scores by task, in the config's order of tasks."""
    return {task.name: np.asarray(scores[task.name]) for task in config.seen if task.name in scores}


def algorithm_text(config: SearchConfig) -> str:
    """For example "lpo(width=16)"."""
    options = ", ".join(f"{name}={value}" for name, value in sorted(config.algorithm_options.items()))
    return f"{config.algorithm}({options})" if options else config.algorithm
