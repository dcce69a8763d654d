"""``discovery list``."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from discovery.app.commands.folders import OUTPUT, Standing, algorithm_text, run_folders, standing
from discovery.app.commands.parsing import parse
from discovery.app.commands.tables import show, table
from discovery.core.errors import BadInput

PROG = "discovery list"

DESCRIPTION = """List the runs below a folder, oldest first.

The score is that of the best mean so far on the selection seeds, averaged over them, for each task.
"""


@dataclass(frozen=True)
class List:
    """Arguments of `discovery list`."""

    output: Path = OUTPUT
    """Folder that holds the runs."""
    json: bool = False
    """Print one JSON object a run, for programs."""


def main(argv: Sequence[str]) -> int:
    """Run the verb."""
    args = parse(List, argv, PROG, DESCRIPTION)
    if not args.output.is_dir() and args.output != OUTPUT:
        raise BadInput(f"there is no folder {args.output}")
    from discovery.display.formats import json_line

    folders = run_folders(args.output)
    if args.json:
        for folder in folders:
            print(json_line(facts_of(standing(folder))), flush=True)
        return 0
    if not folders:
        print(f"There are no runs in {args.output}. `discovery presets` shows what to begin with.")
        return 0
    found = [standing(folder) for folder in folders]
    header = ("run", "preset", "algorithm", "generation", "score", "state")
    show(table(header, [_row(one) for one in found], right=("generation", "score")))
    for one in found:
        if one.trouble:
            print(f"{one.folder}: {one.trouble}")
    return 0


def _row(one: Standing) -> tuple[str, ...]:
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


def facts_of(one: Standing) -> dict[str, Any]:
    """Where a run stands, for programs."""
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
