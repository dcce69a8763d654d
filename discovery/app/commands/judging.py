"""What `discovery evaluate` and `discovery compare` share: names of subjects, sweeps, folders, Ctrl-C."""

import re
import sys
from collections.abc import Sequence
from pathlib import Path

from discovery.app.commands.failure import INTERRUPTED
from discovery.app.commands.folders import find_run, run_folders
from discovery.core.errors import BadInput, unknown
from discovery.core.toml import is_run


def resolved(names: Sequence[str], output: Path, prog: str) -> list[str]:
    """Names of subjects, with runs replaced by their paths.

    Raises:
        BadInput: no name is given, or one is unknown; the message has the nearest names.
    """
    if not names:
        raise BadInput(f"name at least one run, algorithm or file, for example `{prog} runs/NAME ppo`")
    return [_resolved(name, output) for name in names]


def _resolved(name: str, output: Path) -> str:
    from objectives import FAMILIES, is_known

    plain, _, options = name.partition("[")
    base, at, generation = plain.partition("@")
    if ":" in plain or plain.endswith(".py") or (is_known(base) and not at):
        return name
    if not Path(base).exists() and not (output / base).exists():
        if is_known(base):
            return name  # `subjects` says that an algorithm has no generations
        names = [*FAMILIES, *(folder.name for folder in run_folders(output)[-20:])]
        raise unknown("run or algorithm", base, names)
    return f"{find_run(base, output)}{at}{generation}" + (f"[{options}" if options else "")


def check_seeds(seeds: int, first_seed: int) -> None:
    """Refuse numbers of seeds that are too small."""
    if seeds < 1:
        raise BadInput(f"seeds must be at least 1, got {seeds}")
    if first_seed < 0:
        raise BadInput(f"first_seed must be at least 0, got {first_seed}")


def parsed_sweeps(texts: Sequence[str]) -> dict[str, tuple[float, ...]]:
    """Parameter -> factors, from the values of --sweep."""
    if not texts:
        return {}
    from discovery.executors.cpu import ensure_single_thread

    ensure_single_thread()
    from discovery.judging.sweep import parse_sweep

    found: dict[str, tuple[float, ...]] = {}
    for parameter, factors in map(parse_sweep, texts):
        if parameter in found:
            raise BadInput(f"--sweep {parameter} was given twice; give all its factors at once")
        found[parameter] = factors
    return found


def store_folder(output: Path, name: str) -> Path:
    """The folder of a comparison that is called `name`."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
        raise BadInput(f"--name may only have letters, digits, '.', '_' and '-', got {name!r}")
    if is_run(output / name):
        raise BadInput(f"{output / name} is the run of a search; choose another --name for the comparison")
    return output / name


def stopped(recorded: bool) -> int:
    """Say how to continue after Ctrl-C."""
    kept = "; finished trainings are recorded, and the same command continues from there" if recorded else ""
    print(f"\nStopped{kept}", file=sys.stderr)
    return INTERRUPTED
