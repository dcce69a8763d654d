"""The sections on what was found: the objective, how it compares, and how far that can be trusted."""

from collections.abc import Iterator
from typing import Any

from discovery.display.report.facts import Report
from discovery.display.report.figures import Pictures
from discovery.display.report.formula import Formula
from discovery.display.report.judged import Standing, TaskTable
from discovery.display.report.markup import (
    Html,
    code,
    commands,
    estimate,
    facts,
    fold,
    join,
    number,
    percent,
    table,
    tag,
)
from discovery.display.report.search_sections import figure
from discovery.display.report.shape import Found, Shape
from discovery.judging.comparison import Row
from discovery.judging.robustness import Level
from discovery.judging.verdict import Judgment

MEANING = (
    "A drift is never negative, and zero and flat at r = 1, where the objective then begins as the policy "
    "gradient does (mirror learning). The numbers below are on the grid of the picture."
)

OTHERS = (
    "Neither seen by the search nor held out by anyone when they were trained on, so nobody counted the "
    "looks: they have no say in the verdict."
)


def objective(report: Report, pictures: Pictures) -> Iterator[Html]:
    """The found objective: pictures, and of a loss facts and formula."""
    yield from map(figure, pictures.objective)
    if report.found is None:
        yield tag("p", report.not_found)
        if pictures.objective:
            yield commands(report.commands.plot, report.commands.export)
        return
    yield tag("p", MEANING, class_="note")
    for shape in report.found.shapes:
        yield from _shape(report.found, shape)
    if report.found.formula:
        yield from _formula(report.found, report.found.formula)
    yield commands(report.commands.report, name="Reproduce the numbers")
    yield commands(report.commands.plot, report.commands.export, name="Draw it, take it away")


def comparison(report: Report, pictures: Pictures) -> Iterator[Html]:
    """Held-out tasks apart from those that the search has seen."""
    yield tag("h3", "On held-out tasks", id="held-out")
    yield from _judgment(report)
    yield from map(figure, pictures.held_out)
    yield from map(_scores, _standing(report, "held out"))
    yield tag("h3", "On tasks that the search has seen, with fresh seeds", id="seen")
    seen = _standing(report, "seen")
    if not seen:
        yield tag("p", "Nothing was reported on them yet.")
    yield from map(figure, pictures.seen)
    yield from map(_scores, seen)
    if others := _standing(report, "not part of the search"):
        yield tag("h3", "On tasks that are not part of the search", id="others")
        yield tag("p", OTHERS, class_="note")
        yield from map(figure, pictures.others)
        yield from map(_scores, others)
    name = "Reproduce" if report.commands.evaluated else "To train them"
    yield commands(*report.commands.evaluate, name=name)


def curse(report: Report, pictures: Pictures) -> Iterator[Html]:
    """From the score that was chosen to the score that is true."""
    yield tag("p", "A score that was the reason to choose something is too high on average. What is chosen "
              "is a mean, by its scores on selection seeds; what it is worth, fresh seeds say.")  # fmt: skip
    if not report.declines:
        yield tag("p", "Nothing has been chosen yet.")
        return
    heads = (
        "task",
        "best proposal, search seeds",
        "best proposal, fresh seeds",
        "chosen mean, selection seeds",
        "chosen mean, fresh seeds",
        "selection − fresh",
    )
    rows = [
        (
            one.task,
            one.proposal_search,
            estimate(one.proposal_report),
            estimate(one.selection),
            estimate(one.report),
            one.decline,
        )
        for one in report.declines
    ]
    best = report.declines[0].proposal
    note = f"The best proposal is {best}, by its score on the search's seeds: no search answers with it."
    yield table("From search to fresh seeds", heads, rows, note if best else "")
    if best and not any(one.proposal_report for one in report.declines):
        yield commands(report.commands.proposal, name="To see how much of the best proposal was luck")
    selected = [one for one in report.declines if one.selection]
    heads = ("task", "means with both scores", "Spearman's rank correlation")
    rows = [(one.task, one.ranked, one.correlation) for one in selected]
    note = "Needs at least three means that were trained on fresh seeds."
    yield table("Do selection scores rank the means as fresh seeds do?", heads, rows, note)
    yield commands(report.commands.report)
    if any(one.correlation is None for one in selected) and len(report.method.means) > 2:
        yield commands(report.commands.means, name="To rank more of them")


def curves(report: Report, pictures: Pictures) -> Iterator[Html]:
    """Learning curves."""
    if not pictures.curves:
        yield tag("p", "Nothing was trained on fresh seeds yet.")
        yield commands(*report.commands.evaluate, name="To train")
        return
    yield from map(figure, pictures.curves)
    yield commands(report.commands.plot)


def robustness(report: Report, pictures: Pictures) -> Iterator[Html]:
    """Changed recipes."""
    if not report.sweeps:
        yield tag("p", "What was found has not been trained under changed recipes yet, so how much it "
                  "depends on this one is not known.")  # fmt: skip
    yield from map(figure, pictures.sweeps)
    for one in report.sweeps:
        heads = (f"{one.parameter} ×", "subject", "mean", f"minus {one.baseline}", "seeds", "failed")
        note = "Factor 1 is the task as it is. A failed training counts as the worst score at any factor."
        yield table(f"{one.parameter} on {one.task}", heads, map(_level, one.levels), note)
    name = "Reproduce" if report.commands.swept else "To find out"
    yield commands(*report.commands.sweep, name=name)


