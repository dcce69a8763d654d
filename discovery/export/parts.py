"""What can be exported: kinds of parts, the formats that take them, and the algorithms that have them.

An algorithm is exported part by part; the format decides which. If it has its own loss and optimizer, `jax`
exports the loss and `optax` the optimizer.
"""

import importlib
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from discovery.core.errors import BadInput, unknown
from discovery.core.jobs import AlgorithmSpec
from objectives import build, family_of


class Subject(NamedTuple):
    """What is exported.

    Attributes:
        spec: which algorithm.
        algorithm: the same, built.
        options: all options of its factory, defaults included.
        meta_params: everything numeric it reads: plain numbers, and searched entries as numpy arrays.
        recipe: the first task's, see `recipe.recipe`; empty without one.
    """

    spec: AlgorithmSpec
    algorithm: Any
    options: Mapping[str, Any]
    meta_params: Mapping[str, Any]
    recipe: Mapping[str, Any]


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
        name: for messages.
        part: which part of an algorithm it is.
        entry: the function that files of this kind define, and no others.
        formats: those for it, the usual one first.
        module: of `discovery.export`, with ``write(subject, format) -> Contents``.
    """

    name: str
    part: str
    entry: str
    formats: tuple[str, ...]
    module: str

    @property
    def write(self) -> Callable[[Subject, str], Contents]:
        """Jax starts here."""
        return importlib.import_module(f"discovery.export.{self.module}").write


POLICY_LOSS = Kind("policy loss", "loss", "policy_loss", ("jax", "purejaxrl", "rejax"), "policy_losses")
MIRROR_MAP = Kind("mirror map", "loss", "score_loss", ("jax",), "mirror_maps")
OPTIMIZER = Kind("learned optimizer", "optimizer", "optimizer", ("optax",), "optimizers")

KINDS = (POLICY_LOSS, MIRROR_MAP, OPTIMIZER)

FORMATS = tuple(dict.fromkeys(name for kind in KINDS for name in kind.formats))
"""Values of `--to`."""


def kinds_of(name: str, algorithm: Any = None) -> list[Kind]:
    """The parts of an algorithm, by name or place, that can be exported.

    A family declares its files (`Family.export`); an elementwise policy loss is recognized without that.

    Args:
        name: of the algorithm.
        algorithm: the same, built; without it, a user-defined one is not known to have a policy loss.
    """
    from objectives.family import load

    exports = [load(family_of(part).export) for part in name.split("+")]
    kinds = [kind for kind in KINDS if any(each and each.kind == kind.name for each in exports)]
    if algorithm is None and ":" not in name:
        algorithm = build(name)
    return kinds if getattr(algorithm, "policy_loss", None) is None else [POLICY_LOSS, *kinds]


def holder(spec: AlgorithmSpec, kind: Kind) -> AlgorithmSpec:
    """The part of an algorithm that is of a kind: in "lpo+open", `open` is the optimizer."""
    return next((part for part in spec.parts if kind in kinds_of(part.name)), spec.parts[0])


def formats_of(name: str) -> tuple[str, ...]:
    """The formats for a part of an algorithm, the usual one first; empty if its code is missing."""
    try:
        kinds = kinds_of(name)
    except ValueError:
        return ()
    return tuple(target for kind in kinds for target in kind.formats)


def check_format(target: str) -> None:
    """Raise a `BadInput` unless the format exists."""
    if target not in FORMATS:
        raise unknown("export format", target, FORMATS)


def kind_for(name: str, algorithm: Any, target: str) -> Kind:
    """The part of an algorithm that a format exports.

    Raises:
        BadInput: there is no such part; the message names a format that works.
    """
    own = kinds_of(name, algorithm)
    if not own:
        raise BadInput(
            f"algorithm {name!r} cannot be exported: its loss is not an elementwise function "
            "policy_loss(log_prob, old_log_prob, advantage), nor is it a mirror map or a learned optimizer "
            "of ours, which is all that the formats take. Use it through `import discovery` instead"
        )
    for kind in own:
        if target in kind.formats:
            return kind
    takes = " or a ".join(kind.name for kind in KINDS if target in kind.formats)
    has = " and a ".join(kind.name for kind in own)
    formats = [each for kind in own for each in kind.formats]
    raise BadInput(
        f"{target} takes a {takes}, and algorithm {name!r} has a {has}: "
        f"use {' or '.join(f'--to {other}' for other in formats)}"
    )
