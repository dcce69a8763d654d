"""Comparisons on a suite, and the folder that stores one.

    suite = load_suite("classic")
    chosen = chosen_tasks(suite)
    folder = Path("runs/compare-classic")
    result = train_on_suite(suite, chosen, subjects(["ppo", "dpo"]), 30, executor, folder)

A store is a folder with a ledger like a run's, but no search. More subjects, seeds or sweeps add to it.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from discovery.core.errors import BadInput, RunError, unknown
from discovery.core.suites import FIRST_SEED, Suite, SuiteTask
from discovery.core.toml import CONFIG, is_run, load
from discovery.executors.base import Executor
from discovery.judging.comparison import Comparison
from discovery.judging.evaluate import AS_IT_IS, Watcher, check_subjects, comparisons
from discovery.judging.suite_comparison import SuiteComparison
from discovery.judging.sweep import check_sweep, sweep
from discovery.results.subjects import Subject
from discovery.store.database import FILE
from discovery.store.held_out import Looks, held_out_by, looks_at, record_looks
from discovery.store.ledger import Ledger
from environments.task import Task

Sweeps = Mapping[str, Sequence[float]]
"""Parameter -> factors; see `discovery.judging.sweep`."""


class Chosen(NamedTuple):
    """Tasks of a suite.

    Attributes:
        entries: the tasks with their references.
        hidden: names of those that the suite holds out.
        runs: run -> names of those held out from it, by its config or by the suite.
        notes: sentences on tasks that the suite holds out although a run was searched on them.
    """

    entries: tuple[SuiteTask, ...]
    hidden: tuple[str, ...]
    runs: Looks
    notes: tuple[str, ...]

    @property
    def tasks(self) -> list[Task]:
        """Without references."""
        return [entry.task for entry in self.entries]


def chosen_tasks(
    suite: Suite, names: Sequence[str] = (), test: bool = False, runs: Sequence[Path] = ()
) -> Chosen:
    """The tasks of a suite called `names`; by default those for meta-training and selection, or with `test`
    all.

    Args:
        suite: which suite.
        names: of tasks.
        test: whether held-out tasks may be used.
        runs: folders of the runs that will be judged; their held-out tasks are held out here too.

    Raises:
        BadInput: a held-out task is named without `test`, or no task has that name.
    """
    known = {entry.task.name: entry for _, entry in suite.splits()}
    hidden = {entry.task.name for entry in suite.test}
    for name in names:
        if name not in known:
            raise unknown(f"task of suite {suite.name}", name, known)
        if name in hidden and not test:
            raise held_out_by([name], f"suite {suite.name}")
    picked = list(dict.fromkeys(names or (name for name in known if test or name not in hidden)))
    if not picked:
        raise BadInput(f"suite {suite.name} has only held-out tasks; add --test to train on them")
    looks, notes = looks_at(picked, runs, test, hidden), []
    for folder in looks:
        seen = {task.name for task in load(folder / CONFIG).seen}
        if both := [name for name in picked if name in hidden and name in seen]:
            notes.append(f"{', '.join(both)} is held out by the suite, but {folder.name} was searched on it.")
    return Chosen(
        tuple(known[name] for name in picked),
        tuple(name for name in picked if name in hidden),
        looks,
        tuple(notes),
    )


@contextmanager
def store(folder: Path) -> Iterator[Ledger]:
    """The ledger of a store, open for writing; the folder is created if missing.

    Raises:
        BadInput: the folder holds a search, or cannot be created.
    """
    if is_run(folder):
        raise BadInput(f"{folder} is the run of a search; choose another name for the comparison")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadInput(
            f"a comparison cannot be kept in {folder}: {error.strerror}; choose another folder with --output"
        ) from error
    made = (folder / FILE).exists()
    with Ledger.open(folder, write=True) if made else Ledger.create(folder, {"run": folder.name}) as ledger:
        yield ledger


def train_on_suite(
    suite: Suite,
    chosen: Chosen,
    subjects: Sequence[Subject],
    seeds: int,
    executor: Executor,
    folder: Path | None = None,
    listener: Watcher | None = None,
    command: str = "",
    first_seed: int = 0,
    sweeps: Sweeps | None = None,
    retry_failed: bool = False,
) -> SuiteComparison:
    """Train every subject on the chosen tasks, and at every factor of the sweeps.

    Args:
        suite: with measured references.
        chosen: from `chosen_tasks`. The use of held-out tasks is recorded first, in the store and in the runs
            from which they are held out.
        subjects: from `discovery.results.subjects.subjects`.
        seeds: S, trainings of each subject on each task (and at each factor).
        executor: where they run.
        folder: the store, created if missing; None records nothing.
        listener: receives what will run, and what ended.
        command: the command line, for the record.
        first_seed: index of the first seed.
        sweeps: parameter -> factors.
        retry_failed: repeat all failed trainings.

    Raises:
        BadInput: before anything is written, if a subject, a task or a variant does not fit.
        RunError: so many trainings failed because of the machine that no task is left to compare on.
    """
    sweeps, tasks, labels = sweeps or {}, chosen.tasks, [subject.label for subject in subjects]
    check_subjects(subjects, tasks, seeds, first_seed)
    if first_seed + seeds > FIRST_SEED:
        raise BadInput(
            f"seeds from {FIRST_SEED:,} on are those of the suite's references; use seeds below, "
            f"not {first_seed:,} to {first_seed + seeds - 1:,}"
        )
    for parameter, factors in sweeps.items():
        check_sweep(parameter, factors, subjects, tasks)
    with store(folder) if folder else nullcontext() as ledger:
        if ledger and chosen.hidden:
            ledger.record_test(command, labels, chosen.hidden, seeds, first_seed)
        record_looks(chosen.runs, command, labels, seeds, first_seed)
        common = (seeds, executor, ledger, listener, command, chosen.hidden, first_seed)
        compared = comparisons(subjects, tasks, *common, retry_failed=retry_failed)
        comparison = compared(AS_IT_IS)
        robustness = tuple(sweep(*each, subjects, tasks, compared) for each in sweeps.items())
    comparison, lost = _comparable(comparison)
    return SuiteComparison(suite.name, comparison, chosen.entries, robustness, (*chosen.notes, *lost))


def _comparable(comparison: Comparison) -> tuple[Comparison, list[str]]:
    """The tasks on which all subjects have at least one common seed, and sentences on those left out."""
    lost = {}
    for task, cells in comparison.curves().items():
        seeds = [set(cell.seeds.tolist()) for cell in cells.values()]
        if not set.intersection(*seeds):
            reasons = dict.fromkeys(cell.reason for cell in cells.values() if cell.missing)
            lost[task] = f"{task} is left out: no seed was trained for all subjects ({'; '.join(reasons)})."
    if len(lost) == len(comparison.tasks):
        raise RunError(
            f"there is nothing to compare: {' '.join(lost.values())} Repeat the command to try again"
        )
    cells = tuple(cell for cell in comparison.cells if cell.task not in lost)
    return replace(comparison, cells=cells), list(lost.values())
