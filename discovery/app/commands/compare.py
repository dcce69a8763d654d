"""``discovery compare SUBJECT ... --suite NAME``."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from shlex import join
from typing import Annotated

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
from discovery.core.config.search import SearchConfig
from discovery.core.errors import BadInput
from discovery.core.json import json_line

PROG = "discovery compare"

DESCRIPTION = """Compare any mixture of algorithms, runs and files on a suite: intervals and tests.

  discovery compare ppo dpo vsop a2c --suite classic
  discovery compare runs/NAME found.py ppo --suite classic --test
  discovery compare my_loss.py ppo --suite classic
  discovery compare ppo "ppo[clip=0.1]" "a2c[optimizer=sgd]" --suite classic --tasks CartPole-v1
  discovery compare ppo dpo --suite classic --sweep learning_rate=0.1,0.3,1,3,10 --sweep n_envs=0.5,1,2

A subject is a run, a known algorithm, package.module:function, a file of `discovery export`, or a program of
your own in a file, which is read and never run (`discovery program` explains it). Brackets after its name
hold options of its factory, and numbers that replace the tasks'.
All subjects have the same seeds, and scores are normalized: 0 for random actions, 1 for tuned PPO. Trainings
are recorded in runs/compare-SUITE: the same command continues where it was stopped, and more subjects, seeds
or sweeps train only what is new. The results go there too: comparison.json, scores.csv, table.csv and
pictures. Held-out tasks are for the final judgment: only --test trains on them, and each use is recorded.
"""


@dataclass(frozen=True)
class Compare:
    """Arguments of `discovery compare`."""

    subjects: Annotated[Positional[tuple[str, ...]], arg(metavar="RUN|NAME|FILE ...")]
    """Runs (RUN, RUN@12, RUN@initial, RUN@g3/p7, RUN@best), algorithms, files."""
    suite: str | None = None
    """A suite from `discovery suites`, or a TOML file."""
    tasks: tuple[str, ...] = ()
    """Names of its tasks. Default: those for meta-training and selection, with --test also held-out ones."""
    test: bool = False
    """Train on held-out tasks too, and record that it was done."""
    seeds: int = 30
    """Trainings of each subject on each task. Intervals from fewer than 30 are unreliable."""
    first_seed: int = 0
    """Index of the first seed; another index gives new seeds."""
    sweep: UseAppendAction[tuple[str, ...]] = ()
    """NAME=F1,F2,...: also train with these factors on a number, on hidden widths or on n_envs, for the
    subjects that have it. Can be repeated."""
    where: Annotated[Where, arg(name="")] = field(default_factory=Where)
    agents_per_call: int = 8
    """Trainings per compiled call; results are bitwise equal only for equal values."""
    timeout: float = 7200.0
    """Seconds one call may take, compilation included; "inline" has no limit."""
    output: Path = OUTPUT
    """Folder of the runs and of the results."""
    name: str | None = None
    """Folder of the results below --output. Default: compare-SUITE."""
    retry_failed: bool = False
    """Repeat all failed trainings, even if the algorithm was at fault. Those that failed because of the
    machine (time, memory, a killed worker, an error of the environment) are always repeated."""
    quiet: bool = False
    """Print the tables only."""
    json: bool = False
    """Print one JSON object per line, for programs; the last one holds the result."""


def main(argv: Sequence[str]) -> int:
    """Run the verb."""
    args = parse(Compare, argv, PROG, DESCRIPTION)
    names = resolved(args.subjects, args.output, PROG)
    if args.suite is None:
        raise BadInput("--suite is required, for example --suite classic; `discovery suites` lists them")
    check_seeds(args.seeds, args.first_seed)
    from discovery.executors.cpu import ensure_single_thread

    ensure_single_thread()
    from discovery.app.api import compare_suite
    from discovery.display.progress import view
    from discovery.executors import executor_of

    sweeps, command = parsed_sweeps(args.sweep), _command(names, args)
    trained = SearchConfig(agents_per_call=args.agents_per_call, timeout=args.timeout)
    executor = executor_of(elsewhere(trained, args.where))
    try:
        with executor, view(None, args.quiet, args.json) as shown:
            result = compare_suite(
                names,
                args.suite,
                args.tasks,
                args.seeds,
                args.test,
                args.first_seed,
                sweeps,
                executor,
                shown,
                args.output,
                args.name,
                args.retry_failed,
                command,
            )
    except (KeyboardInterrupt, BrokenPipeError):
        return stopped(recorded=True)
    folder = store_folder(args.output, args.name or f"compare-{result.suite}")
    files = sorted(path.name for path in folder.iterdir() if path.suffix in (".json", ".csv", ".png"))
    if args.json:
        print(json_line({"event": "comparison", **result.to_dict(), "folder": str(folder), "files": files}))
    else:
        show(result.table(), width=160)
        print()
        for sentence in result.verdicts():
            show(sentence)
        if not args.quiet:
            show(f"\n{folder}: {', '.join(files)}")
    return FAILED if any(cell.all_failed for cell in result.comparison.cells) else 0


def _command(names: Sequence[str], args: Compare) -> str:
    """The command that repeats the comparison."""
    words = ["discovery", "compare", *names, "--suite", str(args.suite)]
    words += ["--tasks", *args.tasks] if args.tasks else []
    words += ["--test"] * args.test + ["--seeds", str(args.seeds)]
    words += ["--first-seed", str(args.first_seed)] if args.first_seed else []
    words += [word for sweep in args.sweep for word in ("--sweep", sweep)]
    words += ["--agents-per-call", str(args.agents_per_call)]
    return join(words)
