"""``discovery list``."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from discovery.app.commands.folders import OUTPUT, Status, algorithm_text, run_folders, status
from discovery.app.commands.parsing import parse
from discovery.app.commands.tables import show, table
from discovery.core.errors import BadInput

PROG = "discovery list"

DESCRIPTION = """List the runs in a folder, oldest first.

The score is the best answer's so far, averaged over the selection seeds, for each task.
"""


@dataclass(frozen=True)
class List:
    """Arguments of `discovery list`."""

    output: Path = OUTPUT
    """Folder of the runs."""
    json: bool = False
    """Print one JSON object per run, for programs."""


def main(argv: Sequence[str]) -> int:
    """Run the verb."""
    args = parse(List, argv, PROG, DESCRIPTION)
    if not args.output.is_dir() and args.output != OUTPUT:
        raise BadInput(f"folder {args.output} does not exist; see --output")
    from discovery.core.json import json_line

    folders = run_folders(args.output)
    if args.json:
        for folder in folders:
            print(json_line(facts_of(status(folder))), flush=True)
        return 0
    if not folders:
        print(f"There are no runs in {args.output}. `discovery presets` lists searches to start with.")
        return 0
    found = [status(folder) for folder in folders]
    header = ("run", "preset", "algorithm", "generation", "score", "state")
    show(table(header, [_row(one) for one in found], right=("generation", "score")))
    for one in found:
        if one.trouble:
            print(f"{one.folder}: {one.trouble}")
    return 0


def _row(one: Status) -> tuple[str, ...]:
    from discovery.display.formats import score

    if one.config is None:
        return one.folder.name, "", "", "", "", one.state
    several = len(one.scores) > 1
    scores = ", ".join(
        f"{task} {score(values.mean())}" if several else score(values.mean())
        for task, values in one.scores.items()
    )
    progress = f"{one.closed}/{one.config.generations}"
    preset = one.meta.get("preset", "")
    return one.folder.name, preset, algorithm_text(one.config), progress, scores or "-", one.state


def facts_of(one: Status) -> dict[str, Any]:
    """A run's progress, for programs."""
    config = one.config
    return {
        "run": str(one.folder),
        "state": one.state,
        "preset": one.meta.get("preset", ""),
        "algorithm": "" if config is None else algorithm_text(config),
        "closed": one.closed,
        "generations": 0 if config is None else config.generations,
        "chosen": one.chosen,
        "scores": {task: float(values.mean()) for task, values in one.scores.items()},
        "trouble": one.trouble,
    }