def looks(report: Report, pictures: Pictures) -> Iterator[Html]:
    """Every look at held-out tasks."""
    if not report.looks:
        yield tag("p", "The ledger holds no look at the run's held-out tasks.")
        return
    heads = ("when (UTC)", "tasks", "subjects", "seeds", "first seed", "command")
    rows = [
        (one.when, ", ".join(one.tasks), ", ".join(one.subjects), one.seeds,
         one.first_seed, tag("code", one.command))
        for one in report.looks
    ]  # fmt: skip
    yield table("Looks at held-out tasks", heads, rows, "Each was recorded before it began.")
    yield commands(report.commands.report)


def _standing(report: Report, standing: Standing) -> list[TaskTable]:
    return [one for one in report.tables if one.standing == standing]


def rule(report: Report) -> Html:
    """How the verdict comes about, in words."""
    return tag(
        "p",
        "The rule: what was found is compared with the known algorithm that did best on each held-out task: "
        "those that the run held out when it began, and those of suites that a look on record came before. "
        "A task is decided where both share at least ", number(report.verdict.least_seeds), " fresh seeds, "
        "the 95% interval of the paired difference leaves out 0, and the sign-flip test’s p-value is at "
        "most 0.05 after Holm’s correction over these tasks. Confirmed: better on at least one and worse on "
        "none. Not confirmed: worse on at least one. Inconclusive: none is decided.",
        class_="note",
    )  # fmt: skip


def _judgment(report: Report) -> Iterator[Html]:
    if report.verdict.judgments:
        heads = (
            "held-out task",
            "best known",
            "found − best known",
            "seeds",
            "p",
            "p after Holm",
            "decision",
        )
        rows = [_decided(one) for one in report.verdict.judgments]
        yield table(
            f"The verdict: {report.verdict.status}", heads, rows, "Paired differences, 95% intervals."
        )
    else:
        yield tag("p", "Not yet judged: nothing was reported there with a known algorithm beside it.")
        yield commands(report.commands.test, name="To judge it")
    yield tag(
        "p", "The rule of the verdict stands at the ", tag("a", "top", href="#card"), ".", class_="note"
    )


def _decided(one: Judgment) -> tuple[Any, ...]:
    difference = estimate(one.difference, signed=True)
    p_values = (number(one.p_value), number(one.corrected))
    return one.task, one.baseline, difference, one.difference.n, *p_values, one.relation


def _level(one: Level) -> tuple[Any, ...]:
    score = one.score
    difference = estimate(one.difference, signed=True)
    return one.factor, one.subject, estimate(score), difference, score.n, score.failed


def _cells(row: Row) -> tuple[Any, ...]:
    difference = estimate(row.difference, signed=True)
    return row.subject, estimate(row.mean), difference, estimate(row.iqm), row.n, row.failed


def _scores(one: TaskTable) -> Html:
    note = (f"{one.measure[:1].upper()}{one.measure[1:]}. " if one.measure else "") + "95% intervals."
    heads = ("subject", "mean", f"minus {one.baseline}", "IQM", "seeds", "failed")
    return table(one.task, heads, map(_cells, one.rows), note)


def _shape(found: Found, shape: Shape) -> Iterator[Html]:
    at = "" if shape.fraction is None else f" at n/N = {shape.fraction:g}"
    word = "a drift" if shape.is_drift else "not a drift"
    yield facts([
        (f"on this grid{at}", word),
        ("largest |f| at r = 1", number(shape.at_one)),
        ("largest |df/dr| at r = 1", number(shape.slope_at_one)),
        ("least f", number(shape.least)),
        ("largest f", number(shape.largest)),
        ("where f is zero", percent(shape.zero)),
        ("nearest known", found.nearest),
    ])  # fmt: skip
    rows = [
        (one.name, name, number(f), percent(one.rising[name]), percent(one.halted[name]))
        for one in shape.quadrants
        for name, f in one.drift.items()
    ]
    heads = ("quadrant", "objective", "mean f", "f rises", "halted")
    note = (
        "A > 0: a good action; r > 1: made likelier. f rises: share of steps away from r = 1 on which f does "
        "not fall. Halted: share of cells whose slope is zero or points against the advantage."
    )
    yield table(f"By quadrant{at}", heads, rows, note)
    rows = [(one.algorithm, one.drift, one.slope) for one in shape.distances]
    note = "Root mean square of the differences over the grid of the picture, every cell of the same weight."
    yield table(f"Distance to known drifts{at}", ("algorithm", "drift f", "slope"), rows, note)


def _formula(found: Found, formula: Formula) -> Iterator[Html]:
    yield tag("h3", "As a formula", id="formula")
    width = max(map(len, formula.lines))
    yield code("\n".join(f"{name:>{width}} = {text}" for name, text in formula.lines.items()))
    yield facts([(symbol, meaning) for symbol, meaning in formula.where.items()])
    said = [f"With all weights at 0 it is {formula.zero}"]
    if found.reduced is not None:
        said += [" (largest difference of drift on the grid: ", number(found.reduced), ")"]
    yield tag("p", join([*said, "."]))
    weights = [code(f"{name} = {_array(array)}") for name, array in formula.weights.items()]
    yield fold("The weights", *weights)


def _array(array: Any) -> str:
    if array and isinstance(array[0], tuple):
        return "[\n" + "\n".join(f"  {_array(row)}," for row in array) + "\n]"
    return f"[{', '.join(map(str, array))}]"
