"""``discovery presets``, ``discovery envs`` and ``discovery objectives``: what a search can be made of."""

import inspect
import tomllib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any

from tyro.conf import Positional, arg

from discovery.app.commands.parsing import parse
from discovery.app.commands.tables import show, table
from discovery.core import presets as shipped
from discovery.core.errors import BadInput, RunError, unknown
from discovery.core.files import check_writable


@dataclass(frozen=True)
class Presets:
    """Arguments of `discovery presets`."""

    name: Annotated[Positional[str | None], arg(metavar="[PRESET]")] = None
    """Print the file of this preset, to copy and change."""


@dataclass(frozen=True)
class Envs:
    """Arguments of `discovery envs`."""

    name: Annotated[Positional[str | None], arg(metavar="[ID]")] = None
    """Describe this environment; a user-defined one is given as "package.module:function"."""
    picture: Path | None = None
    """Draw a level of this grid world to a .png, .svg or .pdf file."""
    seed: int = 0
    """Seed of the level that is drawn."""


@dataclass(frozen=True)
class Objectives:
    """Arguments of `discovery objectives`."""

    name: Annotated[Positional[str | None], arg(metavar="[NAME]")] = None
    """Describe this algorithm: options, numbers, and what is searched; also "package.module:function"."""


def presets(argv: Sequence[str]) -> int:
    """List the presets, or print one."""
    description = "List the searches that are ready to run.\n\n  discovery presets lpo-catch > mine.toml"
    args = parse(Presets, argv, "discovery presets", description)
    if args.name:
        print(shipped.text(args.name), end="")
        return 0
    show(table(("preset", "what it does"), [(name, shipped.summary(name)) for name in shipped.names()]))
    print(
        "\ndiscovery search PRESET --dry-run   its config, and what it costs\n"
        "discovery presets PRESET            its file, to copy and change"
    )
    return 0


def envs(argv: Sequence[str]) -> int:
    """List the environments, or describe one."""
    args = parse(Envs, argv, "discovery envs", "List the environments that agents can train in.")
    if args.picture:
        return _draw_environment(args.name, args.picture, args.seed)
    if args.name:
        return _describe_environment(args.name)
    rows = [
        (id, shape, actions, str(horizon), text) for id, (shape, actions, horizon, text) in known().items()
    ]
    show(table(("environment", "observation", "actions", "steps", "what it is"), rows, right=("steps",)))
    print('\nUser-defined: "package.module:function", a function that returns an environments.Environment.')
    return 0


def known() -> dict[str, list[Any]]:
    """The entries of environments.toml, by id."""
    text = (files("discovery.app.commands") / "environments.toml").read_text(encoding="utf-8")
    return {id: facts for family in tomllib.loads(text).values() for id, facts in family.items()}


def shape_text(shape: Iterable[int]) -> str:
    """An observation's shape, for example "10 x 10 x 4"."""
    return " x ".join(map(str, shape)) or "1"


def actions_text(environment: Any) -> str:
    """An environment's actions: "3", or "2 continuous"."""
    return f"{environment.n_actions} continuous" if environment.continuous else str(environment.n_actions)


def _draw_environment(name: str | None, picture: Path, seed: int) -> int:
    if name is None:
        raise BadInput(
            "--picture needs a grid world, for example `discovery envs grid/small --picture level.png`"
        )
    _check_known(name)
    check_writable(picture, "--picture")
    from discovery.executors.cpu import ensure_single_thread

    ensure_single_thread()
    from discovery.display.pictures.grid import draw_environment
    from discovery.display.plots import save

    try:
        print(save(draw_environment(name, seed), picture))
    except OSError as error:
        raise RunError(f"{picture} cannot be written: {error.strerror}; choose another file") from error
    return 0


def _check_known(name: str) -> None:
    if ":" not in name and name not in known():
        raise unknown("environment", name, known())


