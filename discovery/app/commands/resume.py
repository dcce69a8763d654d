"""``discovery resume RUN``."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from tyro.conf import Positional, arg

from discovery.app.commands.folders import OUTPUT, find_run
from discovery.app.commands.parsing import parse
from discovery.app.commands.where import CPU, Where, elsewhere
from discovery.core.config.search import SearchConfig
from discovery.core.errors import BadInput, RunError
from discovery.core.files import write_whole
from discovery.core.toml import CONFIG, dumps

if TYPE_CHECKING:
    from discovery.store.run import Run

PROG = "discovery resume"

DESCRIPTION = """Continue a search that was interrupted or killed, or extend one that is done.

Finished trainings are not repeated, and the numbers are those of a search that was never interrupted. Only
the number of generations and settings without influence on the numbers can be changed. A change between GPUs
and cores does change their last digits; a warning says so.

  discovery resume runs/NAME
  discovery resume NAME --generations 60 --workers 4
"""


@dataclass(frozen=True)
class Resume:
    """Arguments of `discovery resume`."""

    run: Annotated[Positional[str], arg(metavar="RUN")]
    """A run's folder, or its name in --output."""
    generations: int | None = None
    """Extend the search to this number of generations, and record it."""
    where: Annotated[Where, arg(name="")] = field(default_factory=Where)
    output: Path = OUTPUT
    """Folder in which RUN is searched."""
    quiet: bool = False
    """Print nothing but warnings and errors."""
    json: bool = False
    """Print one JSON object per line, for programs."""


def main(argv: Sequence[str]) -> int:
    """Run the verb."""
    args = parse(Resume, argv, PROG, DESCRIPTION)
    folder = find_run(args.run, args.output)

    from discovery.app.commands.session import conduct
    from discovery.display.progress import view
    from discovery.executors import executor_of
    from discovery.search.check import check
    from discovery.search.width import accelerators
    from discovery.store.run import Run

    run = Run.open(folder, write=True)
    try:
        run.refuse_changed_config()
        config = elsewhere(run.config, args.where)
        executor = executor_of(config)
        longer = extended(run.config, args.generations)
        check(longer)
    except BaseException:
        run.close()
        raise
    with run, executor:
        if longer != run.config:  # only now that an executor could be made
            run.config = longer
            write_config(run)
        shown = view(run.config, args.quiet, args.json)
        both = config.gpu_workers and config.workers
        if not both and (moved := moved_between(run.ledger.devices(), accelerators(config) > 0)):
            shown.warn(moved)
        return conduct(run, executor, shown)


def moved_between(devices: set[str], accelerated: bool) -> str:
    """A warning if trainings move to another kind of device; empty if they ran on both or do not move."""
    if accelerated and devices == {CPU}:
        before, after = "cores", "accelerators"
    elif not accelerated and devices and CPU not in devices:
        before, after = ", ".join(sorted(devices)), "cores"
    else:
        return ""
    return f"its trainings ran on {before} so far, and run on {after} now: scores differ in their last digits"


def extended(config: SearchConfig, generations: int | None) -> SearchConfig:
    """The config with more generations."""
    if generations is None or generations == config.generations:
        return config
    if generations < config.generations:
        raise BadInput(
            f"the run has {config.generations} generations, which can be extended but not cut, "
            f"got --generations {generations}"
        )
    return dataclasses.replace(config, generations=generations)


def write_config(run: "Run") -> None:
    """Write the run's config to its folder."""
    path = run.folder / CONFIG
    try:
        write_whole(path, dumps(run.config))
    except OSError as error:
        raise RunError(f"{path} cannot be written: {error.strerror}") from error
