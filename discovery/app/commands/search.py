"""``discovery search PRESET-or-FILE [overrides]``."""

import dataclasses
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from discovery.app.commands.folders import OUTPUT
from discovery.app.commands.parsing import parse, positional
from discovery.core import presets
from discovery.core.config.generations import GenerationsConfig
from discovery.core.config.methods import METHODS, MetaConfig
from discovery.core.config.search import SearchConfig, Starting
from discovery.core.errors import BadInput, unknown
from discovery.core.toml import from_suite

PROG = "discovery search"

DESCRIPTION = """Search for a learning algorithm, and record everything in a new run below --output.

Every setting of the preset or file can be overridden, also those of tasks, which are numbered from 0.
`discovery search PRESET --help` shows the preset's values, the options of its method and its tasks;
`discovery presets PRESET` prints its file, to copy and change. Entries of options and numbers are added to
those of the preset.

  discovery search lpo-catch --dry-run                        what it would do, and how long it takes
  discovery search lpo-catch --seed 1 --generations 10
  discovery search lpo-catch --meta.population 64 --tasks.0.total-steps 4e4
  discovery search lpo-catch --algorithm-options width=32 xi=1e-5 --tasks.0.numbers gamma=0.95
  discovery search lpo-catch --meta.sigma-decay None --meta.strategy SNES
  discovery search mine.toml --meta.method pbe --meta.order 1 --meta.parents 8
  discovery search lpo-catch --suite classic                  on a suite's tasks instead
  discovery search lpo-catch --start.sources ppo              from a fit to PPO
  discovery search mine.toml --workers 1 --json > log.jsonl
"""


@dataclass(frozen=True)
class Search:
    """Arguments of `discovery search`."""

    preset: Annotated[Positional[str], arg(metavar="PRESET-or-FILE")]
    """A name from `discovery presets`, or a TOML file such as the config.toml of a run."""
    output: Path = OUTPUT
    """Folder in which the run's folder is created."""
    name: str | None = None
    """The run's name. Default: date, preset and a short id."""
    quiet: bool = False
    """Print nothing but warnings and errors."""
    json: bool = False
    """Print one JSON object per line, for programs."""
    dry_run: bool = False
    """Only check, and print the resolved config, the number of trainings and the time they would take with
    the workers available now."""
    config: Annotated[SearchConfig, arg(name="")] = field(default_factory=SearchConfig)
    """The search itself."""


def main(argv: Sequence[str]) -> int:
    """Run the verb."""
    preset, rest = positional(argv, switches())
    if preset is None:
        if {"-h", "--help"} & set(argv):
            parse(Search, ["--help"], PROG, DESCRIPTION)
        raise BadInput(f"a search is required: name a preset ({', '.join(presets.names())}) or a TOML file")
    config, short = presets.read(preset)
    if _value(rest, "--algorithm") not in (None, config.algorithm):  # options belong to the preset's
        config = dataclasses.replace(config, algorithm_options={})
    if suite := _value(rest, "--suite"):
        config = from_suite(config, suite)
    if (method := _value(rest, "--meta.method")) is not None:
        config = dataclasses.replace(config, meta=_meta_of(method, config))
    _refuse_options_of_other_methods(rest, config.meta)
    args = parse(Search, [preset, *rest], PROG, DESCRIPTION, Search(preset, config=config))
    return dry_run(args, short) if args.dry_run else run_search(args, short)


def _meta_of(method: str, config: SearchConfig) -> MetaConfig:
    """The config of a method, with the values of the options that it shares with `config`'s method.

    Raises:
        BadInput: there is no such method.
    """
    if method not in METHODS:
        raise unknown("search method", method, METHODS)
    if method == config.meta.method:
        return config.meta
    common = (each.name for each in dataclasses.fields(GenerationsConfig) if each.name != "method")
    return METHODS[method](**{name: getattr(config.meta, name) for name in common})


def _refuse_options_of_other_methods(arguments: Sequence[str], meta: MetaConfig) -> None:
    """Refuse options of other methods, and say which method they belong to.

    Raises:
        BadInput: an option of another method is given.
    """
    if _value(arguments, "--meta.strategy") == "PBE":
        raise BadInput("PBE is not an evolution strategy but another method; use --meta.method pbe")
    own = {each.name for each in dataclasses.fields(meta)}
    for argument in arguments:
        flag = argument.partition("=")[0]
        name = flag.removeprefix("--meta.").replace("-", "_")
        users = [method for method, cls in METHODS.items() if name in cls.__dataclass_fields__]
        if flag.startswith("--meta.") and name not in own and users:
            raise BadInput(
                f"{flag} is an option of method {users[0]!r}, but this search's is {meta.method!r}; add "
                f"--meta.method {users[0]}, or leave it out"
            )


def _value(arguments: Sequence[str], flag: str) -> str | None:
    """The value that is given for a flag, None if it is not."""
    for index, argument in enumerate(arguments):
        name, equals, value = argument.partition("=")
        if name == flag:
            return value if equals else "".join(arguments[index + 1 : index + 2])
    return None


def run_search(args: Search, short: str) -> int:
    """Make the run and search."""
    from discovery.app.begin import begin
    from discovery.app.commands.session import conduct
    from discovery.display.progress import view

    run, executor = begin(_found(args), args.output, short, args.name)
    with executor:
        return conduct(run, executor, view(run.config, args.quiet, args.json))


def dry_run(args: Search, short: str) -> int:
    """Say what the search would do."""
    from discovery.app.begin import refuse_unsuitable
    from discovery.app.commands.estimate import estimate
    from discovery.core.json import json_line
    from discovery.core.plain import plain
    from discovery.core.toml import dumps

    config = _found(args)
    refuse_unsuitable(config, args.output, short, args.name)
    plan = estimate(config, args.output)
    if args.json:
        print(json_line({"event": "plan", "config": plain(config), **dataclasses.asdict(plan)}))
    else:
        sys.stdout.write(f"{dumps(config)}\n{plan.text(config)}\n")
    return 0


def _found(args: Search) -> SearchConfig:
    """The config, with the paths of the runs that it starts from."""
    start = args.config.start
    if not start.sources:
        return args.config
    from discovery.app.commands.judging import resolved

    sources = tuple(resolved(start.sources, args.output, PROG))
    return dataclasses.replace(args.config, start=dataclasses.replace(start, sources=sources))


def switches() -> frozenset[str]:
    """Names of the flags of this verb that take no value."""
    from environments.task import Setup, Task

    kinds = (Search, SearchConfig, Starting, *METHODS.values(), Task, Setup)
    fields = (field for kind in kinds for field in dataclasses.fields(kind))
    return frozenset({"help", "h"} | {f.name.replace("_", "-") for f in fields if f.type in (bool, "bool")})
