"""Finding runs by name, and saying where one stands. Opens ledgers for reading only."""

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
"""Where runs are, unless said otherwise."""


def find_run(name: str, output: Path = OUTPUT) -> Path:
    """The folder of the run called `name`: a path, or the name of a folder below `output`.

    Raises:
        BadInput: there is none, with the nearest names.
    """
    for folder in (Path(name), output / name):
        if is_run(folder):
            return folder
    if Path(name).exists():
        raise BadInput(
            f"{name} is not a run: it holds no {CONFIG}; `discovery list` shows the runs there are"
        )
    base, at, _ = name.rpartition("@")
    if at and any(is_run(folder) for folder in (Path(base), output / base)):
        raise BadInput(f"a whole run is wanted here, got {name!r}; leave out what is behind its name: {base}")
    names = [folder.name for folder in run_folders(output)]
    if not names:
        raise BadInput(f"there is no run {name!r}, and none in {output}; `discovery search` begins one")
    error = unknown("run", Path(name).name, names[-20:])
    raise BadInput(f"{error} (in {output}; `discovery list` shows all)")


def run_folders(output: Path) -> list[Path]:
    """The runs in a folder, oldest first."""
    try:
        folders = [path for path in output.iterdir() if is_run(path)]
        return sorted(folders, key=lambda path: ((path / CONFIG).stat().st_mtime, path.name))
    except OSError:
        return []


def is_running(folder: Path) -> bool:
    """Whether a process has the run open for writing."""
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
class Standing:
    """Where a run stands.

    Attributes:
        folder: the run's.
        state: "done", "running", "interrupted", or "unreadable".
        closed: how many generations are closed.
        config: its config, None if unreadable.
        meta: what its ledger says of it.
        chosen: the generation a search would answer with now, None before any was evaluated.
        scores: selection scores of that one by task, each ``[S]``.
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


def standing(folder: Path) -> Standing:
    """Where a run stands; a run that cannot be read says so in `trouble`."""
    from discovery.store.run import Run

    running = is_running(folder)
    try:
        with Run.open(folder) as run:
            return standing_of(run, running)
    except DiscoveryError as error:
        return Standing(folder, "unreadable", 0, None, {}, None, {}, str(error))


def standing_of(run: "Run", running: bool = False) -> Standing:
    """Where an open run stands."""
    from discovery.search.selection import choose, contest, selection_scores

    scores = selection_scores(run)
    last = run.ledger.last_generation()
    closed = 0 if last is None else last + 1
    chosen = choose(run) if scores else None
    whole = closed >= run.config.generations and run.config.generations in scores
    done = whole and not contest(run).further
    return Standing(
        run.folder,
        "running" if running else "done" if done else "interrupted",
        closed,
        run.config,
        run.ledger.meta,
        None if chosen is None else chosen.generation,
        {} if chosen is None else in_order(run.config, chosen.scores),
    )


def in_order(config: SearchConfig, scores: Mapping[str, Any]) -> dict[str, Any]:
    """Scores by task, the tasks in the config's order."""
    return {task.name: np.asarray(scores[task.name]) for task in config.seen if task.name in scores}


def algorithm_text(config: SearchConfig) -> str:
    """For example "lpo(width=16)"."""
    options = ", ".join(f"{name}={value}" for name, value in sorted(config.algorithm_options.items()))
    return f"{config.algorithm}({options})" if options else config.algorithm
