"""Suites: named sets of tasks in three splits, with the scores of random actions and tuned PPO on each.

    suite = load_suite("classic")
    for entry in suite.test:
        normalized = entry.normalized(score)    # 0 for random actions, 1 for tuned PPO

A suite is ``environments/suites/NAME.toml``, or any file in the same form as a search's tasks: tables
``[[train]]``, ``[[selection]]`` and ``[[test]]``, and ``[recipe]`` with what they all share. By default, a
task has the environment of the same name. `discovery suites NAME --measure` writes NAME.references.toml next
to it. A suite is not loaded without measured references.
"""

import hashlib
import json
import math
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import tomli_w
from jaxtyping import Float

from discovery.core.errors import BadInput, RunError, unknown
from discovery.core.files import write_whole
from discovery.core.plain import build, recipe
from environments.task import Task

SPLITS = ("train", "selection", "test")
"""Meta-train tasks, tasks for selection, and held-out tasks."""

REFERENCES = ".references.toml"
FIRST_SEED = 10_000
"""Index of the first seed that references are measured on. Comparisons count from 0, so they share no
seeds."""

SMALL = "-small"
"""Suffix of the name of a suite's variant with budgets for a CPU."""


@dataclass(frozen=True)
class Reference:
    """A mean score over `seeds` trainings, with its 95% interval; `seeds` is 0 if nothing was measured."""

    mean: float
    low: float
    high: float
    seeds: int

    @property
    def sound(self) -> bool:
        """Whether the mean is inside its interval, and the number of seeds is valid."""
        limits = self.low, self.mean, self.high
        return self.seeds >= 2 and all(map(math.isfinite, limits)) and self.low <= self.mean <= self.high


NOT_MEASURED = Reference(math.nan, math.nan, math.nan, 0)


