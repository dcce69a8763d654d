"""The family tree of a run's programs: what each was made from, how, and how it scored.

    tree = family_tree(run.proposals(), run.generations())
    tree.programs["g12/p3"].scores      # first, and each time that it was scored again
    tree.ancestry("g12/p3")             # that program and everything that it comes from

A program is named after the proposal that scored it first. Proposals that train it again are no programs of
their own: their scores are added to its own.
"""

import difflib
import functools
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

Row = Mapping[str, Any]

AGAIN = ("scored again", "reference")
"""Operators of proposals that train an earlier program again, on new seeds."""


REMOVAL = "removal"
"""Operator of programs that are scored again because they are simpler, whatever their first scores."""


@dataclass(frozen=True)
class Relative:
    """A program of a family tree.

    Attributes:
        id: of the proposal that scored it first.
        generation: of that proposal.
        operator: how it was made.
        parents: ids of the programs that it was made from; the first is the one that was changed.
        source: its text.
        scores: its search score, first and each time that it was scored again: means over tasks and seeds;
            NaN where a training failed.
    """

    id: str
    generation: int
    operator: str
    parents: tuple[str, ...]
    source: str
    scores: tuple[float, ...]

    @property
    def again(self) -> float | None:
        """Mean score over the times that it was scored again; None if it was not."""
        return float(np.mean(self.scores[1:])) if len(self.scores) > 1 else None

    @property
    def score(self) -> float:
        """Mean score over all times."""
        return float(np.mean(self.scores))

    @property
    def complexity(self) -> int:
        """Number of primitives, constants and inputs."""
        return complexity_of(self.source)


@dataclass(frozen=True)
class Answer:
    """An answer of a search that differs from the one before it.

    Attributes:
        generation: g: it is the answer after g generations, and perhaps after later ones.
        operator: why it is the answer.
        program: its name in the family tree; "" if it was not scored as a proposal.
        source: its text.
    """

    generation: int
    operator: str
    program: str
    source: str


@dataclass(frozen=True)
class FamilyTree:
    """The programs of a run.

    Attributes:
        programs: by name, parents before children.
        names: id of a proposal or of an answer -> name of the program that it trained.
        answers: in order; the first is what the search began with.
    """

    programs: Mapping[str, Relative]
    names: Mapping[str, str]
    answers: tuple[Answer, ...]

    def ancestry(self, name: str) -> tuple[Relative, ...]:
        """A program and its ancestors, parents before children."""
        wanted, open_ones = set[str](), [name]
        while open_ones:
            one = open_ones.pop()
            if one not in wanted:
                wanted.add(one)
                open_ones += self.programs[one].parents
        return tuple(one for one in self.programs.values() if one.id in wanted)

    def answer_after(self, generation: int) -> Answer:
        """The answer after a number of generations."""
        return next(one for one in reversed(self.answers) if one.generation <= generation)


def family_tree(proposals: Iterable[Row], generations: Iterable[Row]) -> FamilyTree:
    """The family tree from rows of a ledger; empty if nothing there has a program's text.

    Args:
        proposals: of closed generations, in order.
        generations: the closed ones, in order.
    """
    programs, names, texts = dict[str, Relative](), dict[str, str](), dict[str, str]()
    for row in proposals:
        if not row["source_text"]:
            continue
        made_from = (names.get(parent) for parent in json.loads(row["parents"]))
        parents = tuple(dict.fromkeys(parent for parent in made_from if parent))
        if row["split"] == "selection":
            if parents:
                names[row["id"]] = parents[0]
        elif row["operator"] in AGAIN and parents:
            known = programs[parents[0]]
            # Its text may be new: a simpler program that computes the same takes its place.
            scores = (*known.scores, row["fitness"])
            programs[known.id] = replace(known, source=row["source_text"], scores=scores)
            names[row["id"]] = known.id
        else:
            same = row["generation"], row["operator"], parents, row["source_text"], (row["fitness"],)
            programs[row["id"]] = Relative(row["id"], *same)
            names[row["id"]] = row["id"]
            texts.setdefault(row["source_text"], row["id"])
    return FamilyTree(programs, names, _answers(generations, names, texts))


def _answers(
    generations: Iterable[Row], names: Mapping[str, str], texts: Mapping[str, str]
) -> tuple[Answer, ...]:
    """The answers that differ from the one before; `texts` has the first program with each text."""
    found: list[Answer] = []
    digest = None
    for row in generations:
        facts = json.loads(row["answer"])
        text = facts.get("source_text")
        if text and row["answer_digest"] != digest:
            digest = row["answer_digest"]
            program = next(
                (names[p] for p in json.loads(facts["parents"]) if p in names), texts.get(text, "")
            )
            found.append(Answer(row["generation"] + 1, facts["operator"], program, text))
    return tuple(found)


def fallen(programs: Iterable[Relative]) -> list[Relative]:
    """The programs that were scored again because of their scores, and failed no training."""
    return [
        one
        for one in programs
        if one.again is not None and one.operator != REMOVAL and np.isfinite(one.scores).all()
    ]


def pareto_front(programs: Iterable[Relative]) -> list[Relative]:
    """The programs with a higher score than all simpler ones, by complexity.

    Only programs that were scored again take part, if there are any: the best of many single scores is luck.
    """
    finite = [one for one in programs if np.isfinite(one.score)]
    rivals = [one for one in finite if one.again is not None] or finite
    front: list[Relative] = []
    for one in sorted(rivals, key=lambda one: (one.complexity, -one.score)):
        if not front or one.score > front[-1].score:
            front.append(one)
    return front


def change(before: str, after: str) -> str:
    """The lines of a program's text that are not in that of its parent, as a diff without context."""
    lines = difflib.unified_diff(before.splitlines(), after.splitlines(), lineterm="", n=0)
    return "\n".join(line for line in lines if not line.startswith(("---", "+++", "@@")))


@functools.cache
def complexity_of(source: str) -> int:
    """Number of primitives, constants and inputs of the programs in a text."""
    from objectives.programs.printer import complexity
    from objectives.programs.text import read

    return sum(complexity(program) for program in read(source).values())
