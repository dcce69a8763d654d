"""``discovery export RUN --to FORMAT --out FILE``."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from tyro.conf import Positional, arg

from discovery.app.commands.folders import OUTPUT, find_run
from discovery.app.commands.parsing import parse
from discovery.core.errors import BadInput
from discovery.core.files import check_writable
from discovery.core.toml import is_run

if TYPE_CHECKING:
    from discovery.results.loaded import Generation

PROG = "discovery export"

DESCRIPTION = """Write what a run found as one standalone Python file that does not need this project.

  discovery export runs/NAME --to jax --out found.py --verify
  discovery export NAME --to purejaxrl
  discovery export NAME --to rejax --generation 12    or NAME@12
  discovery export NAME --to optax

Formats: a policy loss as jax (needs numpy and jax only), or as purejaxrl or rejax (with an adapter for that
code base); a mirror map as jax; a learned optimizer as optax (a gradient transformation).
"""


@dataclass(frozen=True)
class Export:
    """Arguments of `discovery export`."""

    run: Annotated[Positional[str], arg(metavar="RUN")]
    """The run's folder, or its name below --output; RUN@12 and RUN@initial also set --generation."""
    to: str = "jax"
    """Format: jax, purejaxrl, rejax or optax."""
    out: Path | None = None
    """File to write. Default: named by algorithm and format, in exports/ of the run's folder."""
    generation: str | None = None
    """Generation whose mean is exported: a number, "initial" or "last". Default: the one the search chose."""
    verify: bool = False
    """Check that the file computes what was trained, at 10,000 points or over steps; write it only then."""
    output: Path = OUTPUT
    """Folder in which RUN is searched."""


def main(argv: Sequence[str]) -> int:
    """Run the verb."""
    args = parse(Export, argv, PROG, DESCRIPTION)
    from discovery.export.parts import check_format

    check_format(args.to)
    name, generation = args.run, args.generation
    if generation is None and not (is_run(name) or is_run(args.output / name)):
        base, at, behind = name.rpartition("@")
        name, generation = (base, behind) if at else (name, None)
    folder = find_run(name, args.output)
    check_writable(args.out or folder / "exports" / "found.py", "--out")
    path, report = take(folder, args.to, args.out, generation, args.verify)
    print(path)
    if report:
        print(report)
    return 0


def take(
    folder: Path, target: str, out: Path | None = None, generation: str | None = None, prove: bool = True
) -> tuple[Path, str]:
    """Write the file, after verifying it if asked; returns its path and the result of the check."""
    from discovery.executors.cpu import ensure_single_thread

    ensure_single_thread()
    from discovery.export.run import source_of, verify_source, write_file
    from discovery.results.loaded import load_run

    run = load_run(folder)
    which = _generation(generation)
    mean = "" if which is None else f"_generation_{run.generation_number(which)}"
    path = out or folder / "exports" / f"{run.spec.name.rpartition(':')[2]}{mean}_{target}.py"
    source = source_of(run, target, which)
    report = str(verify_source(source, run, which)) if prove else ""
    return write_file(path, source), report


def _generation(text: str | None) -> "Generation":
    if text is None or text == "initial" or text == "last":
        return text
    try:
        return int(text)
    except ValueError:
        raise BadInput(f'the generation must be a number, "initial" or "last", got {text!r}') from None
