"""Comparisons in plain sentences."""

from collections.abc import Iterator

from discovery.judging.comparison import BEGINNINGS, Comparison
from discovery.judging.suite_comparison import SuiteComparison
from discovery.judging.verdict import (
    FEW_SEEDS,
    LEAST_SEEDS,
    POWER,
    Judgment,
    fewest_seeds,
    relation,
    rule,
)
from discovery.statistics import Interval, interval_text

Judgments = dict[tuple[str, str, str], Judgment]


def comparison_sentences(result: Comparison) -> list[str]:
    """Every pair of opponents task by task, the rule that judged them, and cautions."""
    judged = {(one.subject, one.baseline, one.task): one for one in result.judgments}
    told = [_pair(result, judged, *pair) for pair in result.opponents]
    return told + ([rule(len(judged))] if judged else []) + cautions(result)


def _pair(result: Comparison, judged: Judgments, subject: str, other: str) -> str:
    relations = [
        _relation(result, judged.get((subject, other, task)), other, task)
        for task in result.tasks
        if result.cell(subject, task) and result.cell(other, task)
    ]
    return f"{subject} is {'; '.join(relations) or f'on no task together with {other}'}."


def _relation(result: Comparison, found: Judgment | None, other: str, task: str) -> str:
    name = f"the {other}" if other in BEGINNINGS else other
    where = f"{name} on {task}" + (" (held out)" if task in result.held_out else "")
    if found is None:
        return f"not comparable with {where}"
    by = f"difference {interval_text(found.difference)}"
    if found.relation == "too few seeds":
        return f"not judged against {where} ({by}; {found.difference.n} common seeds, {LEAST_SEEDS} needed)"
    if found.relation == "not distinguishable":
        return f"not distinguishable from {where} ({by})"
    return f"{found.relation} than {where} ({by}, p = {found.corrected:.2g})"


def cautions(result: Comparison) -> list[str]:
    """What weakens the numbers: few seeds, failed trainings, missing ones."""
    found = []
    fewest = min((row.n for row in result.rows if row.n), default=0)
    if 0 < fewest < FEW_SEEDS:
        found.append(f"Only {fewest} seeds: intervals from fewer than {FEW_SEEDS} seeds are unreliable.")
    for cell in result.cells:
        reason = f" ({cell.reason})" if cell.reason else ""
        if cell.missing:
            found.append(
                f"{cell.missing} trainings of {cell.subject} on {cell.task} are missing because the machine "
                f"failed{reason}; the same command trains them again."
            )
        elif cell.all_failed:
            found.append(f"All {len(cell.seeds)} trainings of {cell.subject} on {cell.task} failed{reason}.")
    if any(row.failed and row.mean.n for row in result.rows):
        found.append("A failed training counts as the worst score that any subject reached on its task.")
    return found


def suite_sentences(result: SuiteComparison) -> list[str]:
    """Each subject against the baseline, the rule that judged them, and cautions."""
    told = [sentence for subject in result.others for sentence in _subject(result, subject)]
    if result.judgments:
        tests = len(result.judgments)
        told.append(rule(tests))
        seeds, least = min(one.difference.n for one in result.judgments), fewest_seeds(tests)
        if seeds < least:
            told.append(f"{seeds} seeds are too few for these tests: {least} are needed.")
    return [*told, *cautions(result.comparison), *result.notes]


def _subject(result: SuiteComparison, subject: str) -> Iterator[str]:
    """A subject against the baseline: by task, over all tasks, and how many seeds would show a difference."""
    own = [one for one in result.judgments if one.subject == subject]
    groups: dict[str, list[str]] = {"better": [], "worse": [], "not distinguishable": []}
    for one in own:
        groups.setdefault(one.relation, []).append(one.task)
    told = [f"{name} on {len(g)}" + (f" ({', '.join(g)})" if g else "") for name, g in groups.items()]
    tasks = f"{len(own)} task{'s' * (len(own) != 1)}"
    yield f"{subject} against {result.baseline} on {tasks}: {'; '.join(told)}."
    difference = next(row.difference for row in result.aggregates if row.subject == subject)
    assert difference is not None  # only the baseline has none
    seeds = min(one.difference.n for one in own)
    yield f"{subject} over all tasks: {_over_all(difference, result.baseline, seeds)}."
    needed = [f"{one.task} {one.seeds_needed:,}" for one in own if one.seeds_needed is not None]
    if needed:
        yield (
            f"Seeds that would show {subject}'s observed differences with probability {POWER:g}: "
            f"{', '.join(needed)}."
        )


def _over_all(difference: Interval, baseline: str, seeds: int) -> str:
    """The judgment of an IQM over tasks that have at least `seeds` seeds each."""
    found = relation(difference, seeds)
    words = {
        "better": "above",
        "worse": "below",
        "not distinguishable": "not distinguishable from",
    }
    by = f"difference {interval_text(difference)} in normalized scores"
    if found == "too few seeds":
        return f"IQM not judged against {baseline}'s ({by}; {seeds} seeds, {LEAST_SEEDS} needed)"
    return f"IQM {words[found]} {baseline}'s ({by})"
