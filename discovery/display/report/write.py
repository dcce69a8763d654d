"""Write a run's report: the page, and a JSON file with all of its numbers."""

from pathlib import Path

from discovery.core.errors import BadInput
from discovery.core.files import write_whole
from discovery.display.report.facts import collect
from discovery.display.report.figures import draw
from discovery.display.report.page import page
from discovery.judging.evaluate import recorded
from discovery.judging.robustness import recorded_sweeps
from discovery.results.loaded import RunData

NAME = "report.html"


def write_report(run: RunData, out: Path | str | None = None, control: RunData | None = None) -> Path:
    """Write the report of a loaded run: one page of HTML, and its numbers as JSON.

    Args:
        run: which run; it need not be complete.
        out: file of the page, by default report.html in the run's folder. The numbers are written to the file
            of the same name that ends in .json.
        control: another run of the same tasks, to show beside it at the same budget.

    Returns:
        The page's path.

    Raises:
        BadInput: the files cannot be written there, or the other run is no control for this one.
        LedgerError: the ledger cannot be read.
    """
    path = run.folder / NAME if out is None else Path(out)
    if path.is_dir():
        raise BadInput(f"{path} is a folder; name the file to write, for example {path / NAME}")
    if path.suffix.lower() not in (".html", ".htm"):
        raise BadInput(f"a report is a page of HTML; end its name in .html, not {path.name!r}")
    reports = recorded(run)
    swept = recorded_sweeps(run, reports)
    report = collect(run, reports, swept, control)
    drawn = draw(run, reports, report, swept)
    _write(path.with_suffix(".json"), report.to_json())
    _write(path, page(report, drawn))
    return path


def _write(path: Path, text: str) -> None:
    """Write a file; raise `BadInput` if that fails."""
    try:
        write_whole(path, text)
    except OSError as error:
        raise BadInput(
            f"{path} cannot be written: {error.strerror}; choose another file with --out"
        ) from error
