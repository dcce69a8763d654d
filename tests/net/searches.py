"""The six searches, and the runs of schema 2: how their facts are found."""

import json
import shutil
from pathlib import Path
from typing import Any

from tests.net.conditions import discovery, python

HERE = Path(__file__).parent
NAMES = tuple(sorted(path.stem for path in (HERE / "searches").glob("*.toml")))
SCHEMA_2 = HERE / "schema2"


def search(name: str, folder: Path) -> Path:
    """Run one of the searches, below a folder; returns the run's."""
    config = HERE / "searches" / f"{name}.toml"
    done = discovery("search", config, "--name", name, "--output", folder, "--quiet", folder=folder)
    assert done.returncode == 0, done.stderr
    return folder / name


def facts_of(run: Path, what: str = "run") -> Any:
    """The facts of a run ("run"), or those of what `evaluate` trained in it ("reports")."""
    done = python("-m", "tests.net.reading", what, run, folder=run.parent)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def copied(name: str, folder: Path) -> Path:
    """A copy of a run of schema 2, to read and to write."""
    return Path(shutil.copytree(SCHEMA_2 / name, folder / name))
