"""The record of a family: its factory, and all that the rest of the program needs to know about it.

    AMPO = Family(
        ampo,
        limits={"eta": (1e-2, inf)},
        picture="objectives.mirror_map.picture:PICTURE",
        lesson="objectives.mirror_map.lesson:LESSON",
    )

`objectives.FAMILIES` has one line per family, its name and the place of its record. A picture, a lesson or an
exporter is given as a record, or as its place "package.module:NAME", which is imported when it is first
needed: a search never imports matplotlib.
"""

import importlib
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from objectives.base import Algorithm, MetaParams


@runtime_checkable
class Found(Protocol):
    """What a picture is drawn from: an algorithm and all that it reads.

    Attributes:
        label: what pictures call it.
        algorithm: its parts.
        meta_params: everything numeric it reads, searched entries and plain numbers.
        n_updates: N, the rollouts of the training that is drawn.
    """

    @property
    def label(self) -> str: ...
    @property
    def algorithm(self) -> Algorithm: ...
    @property
    def meta_params(self) -> Mapping[str, Any]: ...
    @property
    def n_updates(self) -> int: ...


class NothingToDraw(ValueError):
    """Raised by a picture for an algorithm that it cannot show; the message says why."""


class Picture(NamedTuple):
    """A kind of picture.

    Attributes:
        name: of its file, without an ending.
        draw: ``(found, plots) -> matplotlib Figure``; `found` is a `Found`, `plots` the module of drawing
            helpers that all pictures share (`discovery.display.plots`), handed over because this package
            imports nothing of discovery. It raises `NothingToDraw` where there is nothing to show.
        alt: what the picture shows, for readers who cannot see it.
        caption: what to look for.
    """

    name: str
    draw: Callable[[Any, Any], Any]
    alt: str
    caption: str


class Lesson(NamedTuple):
    """How a family imitates another algorithm: both answer the same questions on made-up inputs.

    Attributes:
        answers: ``(algorithm, meta_params, key, agent) -> [K, ...]``; the key makes the inputs, `agent` is a
            small actor-critic network of discovery's for questions that need one. Each of the K kinds of
            answers has a scale of its own, by which its errors are divided.
        suits: whether an algorithm can be asked.
        what: the answers, in words.
        learning_rate: of the student, at first.
    """

    answers: Callable[[Algorithm, MetaParams, PRNGKeyArray, Any], Float[Array, "K ..."]]
    suits: Callable[[Algorithm], bool]
    what: str
    learning_rate: float


class Export(NamedTuple):
    """How a family's part is written to a standalone file, where it is not an elementwise policy loss.

    Attributes:
        kind: what the file holds, the name of a kind in `discovery.export.parts`.
        about: ``subject -> {"description", "usage", "differences"}``, what the file's header says of a
            learned optimizer; `subject` is a `discovery.export.parts.Subject`.
        needs_progress: whether a learned optimizer needs to know how far the training is.
        needs_context: whether it needs the parameters, what each is, activations and a key.
    """

    kind: str
    about: Callable[[Any], Mapping[str, Any]] | None = None
    needs_progress: bool = False
    needs_context: bool = False


@dataclass(frozen=True)
class Family:
    """A family of algorithms.

    Attributes:
        build: the factory. Its keyword arguments are the family's options, their defaults and annotations
            the options' own; the first line of its docstring says what the family is.
        limits: smallest and largest sensible value of numbers that only this family reads.
        baselines: names of known algorithms that it is compared with.
        optimizer: whether its learned part is the optimizer, which another algorithm can take ("lpo+open").
        starts: options that only say where a search begins, and not how the searched numbers are read.
        picture: how the searched entries are drawn. None: drift and slope of its elementwise policy loss.
        lesson: how they are fitted to another algorithm. None: to the drift and slope of its policy loss.
        export: how what was found is written to a file. None: its policy loss, where it has one.
    """

    build: Callable[..., Algorithm]
    limits: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    baselines: tuple[str, ...] = ("ppo", "dpo")
    optimizer: bool = False
    starts: tuple[str, ...] = ()
    picture: Picture | str | None = None
    lesson: Lesson | str | None = None
    export: Export | str | None = None

    @property
    def summary(self) -> str:
        """What the family is, in one line."""
        return (inspect.getdoc(self.build) or "").partition("\n")[0].replace("``", "")

    @property
    def options(self) -> Mapping[str, inspect.Parameter]:
        """The options by name."""
        return inspect.signature(self.build).parameters


def load(place: Any) -> Any:
    """What stands at "package.module:NAME"; anything but text is returned as it is.

    Raises:
        ImportError: there is no such module.
        AttributeError: the module has no such name.
    """
    if not isinstance(place, str):
        return place
    module, _, name = place.partition(":")
    return getattr(importlib.import_module(module), name)


def differ(a: Any, b: Any) -> bool:
    """Whether two trees of one structure hold different numbers; NaN equals NaN."""
    leaves = zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    return not all(np.array_equal(x, y, equal_nan=True) for x, y in leaves)
