"""The record of a family: its factory, and everything else that the program needs to know about it.

    AMPO = Family(
        ampo,
        limits={"eta": (1e-2, inf)},
        picture="objectives.mirror_map.picture:PICTURE",
        lesson="objectives.mirror_map.lesson:LESSON",
    )

`objectives.FAMILIES` has one line per family: its name and the import path of its record. A picture, a lesson
or an exporter is given as a record, or as its import path "package.module:NAME", which is imported when first
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
    """The data of a picture: an algorithm and everything that it reads.

    Attributes:
        label: its name in pictures.
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
        name: of its file, without a suffix.
        draw: ``(found, plots) -> matplotlib Figure``; `found` is a `Found`, `plots` the module of drawing
            helpers that all pictures share (`discovery.display.plots`), passed because this package imports
            nothing from discovery. It raises `NothingToDraw` if there is nothing to show.
        alt: what the picture shows, for readers who cannot see it.
        caption: what to look for.
    """

    name: str
    draw: Callable[[Any, Any], Any]
    alt: str
    caption: str


class Lesson(NamedTuple):
    """How a family imitates another algorithm: both are evaluated on the same synthetic inputs.

    Attributes:
        answers: ``(algorithm, meta_params, key, agent) -> [K, ...]``; the key makes the inputs, `agent` is a
            small actor-critic network for answers that need one. The errors of each of the K kinds of answers
            are divided by the scale of that kind.
        suits: whether an algorithm can be imitated.
        what: the answers, in words.
        learning_rate: of the student, initially.
    """

    answers: Callable[[Algorithm, MetaParams, PRNGKeyArray, Any], Float[Array, "K ..."]]
    suits: Callable[[Algorithm], bool]
    what: str
    learning_rate: float


class Export(NamedTuple):
    """How a family's part is written to a standalone file, if it is not an elementwise policy loss.

    Attributes:
        kind: what the file holds, the name of a kind in `discovery.export.parts`.
        about: ``subject -> {"description", "usage", "differences"}``, the texts of the file's header for a
            learned optimizer; `subject` is a `discovery.export.parts.Subject`.
        needs_progress: whether a learned optimizer needs the training progress.
        needs_context: whether it needs the parameters, their descriptions, activations and a key.
        parts: ``options -> names`` of all parts of the algorithm that can be exported, if these depend on its
            options.
    """

    kind: str
    about: Callable[[Any], Mapping[str, Any]] | None = None
    needs_progress: bool = False
    needs_context: bool = False
    parts: Callable[[Mapping[str, Any]], tuple[str, ...]] | None = None


@dataclass(frozen=True)
class Family:
    """A family of algorithms.

    Attributes:
        build: the factory. Its keyword arguments, with defaults and annotations, are the family's options;
            the first line of its docstring describes the family.
        limits: smallest and largest sensible value of numbers that only this family reads.
        baselines: names of known algorithms that it is compared with.
        optimizer: whether its learned part is the optimizer, which another algorithm can take ("lpo+open").
        starts: options that only affect the initial values, and not how the searched numbers are read.
        picture: how the searched entries are drawn, all or by name. None, and for entries without a name:
            drift and slope of its elementwise policy loss.
        lesson: how they are fitted to another algorithm. None: to the drift and slope of its policy loss.
        export: how the result is written to a file. None: its policy loss, if it has one.
    """

    build: Callable[..., Algorithm]
    limits: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    baselines: tuple[str, ...] = ("ppo", "dpo")
    optimizer: bool = False
    starts: tuple[str, ...] = ()
    picture: Picture | Mapping[str, Picture] | str | None = None
    lesson: Lesson | str | None = None
    export: Export | str | None = None

    @property
    def summary(self) -> str:
        """A description in one line."""
        return (inspect.getdoc(self.build) or "").partition("\n")[0].replace("``", "")

    @property
    def options(self) -> Mapping[str, inspect.Parameter]:
        """The options by name."""
        return inspect.signature(self.build).parameters


def load(place: Any) -> Any:
    """The object at "package.module:NAME"; anything except text is returned unchanged.

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
