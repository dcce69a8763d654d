"""Type checks of frozen dataclasses' fields, for Python, TOML files and the command line.

A config converts its fields when it is made, so later code never gets a list instead of a tuple, a NumPy
number instead of Python's, or a string instead of a number.
"""

import contextlib
import dataclasses
import functools
import types
import typing
from collections.abc import Iterable, Mapping
from typing import Any, Literal, Union

from environments.names import nearest

NAMES = {int: "a whole number", float: "a number", str: "a string", bool: "true or false"}


def check_fields(instance: Any, error: type[ValueError] = ValueError) -> None:
    """Convert every field of a frozen dataclass to its declared type, in place; for ``__post_init__``.

    Raises:
        ValueError: a value does not fit; `error` if given. Names the field, what it takes, and the value.
    """
    try:
        for name, hint in _hints(type(instance)).items():
            value = convert(hint, getattr(instance, name), f"{type(instance).__name__}.{name}")
            object.__setattr__(instance, name, value)
    except ValueError as refused:
        raise error(str(refused)) from None


def convert(hint: Any, value: Any, where: str) -> Any:
    """`value` as type `hint`: plain numbers for NumPy's, tuples for lists, dataclasses for mappings.

    Raises:
        ValueError: it does not fit; `where` is its place in the message.
    """
    if hasattr(value, "dtype") and hasattr(value, "tolist"):  # a number or an array of NumPy's or jax's
        value = value.tolist()
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if dataclasses.is_dataclass(hint):
        return value if isinstance(value, typing.cast(type, hint)) else _build(hint, value, where)
    if origin is Literal and value in args and type(value) in map(type, args):
        return value
    if origin is tuple and isinstance(value, list | tuple):
        return tuple(convert(args[0], item, f"{where}[{i}]") for i, item in enumerate(value))
    if origin is Mapping and isinstance(value, Mapping):
        return {
            convert(str, name, f"a name in {where}"): convert(args[1], item, f"{where}.{name}")
            for name, item in value.items()
        }
    if origin in (Union, types.UnionType):
        return _convert_union(args, value, where)
    if hint is int and type(value) is float and value.is_integer():
        return int(value)  # 2e4
    if hint is float and type(value) is int:
        return float(value)
    if type(value) is hint:
        return value
    raise ValueError(f"{where} must be {_name(hint)}, got {value!r}")


def _build(cls: Any, data: Any, where: str) -> Any:
    """A dataclass from a mapping, such as a TOML file."""
    if not isinstance(data, Mapping):
        raise ValueError(f"{where or 'the file'} must be {_name(cls)}, got {data!r}")
    hints, prefix = _hints(cls), where and f"{where}."
    for name in data:
        if name not in hints:
            there = [prefix + known for known in hints]
            close = _nearest(prefix + name, there) or f"; there are: {', '.join(there)}"
            raise ValueError(f"there is no setting named {prefix + name!r}{close}")
    return cls(**{name: convert(hints[name], value, prefix + name) for name, value in data.items()})


def _convert_union(choices: tuple[Any, ...], value: Any, where: str) -> Any:
    if type(value) in choices:
        return value
    choices = tuple(choice for choice in choices if choice is not type(None))
    if len(choices) == 1:
        return convert(choices[0], value, where)
    if isinstance(value, Mapping) and all(map(dataclasses.is_dataclass, choices)):
        return _build(_tagged(choices, value, where), value, where)
    for choice in choices:
        with contextlib.suppress(ValueError):
            return convert(choice, value, where)
    raise ValueError(f"{where} must be {' or '.join(map(_name, choices))}, got {value!r}")


def _tagged(choices: tuple[Any, ...], value: Mapping[str, Any], where: str) -> Any:
    """The dataclass named by a mapping's tag, the first field of each choice, whose values differ; else the
    first choice.
    """
    tag = dataclasses.fields(choices[0])[0]
    named = {getattr(choice, tag.name): choice for choice in choices}
    name = value.get(tag.name, tag.default)
    if name not in named:
        raise ValueError(f"{where}.{tag.name} must be {' or '.join(map(repr, named))}, got {name!r}")
    return named[name]


@functools.cache
def _hints(cls: type) -> dict[str, Any]:
    hints = typing.get_type_hints(cls)
    return {field.name: hints[field.name] for field in dataclasses.fields(cls)}


def _nearest(name: Any, names: Iterable[str]) -> str:
    close = nearest(str(name), names, cutoff=0.4)
    return f"; did you mean {' or '.join(close)}?" if close else ""


def _name(hint: Any) -> str:
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin is Literal:
        return " or ".join(map(repr, args))
    if origin is tuple:
        return "a list"
    if dataclasses.is_dataclass(hint):
        return f"a {getattr(hint, '__name__', hint)} (in TOML a table)"
    return NAMES.get(hint, "a table")
