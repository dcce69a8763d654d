"""Subjects to judge, and the syntax of their names.

runs/NAME    runs/NAME@12    runs/NAME@initial    what a run found; a generation's mean; the first one
runs/NAME@g12/p3    runs/NAME@best                one of its proposals; the one with the best search score
ppo    a2c[optimizer=sgd]                         a known algorithm; with options of its factory
ppo[clip=0.1,learning_rate=1e-3]                  with numbers that replace the tasks'
package.module:function                           a user-defined one, likewise
my_loss.py    my_loss.py[condition=drift]         a program of one's own, likewise; it is read and never run
exports/found.py                                  a file that `discovery export` wrote, likewise; it is run
"""

import inspect
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

from discovery.core.errors import BadInput, one_line, unknown
from discovery.core.jobs import EXPORTED_FILE as FILE
from discovery.core.jobs import AlgorithmSpec
from discovery.core.toml import CONFIG, is_run
from discovery.core.values import entries, option
from discovery.results.loaded import RunData, load_run
from environments.task import Task
from objectives import FAMILIES, factory, is_known

Value = bool | int | float | str


@dataclass(frozen=True, eq=False)
class Subject:
    """Something to judge.

    Attributes:
        label: its name in tables.
        spec: which algorithm.
        meta_params: its searched entries, such as a program; empty for a known algorithm.
        source: "RUN@GENERATION", "RUN@PROPOSAL", a file, or "" for a known algorithm.
        numbers: plain numbers that replace the tasks'.
    """

    label: str
    spec: AlgorithmSpec
    meta_params: Mapping[str, Any] = field(default_factory=dict, repr=False)
    source: str = ""
    numbers: Mapping[str, float] = field(default_factory=dict)

    def task(self, task: Task) -> Task:
        """A task as this subject is trained on it.

        Recipes are PPO's or PQN's: numbers that another algorithm, or the same with another optimizer, does
        not read are left out.
        """
        from discovery.inner.compile import build_algorithm
        from objectives.parts import DEFAULTS
        from objectives.q_learning import PQN_DEFAULTS

        unread = {*DEFAULTS, *PQN_DEFAULTS} - set(dict(build_algorithm(self.spec).defaults))
        kept = {name: value for name, value in task.numbers.items() if name not in unread}
        numbers = {**kept, **self.numbers}
        return task if numbers == task.numbers else replace(task, numbers=numbers)

    @property
    def options(self) -> list[tuple[str, Any]]:
        """Options that its trainings depend on; a file counts by its digest, not by its path."""
        return [pair for pair in self.spec.options if (self.spec.name, pair[0]) != (FILE, "path")]


class _Place(NamedTuple):
    run: RunData
    generation: int | None = None  # of a mean; None: the chosen one
    proposal: str = ""


def subjects(names: Sequence[str]) -> list[Subject]:
    """The subjects of these names; see the module's docstring.

    Raises:
        BadInput: a name is unknown (the message has the nearest names), an algorithm does not have an option
            or number, or two subjects are the same.
    """
    runs: dict[Path, RunData] = {}
    files = [Path(base).resolve() for base, _ in map(split_name, names) if _is_file(base)]
    found = [_resolve(name, runs, files) for name in names]
    several = len(runs) > 1
    listed = [_of_run(item, several) if isinstance(item, _Place) else item for item in found]
    labels = [subject.label for subject in listed]
    for label, name in zip(labels, names, strict=True):
        if labels.count(label) > 1:
            raise BadInput(f"{name!r} is there twice, as {label!r}; name each subject once")
    return listed


def split_name(name: str) -> tuple[str, dict[str, Value]]:
    """A name, and the options in brackets after it: "ppo[clip=0.1]" is ("ppo", {"clip": 0.1}).

    Raises:
        BadInput: the brackets do not close, or hold something other than NAME=VALUE pairs.
    """
    base, bracket, rest = name.partition("[")
    if not bracket or Path(name).exists():
        return name, {}
    if not base or not rest.endswith("]"):
        raise BadInput(f'options of a subject are given as "NAME[option=value,number=value]", got {name!r}')
    try:
        return base, entries([text.strip() for text in rest[:-1].split(",") if text.strip()], option)
    except ValueError as error:
        raise BadInput(f"subject {name!r}: {error}") from error


def _resolve(name: str, runs: dict[Path, RunData], files: Sequence[Path]) -> Subject | _Place:
    base, given = split_name(name)
    folder, at, wanted = base.rpartition("@")
    if not at or is_run(base):
        folder, at = base, ""
    if not is_run(folder):
        if Path(folder).is_dir():
            raise BadInput(
                f"{folder} is no run: it holds no {CONFIG}; `discovery list` shows those there are"
            )
        return _of_file(base, given, files) if _is_file(base) else _known(base, given)
    if given:
        raise BadInput(f"{name!r}: what a run found has no options; it is judged as it was searched")
    path = Path(folder).resolve()
    if path not in runs:
        runs[path] = load_run(folder)
    return _place(runs[path], wanted) if at else _Place(runs[path])


def _place(run: RunData, wanted: str) -> _Place:
    """The generation or proposal after the @."""
    if wanted == "best":
        return _Place(run, proposal=run.best_proposal())
    if "/" in wanted:
        run.proposal_number(wanted)  # it exists
        return _Place(run, proposal=wanted)
    number: Any = int(wanted) if wanted.lstrip("-").isdecimal() else wanted
    try:
        return _Place(run, run.generation_number(number))
    except BadInput as error:
        text = f'{error}; behind the @ may also come a proposal (g2/p27), or "best", of all proposals'
        raise BadInput(text) from None


def _is_file(base: str) -> bool:
    return base.endswith(".py") and ":" not in base


