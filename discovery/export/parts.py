"""What can be exported: kinds of parts, the formats that take them, and the algorithms that have them.

An algorithm is exported part by part: the format says which. So one that has a loss and an optimizer of its
own gives the one to `jax` and the other to `optax`.
"""

from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple

from discovery.core.errors import BadInput, unknown
from discovery.core.jobs import AlgorithmSpec
from discovery.export import mirror_maps, optimizers, policy_losses
from discovery.export.hosts import ADAPTERS
from discovery.export.kernels import KERNELS
from discovery.export.mirror_maps import MIRROR_MAPS
from discovery.export.optimizers import OPTIMIZERS
from discovery.export.source import Subject, Text
from objectives import place_of


class Kind(NamedTuple):
    """One kind of part.

    Attributes:
        name: what people call it.
        part: which part of an algorithm it is.
        entry: the function that files of this kind define, and no others.
        formats: those that take it, the usual one first.
        members: factories of algorithms that have such a part, in source form.
        reads: ``(spec, all options) ->`` names of the plain numbers that its file holds.
        write: ``(subject, format) -> Text``.
    """

    name: str
    part: str
    entry: str
    formats: tuple[str, ...]
    members: Collection[str]
    reads: Callable[[AlgorithmSpec, Mapping[str, Any]], Collection[str]]
    write: Callable[[Subject, str], Text]


POLICY_LOSS = Kind(
    "policy loss",
    "loss",
    "policy_loss",
    tuple(ADAPTERS),
    KERNELS,
    policy_losses.reads,
    policy_losses.write,
)
MIRROR_MAP = Kind(
    "mirror map",
    "loss",
    "score_loss",
    ("jax",),
    MIRROR_MAPS,
    mirror_maps.reads,
    mirror_maps.write,
)
OPTIMIZER = Kind(
    "learned optimizer",
    "optimizer",
    "optimizer",
    ("optax",),
    OPTIMIZERS,
    optimizers.reads,
    optimizers.write,
)

KINDS = (POLICY_LOSS, MIRROR_MAP, OPTIMIZER)

FORMATS = tuple(dict.fromkeys(name for kind in KINDS for name in kind.formats))
"""What `--to` accepts."""


def kinds_of(name: str) -> list[Kind]:
    """The parts that an algorithm, by name or place, has in source form."""
    places = [place_of(part) for part in name.split("+")]
    return [kind for kind in KINDS if any(place in kind.members for place in places)]


def holder(spec: AlgorithmSpec, kind: Kind) -> AlgorithmSpec:
    """Which of the parts of an algorithm, which has one, is of a kind: of "lpo+open", `open` has the
    optimizer.
    """
    return next(part for part in spec.parts if kind in kinds_of(part.name))


def formats_of(name: str) -> tuple[str, ...]:
    """The formats that take a part of an algorithm, by name or place; the usual one first, maybe none."""
    return tuple(target for kind in kinds_of(name) for target in kind.formats)


def check_format(target: str) -> None:
    """Raise a `BadInput` unless there is such a format."""
    if target not in FORMATS:
        raise unknown("export format", target, FORMATS)


def kind_for(name: str, target: str) -> Kind:
    """The part of an algorithm, which has one, that a format takes.

    Raises:
        BadInput: it takes none; the message says which format does.
    """
    own = kinds_of(name)
    for kind in own:
        if target in kind.formats:
            return kind
    takes = " or a ".join(kind.name for kind in KINDS if target in kind.formats)
    has = " and a ".join(kind.name for kind in own)
    raise BadInput(
        f"{target} takes a {takes}, and algorithm {name!r} has a {has}: "
        f"use {' or '.join(f'--to {other}' for other in formats_of(name))}"
    )
