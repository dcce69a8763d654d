"""Names, sweeps and folders of `discovery evaluate` and `compare`, and what the first of them trains."""

import re
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from shlex import join
from typing import TYPE_CHECKING

from discovery.app.commands.failure import INTERRUPTED
from discovery.app.commands.folders import find_run, run_folders
from discovery.core.errors import BadInput, unknown
from discovery.core.toml import is_run
from discovery.store.held_out import Looks, record_looks, run_folders_of, unseen
from environments.task import Task

if TYPE_CHECKING:
    from discovery.display.progress import View
    from discovery.executors.base import Executor
    from discovery.judging.comparison import Comparison
    from discovery.judging.sweep import Robustness
    from discovery.store.ledger import Ledger


@dataclass(frozen=True)
class Plan:
    """What is judged.

    Attributes:
        names: of subjects, runs as their paths.
        tasks: on which.
        looks: which of them are held out from which run; see `discovery.store.held_out`.
        seeds, first_seed: which report seeds.
        test: whether held-out tasks may be looked at, as it was given.
        hidden: names of those that a suite holds out.
        sweeps: parameter -> factors.
        place: folder in which it is recorded where no run takes part; None for nowhere.
        options: further words of the command, for the record.
    """

    names: Sequence[str]
    tasks: Sequence[Task]
    looks: Looks
    seeds: int
    first_seed: int = 0
    test: bool = False
    hidden: Collection[str] = ()
    sweeps: Mapping[str, Sequence[float]] = field(default_factory=dict)
    place: Path | None = None
    options: Sequence[str] = ()

    @property
    def command(self) -> str:
        """What to type for it."""
        options = ["--seeds", str(self.seeds), "--first-seed", str(self.first_seed)]
        options += ["--test"] * self.test
        return join(["discovery", "evaluate", *self.names, *options, *self.options])


def judged(plan: Plan, executor: "Executor", shown: "View") -> "tuple[Comparison, list[Robustness]]":
    """Train what a plan says, and record it."""
    from discovery.executors.cpu import ensure_single_thread

    ensure_single_thread()
    from discovery.judging.evaluate import AS_IT_IS, check, comparisons
    from discovery.judging.sweep import check_sweep, sweep
    from discovery.results.subjects import subjects

    who, seeds, command = subjects(plan.names), (plan.seeds, plan.first_seed), plan.command
    check(who, plan.tasks, *seeds)
    for parameter, factors in plan.sweeps.items():
        check_sweep(parameter, factors, who, plan.tasks)
    folders = run_folders_of(plan.names)
    record_looks(plan.looks, command, plan.names, *seeds)
    with _ledger(folders, plan.place) as ledger:
        if ledger and plan.hidden and not folders:
            ledger.record_test(command, plan.names, plan.hidden, *seeds)
        held_out = unseen(plan.looks, plan.hidden)
        common = (plan.seeds, executor, ledger, shown, command, held_out, plan.first_seed)
        compared = comparisons(who, plan.tasks, *common)
        return compared(AS_IT_IS), [sweep(*each, who, plan.tasks, compared) for each in plan.sweeps.items()]


@contextmanager
def _ledger(folders: Sequence[Path], place: Path | None) -> "Iterator[Ledger | None]":
    """Where trainings are recorded: in the first run, else in a store, else nowhere."""
    from discovery.judging.suite import store
    from discovery.store.run import Run

    if folders:
        with Run.open(folders[0], write=True) as run:
            yield run.ledger
    elif place:
        with store(place) as ledger:
            yield ledger
    else:
        yield None


def resolved(names: Sequence[str], output: Path, prog: str) -> list[str]:
    """Names of subjects, those of runs as their paths.

    Raises:
        BadInput: there is none, or nothing is called so, with the nearest names.
    """
    if not names:
        raise BadInput(
            "what shall be judged? Name runs, algorithms or exported files, for example "
            f"`{prog} runs/NAME ppo`"
        )
    return [_resolved(name, output) for name in names]


def _resolved(name: str, output: Path) -> str:
    from objectives import FAMILIES, is_known

    plain, _, options = name.partition("[")
    base, at, generation = plain.partition("@")
    if ":" in plain or plain.endswith(".py") or (is_known(base) and not at):
        return name
    if not Path(base).exists() and not (output / base).exists():
        names = [*FAMILIES, *(folder.name for folder in run_folders(output)[-20:])]
        raise unknown("run or algorithm", base, names)
    return f"{find_run(base, output)}{at}{generation}" + (f"[{options}" if options else "")


def check_seeds(seeds: int, first_seed: int) -> None:
    """Refuse numbers of seeds that are none."""
    if seeds < 1:
        raise BadInput(f"seeds must be at least 1, got {seeds}")
    if first_seed < 0:
        raise BadInput(f"first_seed must be at least 0, got {first_seed}")


def parsed_sweeps(texts: Sequence[str]) -> dict[str, tuple[float, ...]]:
    """Parameter -> factors of what --sweep was given."""
    if not texts:
        return {}
    from discovery.executors.cpu import ensure_single_thread

    ensure_single_thread()
    from discovery.judging.sweep import parse_sweep

    found: dict[str, tuple[float, ...]] = {}
    for parameter, factors in map(parse_sweep, texts):
        if parameter in found:
            raise BadInput(f"--sweep {parameter} is there twice; give all its factors at once")
        found[parameter] = factors
    return found


def store_folder(output: Path, name: str) -> Path:
    """The folder of a comparison that is called `name`."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
        raise BadInput(f"--name has letters, digits, '.', '_' and '-' only, got {name!r}")
    if is_run(output / name):
        raise BadInput(f"{output / name} is the run of a search; choose another --name for the comparison")
    return output / name


def stopped(recorded: bool) -> int:
    """Say how to go on after Ctrl-C."""
    kept = "; what was finished is recorded, and the same command goes on from there" if recorded else ""
    print(f"\nStopped{kept}", file=sys.stderr)
    return INTERRUPTED