def _known(name: str, given: Mapping[str, Value]) -> Subject:
    """A known algorithm by name, or a user-defined one by its module."""
    plain, at, wanted = name.partition("@")
    if at and is_known(plain):
        raise BadInput(f"{plain!r} is an algorithm, not a run: it has no {wanted!r}; name {plain!r} alone")
    if not is_known(name):
        raise unknown("run or algorithm", name, [*FAMILIES, *_runs_nearby(name)])
    return _configured(Subject(name, AlgorithmSpec(name)), given)


def _of_file(name: str, given: Mapping[str, Value], files: Sequence[Path]) -> Subject:
    """An exported file or a program, labeled by its name and as many folders as tell it from others."""
    from discovery.results.exported_file import file_digest, is_exported

    path = Path(name).resolve()
    if not path.is_file():
        raise BadInput(
            f"there is no file {name}; write a program there (`discovery program --help` shows one), or what "
            f"a run found: `discovery export RUN --out {name}`"
        )
    tails = (path.parts[-count:] for count in range(1, len(path.parts)))
    label = "/".join(next(t for t in tails if all(f == path or f.parts[-len(t) :] != t for f in files)))
    if is_exported(path):
        spec = AlgorithmSpec(FILE, (("digest", file_digest(path)), ("path", str(path))))
        return _configured(Subject(label, spec, source=name), given, ("digest", "path"))
    from discovery.results.programs import codes_of, programs_in, spec_of

    programs = programs_in(name)
    subject = Subject(label, spec_of(programs, name), source=name)
    return _configured(subject, given, ("slots", "start"), lambda spec: codes_of(programs, spec, name))


def _configured(
    subject: Subject,
    given: Mapping[str, Value],
    fixed: Collection[str] = (),
    entries: Callable[[AlgorithmSpec], Mapping[str, Any]] = lambda spec: {},
) -> Subject:
    """The subject with the options and numbers given in brackets.

    Args:
        subject: with the options that it has by itself.
        given: options and numbers.
        fixed: options that cannot be given.
        entries: the searched entries of the algorithm with all options.
    """
    name = subject.spec.name
    try:
        valid = [each for each in inspect.signature(factory(name)).parameters if each not in fixed]
    except ValueError as error:
        raise BadInput(str(error)) from error
    options = {key: value for key, value in given.items() if key in valid}
    spec = AlgorithmSpec(name, tuple(sorted({**dict(subject.spec.options), **options}.items())))
    algorithm, searched = _built(spec, subject.label)
    meta_params = entries(spec)
    if missing := [entry for entry in searched if entry not in meta_params]:
        raise BadInput(
            f"{subject.label!r} is not one algorithm but a family, with {', '.join(missing)} to be "
            "searched; name a run that searched it: RUN, RUN@initial or RUN@GENERATION"
        )
    numbers = {key: value for key, value in given.items() if key not in options}
    _check_numbers(subject.label, numbers, valid, sorted(dict(algorithm.defaults)))
    inside = ",".join(f"{key}={_shown(value)}" for key, value in sorted(given.items()))
    label = f"{subject.label}[{inside}]" if given else subject.label
    plain = {key: float(value) for key, value in numbers.items()}
    return replace(subject, label=label, spec=spec, meta_params=meta_params, numbers=plain)


def _built(spec: AlgorithmSpec, label: str) -> tuple[Any, list[str]]:
    """The algorithm, and the names of its searched entries."""
    import jax

    from discovery.inner.compile import build_algorithm

    try:
        algorithm = build_algorithm(spec)
        return algorithm, sorted(jax.eval_shape(algorithm.init, jax.random.key(0)))
    except ValueError as error:
        raise BadInput(f"{label}: {error}") from error
    except Exception as error:
        # Options of the wrong type come to a TypeError; user code may raise anything.
        if ":" not in spec.name and not isinstance(error, TypeError):
            raise
        raise BadInput(f"algorithm {label!r} cannot be made: {one_line(error)}") from error


def _check_numbers(
    label: str, numbers: Mapping[str, Value], options: Sequence[str], known: Sequence[str]
) -> None:
    for name, value in numbers.items():
        if name not in known:
            raise BadInput(
                f"{label!r} has neither an option nor a number {name!r}; its options are: "
                f"{', '.join(options) or 'none'}; its numbers are: {', '.join(known)}"
            )
        if isinstance(value, bool | str):
            raise BadInput(f"number {name} of {label!r} must be a number, got {value!r}")


def _shown(value: Value) -> str:
    return (
        str(value).lower() if isinstance(value, bool) else f"{value:g}" if _is_number(value) else str(value)
    )


def _is_number(value: Value) -> bool:
    return isinstance(value, int | float)


def _runs_nearby(name: str) -> list[str]:
    """Run folders in the same folder as `name`, and those in the default one."""
    parents = {Path(name.partition("@")[0]).parent, Path("runs")}
    return [str(path.parent) for parent in parents for path in parent.glob(f"*/{CONFIG}")]


def _of_run(place: _Place, several: bool) -> Subject:
    run, generation, proposal = place
    if proposal:
        label = f"{run.name} {proposal}" if several else f"proposal {proposal}"
        found, source = run.proposal(*run.proposal_number(proposal)), f"{run.name}@{proposal}"
        return Subject(label, found.algorithm or run.spec, found.meta_params, source)
    # A search may choose its initial mean; its answer is called "discovered" even then.
    label = "discovered" if generation is None else run.label(generation)
    generation = run.generation_number(generation)
    if several:
        label = run.name if label == "discovered" else f"{run.name} {label}"
    found = run.answer(generation)
    return Subject(label, found.algorithm or run.spec, found.meta_params, f"{run.name}@{generation}")
