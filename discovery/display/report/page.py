"""A report as one page of HTML that needs no network, no script and no other file.

The page is in `templates/`: a file for each section, and macros for tables, figures and commands.
"""

from functools import cache
from importlib import resources

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from discovery.display.report import markup
from discovery.display.report.facts import RunFacts
from discovery.display.report.figures import Images
from discovery.judging.verdict import rule
from environments.task import SCORES

SECTIONS = {
    "searched": "What was searched",
    "how": "How",
    "cost": "Cost",
    "learning": "Meta-learning curve",
    "objective": "The found objective",
    "programs": "Programs",
    "control": "Against the control",
    "comparison": "Comparison",
    "curse": "Winner’s curse",
    "curves": "Learning curves",
    "robustness": "Robustness",
    "failures": "Failures",
    "looks": "Looks at held-out tasks",
    "limits": "Limits",
    "provenance": "Provenance",
}
"""Anchor (also the name of the template) -> title, in the order of the page. Programs and the control are on
pages of searches over programs.
"""

ORIGIN = (
    "run",
    "preset",
    "created",
    "commit",
    "source",
    "config_hash",
    "platform",
    "cpu",
    "python",
    "rl-discovery",
)
"""Entries of the provenance that are shown before the libraries' versions, in this order."""

FUNCTIONS = (
    markup.number,
    markup.percent,
    markup.duration,
    markup.signed,
    markup.setting,
    markup.array_text,
    rule,
)


def page(report: RunFacts, images: Images) -> str:
    """The whole page; every number on it is one of `report`."""
    style = resources.files("discovery.display.report").joinpath("style.css").read_text(encoding="utf-8")
    template = _environment().get_template("page.html")
    empty = {"programs"} if report.programs is None else set()
    if report.control is None and not report.commands.control:
        empty.add("control")
    sections = {anchor: title for anchor, title in SECTIONS.items() if anchor not in empty}
    return template.render(report=report, images=images, style=Markup(style), sections=sections)


@cache
def _environment() -> Environment:
    found = Environment(
        loader=PackageLoader("discovery.display.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=markup.shown,
        extensions=["jinja2.ext.do"],
    )
    found.globals |= {function.__name__: function for function in FUNCTIONS}
    found.globals |= {"SCORES": SCORES, "ORIGIN": ORIGIN}
    return found
