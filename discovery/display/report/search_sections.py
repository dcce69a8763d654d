"""The sections on the search: what, how, at what cost, how it went, what failed, where it comes from."""

from collections.abc import Iterator, Mapping
from typing import Any

from discovery.display.report.facts import Report
from discovery.display.report.figures import Picture, Pictures
from discovery.display.report.markup import (
    Html,
    code,
    commands,
    duration,
    estimate,
    facts,
    fold,
    html,
    join,
    number,
    percent,
    table,
    tag,
)
from discovery.display.report.searched import TaskFacts
from discovery.display.report.spent import Expense
from environments.task import SCORES

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
"""What is shown of the provenance before the libraries' versions, in this order."""

NARROW, WIDE = 520, 760
"""Widths in pixels below which a picture may shrink to a phone's, and above which it is scrolled there."""


def what(report: Report, pictures: Pictures) -> Iterator[Html]:
    """What was searched."""
    one = report.searched
    if one.summary:
        parts = one.summary.split("``")  # code in a docstring
        yield tag("p", *(tag("code", part) if i % 2 else part for i, part in enumerate(parts)))
    shapes = "; ".join(f"{path} {' × '.join(map(str, shape))}" for path, shape in one.shapes.items())
    rows: list[tuple[str, Any]] = [("family", tag("code", one.algorithm)), ("options", settings(one.options))]
    if one.size:
        rows.append(("searched numbers", join([number(one.size), f" ({shapes})"])))
    if one.start:
        rows.append(("first mean", "; ".join(one.start)))
    yield facts(rows)
    heads = ("task", "for", "steps", "rollouts", "of steps", "epochs × minibatches", "score")
    yield table("Tasks: one training of each", heads, map(_task, one.tasks), f"{_measures(one.tasks)}.")
    heads = ("task", "numbers", "other settings")
    recipes = [(task.name, settings(task.numbers), settings(task.setup)) for task in one.tasks]
    note = (
        "What is not named has the default of the algorithm or of the setup; the whole config is at the end."
    )
    yield table("Recipes", heads, recipes, note)
    yield commands(report.commands.search)


def how(report: Report, pictures: Pictures) -> Iterator[Html]:
    """How it was searched, and how the answer was chosen."""
    method = report.method
    yield facts([("meta-optimizer", settings(method.meta)), ("search", settings(method.settings))])
    yield tag("p", tag("strong", "Early stopping. "), _stopping(method.stopping))
    yield tag("p", tag("strong", "Choice. "), _choice(report))
    tasks = list(dict.fromkeys(task for mean in method.means for task in mean.scores))
    rows = [
        (mean.generation, mean.status, mean.seeds, *(estimate(mean.scores.get(task)) for task in tasks))
        for mean in method.means
    ]
    heads = ("generation of the mean", "in the end", "seeds", *tasks)
    yield table("Means on the selection seeds", heads, rows, "Mean score and 95% interval.")
    yield commands(report.commands.search, *([] if method.complete else [report.commands.resume]))


def cost(report: Report, pictures: Pictures) -> Iterator[Html]:
    """What it took."""
    spent = report.cost
    rows: list[tuple[str, Any]] = [
        ("environment steps", number(spent.total.steps)),
        ("trainings", number(spent.total.trainings)),
        ("wall time of the search, pauses included", duration(spent.wall_seconds)),
        ("time of workers", duration(spent.total.seconds)),
        ("compilation apart", duration(spent.total.compile_seconds)),
        ("workers", number(spent.workers)),
    ]
    if spent.devices:
        rows.append(("devices", ", ".join(spent.devices)))
    if spent.saved is not None:
        rows.append(("steps of proposals saved by early stopping", percent(spent.saved)))
    yield facts(rows)
    heads = ("part", "trainings", "failed", "environment steps", "time of workers", "compilation")
    yield table("Cost by part", heads, [_expense(part) for part in (*spent.parts, spent.total)])
    yield tag("p", "Times are hours, minutes and seconds, summed over workers. A training that failed counts "
              "with the steps that were planned.", class_="note")  # fmt: skip
    yield commands(report.commands.report)


def learning(report: Report, pictures: Pictures) -> Iterator[Html]:
    """The meta-learning curve."""
    if not report.method.generations:
        yield tag("p", "No generation is closed yet.")
        yield commands(report.commands.resume, name="Go on")
        return
    yield from map(figure, pictures.meta_learning)
    heads = ("generation", "population, mean", "population, best", "proposals that failed")
    rows = [(one.generation, one.mean, one.best, percent(one.failed)) for one in report.method.generations]
    note = "Scores of proposals, aggregated over tasks as the meta-optimizer was told them."
    yield fold("Numbers", table("The search by generation", heads, rows, note))
    yield commands(report.commands.report, report.commands.plot)