def _describe_environment(name: str) -> int:
    _check_known(name)
    from environments.make import make, options_of

    try:
        environment = make(name)
    except ValueError as error:
        raise BadInput(str(error)) from error
    about = known().get(name, ["", "", 0, ""])[3]
    print(f"{name}{': ' if about else ''}{about}")
    print(f"  observation  {shape_text(environment.observation_shape)} float32, flattened for the network")
    print(f"  actions      {actions_text(environment)}")
    if environment.continuous:
        print(f"  bounds       {environment.action_low} to {environment.action_high}")
    print(f"  horizon      truncated after {environment.horizon} steps")
    if name.startswith("grid/"):
        from environments.levelsets import grid_task

        task = grid_task(name.removeprefix("grid/"))
        lives = f"total_steps = {task.total_steps}, shortest_life = {task.shortest_life:g}"
        print(
            f"  lives        {lives}, for {task.setup.n_envs} instances and rollouts of {task.setup.n_steps}"
        )
    if options := options_of(name):
        texts = (name if default is None else f"{name}={default}" for name, default in options.items())
        print(f"  options      {', '.join(texts)}")
    return 0


def objectives(argv: Sequence[str]) -> int:
    """List the algorithms, or describe one."""
    args = parse(
        Objectives, argv, "discovery objectives", "List what can be searched, and the known algorithms."
    )
    from discovery.executors.cpu import ensure_single_thread
    from objectives import FAMILIES

    ensure_single_thread()
    if args.name:
        return _describe_algorithm(args.name)
    rows = []
    for name in sorted(FAMILIES):
        family, algorithm = _built(name)
        kind = "searched" if _searched(algorithm) else "known"
        rows.append((name, kind, family.summary, ", ".join(family.options)))
    rows.sort(key=lambda row: row[1], reverse=True)
    show(table(("name", "kind", "what it is", "options"), rows))
    print(
        "\ndiscovery objectives NAME   its options and numbers with their defaults\n"
        'User-defined: "package.module:NAME" names a function that returns an objectives.base.Algorithm, or\n'
        "an objectives.family.Family."
    )
    return 0


def _built(name: str) -> tuple[Any, Any]:
    from objectives import build, family_of

    return family_of(name), build(name)


@contextmanager
def _explained(name: str) -> Iterator[None]:
    """Turn errors while an algorithm is made into bad input: the user's own code can raise anything.

    An error that begins with the algorithm's name is passed on as it is.
    """
    try:
        yield
    except Exception as error:
        text = " ".join(str(error).split())
        if isinstance(error, ValueError) and (":" not in name or text.startswith(f"algorithm {name!r} ")):
            raise BadInput(text) from error
        if ":" not in name:
            raise
        raise BadInput(f"algorithm {name!r} raises {type(error).__name__}: {text[:300]}") from error


def _searched(algorithm: Any) -> dict[str, tuple[int, ...]]:
    """The searched entries' shapes, by path; empty for a fixed algorithm."""
    import jax

    leaves = jax.tree_util.tree_leaves_with_path(jax.eval_shape(algorithm.init, jax.random.key(0)))
    return {jax.tree_util.keystr(path, simple=True, separator="."): leaf.shape for path, leaf in leaves}


def _describe_algorithm(name: str) -> int:
    with _explained(name):
        text = _description(name, *_built(name))
    print(text)
    return 0


def _description(name: str, family: Any, algorithm: Any) -> str:
    options = family.options.values()
    numbers = sorted(dict(algorithm.defaults).items())
    searched = ", ".join(f"{path} {list(shape)}" for path, shape in _searched(algorithm).items())
    lines = [
        f"{name}: {inspect.getdoc(family.build) or ''}\n",
        "Options (--algorithm-options NAME=VALUE): " + ("" if options else "none"),
        *(f"  {option}" for option in options),
        "Numbers (--tasks.0.numbers NAME=VALUE):",
        *(f"  {number} = {float(value):g}" for number, value in numbers),
        f"Searched: {searched or 'nothing'}",
        f"Compare with: {', '.join(family.baselines)}",
    ]
    return "\n".join(lines)
