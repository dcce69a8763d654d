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

DESCRIPTION = """Write a run's report: one page of HTML that needs no network, and all of its numbers as JSON
beside it. What was searched, how, at what cost; what was found, how it compares with known algorithms on
fresh seeds and held-out tasks, and what to keep in mind. A run may be reported while its search goes on.

  discovery report runs/NAME
  discovery report NAME --out found.html --open yes
"""


@dataclass(frozen=True)
class ReportOf:
    """Arguments of `discovery report`."""

    run: Annotated[Positional[str], arg(metavar="RUN")]
    """The run's folder, or its name below --output."""
    out: Path | None = None
    """The page to write; the numbers go beside it. Default: report.html in the run's folder."""
    open: Literal["yes", "no"] = "no"
    """Whether to show the page in a browser."""
    output: Path = OUTPUT
    """Folder in which RUN is looked for."""


def main(argv: Sequence[str]) -> int:
    """Run the verb."""
    args = parse(ReportOf, argv, PROG, DESCRIPTION)
    folder = find_run(args.run, args.output)
    check_writable(args.out or folder / "report.html", "--out")
    from discovery.executors.cpu import ensure_single_thread

    ensure_single_thread()
    from discovery.display.report import write_report
    from discovery.results.loaded import load_run

    path = write_report(load_run(folder), args.out)
    print(path)
    print(path.with_suffix(".json"))
    if args.open == "yes":
        webbrowser.open(path.resolve().as_uri())
    return 0
