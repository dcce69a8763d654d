"""``discovery program FILE|NAME|RUN``."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from tyro.conf import Positional, arg

from discovery.app.commands.folders import OUTPUT, find_run, run_folders
from discovery.app.commands.parsing import parse
from discovery.core.errors import BadInput, unknown
from discovery.core.json import json_line
from discovery.core.toml import is_run

if TYPE_CHECKING:
    from discovery.results.programs import Explanation
    from objectives.programs.graph import Program

PROG = "discovery program"

DESCRIPTION = """Check and explain programs: those of a file, a known one, or those that a run found.

  discovery program my_loss.py
  discovery program ppo --slot policy_loss
  discovery program runs/NAME

A program is a function in restricted Python over jnp, which is read and never executed. For example,
my_loss.py:

  def policy_loss(log_ratio, advantage):
      ratio = jnp.exp(log_ratio)
      return -jnp.minimum(ratio * advantage, jnp.clip(ratio, 0.8, 1.2) * advantage)

The function's name says the slot: which part of an algorithm it is. docs/families/programs.md has all slots,
with their inputs. `discovery compare my_loss.py ppo --suite classic` trains agents with it. A refused program
ends with exit code 2.
"""


@dataclass(frozen=True)
class Explain:
    """Arguments of `discovery program`."""

    program: Annotated[Positional[str], arg(metavar="FILE|NAME|RUN")]
    """A Python file, a known program such as ppo, or a run: its folder, or its name in --output."""
    slot: str | None = None
    """The slot, if a known program is in several, or the one function of a file has another name."""
    json: bool = False
    """Print one JSON object for each program, for programs."""
    output: Path = OUTPUT
    """Folder in which RUN is searched."""


def main(argv: Sequence[str]) -> int:
    """Run the verb."""
    args = parse(Explain, argv, PROG, DESCRIPTION)
    from discovery.executors.cpu import ensure_single_thread

    ensure_single_thread()
    from discovery.results.programs import explain
    from objectives.programs.slots import SLOTS

    if args.slot is not None and args.slot not in SLOTS:
        raise unknown("slot", args.slot, SLOTS)
    programs = _found(args.program, args.slot, args.output)
    explained = [explain(program) for program in programs.values()]
    for index, each in enumerate(explained):
        if args.json:
            print(json_line({"program": args.program, **vars(each)}))
        else:
            print("\n" * (index > 0) + _text(each))
    for each in explained:
        if each.refusal:
            raise BadInput(f"{args.program}: the program for {each.slot} is refused: {each.refusal}")
    return 0


def _found(name: str, slot: str | None, output: Path) -> "dict[str, Program]":
    """The programs of this name, by slot."""
    from discovery.results.exported_file import is_exported
    from discovery.results.programs import programs_in
    from objectives.programs.known import SOURCES, known

    if name.endswith(".py") or Path(name).is_file():
        if is_exported(name):
            raise BadInput(f"{name} was written by `discovery export`, and is no program; open it to read it")
        return programs_in(name, slot)
    if is_run(name) or is_run(output / name):
        from discovery.results.loaded import load_run

        programs = load_run(find_run(name, output)).program()
        if slot is not None and slot not in programs:
            raise BadInput(f"run {name} searches no {slot}; it has {', '.join(programs)}")
        return programs if slot is None else {slot: programs[slot]}
    slots = [each for each, sources in SOURCES.items() if name in sources and slot in (None, each)]
    if len(slots) > 1:
        raise BadInput(f"{name} is known in several slots; choose one of --slot {', '.join(slots)}")
    if not slots:
        names = {each for key, sources in SOURCES.items() if slot in (None, key) for each in sources}
        runs = [folder.name for folder in run_folders(output)[-20:]]
        what = "known program or run" if slot is None else f"known program for {slot}, or run,"
        raise unknown(what, name, [*names, *runs])
    return {slots[0]: known(slots[0], name)}


def _text(each: "Explanation") -> str:
    from objectives.programs.checks import RUNGS
    from objectives.programs.distance import MEASURE
    from objectives.programs.slots import slot_of

    slot = slot_of(each.slot)
    unread = [name for name in slot.names if name not in each.inputs]
    constants = ", ".join(f"{value:g}" for value in each.constants)
    facts = [
        *(("formula" if index == 0 else "", line) for index, line in enumerate(each.formula)),
        ("inputs", ", ".join(each.inputs) or "none", f"; not read: {', '.join(unread)}" if unread else ""),
        ("results", ", ".join(each.results)),
        ("primitives", str(each.primitives)),
        ("constants", constants or "none"),
        ("cost", f"{each.cost:g} additions per sample"),
        ("minibatch", "couples its samples" if each.couples_batch else "each sample by itself"),
    ]
    meaning = {**slot.conditions, "drift": "it is f - r A, with a drift f as mirror learning demands"}
    for name, holds in each.conditions.items():
        facts.append((name, f"{'holds' if holds else 'does not hold'}: {meaning[name]}"))
    facts.append(("passed", ", ".join(each.passed)))
    if each.refusal:
        facts.append(("refused", f"{list(RUNGS)[len(each.passed)]}: {each.refusal}"))
    else:
        facts.append(("equals", each.known or "no known algorithm of the slot"))
        near = [(name, d) for name, d in each.distances.items() if name != each.known][:3]
        facts.append(("nearest", ", ".join(f"{name} {d:.2g}" for name, d in near) + f" ({MEASURE})"))
    width = max(len(name) for name, *_ in facts) + 2
    lines = [f"  {name:<{width}}{''.join(text)}" for name, *text in facts]
    return "\n".join([f"{each.slot}: {slot.what}\n", each.source, *lines])
