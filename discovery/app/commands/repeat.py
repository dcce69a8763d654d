"""``discovery repeat RUN``."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from tyro.conf import Positional, arg

from discovery.app.commands.folders import OUTPUT, find_run
from discovery.app.commands.parsing import parse
from discovery.app.commands.where import Where, elsewhere
from discovery.core.errors import BadInput, RunError
from discovery.core.toml import is_run

if TYPE_CHECKING:
    from discovery.display.progress import View
    from discovery.store.run import Run

PROG = "discovery repeat"

DESCRIPTION = """Run a finished search again, in a new run, and compare all numbers.

With the same config, start and versions, on the same kind of device, they agree row for row and bit for bit;
another kind of CPU can round differently. An asynchronous search learns from its trainings in the recorded
order, whichever finishes first this time.

  discovery repeat runs/NAME
  discovery repeat NAME --executor ray --address auto
  discovery repeat NAME --name AGAIN    continue AGAIN, a repetition of NAME that was interrupted
"""

SHOWN = 5
"""Number of differences that are listed."""


@dataclass(frozen=True)
class Repeat:
    """Arguments of `discovery repeat`."""

    run: Annotated[Positional[str], arg(metavar="RUN")]
    """A run's folder, or its name in --output."""
    output: Path = OUTPUT
    """Folder in which RUN is searched and the new run's folder is created."""
    name: str | None = None
    """Name of the new run, or of a repetition of RUN to continue. Default: date, "repeat" and a short id."""
    where: Annotated[Where, arg(name="")] = field(default_factory=Where)
    quiet: bool = False
    """Print nothing but warnings and errors."""
    json: bool = False
    """Print one JSON object per line, for programs."""


def main(argv: Sequence[str]) -> int:
    """Run the verb; exit code 1 if numbers differ."""
    args = parse(Repeat, argv, PROG, DESCRIPTION)
    folder = find_run(args.run, args.output)

    from discovery.app.commands.folders import status
    from discovery.app.commands.session import conduct
    from discovery.core.versions import changes
    from discovery.display.progress import view
    from discovery.executors import executor_of
    from discovery.search.check import check
    from discovery.store.run import config_hash

    former = status(folder)
    if former.config is None:
        raise RunError(former.trouble)
    if former.state == "running":
        raise RunError(f"{folder} is still running; repeat it when it is finished")
    if former.state != "done":
        raise BadInput(
            f"{folder} is not finished, so there is nothing to compare with; run "
            f"`discovery resume {shlex.quote(str(folder))}` first"
        )
    executor = executor_of(elsewhere(former.config, args.where))
    check(former.config)
    shown = view(former.config, args.quiet, args.json)
    if changed := changes(former.meta):
        shown.warn(f"since {folder} began, {'; '.join(changed)}: its numbers may differ")
    if former.config.meta.asynchronous and former.meta["config_hash"] != config_hash(former.config):
        shown.warn(
            f"{folder} was extended, and an extended asynchronous search differs from one that had as many "
            "generations from the start: numbers will differ"
        )
    with executor:
        run = begin_again(folder, args)
        words = [str(folder), "--output", str(args.output), "--name", run.name]
        code = conduct(run, executor, shown, f"discovery repeat {shlex.join(words)}", farewell=False)
    return code or compare(folder, run.folder, shown)


def begin_again(folder: Path, args: Repeat) -> "Run":
    """A run with another's config, start and order of learning: a new one, or the one that --name names."""
    from discovery.search.async_state import order_of
    from discovery.store.run import Run
    from discovery.store.start import Start, origins_of

    with Run.open(folder) as former:
        mean, meta, order = former.start(), former.ledger.meta, order_of(former)
        if args.name is None or not is_run(args.output / args.name):
            start = None if mean is None else Start(mean, origins_of(meta))
            return Run.create(former.config, args.output, "repeat", args.name, start, order)
        if (args.output / args.name).resolve() == folder.resolve():
            raise BadInput(f"{folder} cannot repeat itself; give another --name")
        run = Run.open(args.output / args.name, write=True)
        theirs = run.config, run.ledger.meta.get("start_digest"), run.ledger.load_order()
        if theirs == (former.config, meta.get("start_digest"), order):
            return run
        run.close()
        raise BadInput(f"{run.folder} exists and does not repeat {folder}; choose another --name")


def compare(one: Path, other: Path, view: "View") -> int:
    """Print how the numbers of two runs differ; returns the exit code."""
    from discovery.store.differences import same_numbers
    from discovery.store.ledger import Ledger

    with Ledger.open(one) as ours, Ledger.open(other) as theirs:
        found = [line for line in same_numbers(ours, theirs) if not line.startswith("reports ")]
    if not found:
        view.say("same", f"\nAll numbers agree with {one}, row for row and bit for bit", run=str(one))
        return 0
    listed = "".join(f"\n  {line}" for line in found[:SHOWN])
    more = f"\n  and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
    view.say(
        "differences",
        f"\n{len(found)} numbers differ from {one}:{listed}{more}",
        run=str(one),
        count=len(found),
        differences=found[:SHOWN],
    )
    return 1
