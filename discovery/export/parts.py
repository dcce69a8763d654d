"""What can be exported: kinds of parts, the formats that take them, and the algorithms that have them.

An algorithm is exported part by part. Often the format decides which: if it has its own loss and optimizer,
`jax` exports the loss and `optax` the optimizer. Of several programs, one is named.
"""

import importlib
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

from discovery.core.errors import BadInput, unknown
from discovery.core.jobs import AlgorithmSpec
from objectives import all_options, build, family_of


class Subject(NamedTuple):
    """What is exported.

    Attributes:
        spec: which algorithm.
        algorithm: the same, built.
        options: all options of its factory, defaults included.
        meta_params: everything numeric it reads: plain numbers, and searched entries as numpy arrays.
        recipe: the first task's, see `recipe.recipe`; empty without one.
        part: which part of it, see `Kind.part`.
    """

    spec: AlgorithmSpec
    algorithm: Any
    options: Mapping[str, Any]
    meta_params: Mapping[str, Any]
    recipe: Mapping[str, Any]
    part: str


class Contents(NamedTuple):
    """The contents of a file, except its provenance.

    Attributes:
        title: what it is, "a policy loss for jax and numpy".
        description: what it computes and expects, as a paragraph.
        usage: code that uses it.
        differences: from how it was trained, a sentence or more each.
        source: a `source.Source`: its functions with the constants and weights that they read.
        declared: constants that tell a host what it needs.
        adapter: source for a host, after the functions.
    """

    title: str
    description: str
    usage: str
    differences: tuple[str, ...]
    source: Any
    declared: Mapping[str, Any] = MappingProxyType({})
    adapter: str = ""


class Kind(NamedTuple):
    """One kind of part.

    Attributes:
        name: for messages, and by which families have it.
        part: which part of an algorithm it is.
        entry: the function that files of this kind define, and no files of an algorithm's other parts.
        formats: those for it, the usual one first.
        module: of `discovery.export`, with ``write(subject, format) -> Contents``.
    """

    name: str
    part: str
    entry: str
    formats: tuple[str, ...]
    module: str

    @property
    def label(self) -> str:
        """The name, with the part if this is one of several of the name."""
        return f"{self.name} for {self.part}" if self in PROGRAMS else self.name

    @property
    def write(self) -> Callable[[Subject, str], Contents]:
        """Jax starts here."""
        return importlib.import_module(f"discovery.export.{self.module}").write


POLICY_LOSS = Kind("policy loss", "loss", "policy_loss", ("jax", "purejaxrl", "rejax"), "policy_losses")
MIRROR_MAP = Kind("mirror map", "loss", "score_loss", ("jax",), "mirror_maps")
OPTIMIZER = Kind("learned optimizer", "optimizer", "optimizer", ("optax",), "optimizers")

PROGRAMS = (
    Kind("program", "policy_loss", "policy_loss", (*POLICY_LOSS.formats, "torch"), "programs"),
    *(
        Kind("program", slot, slot, ("jax", "torch"), "programs")
        for slot in ("loss", "trace", "advantage", "schedule")
    ),
    Kind("program", "optimizer", "optimizer", ("optax",), "programs"),
)
"""A program is named by its slot."""

KINDS = (POLICY_LOSS, MIRROR_MAP, OPTIMIZER, *PROGRAMS)

FORMATS = tuple(dict.fromkeys(name for kind in KINDS for name in kind.formats))
"""Values of `--to`."""


def kinds_of(spec: AlgorithmSpec, algorithm: Any = None) -> list[Kind]:
    """The parts of an algorithm that can be exported.

    A family declares its files (`Family.export`); an elementwise policy loss is recognized without that.

    Args:
        spec: which algorithm.
        algorithm: the same, built; without it, a user-defined one is not known to have a policy loss.
    """
    from objectives.family import load

    found: list[Kind] = []
    is_whole = False
    for part in spec.parts:
        export = load(family_of(part.name).export)
        if export is None:
            continue
        parts = export.parts and export.parts(all_options(part.name, dict(part.options)))
        is_whole |= parts is not None
        found += [kind for kind in KINDS if kind.name == export.kind and (not parts or kind.part in parts)]
    if is_whole:
        return found
    if algorithm is None and ":" not in spec.name:
        algorithm = build(spec.name, dict(spec.options))
    return found if getattr(algorithm, "policy_loss", None) is None else [POLICY_LOSS, *found]


def holder(spec: AlgorithmSpec, kind: Kind) -> AlgorithmSpec:
    """The part of an algorithm that is of a kind: in "lpo+open", `open` is the optimizer."""
    return next((part for part in spec.parts if kind in kinds_of(part)), spec.parts[0])


def formats_of(name: str, options: Mapping[str, Any] | None = None) -> tuple[str, ...]:
    """The formats for parts of an algorithm, the usual one first; empty if its code is missing."""
    try:
        kinds = kinds_of(AlgorithmSpec(name, tuple((options or {}).items())))
    except ValueError:
        return ()
    return tuple(dict.fromkeys(target for kind in kinds for target in kind.formats))


def parts_for(spec: AlgorithmSpec, target: str) -> list[str]:
    """The parts of an algorithm that a format can export."""
    return [kind.part for kind in kinds_of(spec) if target in kind.formats]


def usual_arguments(name: str, options: Mapping[str, Any] | None = None) -> str:
    """What `discovery export RUN` is usually followed by, for an algorithm; empty if it has no exports."""
    formats = formats_of(name, options)
    if not formats:
        return ""
    several = len(parts_for(AlgorithmSpec(name, tuple((options or {}).items())), formats[0])) > 1
    return f"--to {formats[0]}{'' if several else ' --out found.py'} --verify"


def check_format(target: str) -> None:
    """Raise a `BadInput` unless the format exists."""
    if target not in FORMATS:
        raise unknown("export format", target, FORMATS)


def kind_for(spec: AlgorithmSpec, algorithm: Any, target: str, part: str = "") -> Kind:
    """The part of an algorithm that a format exports.

    Args:
        spec: which algorithm.
        algorithm: the same, built.
        target: the format.
        part: which part, if there are several for the format.

    Raises:
        BadInput: there is no such part, or several; the message names a format or a part that works.
    """
    own, name = kinds_of(spec, algorithm), spec.name
    if not own:
        raise BadInput(
            f"algorithm {name!r} cannot be exported: its loss is not an elementwise function "
            "policy_loss(log_prob, old_log_prob, advantage), nor is it a mirror map, a learned optimizer or "
            "a program of ours, which is all that the formats take. Use it through `import discovery` instead"
        )
    if part and part not in (parts := [kind.part for kind in own]):
        raise unknown(f"part of algorithm {name!r} to export", part, parts)
    own = [kind for kind in own if part in ("", kind.part)]
    fitting = [kind for kind in own if target in kind.formats]
    if len(fitting) > 1:
        choices = " or ".join(f"--part {kind.part}" for kind in fitting)
        raise BadInput(f"{target} takes several parts of algorithm {name!r}, each as a file: add {choices}")
    if fitting:
        return fitting[0]
    takes = _listed("or", [kind.name for kind in KINDS if target in kind.formats])
    formats = dict.fromkeys(each for kind in own for each in kind.formats)
    raise BadInput(
        f"{target} takes {takes}, and algorithm {name!r} has {_listed('and', [kind.label for kind in own])}: "
        f"use {' or '.join(f'--to {other}' for other in formats)}"
    )


def _listed(conjunction: str, names: Sequence[str]) -> str:
    return f" {conjunction} ".join(f"a {name}" for name in dict.fromkeys(names))
