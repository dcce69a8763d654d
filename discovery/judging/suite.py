"""Comparing on a suite, and the folder in which such a comparison is kept.

    suite = load_suite("classic")
    chosen = chosen_tasks(suite)
    folder = Path("runs/compare-classic")
    result = compare_suite(suite, chosen, subjects(["ppo", "dpo"]), 30, executor, folder)
    write(result, folder, command)

A store is a folder with a ledger, as a run's, but without a search: more subjects, seeds or sweeps add to it.
"""

import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, NamedTuple

from discovery.core.errors import BadInput, RunError, unknown
from discovery.core.files import write_whole
from discovery.core.suites import FIRST_SEED, Suite, SuiteTask
from discovery.core.toml import CONFIG, is_run, load
from discovery.core.versions import versions
from discovery.display import plots
from discovery.display.formats import json_line
from discovery.executors.base import Executor
from discovery.judging.evaluate import AS_IT_IS, Watcher, check, comparisons
from discovery.judging.suite_comparison import SuiteComparison
from discovery.judging.sweep import check_sweep, sweep
from discovery.results.subjects import Subject
from discovery.store.database import FILE
from discovery.store.held_out import Looks, held_out_by, looks_at, record_looks
from discovery.store.ledger import Ledger
from discovery.store.rows import now
from environments.task import Task

Sweeps = Mapping[str, Sequence[float]]
"""Parameter -> factors; see `discovery.judging.sweep`."""


class Chosen(NamedTuple):
    """Tasks of a suite.

    Attributes:
        entries: the tasks with their references.
        hidden: names of those that the suite holds out.
        runs: run -> names of those that are held out from it, by itself or by the suite.
        notes: sentences on what the suite holds out and a run was searched on all the same.
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
    """The tasks called `names`, by default those for meta-training and selection, with `test` all.

    Args:
        suite: of which.
        names: of tasks.
        test: whether held-out tasks may be looked at.
        runs: folders of the runs that will be judged: what they hold out is held out here too.

    Raises:
        BadInput: a held-out task is named without `test`, or there is none of that name.
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
        raise BadInput(f"suite {suite.name} has held-out tasks only; --test trains on them")
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
    """The ledger of a store, open for writing; the folder is made if need be.

    Raises:
        BadInput: the folder holds a search, or cannot be made.
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


def compare_suite(
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
) -> SuiteComparison:
    """Train every subject on the chosen tasks, and at every factor of the sweeps.

    Args:
        suite: with measured references.
        chosen: from `chosen_tasks`. That held-out tasks are looked at is recorded before they are, in the
            store and in the runs from which they are held out.
        subjects: from `discovery.results.subjects.subjects`.
        seeds: S, trainings of each subject on each task (and at each factor).
        executor: where they run.
        folder: the store, made if need be; None records nothing.
        listener: told what is to run, and what ended.
        command: the command line, for the record.
        first_seed: index of the first seed.
        sweeps: parameter -> factors.

    Raises:
        BadInput: before anything is written, if a subject, a task or a variant does not fit.
    """
    sweeps, tasks, labels = sweeps or {}, chosen.tasks, [subject.label for subject in subjects]
    check(subjects, tasks, seeds, first_seed)
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
        compared = comparisons(subjects, tasks, *common)
        comparison = compared(AS_IT_IS)
        robustness = tuple(sweep(*each, subjects, tasks, compared) for each in sweeps.items())
    return SuiteComparison(suite.name, comparison, chosen.entries, robustness, chosen.notes)


def write(result: SuiteComparison, folder: Path, command: str) -> list[Path]:
    """Write comparison.json, scores.csv, table.csv and the pictures; returns their paths.

    Raises:
        RunError: one cannot be written; what was trained is in the ledger.
    """
    about = {"command": command, "date": now(), "versions": versions()}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        text = json.dumps(json.loads(json_line(about | result.to_dict())), indent=2, ensure_ascii=False)
        paths = [
            write_whole(folder / "comparison.json", text + "\n"),
            _scores(result, folder / "scores.csv"),
            write_whole(folder / "table.csv", result.frame().to_csv(index=False)),
        ]
        return paths + [plots.save(figure, folder / f"{name}.png") for name, figure in result.plot().items()]
    except OSError as error:
        raise RunError(
            f"{folder} cannot be written: {error.strerror}; what was trained is recorded"
        ) from error


def _scores(result: SuiteComparison, path: Path) -> Path:
    """One line per training; the score of one that failed is empty."""
    references = {entry.task.name: entry for entry in result.entries}
    cells = [("", cell) for cell in result.comparison.cells]
    cells += [
        (f"{each.parameter} x {factor:g}", cell)
        for each in result.robustness
        for factor, listed in each.cells.items()
        if factor != 1
        for cell in listed
    ]
    text = io.StringIO()
    lines: Any = csv.writer(text, lineterminator="\n")
    lines.writerow(["task", "held_out", "subject", "source", "variant", "seed", "score", "normalized"])
    for variant, cell in cells:
        known = (cell.task, cell.task in result.comparison.held_out, cell.subject)
        normalized = references[cell.task].normalized(cell.scores)
        for seed, score, share in zip(cell.seeds, cell.scores, normalized, strict=True):
            values = ["" if x != x else float(x) for x in (score, share)]
            lines.writerow([*known, result.comparison.sources[cell.subject], variant, int(seed), *values])
    return write_whole(path, text.getvalue())
