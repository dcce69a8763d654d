"""``discovery plot RUN``."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from discovery.app.commands.folders import OUTPUT, find_run
from discovery.app.commands.parsing import parse
from discovery.core.errors import RunError
from discovery.core.files import check_writable

PROG = "discovery plot"

DESCRIPTION = """Plot a run: the search's scores by generation; what was found (a drift, a mirror map, an
optimizer, learned targets) next to known ones; and, after `discovery evaluate`, learning curves and the
comparison. A run can be plotted while its search is running.

  discovery plot runs/NAME
"""


@dataclass(frozen=True)
class Plot:
    """Arguments of `discovery plot`."""

    run: Annotated[Positional[str], arg(metavar="RUN")]
    """A run's folder, or its name in --output."""
    out: Path | None = None
    """Folder of the pictures. Default: plots/ in the run's folder."""
    output: Path = OUTPUT
    """Folder in which RUN is searched."""


def main(argv: Sequence[str]) -> int:
    """Run the verb."""
    args = parse(Plot, argv, PROG, DESCRIPTION)
    folder = find_run(args.run, args.output)
    check_writable(args.out or folder / "plots", "--out", folder=True)
    for path in draw(folder, args.out or folder / "plots"):
        print(path)
    return 0


def draw(run: Path, out: Path) -> list[Path]:
    """Every picture of a run, in the folder `out`."""
    from discovery.executors.cpu import ensure_single_thread

    ensure_single_thread()
    from discovery.display.pictures.runs import plot_run
    from discovery.results.loaded import load_run

    loaded = load_run(run)
    if not loaded.n_generations and not loaded.selection:
        raise RunError(f"{run} has nothing to plot yet: no training is recorded")
    try:
        return plot_run(loaded, out)
    except OSError as error:
        raise RunError(
            f"{out} cannot be written: {error.strerror}; choose another folder with --out"
        ) from error
