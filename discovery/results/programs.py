"""Programs of files as algorithms: their text is parsed, and never executed.

    programs = programs_in("my_loss.py")                     # {"policy_loss": Program}
    spec = spec_of(programs, "my_loss.py")                   # the family `programs`, large enough for them
    meta_params = codes_of(programs, spec, "my_loss.py")     # checked

A program is an algorithm with PPO's other parts. What it computes is in its code arrays, which are its
`meta_params`: trainings are told apart by these, and not by the file.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from discovery.core.errors import BadInput
from discovery.core.jobs import AlgorithmSpec
from discovery.inner.compilation_cache import enable
from objectives import all_options
from objectives.programs.algorithm import STARTS
from objectives.programs.checks import RUNGS, check, holds_drift
from objectives.programs.code import Size, size_for
from objectives.programs.distance import distances
from objectives.programs.graph import Program, ProgramError
from objectives.programs.known import SOURCES, known
from objectives.programs.printer import latex_lines, source_of
from objectives.programs.scan import MOST_BYTES
from objectives.programs.slots import slot_of
from objectives.programs.text import read

FAMILY = "programs"


def programs_in(path: str | Path, slot: str | None = None) -> dict[str, Program]:
    """The programs of a file by slot; see `objectives.programs.text`.

    Args:
        path: the file.
        slot: that of its one function, if the function's name does not say it.

    Raises:
        BadInput: it cannot be read, or its text is refused; the message has file, line, reason and remedy.
    """
    try:
        with Path(path).open("rb") as file:
            start = file.read(MOST_BYTES + 1)  # longer texts are refused
    except OSError as error:
        raise BadInput(f"{path} cannot be read: {error.strerror}") from error
    try:
        return read(start.decode(errors="replace"), [slot] if slot else None)
    except ProgramError as error:
        raise BadInput(f"{path}: {error}") from error


def spec_of(programs: Mapping[str, Program], name: str) -> AlgorithmSpec:
    """The family `programs` with these slots, and with its usual sizes if the programs fit.

    Args:
        programs: by slot.
        name: where they come from, for messages.

    Raises:
        BadInput: a slot is no part of an actor-critic algorithm, or the slots do not go together.
    """
    for slot in programs:
        if slot not in STARTS:
            raise BadInput(
                f"{name} has a program for {slot}, and agents are trained with programs for "
                f"{', '.join(STARTS)}; `discovery program {name}` explains it"
            )
    usual = _size(AlgorithmSpec(FAMILY))
    fitting = size_for(list(programs.values()), usual)
    larger = {what: count for what, count in fitting._asdict().items() if count != usual._asdict()[what]}
    slots = ",".join(slot for slot in STARTS if slot in programs)
    return AlgorithmSpec(FAMILY, tuple(sorted({"slots": slots, **larger}.items())))


def codes_of(programs: Mapping[str, Program], spec: AlgorithmSpec, name: str) -> dict[str, Any]:
    """The programs as the searched entries of an algorithm, after all checks of `objectives.programs.checks`.

    Raises:
        BadInput: a program is refused; the message has the name, reason and remedy.
    """
    enable()
    codes, size = {}, _size(spec)
    for slot, program in programs.items():
        try:
            codes[slot] = check(program, size).code
        except ProgramError as error:
            raise BadInput(f"{name}: the program for {slot} is refused: {error}") from error
    return codes


def _size(spec: AlgorithmSpec) -> Size:
    """How large the programs of an algorithm may be."""
    options = all_options(spec.name, dict(spec.options))
    return Size(*(options[what] for what in Size._fields))


@dataclass(frozen=True)
class Explanation:
    """What a program is, for readers.

    Attributes:
        slot: which part of an algorithm.
        source: as it is printed, in canonical form.
        formula: in LaTeX, line by line.
        inputs: those that it reads, of those of the slot.
        results: their names.
        primitives: number of operations.
        constants: their values.
        cost: in additions per sample.
        couples_batch: whether a sample's result depends on the other samples of a minibatch.
        conditions: those of the slot, and whether the program fulfils them.
        passed: the rungs of `objectives.programs.checks` that it passes, in order.
        refusal: why the next one refuses it, and what to do; "" if there is none.
        known: the known algorithm that it computes the same as, or "".
        distances: of the known algorithms of the slot, nearest first; see `objectives.programs.distance`.
    """

    slot: str
    source: str
    formula: tuple[str, ...]
    inputs: tuple[str, ...]
    results: tuple[str, ...]
    primitives: int
    constants: tuple[float, ...]
    cost: float
    couples_batch: bool
    conditions: Mapping[str, bool]
    passed: tuple[str, ...]
    refusal: str
    known: str
    distances: Mapping[str, float]


def explain(program: Program) -> Explanation:
    """Everything that can be said of a program without training with it.

    It is checked without limits on size and cost, which are options of searches.
    """
    enable()
    slot = slot_of(program.slot)
    others = [known(slot.name, name) for name in SOURCES[slot.name]]
    size = size_for([program, *others], _size(AlgorithmSpec(FAMILY)))
    passed, refusal, found = tuple(RUNGS), "", None
    try:
        found = check(program, size)
    except ProgramError as error:
        refusal = str(error)
        passed = passed[: [error.kind in kinds for kinds in RUNGS.values()].index(True)]
    conditions = dict.fromkeys(slot.conditions, found is not None)
    if found and "drift" in slot.offers:
        conditions["drift"] = holds_drift(found.code, size.reductions)
    return Explanation(
        slot.name,
        source_of(program),
        latex_lines(program),
        tuple(name for name in slot.names if name in program.inputs),
        slot.outputs,
        len(program.operations),
        program.constants,
        program.cost,
        program.couples_batch,
        conditions,
        passed,
        refusal,
        found.known if found else "",
        distances(program, size) if found else {},
    )
