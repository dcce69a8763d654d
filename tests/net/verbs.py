"""A typical command of every verb, and the facts of what it says and writes.

Facts are exit codes, names, numbers and files: no sentence and no order of words. Commands run one after the
other in one folder, which begins with the runs of schema 2.
"""

import csv
import json
import re
import shlex
import shutil
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any, NamedTuple

from tests.net.conditions import discovery
from tests.net.searches import SCHEMA_2, facts_of

SEARCH, SUITE = SCHEMA_2 / "search.toml", Path(__file__).parent / "suite" / "net.toml"

Said = CompletedProcess[str]


class Verb(NamedTuple):
    """A command line, and what is read of its outcome beside the exit code and the files it writes."""

    command: str
    read: Callable[[Said, Path], Any] = lambda said, folder: None
    files: str = ""


def first_words(said: Said, folder: Path) -> dict[str, bool]:
    """The names that a table begins its rows with, below its header."""
    return dict.fromkeys(re.findall(r"^([\w/+.-]+)  +\S", said.stdout, re.MULTILINE)[1:], True)


def assigned(said: Said, folder: Path) -> dict[str, str]:
    """Numbers with their names, as "clip = 0.2"."""
    return dict(re.findall(r"^ *(\w+) = (\S+)$", said.stdout, re.MULTILINE))


def numbers(said: Said, folder: Path) -> list[str]:
    """All numbers that stand for themselves, in order of size."""
    found = re.findall(r"(?<![\w.,-])-?\d[\d,]*(?:\.\d+)?(?:e-?\d+)?(?![\w-])", said.stdout)
    return sorted({number.rstrip(",") for number in found}, key=lambda text: float(text.replace(",", "")))


def intervals(said: Said, folder: Path) -> list[tuple[str, str, str]]:
    """Estimates with the ends of their intervals, as a table shows them: "-0.3 [-0.4, -0.2]"."""
    number = r"(-?\d[\d.]*)"
    return re.findall(rf"{number} \[{number}, {number}\]", said.stdout)


def preset(said: Said, folder: Path) -> Any:
    """What a preset says, of the parts whose form is to stay."""
    config = tomllib.loads(said.stdout)
    return {name: config[name] for name in ("generations", "algorithm", "seeds", "tasks", "held_out")}


def trainings(said: Said, folder: Path) -> list[str]:
    """The number of trainings that a search would take."""
    return re.findall(r"([\d,]+) trainings", said.stdout)


def rows(said: Said, folder: Path) -> Any:
    """JSON of `list`: what is known of each run, times and folders apart."""
    found = [_timeless(json.loads(line)) for line in said.stdout.splitlines()]
    return sorted(found, key=lambda row: row["run"])


def last_row(said: Said, folder: Path) -> Any:
    """The last line of JSON, the result."""
    return _timeless(json.loads(said.stdout.splitlines()[-1]))


def keys(said: Said, folder: Path) -> list[str]:
    """The names in lines of JSON."""
    return sorted({name for line in said.stdout.splitlines() for name in json.loads(line)})


def run(name: str) -> Callable[[Said, Path], Any]:
    """The facts of a run that the command wrote."""
    return lambda said, folder: facts_of(folder / "runs" / name)


def explained(said: Said, folder: Path) -> Any:
    """What a program is, without the texts that print it and without the digits of distances."""
    facts = json.loads(said.stdout)
    facts["distances"] = list(facts["distances"])
    return {name: value for name, value in facts.items() if name not in ("source", "formula")}


def table(name: str) -> Callable[[Said, Path], Any]:
    """A CSV file's rows."""
    return lambda said, folder: list(csv.reader((folder / name).read_text().splitlines()))


def page(said: Said, folder: Path) -> Any:
    """The numbers of a report: its tables, what was found, the verdict."""
    facts = json.loads((folder / "runs" / "judged" / "report.json").read_text())
    kept = {name: facts[name] for name in ("chosen", "cost", "declines", "tables", "verdict")}
    return _timeless(kept | {"shapes": facts["found"]["shapes"]})


