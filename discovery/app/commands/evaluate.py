"""``discovery evaluate RUN|NAME ...``."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from shlex import join
from typing import TYPE_CHECKING, Annotated

from tyro.conf import Positional, UseAppendAction, arg

from discovery.app.commands.failure import FAILED
from discovery.app.commands.folders import OUTPUT
from discovery.app.commands.judging import (
    check_seeds,
    parsed_sweeps,
    resolved,
    stopped,
    store_folder,
)
from discovery.app.commands.parsing import parse
from discovery.app.commands.tables import show
from discovery.app.commands.where import Where, elsewhere
from discovery.core import presets
from discovery.core.config.search import SearchConfig
from discovery.core.errors import BadInput, RunError, unknown
from discovery.core.files import check_writable, write_whole
from discovery.core.json import json_line
from discovery.core.toml import CONFIG, load
from discovery.store.held_out import Looks, looks_at, run_folders_of
from environments.task import Setup, Task

if TYPE_CHECKING:
    from discovery.app.comparisons import Comparison
    from discovery.app.evaluation import Plan

PROG = "discovery evaluate"

DESCRIPTION = """Train what runs found and known algorithms on the same tasks, recipes and held-out seeds.

  discovery evaluate runs/NAME ppo dpo                    on the tasks that the run has seen
  discovery evaluate runs/NAME ppo dpo --test             on its held-out tasks too
  discovery evaluate NAME NAME@initial NAME@12 ppo        generations of a run, and its choice
  discovery evaluate NAME NAME@best NAME@g3/p7 ppo        its proposals: the best on search seeds, or any
  discovery evaluate NAME ppo --tasks CartPole-v1 --seeds 32
  discovery evaluate NAME found.py "ppo[clip=0.1]" "a2c[optimizer=sgd]"
  discovery evaluate NAME ppo --sweep learning_rate=0.1,0.3,1,3,10 --sweep hidden=0.5,1,2
  discovery evaluate ppo dpo vsop --tasks Acrobot-v1

A subject is a run, a known algorithm, package.module:function, a file of `discovery export`, or a program of
your own in a file, which is read and never run (`discovery program` explains it). Brackets after its name
hold options of its factory, and numbers that replace the tasks'.
Every training is recorded in the first RUN's ledger, or in another folder with --name, and is not repeated.
Held-out tasks are for the final judgment of a run: only --test trains on them, and each use is recorded.
A task is one of a named run, else one of a preset, else an environment with the default recipe; with --suite
it is one of the suite. `discovery compare` also normalizes a suite's scores and tests for significance.
"""


@dataclass(frozen=True)
class Evaluate:
    """Arguments of `discovery evaluate`."""

    subjects: Annotated[Positional[tuple[str, ...]], arg(metavar="RUN|NAME|FILE ...")]
    """Runs (RUN, RUN@12, RUN@initial, RUN@g3/p7, RUN@best), algorithms, files."""
    tasks: tuple[str, ...] = ()
    """Task names. Default: those of the runs' searches, with --test also their held-out ones."""
    suite: str | None = None
    """Take the tasks from a suite, or a suite's file: meta-train and selection, with --test also test."""
    test: bool = False
    """Train on held-out tasks of the runs, and record in their ledgers that it was done."""
    seeds: int = 32
    """Trainings of each subject on each task. Intervals from fewer than 30 are unreliable."""
    first_seed: int = 0
    """Index of the first held-out seed; another index gives new seeds."""
    sweep: UseAppendAction[tuple[str, ...]] = ()
    """NAME=F1,F2,...: also train with these factors on a number, on hidden widths or on n_envs, for the
    subjects that have it. Can be repeated."""
    where: Annotated[Where, arg(name="")] = field(default_factory=Where)
    agents_per_call: int | None = None
    """Trainings per compiled call; results are bitwise equal only for equal values. Default: the run's."""
    output: Path = OUTPUT
    """Folder in which runs are searched."""
    name: str | None = None
    """Without a run: record trainings in this folder below --output."""
    retry_failed: bool = False
    """Repeat all failed trainings, even if the algorithm was at fault. Those that failed because of the
    machine (time, memory, a killed worker, an error of the environment) are always repeated."""
    csv: Path | None = None
    """Write the table to this file too."""
    quiet: bool = False
    """Print the table only."""
    json: bool = False
    """Print one JSON object per line, for programs; the last one holds the result."""


