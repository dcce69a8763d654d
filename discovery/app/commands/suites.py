"""``discovery suites``: list suites, show one, and measure its references."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path
from shlex import join
from typing import TYPE_CHECKING, Annotated, Any

from tyro.conf import Positional, arg

from discovery.app.commands.failure import FAILED, INTERRUPTED
from discovery.app.commands.folders import OUTPUT
from discovery.app.commands.parsing import parse
from discovery.app.commands.tables import show, table
from discovery.app.commands.where import Where, elsewhere
from discovery.core.config.search import SearchConfig
from discovery.core.errors import BadInput, unknown
from environments.task import Task

if TYPE_CHECKING:
    from discovery.core.suites import Reference, Suite
    from discovery.display.progress import View
    from discovery.executors.base import Executor
    from discovery.judging.comparison import Comparison
    from discovery.store.ledger import Ledger

DESCRIPTION = """Sets of tasks for meta-training, selection and test, with references to normalize scores.

  discovery suites                          what there is
  discovery suites classic                  its tasks, and what random actions and tuned PPO reach
  discovery suites classic --measure        measure these references anew: mean and 95% interval
  discovery suites mine.toml --measure      the same for a suite in a file

PPO is trained with each task's numbers, on seeds from 10,000 up, which no comparison uses. Random actions are
uniform: over discrete actions, or within the bounds of continuous ones. Trainings are recorded below
runs/suites, so the same command continues after an interruption.
"""


@dataclass(frozen=True)
class Suites:
    """Arguments of `discovery suites`."""

    name: Annotated[Positional[str | None], arg(metavar="[SUITE]")] = None
    """Show the tasks and references of this suite, or of a suite's TOML file."""
    measure: bool = False
    """Train PPO and random actions, and write the references next to the suite's file."""
    tasks: tuple[str, ...] = ()
    """Measure these tasks only; other tasks keep their references."""
    seeds: int = 30
    """Trainings of PPO and of random actions on each task. Intervals from fewer than 30 are unreliable."""
    where: Annotated[Where, arg(name="")] = field(default_factory=Where)
    agents_per_call: int = 8
    """Trainings per compiled call; results are bitwise equal only for equal values."""
    timeout: float = 7200.0
    """Seconds one call may take, compilation included; "inline" has no limit."""
    output: Path = OUTPUT / "suites"
    """Folder in which trainings are recorded, in one folder per suite."""
    quiet: bool = False
    """Print the table only."""


def main(argv: Sequence[str]) -> int:
    """Run the verb."""
    args = parse(Suites, argv, "discovery suites", DESCRIPTION)
    from discovery.executors.cpu import ensure_single_thread

    ensure_single_thread()
    if args.name is None:
        if args.measure:
            raise BadInput("--measure needs the name of a suite; `discovery suites` lists them")
        return _list()
    from discovery.core.suites import load_suite

    suite = load_suite(args.name, measured=False)
    if args.measure:
        return _measure(suite, args.name, args)
    if args.tasks:
        raise BadInput("--tasks chooses what is measured; add --measure")
    _describe(suite, args.name)
    return 0


def _list() -> int:
    from discovery.core.suites import SPLITS, load_suite, suite_names

    rows = []
    for name in suite_names():
        suite = load_suite(name, measured=False)
        counts = " + ".join(str(len(getattr(suite, split))) for split in SPLITS)
        rows.append((name, counts, f"{_steps(suite.tasks):,}", _standing(suite), suite.summary))
    header = ("suite", "tasks", "steps", "references", "what it is")
    show(table(header, rows, right=("steps",)))
    print(
        "\nTasks: meta-train + selection + test. Steps: of one seed over all of them.\n"
        "discovery suites SUITE              its tasks and references\n"
        "discovery suites SUITE --measure    measure its references"
    )
    return 0


def _standing(suite: "Suite") -> str:
    """How much of a suite is measured."""
    measured = sum(entry.ppo.seeds > 0 for _, entry in suite.splits())
    return "measured" if measured == len(suite.tasks) else f"{measured} of {len(suite.tasks)} tasks"


def _steps(tasks: Sequence[Task]) -> int:
    return sum(task.n_updates * task.setup.steps_per_update for task in tasks)


def _describe(suite: "Suite", name: str) -> None:
    """Print a suite: its tasks, how they were measured, and what is wrong with it."""
    from discovery.core.suites import load_suite, record_of

    print(f"{suite.name}{': ' if suite.summary else ''}{suite.summary}")
    rows = [
        (
            entry.task.name,
            split,
            entry.task.setup.environment,
            f"{_steps([entry.task]):,}",
            entry.task.score,
            _text(entry.random),
            _text(entry.ppo),
        )
        for split, entry in suite.splits()
    ]
    header = ("task", "split", "environment", "steps", "score", "random (seeds)", "PPO (seeds)")
    show(table(header, rows, right=("steps",)))
    print(f"\nMean and 95% interval. {_steps(suite.tasks):,} steps for one seed over all tasks. {suite.path}")
    records = [record_of(suite, entry.task.name) for _, entry in suite.splits() if entry.ppo.seeds]
    for told in dict.fromkeys(_provenance(record) for record in records):
        print(told)
    try:
        load_suite(name)
    except BadInput as error:
        print(error)


