"""The pictures of a report, as data URIs, so that the page needs no other file."""

import base64
import io
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import matplotlib
from matplotlib.figure import Figure

from discovery.display import plots
from discovery.display.pictures import programs, runs, suites
from discovery.display.pictures.formula import formula_picture
from discovery.display.report.control import Control
from discovery.display.report.facts import RunFacts
from discovery.display.report.formula import ProgramFormula
from discovery.display.report.judged import Standing, TaskTable
from discovery.judging.comparison import Comparison
from discovery.judging.robustness import Robustness
from discovery.results.loaded import RunData
from discovery.results.words import words_of

PIXELS_PER_INCH = 96


@dataclass(frozen=True)
class Image:
    """An image.

    Attributes:
        uri: the whole image, "data:image/svg+xml;base64,...".
        alt: a description for readers who cannot see it.
        caption: what to look for.
        width: in pixels.
    """

    uri: str
    alt: str
    caption: str
    width: int


@dataclass(frozen=True)
class Images:
    """The pictures of a run, by section; a section without data is empty.

    `formulas` are those of each answer of a search over programs, by its text; `programs` are pictures of the
    search by name.
    """

    meta_learning: tuple[Image, ...] = ()
    objective: tuple[Image, ...] = ()
    seen: tuple[Image, ...] = ()
    held_out: tuple[Image, ...] = ()
    others: tuple[Image, ...] = ()
    curves: tuple[Image, ...] = ()
    sweeps: tuple[Image, ...] = ()
    formulas: Mapping[str, tuple[Image, ...]] = field(default_factory=dict)
    programs: Mapping[str, Image] = field(default_factory=dict)
    control: tuple[Image, ...] = ()


def draw(run: RunData, reports: Comparison, report: RunFacts, swept: Sequence[Robustness] = ()) -> Images:
    """Every picture that the run has data for.

    Args:
        run: which run.
        reports: its recorded trainings on fresh seeds.
        report: everything in numbers.
        swept: its recorded trainings with changed recipes.
    """
    tables, answers = report.tables, report.programs.improvements if report.programs else ()
    # Names may contain "$", which starts a formula in matplotlib, or characters that its font lacks.
    with (
        matplotlib.rc_context({"text.parse_math": False, "svg.hashsalt": "discovery"}),
        warnings.catch_warnings(),
    ):
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        return Images(
            meta_learning=tuple(
                _meta_learning(run, reports, task.name) for task in run.config.seen if run.n_generations
            ),
            objective=_objective(run),
            seen=_comparison(run, reports, tables, "seen"),
            held_out=_comparison(run, reports, tables, "held out"),
            others=_comparison(run, reports, tables, "not part of the search"),
            curves=tuple(_curves(run, reports, task) for task in reports.tasks),
            sweeps=tuple(_sweep(one, runs.subject_styles(reports)) for one in swept),
            formulas={one.source: tuple(map(_formula, one.formulas)) for one in answers},
            programs={name: image_of(*drawn) for name, drawn in programs.search_pictures(run).items()},
            control=_control(report.name, report.control) if report.control else (),
        )


def image_of(figure: Figure, alt: str, caption: str) -> Image:
    """A figure as a vector image; equal figures give equal bytes."""
    data = io.BytesIO()
    figure.savefig(data, format="svg", dpi=150, metadata={"Date": None})
    uri = f"data:image/svg+xml;base64,{base64.b64encode(data.getvalue()).decode()}"
    return Image(uri, alt, caption, round(figure.get_figwidth() * PIXELS_PER_INCH))


def _meta_learning(run: RunData, reports: Comparison, task: str) -> Image:
    parts = ["the population on the search's seeds"] if task in {t.name for t in run.config.tasks} else []
    answer = f"the search {words_of(run.config.meta).answer} on selection seeds"
    parts += [answer] if task in {t.name for t in run.config.selecting} else []
    shown = ", ".join(parts)
    return image_of(
        runs.meta_learning(run, task, reports),
        f"Scores on {task} over the generations of the search: {shown}; known algorithms as horizontal lines "
        "where they were reported. The numbers are in the tables of this section and of How.",
        f"{task}: {shown}. Known algorithms, where they were trained, are lines with their intervals.",
    )


def _objective(run: RunData) -> tuple[Image, ...]:
    if not run.selection:
        return ()
    found = runs.found_pictures(run, lambda name, error: None)  # the page says why there is no picture
    return tuple(image_of(figure, each.alt, each.caption) for each, figure in found)


def _comparison(
    run: RunData, reports: Comparison, tables: Sequence[TaskTable], standing: Standing
) -> tuple[Image, ...]:
    shown = {one.task for one in tables if one.standing == standing}
    cells = tuple(cell for cell in reports.cells if cell.task in shown)
    if not cells:
        return ()
    figure = runs.comparison_picture(run, replace(reports, cells=cells))
    tasks = ", ".join(dict.fromkeys(cell.task for cell in cells))
    return (
        image_of(
            figure,
            f"Mean scores with 95% intervals of every subject on {tasks}. The tables below have the numbers.",
            "Mean scores on fresh seeds with their 95% intervals.",
        ),
    )


def _curves(run: RunData, reports: Comparison, task: str) -> Image:
    subjects = ", ".join(reports.curves()[task])
    return image_of(
        runs.learning_curves(run, task, reports),
        f"Learning curves on {task}: mean return over environment steps of {subjects}.",
        f"{task}: mean return over training, on fresh seeds.",
    )


def _sweep(one: Robustness, styles: Mapping[str, plots.Style]) -> Image:
    return image_of(
        suites.robustness(one, styles),
        f"Mean scores on {one.tasks[0]} against factors of {one.parameter}, with 95% intervals. The numbers "
        "are in the table of this section.",
        f"{one.tasks[0]}: scores where the recipe's {one.parameter} is multiplied. Flat is robust.",
    )


def _formula(one: ProgramFormula) -> Image:
    figure = formula_picture(one.lines, one.where)
    return image_of(figure, f"In LaTeX: {'; '.join(one.lines)}", f"The program for {one.slot}.")


def _control(name: str, control: Control) -> tuple[Image, ...]:
    tasks = dict.fromkeys(one.task for one in control.table)
    return tuple(
        image_of(
            programs.control_picture(
                {
                    who: [(step.trainings, step.scores[task]) for step in steps]
                    for who, steps in ((name, control.search), (f"control: {control.name}", control.control))
                },
                control.trainings,
                task,
            ),
            f"Best selection score so far on {task} against trainings, of the search and of its control.",
            f"{task}: the best answer so far at equal budgets, with 95% intervals.",
        )
        for task in tasks
    )
