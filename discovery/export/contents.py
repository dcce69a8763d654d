"""What is exported, and what a whole file consists of."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from discovery.core.jobs import AlgorithmSpec
from discovery.export.source import Source


class Subject(NamedTuple):
    """What is exported.

    Attributes:
        spec: which algorithm.
        algorithm: the same, built.
        options: all options of its factory, defaults included.
        meta_params: everything numeric it reads: plain numbers, and searched entries as numpy arrays.
        recipe: the first task's, see `recipe.recipe`; empty where there is none.
    """

    spec: AlgorithmSpec
    algorithm: Any
    options: Mapping[str, Any]
    meta_params: Mapping[str, Any]
    recipe: Mapping[str, Any]


@dataclass(frozen=True)
class Contents:
    """What a file says, beside where it comes from.

    Attributes:
        title: what it is, "a policy loss for jax and numpy".
        description: what it computes and wants, as a paragraph.
        usage: code that uses it.
        differences: from how it was trained, a sentence or more each.
        source: its functions with the constants and weights that they read.
        declared: constants that tell a host what it needs.
        adapter: source for a host, behind the functions.
    """

    title: str
    description: str
    usage: str
    differences: tuple[str, ...]
    source: Source
    declared: Mapping[str, Any] = field(default_factory=dict)
    adapter: str = ""
