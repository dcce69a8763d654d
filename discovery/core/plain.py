"""Config dataclasses as plain data, and back."""

import dataclasses
from collections.abc import Mapping
from typing import Any, TypeVar

from discovery.core.errors import BadInput
from environments.fields import convert
from environments.task import YOUNGER, Task

T = TypeVar("T")


def plain(value: Any) -> Any:
    """Dataclasses, tuples and mappings as dicts and lists, without entries that are None."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        pairs = ((f.name, plain(getattr(value, f.name))) for f in dataclasses.fields(value))
        return {name: item for name, item in pairs if item is not None and item != {}}
    if isinstance(value, Mapping):
        return {str(name): plain(item) for name, item in sorted(value.items())}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value


def recipe(task: Task) -> dict[str, Any]:
    """A task as plain data, for fingerprints: settings added later count only if they are set."""
    data = plain(task)
    data["setup"] = {
        name: value for name, value in data["setup"].items() if (name, value) not in YOUNGER.items()
    }
    return data


def build(cls: type[T], data: Any, where: str = "") -> T:
    """A dataclass from plain data, every name and type checked; `where` is its place in messages.

    Raises:
        BadInput: an unknown name, or a value that does not fit.
    """
    try:
        return convert(cls, data, where)
    except ValueError as error:
        raise BadInput(str(error)) from error
