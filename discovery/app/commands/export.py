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
code base); a mirror map as jax; a learned optimizer as optax (a gradient transformation). Programs are
written as functions in jax or torch, and also in the formats above; of several programs, each is a file.
"""


@dataclass(frozen=True)
class Export:
    """Arguments of `discovery export`."""

    run: Annotated[Positional[str], arg(metavar="RUN")]
    """The run's folder, or its name below --output; RUN@12 and RUN@initial also set --generation."""
    to: str = "jax"
    """Format: jax, purejaxrl, rejax, torch or optax."""
    part: str | None = None
    """Part to write, if the format takes several: the slot of a program. Default: all, each to a file."""
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
    for part in [args.part] if args.part else _parts(folder, args):
        path, report = take(folder, args.to, args.out, generation, args.verify, part)
        print(path)
        if report:
            print(report)
    return 0


def _parts(folder: Path, args: Export) -> list[str]:
    """The parts to write, if there are several for the format, or one without a name."""
    from discovery.executors.cpu import ensure_single_thread

    ensure_single_thread()
    from discovery.export.parts import parts_for
    from discovery.results.loaded import load_run

    parts = parts_for(load_run(folder).spec, args.to)
    if len(parts) > 1 and args.out:
        raise BadInput(
            f"{args.to} takes several parts of this run, and --out names one file: add "
            f"{' or '.join(f'--part {part}' for part in parts)}, or leave --out out to write all"
        )
    return parts if len(parts) > 1 else [""]


def take(
    folder: Path,
    target: str,
    out: Path | None = None,
    generation: str | None = None,
    prove: bool = True,
    part: str = "",
) -> tuple[Path, str]:
    """Write the file, after verifying it if asked; returns its path and the result of the check."""
    from discovery.executors.cpu import ensure_single_thread

    ensure_single_thread()
    from discovery.export.run import source_of, verify_source, write_file
    from discovery.results.loaded import load_run

    run = load_run(folder)
    which = _generation(generation)
    mean = "" if which is None else f"_generation_{run.generation_number(which)}"
    named = f"{run.spec.name.rpartition(':')[2]}{mean}{part and '_'}{part}_{target}.py"
    path = out or folder / "exports" / named
    source = source_of(run, target, which, part)
    report = str(verify_source(source, run, which)) if prove else ""
    return write_file(path, source), report


def _generation(text: str | None) -> "Generation":
    if text is None or text == "initial" or text == "last":
        return text
    try:
        return int(text)
    except ValueError:
        raise BadInput(f'the generation must be a number, "initial" or "last", got {text!r}') from None
