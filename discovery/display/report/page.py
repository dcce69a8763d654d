"""A report as one page of HTML that needs no network, no script and no other file."""

from collections.abc import Callable, Iterator
from importlib import resources

from discovery.display.report import result_sections as results
from discovery.display.report import search_sections as search
from discovery.display.report.facts import Report
from discovery.display.report.figures import Pictures
from discovery.display.report.markup import Html, commands, estimate, join, number, tag
from discovery.judging.verdict import Judgment

Section = Callable[[Report, Pictures], Iterator[Html]]

SECTIONS: dict[str, tuple[str, Section]] = {
    "searched": ("What was searched", search.what),
    "how": ("How", search.how),
    "cost": ("Cost", search.cost),
    "learning": ("Meta-learning curve", search.learning),
    "objective": ("The found objective", results.objective),
    "comparison": ("Comparison", results.comparison),
    "curse": ("Winner’s curse", results.curse),
    "curves": ("Learning curves", results.curves),
    "robustness": ("Robustness", results.robustness),
    "failures": ("Failures", search.failures),
    "looks": ("Looks at held-out tasks", results.looks),
    "limits": ("Limits", search.limits),
    "provenance": ("Provenance", search.provenance),
}
"""Anchor -> title and content, in the order of the page."""


def page(report: Report, pictures: Pictures) -> str:
    """The whole page; every number on it is one of `report`."""
    links = [tag("li", tag("a", title, href=f"#{anchor}")) for anchor, (title, _) in SECTIONS.items()]
    contents = tag("nav", tag("ol", *links), aria_label="Contents")
    sections = [
        tag("section", tag("h2", title), *write(report, pictures), id=anchor)
        for anchor, (title, write) in SECTIONS.items()
    ]
    main = tag("main", _card(report), *sections)
    return f"<!DOCTYPE html>\n{_html(report, join([contents, main]))}\n"


def _html(report: Report, body: Html) -> Html:
    style = resources.files("discovery.display.report").joinpath("style.css").read_text(encoding="utf-8")
    head = tag(
        "head",
        Html('<meta charset="utf-8">'),
        Html('<meta name="viewport" content="width=device-width, initial-scale=1">'),
        Html('<meta name="color-scheme" content="light dark">'),
        Html('<link rel="icon" href="data:,">'),
        tag("title", f"{report.name}: discovery report"),
        Html(f"<style>\n{style}</style>"),
    )
    return tag("html", head, tag("body", body), lang="en")


def _card(report: Report) -> Html:
    verdict = report.verdict
    words = verdict.status.replace(" ", "-")
    badge = tag("p", tag("span", verdict.status, class_=f"badge {words}"), " ", _count(report))
    title = tag("p", "Discovery report", class_="label"), tag("h1", report.name)
    parts = [*title, tag("p", report.line), badge]
    if verdict.judgments:
        parts.append(tag("div", *map(_headline, verdict.judgments), class_="headline"))
    else:
        parts.append(_seen(report))
        parts.append(commands(report.commands.test, name="To judge it"))
    return tag("header", *parts, results.rule(report), id="card")


def _count(report: Report) -> Html:
    verdict = report.verdict
    if not verdict.judgments:
        return Html("Nothing was compared with known algorithms on held-out tasks.")
    total = number(len(verdict.judgments))
    return join(["better than the best known algorithm on ", number(verdict.better), " of ", total,
                 " held-out tasks, worse on ", number(verdict.worse)])  # fmt: skip


def _headline(one: Judgment) -> Html:
    what = join(["found minus ", tag("b", one.baseline), " on ", tag("b", one.task), ", ",
                 number(one.difference.n), " paired seeds"])  # fmt: skip
    return tag("div", tag("p", estimate(one.difference, signed=True), class_="big"), tag("p", what))


def _seen(report: Report) -> Html:
    """Where no held-out task was reported: what fresh seeds say on the tasks that the search has seen."""
    rows = [
        (table, row) for table in report.tables if table.standing == "seen" for row in table.rows
        if row.subject == report.label and row.difference
    ]  # fmt: skip
    lines = [
        tag("div", tag("p", estimate(row.difference, signed=True), class_="big"),
            tag("p", "found minus ", tag("b", table.baseline), " on ", tag("b", table.task),
                ", which the search has seen; fresh seeds"))
        for table, row in rows
    ]  # fmt: skip
    return tag("div", *lines, class_="headline") if lines else Html("")
