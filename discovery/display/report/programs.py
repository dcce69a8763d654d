"""A search over programs in numbers: each answer, what was refused, complexity, and how scores fell."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from discovery.display.report.formula import ProgramFormula, formulas_in
from discovery.results.lineage import Answer, Relative, complexity_of, fallen, pareto_front
from discovery.results.loaded import RunData
from discovery.statistics import Interval, interval

REASONS = {
    "syntax": "The text is no Python.",
    "construct": "The text has something that programs do not have, such as a loop.",
    "name": "It reads or calls something that does not exist.",
    "size": "It has more primitives, constants or reductions than the options of the family allow.",
    "type": "It has a comparison where a number is needed, or a number where a comparison is.",
    "cost": "It would take longer to compute than the option most_cost allows.",
    "path": "Its result has no derivative by an input that it has to depend on, so nothing could be learned.",
    "probe": "On test inputs, a value or a derivative was not finite, or the derivative was always zero.",
    "condition": "It breaks a condition of its slot, for example that parameters without gradients stay.",
    "duplicate": "It computes the same as a program that was trained before.",
}
"""What each kind of refusal means."""

COUNTED = "refused_"
"""How the names of these counts begin among the metrics of a generation."""


@dataclass(frozen=True)
class Refusal:
    """How many programs were refused for one reason."""

    kind: str
    count: int
    meaning: str


@dataclass(frozen=True)
class Improvement:
    """An answer of the search that differs from the one before it.

    Attributes:
        generation: it is the answer after this many generations.
        chosen: whether it is what the search answers with in the end.
        reason: why it became the answer.
        program: its name in the family tree; "" if it was not scored as a proposal.
        operator, parents: how it was made, and from which programs.
        first, again: its search score when it was new, and the mean of those when it was scored again.
        times: how often it was scored again.
        complexity: number of primitives, constants and inputs.
        selection: task -> score on the selection seeds; empty if it was not trained on them.
        formulas: one per slot.
        source: its text.
    """

    generation: int
    chosen: bool
    reason: str
    program: str
    operator: str
    parents: tuple[str, ...]
    first: float | None
    again: float | None
    times: int
    complexity: int
    selection: Mapping[str, Interval]
    formulas: tuple[ProgramFormula, ...]
    source: str


@dataclass(frozen=True)
class Simple:
    """A program of the Pareto front: no simpler one has as high a score."""

    program: str
    complexity: int
    score: float
    times: int


@dataclass(frozen=True)
class Fall:
    """A program that was scored again: its first score, the mean of the later ones, and the difference."""

    program: str
    first: float
    again: float
    times: int
    fall: float


@dataclass(frozen=True)
class Programs:
    """A search over programs.

    Attributes:
        trained: how many programs were trained.
        found: the name of the program that was found; "" before there is one, or if it was no proposal.
        improvements: every answer in order; the first is what the search began with.
        refusals: the most frequent first.
        front: of the programs that were scored again, or of all if none was.
        falls: of programs that were scored again because of their scores, and failed no training.
        fall: mean of their falls; None if there are none.
    """

    trained: int
    found: str
    improvements: tuple[Improvement, ...]
    refusals: tuple[Refusal, ...]
    front: tuple[Simple, ...]
    falls: tuple[Fall, ...]
    fall: Interval | None


def programs_of(run: RunData) -> Programs | None:
    """What a search over programs did; None for another one."""
    tree = run.family_tree
    if not tree.answers:
        return None
    chosen = tree.answer_after(run.choice.generation) if run.selection else None
    known = tree.programs.values()
    falls = tuple(map(_fall, fallen(known)))
    return Programs(
        trained=len(tree.programs),
        found=chosen.program if chosen else "",
        improvements=tuple(_improvement(run, one, one is chosen) for one in tree.answers),
        refusals=_refusals(run),
        front=tuple(map(_simple, pareto_front(known))),
        falls=falls,
        fall=interval([one.fall for one in falls]) if falls else None,
    )


def _fall(one: Relative) -> Fall:
    first, again = one.scores[0], float(np.mean(one.scores[1:]))
    return Fall(one.id, first, again, len(one.scores) - 1, first - again)


def _simple(one: Relative) -> Simple:
    return Simple(one.id, one.complexity, one.score, len(one.scores) - 1)


def _improvement(run: RunData, answer: Answer, chosen: bool) -> Improvement:
    program = run.family_tree.programs.get(answer.program)
    return Improvement(
        generation=answer.generation,
        chosen=chosen,
        reason=answer.operator,
        program=answer.program,
        operator=program.operator if program else answer.operator,
        parents=program.parents if program else (),
        first=program.scores[0] if program else None,
        again=program.again if program else None,
        times=len(program.scores) - 1 if program else 0,
        complexity=complexity_of(answer.source),
        selection=_selection(run, answer),
        formulas=formulas_in(answer.source),
        source=answer.source,
    )


def _selection(run: RunData, answer: Answer) -> dict[str, Interval]:
    """The scores of an answer on the selection seeds; equal answers are trained once."""
    after = run.family_tree.answer_after
    equal = (g for g in sorted(run.selection) if after(g).source == answer.source)
    scores = run.selection.get(next(equal, -1), {})
    return {task: interval(values, failures="drop") for task, values in scores.items()}


def _refusals(run: RunData) -> tuple[Refusal, ...]:
    rows = run.generations()
    metrics: Mapping[str, float] = rows[-1]["metrics"] if rows else {}
    counts = {name.removeprefix(COUNTED): int(n) for name, n in metrics.items() if name.startswith(COUNTED)}
    found = [Refusal(kind, count, REASONS.get(kind, "")) for kind, count in counts.items() if count]
    return tuple(sorted(found, key=lambda one: -one.count))
