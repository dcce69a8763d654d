"""The commands that reproduce a report, section by section."""

from dataclasses import dataclass
from pathlib import Path
from shlex import join, quote, split

from discovery.core.config.programs import ProgramsConfig
from discovery.core.toml import CONFIG
from discovery.export.parts import usual_arguments
from discovery.judging.robustness import parse_variant
from discovery.results.loaded import Rows, RunData
from objectives import baselines_of


@dataclass(frozen=True)
class Commands:
    """Command lines.

    Attributes:
        search: repeats the search from the run's config.
        resume: continues it, if it is not complete.
        evaluate: the recorded evaluations, each once, in order; a suggestion if there is none.
        evaluated: whether `evaluate` was recorded.
        proposal: trains the found algorithm and the best single proposal on fresh seeds.
        means: trains several means on fresh seeds, for their rank correlation; "" if none is scored yet.
        test: trains on the held-out tasks.
        sweep: the recorded trainings with changed recipes; a suggestion if there is none.
        swept: whether `sweep` was recorded.
        plot, export: make pictures, and the exported file ("" if there is no export).
        report: makes this page, with all its numbers, from the ledger.
        lineage: shows the ancestors of what was found; "" where no programs are searched.
        control: of a search over programs: the best of as many random ones, and this page with it; else
            empty.
    """

    search: str
    resume: str
    evaluate: tuple[str, ...]
    evaluated: bool
    proposal: str
    means: str
    test: str
    sweep: tuple[str, ...]
    swept: bool
    plot: str
    export: str
    report: str
    lineage: str
    control: tuple[str, ...]


def commands_of(run: RunData, control: RunData | None = None) -> Commands:
    """The commands of a run, shown with a control. They do not contain absolute paths."""
    place = _place(run)
    name, arguments = quote(place), usual_arguments(run.spec.name, dict(run.spec.options))
    rows = [row | {"command": portable(row["command"], run)} for row in run.reports()]
    recorded = tuple(dict.fromkeys(r["command"] for r in rows if r["command"] and not r["variant"]))
    swept = _sweep_commands(rows)
    others = " ".join(baselines_of(run.spec.name))
    first = f"discovery evaluate {name} {quote(f'{place}@initial')} {others} --seeds 32"
    means = " ".join(quote(f"{place}@{generation}") for generation in _evenly_spaced(sorted(run.selection)))
    return Commands(
        search=f"discovery search {quote(f'{place}/{CONFIG}')}",
        resume=f"discovery resume {name}",
        evaluate=recorded or (first,),
        evaluated=bool(recorded),
        proposal=f"discovery evaluate {name} {quote(f'{place}@best')} --seeds 32",
        means=f"discovery evaluate {means} --seeds 32" if means else "",
        test=f"discovery evaluate {name} {others} --seeds 32 --test",
        sweep=swept or (f"discovery evaluate {name} ppo --sweep learning_rate=0.1,0.3,1,3,10 --seeds 32",),
        swept=bool(swept),
        plot=f"discovery plot {name}",
        export=f"discovery export {name} {arguments}" if arguments else "",
        report=f"discovery report {name}" + (f" --control {quote(_place(control))}" if control else ""),
        lineage=f"discovery show {name} --lineage" if run.family_tree.answers else "",
        control=_control_commands(run, place),
    )


def _place(run: RunData) -> str:
    return run.folder.name if run.folder.is_absolute() else str(run.folder)


def _control_commands(run: RunData, place: str) -> tuple[str, ...]:
    if not isinstance(run.config.meta, ProgramsConfig) or run.config.meta.variation == "random":
        return ()
    name = quote(f"{run.folder.name}-control")
    return (
        f"discovery search {quote(f'{place}/{CONFIG}')} --meta.variation random --name {name}",
        f"discovery report {quote(place)} --control {name}",
    )


def portable(command: str, run: RunData) -> str:
    """A recorded command line, in which absolute paths to the run are replaced by its name."""
    names = {run.name, run.meta.get("run", run.name)}
    try:
        words = split(command)
    except ValueError:  # not a command line
        return command
    folders = [Path(word.partition("@")[0]) for word in words]
    places = [
        word.removeprefix(f"{folder.parent}/") if folder.is_absolute() and folder.name in names else word
        for word, folder in zip(words, folders, strict=True)
    ]
    return command if places == words else join(places)


def _sweep_commands(rows: Rows) -> tuple[str, ...]:
    """Recorded commands of sweeps, with the factors that were trained."""
    found: dict[str, dict[str, set[float]]] = {}
    for row in rows:
        if row["command"] and (variant := parse_variant(row["variant"])):
            parameter, factor = variant
            found.setdefault(row["command"], {}).setdefault(parameter, {1.0}).add(factor)
    commands = []
    for command, parameters in found.items():
        options = [
            f"--sweep {quote(name + '=' + ','.join(f'{factor:g}' for factor in sorted(factors)))}"
            for name, factors in parameters.items()
        ]
        commands.append(command if "--sweep" in command else " ".join([command, *options]))
    return tuple(commands)


def _evenly_spaced(generations: list[int]) -> list[int]:
    """At most five of them, evenly spaced, including the first and the last."""
    if len(generations) <= 5:
        return generations
    return [generations[round(i * (len(generations) - 1) / 4)] for i in range(5)]
