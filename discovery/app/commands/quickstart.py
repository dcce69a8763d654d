"""``discovery quickstart``: a whole small discovery, from a random network to an exported file."""

import dataclasses
import shlex
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from discovery.app.commands.folders import OUTPUT
from discovery.app.commands.parsing import parse
from discovery.app.commands.tables import show
from discovery.app.commands.where import Where, elsewhere
from discovery.core import presets
from discovery.core.config.search import SearchConfig
from discovery.core.errors import BadInput

if TYPE_CHECKING:
    from discovery.executors.base import Executor

PROG = "discovery quickstart"

DESCRIPTION = """Discover a drift function for policy optimization from random weights, and evaluate it.

Searches with the preset `quickstart`, compares the result with its initial mean, PPO and DPO on held-out
seeds and on a task the search never saw, draws it, and exports and verifies it as one file.
Takes minutes on two cores.
"""

AGAINST = ("ppo", "dpo")
STEPS = ("search", "compare on held-out seeds", "draw", "export and verify")


@dataclass(frozen=True)
class Quickstart:
    """Arguments of `discovery quickstart`."""

    preset: str = "quickstart"
    """The search: a preset or a TOML file."""
    seed: int = 0
    """Seed of the search."""
    generations: int | None = None
    """Generations of the search. Default: the preset's."""
    seeds: int = 64
    """Held-out seeds of the comparison."""
    workers: int | None = None
    """Workers. Default: one per core."""
    executor: str | None = None
    """Where trainings run: "processes", "ray" or "inline". Default: the preset's."""
    output: Path = OUTPUT
    """Folder in which the run's folder is created."""
    name: str | None = None
    """The run's name. Default: date, preset and a short id."""
    quiet: bool = False
    """Print the final table and the paths only."""


def main(argv: Sequence[str]) -> int:
    """Run the verb."""
    args = parse(Quickstart, argv, PROG, DESCRIPTION)
    if args.seeds < 1:
        raise BadInput(f"seeds must be at least 1, got {args.seeds}")
    if args.generations is not None and args.generations < 1:
        raise BadInput(f"generations must be at least 1, got {args.generations}")
    preset, short = presets.read(args.preset)
    config = _config(preset, args)
    began = time.monotonic()

    from discovery.app.begin import begin
    from discovery.app.commands.session import conduct
    from discovery.display.progress import view

    run, executor = begin(config, args.output, short, args.name)
    with executor:
        _announce(1, args.quiet)
        if code := conduct(run, executor, view(run.config, args.quiet), farewell=False):
            return code
        return _enjoy(run.folder, config, args, executor, began)


def _config(preset: SearchConfig, args: Quickstart) -> SearchConfig:
    generations = preset.generations if args.generations is None else args.generations
    config = elsewhere(preset, Where(args.executor, args.workers))
    return dataclasses.replace(config, seed=args.seed, generations=generations)


def _announce(number: int, quiet: bool) -> None:
    if not quiet:
        print(f"\n{number}/{len(STEPS)} {STEPS[number - 1]}", flush=True)


def _enjoy(folder: Path, config: SearchConfig, args: Quickstart, executor: "Executor", began: float) -> int:
    """Compare, draw and export, and print the results."""
    from discovery.app.api import evaluate
    from discovery.app.commands.evaluate import print_comparison
    from discovery.app.commands.export import take
    from discovery.app.commands.plot import draw
    from discovery.display.formats import duration
    from discovery.display.progress import view

    _announce(2, args.quiet)
    against, tasks = ("initial", *AGAINST), [task.name for task in config.every_task]
    with view(None, args.quiet) as shown:
        result = evaluate(folder, against, tasks, args.seeds, executor, shown, test=bool(config.held_out))
    executor.close()
    _announce(3, args.quiet)
    pictures = draw(folder, folder / "plots")
    _announce(4, args.quiet)
    path, proof = take(folder, "jax")

    print()
    print_comparison(result)
    name = shlex.quote(str(folder))
    show(f"\nRun       {folder} ({duration(time.monotonic() - began)} in all)")
    for picture in pictures:
        show(f"Picture   {picture}")
    show(f"File      {path}\n{proof}")
    print(
        "Next"
        f"\n  discovery show {name}"
        f"\n  discovery evaluate {name} ppo --tasks Acrobot-v1 --seeds 32"
        f"\n  discovery export {name} --to purejaxrl --out found.py"
        f"\n  discovery search lpo-catch --seed 1"
        f"\n  discovery search ta-lpo-catch --dry-run"
    )
    return 0