def failures(report: Report, pictures: Pictures) -> Iterator[Html]:
    """What failed."""
    if not report.failures:
        yield tag("p", "None of ", number(report.cost.total.trainings), " trainings failed.")
        yield commands(report.commands.report)
        return
    heads = ("part", "kind", "trainings", "share of the part", "one of them", "what it said")
    rows = [
        (one.part, one.kind, one.count, percent(one.share), tag("code", one.example), one.detail)
        for one in report.failures
    ]
    yield table("Failed trainings", heads, rows)
    yield tag("p", "In comparisons a failed training counts as the worst score that anything reached on its "
              "task, so that failing never helps.", class_="note")  # fmt: skip
    yield commands(report.commands.report)


def limits(report: Report, pictures: Pictures) -> Iterator[Html]:
    """What a reader should keep in mind."""
    yield tag("ul", *(tag("li", sentence) for sentence in report.limits))
    yield commands(report.commands.report)


def provenance(report: Report, pictures: Pictures) -> Iterator[Html]:
    """Where the numbers come from."""
    known = {name: report.provenance[name] for name in ORIGIN if report.provenance.get(name)}
    libraries = {name: text for name, text in report.provenance.items() if name not in ORIGIN}
    rows = [(name.replace("_", " "), tag("code", text)) for name, text in known.items()]
    versions = ", ".join(f"{name} {version}" for name, version in libraries.items())
    yield facts([*rows, ("libraries", versions)])
    yield tag(
        "p",
        "A training's key follows from the run's seed, the split, the generation, the task's name and the "
        "seed's index. The same versions on the same kind of device give the same numbers.",
    )
    yield fold("The whole config", code(report.config))
    yield commands(
        report.commands.search, *report.commands.evaluate, report.commands.export, report.commands.report
    )


def figure(picture: Picture) -> Html:
    """A picture in a white card, since its own colors are made for one."""
    image = Html(f'<img src="{picture.uri}" alt="{html(picture.alt)}" width="{picture.width}">')
    size = "small" if picture.width < NARROW else "wide" if picture.width > WIDE else "medium"
    box = tag("div", image, class_=f"picture {size}", tabindex="0")
    return tag("figure", box, tag("figcaption", picture.caption))


def settings(values: Mapping[str, Any]) -> Html:
    """Names and values on one line."""
    if not values:
        return Html("–")
    pairs = [
        Html(f'<span class="pair">{html(name)} <b>{_setting(value)}</b></span>')
        for name, value in values.items()
    ]
    return join(pairs, " ")


def _setting(value: Any) -> Html:
    if isinstance(value, float | int) and not isinstance(value, bool):
        return html(value)
    if isinstance(value, Mapping):
        return html(", ".join(f"{name} {item}" for name, item in value.items()) or "none")
    if isinstance(value, list | tuple):
        return html(" × ".join(map(str, value)) or "none")
    return Html("none") if value is None else html(value)


def _task(task: TaskFacts) -> tuple[Any, ...]:
    length = join([number(task.envs), " × ", number(task.length)])
    passes = join([number(task.epochs), " × ", number(task.minibatches)])
    name = task.name if task.environment == task.name else f"{task.name}: {task.environment}"
    return name, task.use, task.steps, task.updates, length, passes, task.score


def _measures(tasks: tuple[TaskFacts, ...]) -> str:
    used = dict.fromkeys(task.score for task in tasks)
    return "Score " + ", ".join(f"{name}: {SCORES[name]}" for name in used)


def _stopping(stopping: Mapping[str, Any]) -> Html:
    if not stopping:
        return Html("None: every proposal was trained to its end on all seeds.")
    if stopping["method"] == "racing":
        text = (
            " seeds for all; proposals that are clearly below the field got no more. Scores that are missing "
        )
        return join(["Racing: first ", stopping["first_seeds"], text, "were filled in from the others."])
    text = " times shorter lives from rung to rung, over ", " rungs; the best went on for longer."
    return join(["Successive halving: ", stopping["eta"], text[0], stopping["rungs"], text[1]])


def _choice(report: Report) -> Html:
    method = report.method
    if report.chosen is None:
        return Html("No mean was scored on the selection seeds yet.")
    left = sum(mean.status != "dropped" for mean in method.means)
    said = [number(len(method.means)), " means were raced on the selection seeds: those clearly below the "
            "best drop out, the others get further seeds, if the config has them. ", number(left),
            " were still in the race on ", number(method.race_seeds), " seeds, and of these the one with the "
            "highest mean was taken: generation ", number(report.chosen), "."]  # fmt: skip
    if not method.complete:
        said.append(" The search is not complete, so this may change.")
    return join(said)


def _expense(part: Expense) -> tuple[Any, ...]:
    times = duration(part.seconds), duration(part.compile_seconds)
    return part.part, part.trainings, part.failed, part.steps, *times