@dataclass(frozen=True)
class SuiteTask:
    """A task, and the reference scores that normalize its scores."""

    task: Task
    random: Reference = NOT_MEASURED
    ppo: Reference = NOT_MEASURED

    def normalized(self, scores: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
        """(score - random) / (ppo - random): 0 for uniformly random actions, 1 for tuned PPO."""
        return (scores - self.random.mean) / (self.ppo.mean - self.random.mean)


@dataclass(frozen=True)
class Suite:
    """Tasks in three splits. `path` is their file."""

    name: str
    summary: str
    train: tuple[SuiteTask, ...]
    selection: tuple[SuiteTask, ...]
    test: tuple[SuiteTask, ...]
    path: Path = Path()

    def splits(self) -> Iterator[tuple[str, SuiteTask]]:
        """Every task with the name of its split, in order."""
        for split in SPLITS:
            yield from ((split, entry) for entry in getattr(self, split))

    @property
    def tasks(self) -> tuple[Task, ...]:
        """All tasks, in order."""
        return tuple(entry.task for _, entry in self.splits())


def suite_names() -> tuple[str, ...]:
    """Names of the suites that are shipped with the package."""
    paths = _folder().glob("*.toml")
    return tuple(sorted(path.stem for path in paths if not path.name.endswith(REFERENCES)))


def load_suite(name: str | Path, measured: bool = True) -> Suite:
    """A suite by name, or from a TOML file.

    Args:
        name: one of `suite_names`, or a path.
        measured: refuse a suite whose references are missing or were measured with other recipes. If false,
            such references are `NOT_MEASURED`.

    Raises:
        BadInput: there is no such suite; its file is wrong; a task is in two splits; references are missing,
            were measured with another recipe, or leave PPO within the interval of random actions.
    """
    path = _path(str(name))
    try:
        suite = _read(path, path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"suite file {path} cannot be read: {error}") from error
    except tomllib.TOMLDecodeError as error:
        raise BadInput(f"suite file {path} is no valid TOML: {error}") from error
    except ValueError as error:
        raise BadInput(f"suite {path.stem}: {error}") from error
    _check_splits(suite)
    suite, lacking = _with_references(suite)
    if measured and lacking:
        raise _not_measured(suite, str(name), lacking)
    if measured:
        _check_references(suite)
    return suite


def fingerprint(task: Task) -> str:
    """Twelve hex digits of what a task's references depend on, except versions.

    These are its name (seeds derive from it), setup, budget, score and PPO's numbers, defaults included.
    """
    from objectives import build as build_algorithm

    defaults = dict(build_algorithm("ppo").defaults)
    data = recipe(replace(task, numbers={**defaults, **task.numbers}, reference=None, shortest_life=1.0))
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()[:12]


def save_reference(
    suite: Suite, task: Task, random: Reference, ppo: Reference, about: Mapping[str, Any]
) -> None:
    """Write what was measured on a task next to the suite's file; entries of other tasks are kept.

    Raises:
        RunError: the file cannot be written.
    """
    path = _references_path(suite.path)
    known = _recorded(path) | {
        task.name: {
            "score": task.score,
            "fingerprint": fingerprint(task),
            **about,
            "random": asdict(random),
            "ppo": {"algorithm": "ppo", **asdict(ppo)},
        }
    }
    names = [each.name for each in suite.tasks]  # tasks no longer in the suite are left out
    ordered = {name: known[name] for name in names if name in known}
    head = f"# Measured: `discovery suites {suite.name} --measure` writes this file. Do not edit.\n\n"
    try:
        write_whole(path, head + tomli_w.dumps(ordered))
    except OSError as error:
        raise RunError(
            f"{path} cannot be written: {error.strerror}; what was measured is recorded"
        ) from error


def record_of(suite: Suite, task: str) -> Mapping[str, Any]:
    """A task's entry in the references file: score, fingerprint, command, date, versions, references."""
    return _recorded(_references_path(suite.path)).get(task, {})


def _folder() -> Path:
    return Path(str(files("environments") / "suites"))


def _path(name: str) -> Path:
    if name in suite_names():
        return _folder() / f"{name}.toml"
    path = Path(name)
    if path.is_file() and not name.endswith(REFERENCES):
        return path
    if path.suffix == ".toml" or "/" in name:
        what = "holds references, not tasks" if path.is_file() else "does not exist"
        raise BadInput(f"suite file {name} {what}; `discovery suites` lists the suites")
    raise unknown("suite", name, suite_names())


def _read(path: Path, text: str) -> Suite:
    first = text.partition("\n")[0]
    summary = first.lstrip("# ") if first.startswith("#") else ""
    data = tomllib.loads(text)
    for name in data:
        if name not in ("recipe", *SPLITS):
            raise unknown("setting", name, ("recipe", *SPLITS))
    recipe = data.get("recipe", {})
    if not isinstance(recipe, Mapping):
        raise BadInput(f"recipe must be a table, got {recipe!r}")
    splits = {split: tuple(_tasks(recipe, data.get(split, []), split)) for split in SPLITS}
    return Suite(path.stem, summary, **splits, path=path)


def _tasks(recipe: Mapping[str, Any], tables: Any, split: str) -> Iterator[SuiteTask]:
    """The tasks of a split, each merged with the settings that its suite shares."""
    if not isinstance(tables, list):
        raise BadInput(f"{split} must be a list of tables, [[{split}]], got {tables!r}")
    for i, own in enumerate(tables):
        where = f"{split}[{i}]"
        if not isinstance(own, Mapping) or "name" not in own:
            raise BadInput(f"{where} must be a table with a name, which seeds derive from; got {own!r}")
        environment = {"setup": {"environment": own["name"]}}
        yield SuiteTask(build(Task, _merged(_merged(environment, recipe), own), where))


def _merged(shared: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """`own` over `shared`, tables within tables likewise."""
    tables = {
        name: _merged(shared[name], value)
        for name, value in own.items()
        if isinstance(value, Mapping) and isinstance(shared.get(name), Mapping)
    }
    return {**shared, **own, **tables}


def _check_splits(suite: Suite) -> None:
    if not suite.tasks:
        raise BadInput(f"suite {suite.name} has no tasks; give it [[train]], [[selection]] and [[test]]")
    seen: list[tuple[str, Task]] = []
    for split, entry in suite.splits():
        for other, task in seen:
            if task.name == entry.task.name:
                raise BadInput(f"suite {suite.name} has two tasks {task.name!r}, in {other} and in {split}")
            if replace(task, name=entry.task.name) == entry.task:
                raise BadInput(
                    f"suite {suite.name} has one task under two names, {task.name!r} in {other} "
                    f"and {entry.task.name!r} in {split}"
                )
        seen.append((split, entry.task))


def _references_path(path: Path) -> Path:
    return path.with_name(f"{path.stem}{REFERENCES}")


def _recorded(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BadInput(
            f"references {path} cannot be read: {error}; delete the file and measure again"
        ) from error


def _with_references(suite: Suite) -> tuple[Suite, dict[str, str]]:
    """The suite with its measured references, and task -> what it lacks."""
    recorded = _recorded(_references_path(suite.path))
    lacking: dict[str, str] = {}

    def referred(entry: SuiteTask) -> SuiteTask:
        task, found = entry.task, recorded.get(entry.task.name, {})
        missing = [name for name in ("random", "ppo") if name not in found]
        if not missing and not found.get("command"):
            missing = ["command that measured them"]
        if missing:
            lacking[task.name] = f"no {' and no '.join(missing)}"
            return entry
        if found.get("fingerprint") != fingerprint(task):
            lacking[task.name] = "the recipe has changed since"
            return entry
        ppo = {name: value for name, value in found["ppo"].items() if name != "algorithm"}
        where = f"references of {task.name}"
        measured = SuiteTask(task, build(Reference, found["random"], where), build(Reference, ppo, where))
        if not (measured.random.sound and measured.ppo.sound):
            lacking[task.name] = "no mean with an interval from 2 seeds or more"
            return entry
        return measured

    splits = {split: tuple(referred(entry) for entry in getattr(suite, split)) for split in SPLITS}
    return replace(suite, **splits), lacking


def _not_measured(suite: Suite, name: str, lacking: Mapping[str, str]) -> BadInput:
    """What each task lacks, the command that measures it, and the smaller variant if there is one."""
    alike: dict[str, list[str]] = {}
    for task, what in lacking.items():
        alike.setdefault(what, []).append(task)
    told = "; ".join(f"{', '.join(tasks)}: {what}" for what, tasks in alike.items())
    command = measure_command(name, () if len(lacking) == len(suite.tasks) else tuple(lacking))
    small = f"{name}{SMALL}"
    hint = f"; {small} is its variant for a CPU" if small in suite_names() else ""
    return BadInput(
        f"suite {name} lacks references to normalize with ({told}); {command} measures them{hint}"
    )


def measure_command(name: str, tasks: Sequence[str] = ()) -> str:
    """The command that measures the references of a suite or of some of its tasks."""
    only = f" --tasks {' '.join(tasks)}" if tasks else ""
    return f"`discovery suites {name} --measure{only}`"


def _check_references(suite: Suite) -> None:
    for _, entry in suite.splits():
        random, ppo = entry.random, entry.ppo
        if not ppo.low > random.high:
            raise BadInput(
                f"suite {suite.name}: PPO's interval on {entry.task.name}, [{ppo.low:.4g}, {ppo.high:.4g}], "
                f"is not above that of random actions, [{random.low:.4g}, {random.high:.4g}], so no "
                "score can be normalized between them; tune the task's recipe, measure more seeds, or leave "
                "the task out"
            )