def _text(reference: "Reference") -> str:
    if not reference.seeds:
        return "not measured"
    return f"{reference.mean:.4g} [{reference.low:.4g}, {reference.high:.4g}] ({reference.seeds})"


def _provenance(record: Any) -> str:
    versions = record["versions"]
    return f"{record['date']}, jax {versions.get('jax', '?')}: {record['command']}"


def _measure(suite: "Suite", name: str, args: Suites) -> int:
    """Train, and write each task's references as soon as they are measured."""
    if args.seeds < 2:
        raise BadInput(f"seeds must be at least 2, since an interval needs two, got {args.seeds}")
    tasks = _chosen(suite, args.tasks)
    for task in tasks:
        random_task(task)

    from discovery.display.progress import view
    from discovery.executors import executor_of

    trained = SearchConfig(agents_per_call=args.agents_per_call, timeout=args.timeout)
    executor = executor_of(elsewhere(trained, args.where))
    failed = False
    try:
        with executor, _ledger(args.output / suite.name) as ledger, view(None, args.quiet) as shown:
            for task in tasks:
                failed |= not _measured(suite, task, args, name, executor, ledger, shown)
    except (KeyboardInterrupt, BrokenPipeError):
        print(
            "\nStopped; finished trainings are recorded, and the same command continues from there",
            file=sys.stderr,
        )
        return INTERRUPTED
    from discovery.core.suites import load_suite

    _describe(load_suite(name, measured=False), name)
    return FAILED if failed else 0


def _chosen(suite: "Suite", names: Sequence[str]) -> list[Task]:
    tasks = {task.name: task for task in suite.tasks}
    for name in names:
        if name not in tasks:
            raise unknown("task", name, tasks)
    return [tasks[name] for name in dict.fromkeys(names or tasks)]


def random_task(task: Task) -> Task:
    """A variant of the task that measures uniformly random actions, without learning or a network.

    Episodes, budget and score are unchanged.

    Raises:
        BadInput: its environment cannot be made, or has actions without bounds.
    """
    from environments.vector import check

    try:
        environment = task.environment()
        setup = replace(
            task.setup,
            actions="squash" if environment.continuous else "clip",
            n_epochs=1,
            n_minibatches=1,
            hidden=(),
            filters=(),
            experts=0,
            recurrence="none",
            sequence_length=None,
        )
        check(environment, setup)
    except ValueError as error:
        raise BadInput(f"task {task.name!r}: {error}") from error
    return replace(task, setup=setup, numbers={})


@contextmanager
def _ledger(folder: Path) -> Iterator["Ledger"]:
    """The ledger of a suite's trainings, created if missing."""
    from discovery.store.database import FILE
    from discovery.store.ledger import Ledger

    made = (folder / FILE).exists()
    with Ledger.open(folder, write=True) if made else Ledger.create(folder, {"suite": folder.name}) as ledger:
        yield ledger


def _measured(
    suite: "Suite",
    task: Task,
    args: Suites,
    name: str,
    executor: "Executor",
    ledger: "Ledger",
    shown: "View",
) -> bool:
    """Measure and write one task's references; False if all trainings of either failed."""
    from discovery.core.suites import FIRST_SEED, save_reference
    from discovery.core.versions import versions
    from discovery.judging.evaluate import train_subjects
    from discovery.judging.sentences import cautions
    from discovery.results.subjects import subjects

    command = _command(task, name, args)
    found = {}
    for algorithm, variant in (("random", random_task(task)), ("ppo", task)):
        who = subjects([algorithm])
        result = train_subjects(
            who, [variant], args.seeds, executor, ledger, shown, command, first_seed=FIRST_SEED
        )
        for caution in cautions(result):
            shown.warn(f"{task.name}, {algorithm}: {caution}")
        found[algorithm] = result
    if any(result.cells[0].all_failed for result in found.values()):
        return False
    random, ppo = _reference(found["random"]), _reference(found["ppo"])
    about = {
        "command": command,
        "date": date.today().isoformat(),
        "first_seed": FIRST_SEED,
        "versions": versions(),
    }
    save_reference(suite, task, random, ppo, about)
    shown.say("reference", f"{task.name}: random {_text(random)}, PPO {_text(ppo)}", task=task.name)
    return True


def _reference(result: "Comparison") -> "Reference":
    """Mean and interval of the one subject on the one task; a failed training counts as the worst."""
    from discovery.core.suites import Reference

    mean = result.rows[0].mean
    return Reference(mean.estimate, mean.low, mean.high, mean.n)


def _command(task: Task, name: str, args: Suites) -> str:
    """The command that measures this task alone."""
    words = ["discovery", "suites", name, "--measure", "--tasks", task.name, "--seeds", str(args.seeds)]
    words += ["--agents-per-call", str(args.agents_per_call)]
    words += ["--executor", args.where.executor] if args.where.executor not in (None, "processes") else []
    return join(words)
