"""The family tree of programs, from rows of a ledger written by hand."""

import json
from typing import Any

import pytest

from discovery.results.lineage import FamilyTree, change, fallen, family_tree, pareto_front

PLAIN, ROOT, LONG = (
    f"def policy_loss(log_ratio, advantage, progress):\n    return {text}\n"
    for text in (
        "-log_ratio * advantage",
        "-jnp.exp(log_ratio) * advantage",
        "-jnp.tanh(log_ratio) * advantage",
    )
)
"""Of 4, 5 and 5 nodes."""


def row(id: str, operator: str, parents: list[str], fitness: float, text: str = ROOT) -> dict[str, Any]:
    answer, parents_text = id.endswith("answer"), json.dumps(parents)
    same = {"id": id, "generation": int(id[1 : id.index("/")]), "operator": operator, "fitness": fitness}
    return same | {
        "split": "selection" if answer else "search", "parents": parents_text, "source_text": text,
    }  # fmt: skip


def closed(
    generation: int, digest: str, operator: str, parents: list[str], text: str = ROOT
) -> dict[str, Any]:
    answer = {"operator": operator, "parents": json.dumps(parents), "source_text": text}
    return {"generation": generation, "answer_digest": digest, "answer": json.dumps(answer)}


@pytest.fixture(scope="module")
def tree() -> FamilyTree:
    return family_tree(
        [
            row("g0/p0", "start", [], 1.0),
            row("g0/p1", "fresh", ["elsewhere/p0"], 2.0, LONG),
            row("g0/answer", "start", [], 1.0),
            row("g1/p0", "scored again", ["g0/p0"], 3.0),
            row("g1/p1", "insert", ["g1/p0"], 9.0, LONG),
            row("g2/p0", "scored again", ["g1/p1"], 5.0, PLAIN),
            row("g2/p1", "crossover", ["g1/p1", "g0/p1"], float("nan")),
            row("g2/p2", "scored again", ["g0/p1"], float("nan"), LONG),
            row("g2/answer", "best", ["g1/p1"], 6.0, LONG),
            row("g3/p0", "reference", ["g3/p0"], 4.0),
            row("g3/p1", "removal", ["g1/p1"], 4.0, PLAIN),
            row("g3/p2", "scored again", ["g3/p1"], 5.0, PLAIN),
        ],
        [
            closed(-1, "a", "start", []),
            closed(0, "a", "best", ["g0/p0"]),
            closed(1, "b", "best", ["g1/p1"], LONG),
            closed(2, "b", "best", ["g1/p1"], LONG),
            closed(3, "a", "best", ["g0/p0"]),
        ],
    )


def test_what_is_trained_again_is_no_program_of_its_own(tree: FamilyTree) -> None:
    assert list(tree.programs) == ["g0/p0", "g0/p1", "g1/p1", "g2/p1", "g3/p0", "g3/p1"]
    first, made = tree.programs["g0/p0"], tree.programs["g1/p1"]
    assert (first.scores, first.again, first.score) == ((1.0, 3.0), 3.0, 2.0)
    assert (made.operator, made.parents, made.generation) == ("insert", ("g0/p0",), 1)
    assert made.scores == (9.0, 5.0) and (made.source, made.complexity) == (PLAIN, 4), "it became simpler"
    assert tree.programs["g3/p1"].again == 5.0 and tree.programs["g2/p1"].again is None
    assert tree.names["g1/p0"] == "g0/p0" and tree.names["g2/answer"] == "g1/p1"
    assert "g0/answer" not in tree.names, "the start was no proposal then"


def test_ancestors_come_before_their_children(tree: FamilyTree) -> None:
    assert [one.id for one in tree.ancestry("g2/p1")] == ["g0/p0", "g0/p1", "g1/p1", "g2/p1"]
    assert [one.id for one in tree.ancestry("g3/p0")] == ["g3/p0"], "not its own parent"
    assert tree.programs["g0/p1"].parents == (), "of a run that is not this one"


def test_answers_are_those_that_changed(tree: FamilyTree) -> None:
    found = [(one.generation, one.operator, one.program) for one in tree.answers]
    assert found == [(0, "start", "g0/p0"), (2, "best", "g1/p1"), (4, "best", "g0/p0")]
    assert [tree.answer_after(g).program for g in range(6)] == [
        "g0/p0", "g0/p0", "g1/p1", "g1/p1", "g0/p0", "g0/p0",
    ]  # fmt: skip
    assert family_tree([], [closed(-1, "a", "mean", [], "")]).answers == ()


def test_luck_is_seen_where_programs_were_scored_again(tree: FamilyTree) -> None:
    programs = tree.programs.values()
    assert [one.id for one in fallen(programs)] == ["g0/p0", "g1/p1"], "neither failures nor removals"
    assert [one.id for one in pareto_front(programs)] == ["g1/p1"], "g0/p0 is larger and worse, g3/p1 worse"
    once = [one for one in programs if one.again is None]
    assert [one.id for one in pareto_front(once)] == ["g3/p0"], "if none was scored again, all take part"


def test_a_change_is_told_in_lines() -> None:
    assert change(ROOT, PLAIN).splitlines() == [
        "-    return -jnp.exp(log_ratio) * advantage",
        "+    return -log_ratio * advantage",
    ]
    assert change(ROOT, ROOT) == ""
