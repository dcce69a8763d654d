"""Pieces of source: definitions out of `discovery/export/templates`, and what a whole file consists of."""

import ast
import functools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from discovery.core.jobs import AlgorithmSpec
from discovery.export.literals import array, literal

_TEMPLATES = Path(__file__).with_name("templates")


@functools.cache
def _sources(template: str) -> dict[str, str]:
    """Name of each function and class at a template's top level to its source, decorators included."""
    text = (_TEMPLATES / f"{template}.py").read_text(encoding="utf-8")
    found, lines = {}, text.splitlines(keepends=True)
    for node in ast.parse(text).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            first = min(part.lineno for part in (node, *node.decorator_list))
            found[node.name] = "".join(lines[first - 1 : node.end_lineno])
    return found


def definitions(template: str, names: str = "") -> str:
    """Source of the definitions with these `names`, in their order; of all if there are none."""
    sources = _sources(template)
    return "\n\n".join(sources[name] for name in names.split() or sources)


def constants(**values: Any) -> str:
    """``NAME = value`` lines, exact."""
    return "".join(f"{name.upper()} = {literal(value)}\n" for name, value in values.items())


def tree(name: str, values: Mapping[str, Any], prefix: tuple[str, ...] = ()) -> str:
    """``NAME = {...}`` of nested dictionaries with float32 arrays at the leaves, each array by a name of
    its own.

    The name of the array at ["gru"]["input"] is GRU_INPUT, behind a `prefix`.
    """
    arrays: list[str] = []

    def block(values: Mapping[str, Any], path: tuple[str, ...], indent: str) -> str:
        lines = []
        for key, value in values.items():
            here = (*path, key)
            if isinstance(value, Mapping):
                text = block(value, here, indent + "    ")
            else:
                text = "_".join(here).upper()
                arrays.append(array(text, np.asarray(value)))
            lines.append(f'{indent}    "{key}": {text},\n')
        return "{\n" + "".join(lines) + indent + "}"

    whole = block(values, prefix, "")
    return "\n".join([*arrays, f"{name} = {whole}\n"])


class Subject(NamedTuple):
    """What is exported.

    Attributes:
        spec: which algorithm.
        algorithm: the same, built.
        options: all options of its factory, defaults included.
        numbers: its plain numbers.
        entries: its searched entries, float32 arrays.
        recipe: the first task's, see `recipe.recipe`; empty where there is none.
    """

    spec: AlgorithmSpec
    algorithm: Any
    options: Mapping[str, Any]
    numbers: Mapping[str, float]
    entries: Mapping[str, Any]
    recipe: Mapping[str, Any]


@dataclass(frozen=True)
class Text:
    """What a file says, beside where it comes from.

    Attributes:
        title: what it is, "a policy loss for jax and numpy".
        description: what it computes and wants, as a paragraph.
        usage: code that uses it.
        differences: from how it was trained, a sentence or more each.
        constants: source of the numbers that its functions read.
        code: source of its functions, then of what follows them.
        imports: import lines beyond jax, jax.numpy and (where there are arrays) numpy.
        standard_imports: the same of the standard library.
    """

    title: str
    description: str
    usage: str
    differences: tuple[str, ...]
    constants: str
    code: tuple[str, ...]
    imports: str = ""
    standard_imports: str = ""
