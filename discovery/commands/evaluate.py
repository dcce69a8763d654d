"""``discovery evaluate RUN|NAME ...``."""

import sys
from collections.abc import Collection, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from shlex import join
from typing import TYPE_CHECKING, Annotated

from tyro.conf import Positional, arg

from discovery.commands import presets
from discovery.commands.failure import FAILED, INTERRUPTED
from discovery.commands.folders import OUTPUT, find_run, run_folders
from discovery.commands.parsing import parse
from discovery.commands.tables import show
from discovery.config import SearchConfig
from discovery.configfile import CONFIG, load
from discovery.errors import BadInput, unknown
from environments.task import Setup, Task

if TYPE_CHECKING:
    from discovery.comparison import Comparison
    from discovery.executors.base import Executor
    from discovery.progress import View

PROG = "discovery evaluate"

DESCRIPTION = """Train what runs found beside known algorithms: same tasks, same recipes, same held-out seeds.

  discovery evaluate runs/NAME ppo dpo                    on the run's tasks and its held-out ones
  discovery evaluate NAME NAME@initial NAME@12 ppo        generations of a run, beside what it chose
  discovery evaluate NAME ppo --tasks CartPole-v1 --seeds 32
  discovery evaluate ppo dpo vsop --tasks Acrobot-v1

Every training is recorded in the first RUN's ledger, and not repeated when it is asked for again.
A task is one of a named run, else one of a preset, else an environment with the default recipe.
"""


@dataclass(frozen=True)
class Evaluate:
    """Arguments of `discovery evaluate`."""

    subjects: Annotated[Positional[tuple[str, ...]], arg(metavar="RUN|NAME ...")]
    """Runs (RUN, RUN@GENERATION, RUN@initial), and algorithms from `discovery objectives`."""
    tasks: tuple[str, ...] = ()
    """Task names. Default: those of the runs, meta-train and held-out."""
    seeds: int = 16
    """Trainings of each subject on each task. Below 16, trust no interval much."""
    first_seed: int = 0
    """Index of the first held-out seed: another one gives seeds that nobody has looked at yet."""
    executor: str | None = None
    """Where trainings run: "processes" or "inline". Default: as the first run."""
    workers: int | None = None
    """Worker processes. Default: one per core."""
    agents_per_call: int | None = None
    """Trainings batched in one compiled call; bitwise equal at equal width only. Default: as the run."""
    output: Path = OUTPUT
    """Folder in which runs are looked for."""
    quiet: bool = False
    """Print the table only."""
    json: bool = False
    """Print one JSON object a line, for programs; the last one holds the result."""


def main(argv: Sequence[str]) -> int:
    """Run the verb."""
    args = parse(Evaluate, argv, PROG, DESCRIPTION)
    names = [_resolved(name, args.output) for name in args.subjects]
    if not names:
        raise BadInput(
            "what shall be judged? Name runs and algorithms, for example `discovery evaluate runs/NAME ppo`"
        )
    if args.seeds < 1:
        raise BadInput(f"seeds must be at least 1, got {args.seeds}")
    if args.first_seed < 0:
        raise BadInput(f"first_seed must be at least 0, got {args.first_seed}")
    folders = run_folders_of(names)
    config = _config(folders, args)
    tasks, held_out = _tasks(args.tasks, folders)

    from discovery.executors import make_executor
    from discovery.progress import view

    executor = make_executor(config.executor, config.workers, config.agents_per_call, config.timeout)
    try:
        with executor, view(None, args.quiet, args.json) as shown:
            result = judge(names, tasks, args.seeds, executor, shown, held_out, args.first_seed)
    except (KeyboardInterrupt, BrokenPipeError):
        kept = "; what was finished is recorded, and the same command goes on from there" if folders else ""
        print(f"\nStopped{kept}", file=sys.stderr)
        return INTERRUPTED
    if args.json:
        from discovery.formats import json_line

        print(json_line({"event": "comparison", **result.to_dict()}))
    else:
        print_comparison(result)
    return FAILED if any(cell.failed_wholly for cell in result.cells) else 0


def judge(
    names: Sequence[str],
    tasks: Sequence[Task],
    seeds: int,
    executor: "Executor",
    shown: "View",
    held_out: Collection[str],
    first_seed: int = 0,
) -> "Comparison":
    """Train all subjects on all tasks; recorded in the ledger of the first run among them."""
    from discovery.executors.cpu import ensure_single_thread

    ensure_single_thread()
    from discovery.compare import compare, subjects
    from discovery.run import Run

    who = subjects(names)
    for task in tasks:
        try:
            task.environment()
        except ValueError as error:
            raise BadInput(str(error)) from error
    command = join(["discovery", "evaluate", *names, "--seeds", str(seeds), "--first-seed", str(first_seed)])
    folders = run_folders_of(names)
    with Run.open(folders[0], write=True) if folders else nullcontext() as run:
        return compare(who, tasks, seeds, executor, run and run.ledger, shown, command, held_out, first_seed)


def print_comparison(result: "Comparison") -> None:
    """The table and what it says in words."""
    show(result.table(), width=160)
    for sentence in result.verdicts():
        show(sentence)


def run_folders_of(names: Sequence[str]) -> list[Path]:
    """The runs among subjects, each once."""
    folders = dict.fromkeys(Path(name.partition("@")[0]) for name in names)
    return [folder for folder in folders if (folder / CONFIG).is_file()]


def _resolved(name: str, output: Path) -> str:
    """A subject's name, with a run's as its path.

    Raises:
        BadInput: nothing is called so, with the nearest names.
    """
    from objectives import FACTORIES

    base, at, generation = name.partition("@")
    if ":" in name or (base in FACTORIES and not at):
        return name
    if not Path(base).exists() and not (output / base).exists():
        names = [*FACTORIES, *(folder.name for folder in run_folders(output)[-20:])]
        raise unknown("run or algorithm", base, names)
    return f"{find_run(base, output)}{at}{generation}"


def _config(folders: Sequence[Path], args: Evaluate) -> SearchConfig:
    """How trainings are run: as in the first run, with what was overridden."""
    config = load(folders[0] / CONFIG) if folders else SearchConfig()
    executor = args.executor or config.executor
    workers = config.workers if args.workers is None and executor == config.executor else args.workers
    width = config.agents_per_call if args.agents_per_call is None else args.agents_per_call
    return replace(config, executor=executor, workers=workers, agents_per_call=width)


def _tasks(names: Sequence[str], folders: Sequence[Path]) -> tuple[list[Task], list[str]]:
    """The tasks called `names`, by default all of the runs'; and those of them that no run searched on."""
    configs = [load(folder / CONFIG) for folder in folders]
    own = {task.name: task for config in configs for task in (*config.tasks, *config.held_out)}
    if not names and not own:
        raise BadInput(
            "on which tasks? Without a run, give --tasks: names from `discovery envs`, or of a preset's tasks"
        )
    known = dict(_preset_tasks()) | own
    found = [known.get(name) or _plain_task(name, known) for name in dict.fromkeys(names or own)]
    searched = {task.name for config in configs for task in config.tasks}
    return found, [task.name for task in found if folders and task.name not in searched]


def _preset_tasks() -> Iterator[tuple[str, Task]]:
    for name in presets.names():
        config, _ = presets.read(name)
        yield from ((task.name, task) for task in (*config.tasks, *config.held_out))


def _plain_task(name: str, known: dict[str, Task]) -> Task:
    from discovery.commands.catalog import known as environments

    if name not in environments() and ":" not in name:
        raise unknown("task or environment", name, {*known, *environments()})
    return Task(name=name, setup=Setup(environment=name))
