"""The files of a comparison on a suite: its numbers as JSON and tables, and its pictures."""

import csv
import io
from pathlib import Path
from typing import Any

from discovery.core.errors import RunError
from discovery.core.files import write_whole
from discovery.core.json import json_text
from discovery.core.versions import versions
from discovery.display import plots
from discovery.display.pictures import suites
from discovery.judging.robustness import variant_name
from discovery.judging.sentences import suite_sentences
from discovery.judging.suite_comparison import SuiteComparison
from discovery.store.rows import now


def write_suite_files(result: SuiteComparison, folder: Path, command: str = "") -> list[Path]:
    """Write comparison.json, scores.csv, table.csv and the pictures; returns their paths.

    Raises:
        RunError: a file cannot be written; all trainings are recorded in the ledger.
    """
    about = {"command": command, "date": now(), "versions": versions()}
    verdicts = {"verdicts": suite_sentences(result)}
    try:
        paths = [
            write_whole(folder / "comparison.json", json_text(about | result.to_dict() | verdicts)),
            write_whole(folder / "scores.csv", _scores(result)),
            write_whole(folder / "table.csv", result.frame().to_csv(index=False)),
        ]
        drawn = suites.pictures(result)
        return paths + [plots.save(figure, folder / f"{name}.png") for name, figure in drawn.items()]
    except OSError as error:
        raise RunError(
            f"{folder} cannot be written: {error.strerror}; what was trained is recorded"
        ) from error


def _scores(result: SuiteComparison) -> str:
    """One line per training; the score of one that failed is empty."""
    references = {entry.task.name: entry for entry in result.entries}
    cells = [("", cell) for cell in result.comparison.cells]
    cells += [
        (variant_name(each.parameter, factor), cell)
        for each in result.robustness
        for factor, listed in each.cells.items()
        if factor != 1
        for cell in listed
    ]
    text = io.StringIO()
    lines: Any = csv.writer(text, lineterminator="\n")
    lines.writerow(["task", "held_out", "subject", "source", "variant", "seed", "score", "normalized"])
    for variant, cell in cells:
        known = (cell.task, cell.task in result.comparison.held_out, cell.subject)
        normalized = references[cell.task].normalized(cell.scores)
        for seed, score, share in zip(cell.seeds, cell.scores, normalized, strict=True):
            values = ["" if x != x else float(x) for x in (score, share)]
            lines.writerow([*known, result.comparison.sources[cell.subject], variant, int(seed), *values])
    return text.getvalue()
