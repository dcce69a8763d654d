"""``discovery report RUN``."""

import webbrowser
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, arg

from discovery.app.commands.folders import OUTPUT, find_run
from discovery.app.commands.parsing import parse
from discovery.core.files import check_writable

PROG = "discovery report"

DESCRIPTION = """Write a run's report: one HTML page that needs no network, with its numbers as JSON.

It says what was searched, how, and at what cost; what was found; how that compares with known algorithms on
new seeds and held-out tasks; and what limits these results. The search may still be running.

  discovery report runs/NAME
  discovery report NAME --out found.html --open yes
  discovery report NAME --control OTHER         beside another search of the same tasks, at the same budget
"""


@dataclass(frozen=True)
class ReportOf:
    """Arguments of `discovery report`."""

    run: Annotated[Positional[str], arg(metavar="RUN")]
    """A run's folder, or its name in --output."""
    out: Path | None = None
    """File of the page; the numbers go next to it. Default: report.html in the run's folder."""
    control: str | None = None
    """Another run of the same tasks, such as the best of as many random programs, to show beside RUN."""
    open: Literal["yes", "no"] = "no"
    """Whether to open the page in a browser."""
    output: Path = OUTPUT
    """Folder in which RUN, and a control, are searched."""


def main(argv: Sequence[str]) -> int:
    """Run the verb."""
    args = parse(ReportOf, argv, PROG, DESCRIPTION)
    folder = find_run(args.run, args.output)
    check_writable(args.out or folder / "report.html", "--out")
    from discovery.executors.cpu import ensure_single_thread

    ensure_single_thread()
    from discovery.display.report import write_report
    from discovery.results.loaded import load_run

    control = None if args.control is None else load_run(find_run(args.control, args.output))
    path = write_report(load_run(folder), args.out, control)
    print(path)
    print(path.with_suffix(".json"))
    if args.open == "yes":
        webbrowser.open(path.resolve().as_uri())
    return 0
