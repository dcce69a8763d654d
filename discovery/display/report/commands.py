"""The commands that reproduce a report, section by section."""

from dataclasses import dataclass
from pathlib import Path
from shlex import join, quote, split

from discovery.core.toml import CONFIG
from discovery.export import formats_of
from discovery.judging.robustness import parse_variant
from discovery.results.loaded import LoadedRun, Rows
from objectives import family_of


@dataclass(frozen=True)
class Commands:
    """Command lines.

    Attributes:
        search: makes the run again from its config.
        resume: goes on with it, where it is not complete.
        evaluate: as recorded, each once, in order; before any, the one to begin with.
        evaluated: whether `evaluate` are recorded ones.
        proposal: trains what was found and the best single proposal on fresh seeds.
        means: trains several evaluated means on fresh seeds, for their rank correlation; "" before any.
        test: trains on the held-out tasks.
        sweep: trains under changed recipes, as recorded; before any, the one to begin with.
        swept: whether `sweep` are recorded ones.
        plot, export: pictures, and the file to take away ("" where there is none).
        report: this page, and all numbers on it that follow from the ledger.
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


def commands_of(run: LoadedRun) -> Commands:
    """The commands of a run. They name it without the folders of one machine."""
    place = run.folder.name if run.folder.is_absolute() else str(run.folder)
    name, formats = quote(place), formats_of(run.spec.name)
    rows = [row | {"command": portable(row["command"], run)} for row in run.reports()]
    recorded = tuple(dict.fromkeys(r["command"] for r in rows if r["command"] and not r["variant"]))
    swept = _sweeping(rows)
    others = " ".join(family_of(run.spec.name).baselines)
    first = f"discovery evaluate {name} {quote(f'{place}@initial')} {others} --seeds 32"
    means = " ".join(quote(f"{place}@{generation}") for generation in _some(sorted(run.selection)))
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
        export=f"discovery export {name} --to {formats[0]} --out found.py --verify" if formats else "",
        report=f"discovery report {name}",
    )


def portable(command: str, run: LoadedRun) -> str:
    """A recorded command line with the run's name where it had an absolute path to it."""
    names = {run.name, run.meta.get("run", run.name)}
    try:
        words = split(command)
    except ValueError:  # no command line
        return command
    folders = [Path(word.partition("@")[0]) for word in words]
    places = [
        word.removeprefix(f"{folder.parent}/") if folder.is_absolute() and folder.name in names else word
        for word, folder in zip(words, folders, strict=True)
    ]
    return command if places == words else join(places)


def _sweeping(rows: Rows) -> tuple[str, ...]:
    """Recorded commands of sweeps, with the factors that the variants have."""
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


def _some(generations: list[int], most: int = 5) -> list[int]:
    """Up to five of them, evenly spread, the first and the last included."""
    if len(generations) <= most:
        return generations
    return [generations[round(i * (len(generations) - 1) / (most - 1))] for i in range(most)]