VERBS: dict[str, Verb] = {
    "presets": Verb("presets", first_words),
    "presets-one": Verb("presets quickstart", preset),
    "envs": Verb("envs", first_words),
    "envs-one": Verb("envs CartPole-v1", numbers),
    "envs-picture": Verb("envs grid/small --picture level.png", files="."),
    "objectives": Verb("objectives", first_words),
    "objectives-one": Verb("objectives lpo", assigned),
    "program": Verb("program ppo --slot policy_loss --json", explained),
    "suites": Verb("suites", first_words),
    "suites-one": Verb("suites classic", numbers),
    "doctor": Verb("doctor --json", keys),
    "list": Verb("list --json", rows),
    "show": Verb("show judged", intervals),
    "search-dry": Verb(f"search {SEARCH} --dry-run", trainings),
    "search": Verb(f"search {SEARCH} --name new --json", run("new"), "runs/new"),
    "resume": Verb("resume interrupted --json", run("interrupted"), "runs/interrupted"),
    "repeat": Verb("repeat new --name again --quiet", run("again")),
    "evaluate": Verb("evaluate judged judged@initial ppo --seeds 4 --test --json", last_row),
    "evaluate-csv": Verb("evaluate new a2c --seeds 3 --csv table.csv --quiet", table("table.csv")),
    "report": Verb("report judged", page, "runs/judged"),
    "plot": Verb("plot judged", files="runs/judged/plots"),
    "export": Verb("export judged --to jax --verify", files="runs/judged/exports"),
    "suites-measure": Verb("suites net.toml --measure --seeds 4 --executor inline --quiet", files="."),
    "compare": Verb(
        "compare ppo a2c judged --suite net.toml --seeds 2 --executor inline --json",
        last_row,
        "runs/compare-net",
    ),
    "quickstart": Verb(
        f"quickstart --preset {SEARCH} --seeds 2 --name quick --quiet", intervals, "runs/quick"
    ),
    "resume-longer": Verb("resume judged --generations 3 --quiet", run("judged")),
    "wrong-verb": Verb("serach"),
    "wrong-preset": Verb("search nosuch"),
    "wrong-run": Verb("show nosuch"),
    "wrong-flag": Verb(f"search {SEARCH} --meta.population none"),
    "wrong-format": Verb("export judged --to optax"),
    "held-out": Verb("evaluate judged --tasks 'catch longer'"),
}
"""In the order in which they run."""


def facts(folder: Path) -> Iterator[tuple[str, Any]]:
    """The facts of every command, run one after the other in an empty folder."""
    for name in ("judged", "interrupted"):
        shutil.copytree(SCHEMA_2 / name, folder / "runs" / name)
    shutil.copy(SUITE, folder)
    for name, verb in VERBS.items():
        said = discovery(*shlex.split(verb.command), folder=folder)
        found: dict[str, Any] = {"exit code": said.returncode}
        if said.returncode == 0:
            found["read"] = _read(verb, said, folder)
        else:
            found["lines of error"] = len(said.stderr.splitlines())
        if verb.files:
            found["files"] = _files(folder / verb.files)
        yield name, found


def _read(verb: Verb, said: Said, folder: Path) -> Any:
    """What is read; an error is a fact too, so that the other commands have theirs."""
    try:
        return verb.read(said, folder)
    except Exception as error:
        return f"cannot be read: {error!r}"


def _files(folder: Path) -> list[str]:
    """What a folder holds: not SQLite's own files, nor how many arrays, nor other runs."""
    paths = (path for path in folder.rglob("*") if path.is_file() and path.stat().st_size)
    names = {path.relative_to(folder).as_posix() for path in paths}
    return sorted(
        name for name in names if not re.search(r"-(wal|shm)$|__pycache__|^(lock$|arrays/|runs/)", name)
    )


TIMES = re.compile(
    r"second|time|date|created|closed|recorded|folder|path|worker|version|source|commit|cpu|hash|device"
)


def _timeless(value: Any) -> Any:
    """The same without what differs from one day, or machine, to the next; floats in full."""
    if isinstance(value, dict):
        return {name: _timeless(inner) for name, inner in value.items() if not TIMES.search(name)}
    if isinstance(value, list):
        return [_timeless(inner) for inner in value]
    return value.hex() if isinstance(value, float) else value
