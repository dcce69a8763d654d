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

DESCRIPTION = """Compare any mixture of algorithms, runs and exported files on a suite: intervals and tests.

  discovery compare ppo dpo vsop a2c --suite classic
  discovery compare runs/NAME found.py ppo --suite classic --test
  discovery compare ppo "ppo[clip=0.1]" "a2c[optimizer=sgd]" --suite classic --tasks CartPole-v1
  discovery compare ppo dpo --suite classic --sweep learning_rate=0.1,0.3,1,3,10 --sweep n_envs=0.5,1,2

A subject is a run, a known algorithm, package.module:function, or a file of `discovery export`. In brackets
behind its name are options of its factory, and numbers in place of the tasks' own.
All subjects have the same seeds, and scores are normalized: 0 as random actions, 1 as tuned PPO. Trainings
are recorded in runs/compare-SUITE, so that the same command goes on where it was stopped, and more subjects,
seeds or sweeps train only what is new. There lie the results too: comparison.json, scores.csv, table.csv
and pictures. Held-out tasks are for the last word: only --test trains on them, and each time goes on record.
"""


@dataclass(frozen=True)
class Compare:
    """Arguments of `discovery compare`."""

    subjects: Annotated[Positional[tuple[str, ...]], arg(metavar="RUN|NAME|FILE ...")]
    """Runs (RUN, RUN@12, RUN@initial, RUN@g3/p7, RUN@best), algorithms, exported files."""
    suite: str | None = None
    """A suite from `discovery suites`, or a TOML file of your own."""
    tasks: tuple[str, ...] = ()
    """Names of its tasks. Default: those for meta-training and selection, with --test the held-out ones."""
    test: bool = False
    """Train on held-out tasks too, and record that it was done."""
    seeds: int = 30
    """Trainings of each subject on each task. Intervals from fewer than 30 are unreliable."""
    first_seed: int = 0
    """Index of the first seed: another one gives new seeds."""
    sweep: UseAppendAction[tuple[str, ...]] = ()
    """NAME=F1,F2,...: also train with these factors on a number, on hidden widths or on n_envs, for the
    subjects that have it. Can be repeated."""
    where: Annotated[Where, arg(name="")] = field(default_factory=Where)
    agents_per_call: int = 8
    """Trainings batched in one compiled call; bitwise equal at equal width only."""
    timeout: float = 7200.0
    """Seconds one call may take, compilation included; "inline" has no limit."""
    output: Path = OUTPUT
    """Folder of the runs and of the results."""
    name: str | None = None
    """Folder of the results below --output. Default: compare-SUITE."""
    retry_failed: bool = False
    """Train again whatever failed before, even where the algorithm was at fault. What failed because of the
    machine (time, memory, a killed worker, an error of the environment) is trained again in any case."""
    quiet: bool = False
    """Print the tables only."""
    json: bool = False
    """Print one JSON object a line, for programs; the last one holds the result."""


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
    """What to type for the same comparison again."""
    words = ["discovery", "compare", *names, "--suite", str(args.suite)]
    words += ["--tasks", *args.tasks] if args.tasks else []
    words += ["--test"] * args.test + ["--seeds", str(args.seeds)]
    words += ["--first-seed", str(args.first_seed)] if args.first_seed else []
    words += [word for sweep in args.sweep for word in ("--sweep", sweep)]
    words += ["--agents-per-call", str(args.agents_per_call)]
    return join(words)