def main(argv: Sequence[str]) -> int:
    """Run the verb."""
    args = parse(Evaluate, argv, PROG, DESCRIPTION)
    names = resolved(args.subjects, args.output, PROG)
    if args.csv:
        check_writable(args.csv, "--csv")
    check_seeds(args.seeds, args.first_seed)
    folders = run_folders_of(names)
    if args.name and folders:
        raise BadInput(f"--name is for comparisons without a run; this one is recorded in {folders[0]}")
    config = _config(folders, args)
    from discovery.executors.cpu import ensure_single_thread

    ensure_single_thread()
    from discovery.app.evaluation import evaluate_plan
    from discovery.display.progress import view
    from discovery.executors import executor_of

    plan, executor = _plan(args, names, folders), executor_of(config)
    try:
        with executor, view(None, args.quiet, args.json) as shown:
            if folders and args.agents_per_call not in (None, width := _base(folders).width):
                shown.warn(
                    f"trainings recorded in {folders[0]}, {width} per call, are not repeated; "
                    f"only new ones are batched {args.agents_per_call} per call"
                )
            result = evaluate_plan(plan, executor, shown)
    except (KeyboardInterrupt, BrokenPipeError):
        return stopped(bool(folders or plan.place))
    if args.csv:
        _write(result, args.csv)
    if args.json:
        print(json_line({"event": "comparison", **result.to_dict()}))
    else:
        print_comparison(result)
    return FAILED if any(cell.all_failed for cell in result.cells) else 0


def _write(result: "Comparison", path: Path) -> None:
    """One line for each task and subject, and for each variant of a sweep."""
    import pandas as pd

    frames = [result.frame(), *(each.frame() for each in result.robustness)]
    try:
        write_whole(path, pd.concat(frames, ignore_index=True).to_csv(index=False))
    except OSError as error:
        raise RunError(f"{path} cannot be written: {error.strerror}; what was trained is recorded") from error


def print_comparison(result: "Comparison") -> None:
    """The tables, and what they say in words."""
    show(result.table(), width=160)
    for sentence in result.verdicts():
        show(sentence)


def _plan(args: Evaluate, names: Sequence[str], folders: Sequence[Path]) -> "Plan":
    from discovery.app.evaluation import Plan

    tasks, looks, hidden = _suite_tasks(args, folders) if args.suite else _tasks(args, folders)
    return Plan(
        names,
        tasks,
        looks,
        args.seeds,
        args.first_seed,
        _command(args, names, _base(folders).width),
        hidden,
        parsed_sweeps(args.sweep),
        store_folder(args.output, args.name) if args.name else None,
        args.retry_failed,
    )


def _command(args: Evaluate, names: Sequence[str], width: int) -> str:
    """The command that repeats the evaluation."""
    words = ["discovery", "evaluate", *names]
    words += ["--seeds", str(args.seeds), "--first-seed", str(args.first_seed)] + ["--test"] * args.test
    words += ["--tasks", *args.tasks] if args.tasks else []
    words += ["--suite", args.suite] if args.suite else []
    words += [word for sweep in args.sweep for word in ("--sweep", sweep)]
    if args.agents_per_call not in (None, width):  # numbers depend on the width
        words += ["--agents-per-call", str(args.agents_per_call)]
    return join(words)


def _base(folders: Sequence[Path]) -> SearchConfig:
    """The first run's config; without a run, the defaults."""
    return load(folders[0] / CONFIG) if folders else SearchConfig()


def _config(folders: Sequence[Path], args: Evaluate) -> SearchConfig:
    """The config to train with: the first run's, with the given overrides."""
    config = elsewhere(_base(folders), args.where)
    width = config.width if args.agents_per_call is None else args.agents_per_call
    return replace(config, agents_per_call=width)


_Tasks = tuple[list[Task], Looks, tuple[str, ...]]
"""The tasks, those held out from each run, and those that a suite holds out."""


def _tasks(args: Evaluate, folders: Sequence[Path]) -> _Tasks:
    """The named tasks, by default those of the runs."""
    configs = [load(folder / CONFIG) for folder in folders]
    own = {t.name: t for config in configs for t in (config.every_task if args.test else config.seen)}
    names = list(dict.fromkeys(args.tasks or own))
    if not names:
        raise BadInput(
            "without a run, --tasks is required: names from `discovery envs`, or of a preset's tasks"
        )
    looks = looks_at(names, folders, args.test)
    known = dict(_preset_tasks()) | own
    return [known.get(name) or _plain_task(name, known) for name in names], looks, ()


def _suite_tasks(args: Evaluate, folders: Sequence[Path]) -> _Tasks:
    """The tasks of a suite."""
    from discovery.executors.cpu import ensure_single_thread

    ensure_single_thread()
    from discovery.core.suites import load_suite
    from discovery.judging.suite import chosen_tasks

    chosen = chosen_tasks(load_suite(args.suite or "", measured=False), args.tasks, args.test, folders)
    return chosen.tasks, chosen.runs, chosen.hidden


def _preset_tasks() -> Iterator[tuple[str, Task]]:
    for name in presets.names():
        config, _ = presets.read(name)
        yield from ((task.name, task) for task in config.every_task)


def _plain_task(name: str, known: dict[str, Task]) -> Task:
    from discovery.app.commands.catalog import known as environments

    if name not in environments() and ":" not in name:
        raise unknown("task or environment", name, {*known, *environments()})
    return Task(name=name, setup=Setup(environment=name))
