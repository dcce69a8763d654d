"""Configs as TOML files: strict on the way in, complete on the way out.

The same frozen dataclasses are the command line, the file and the record. Unset options (None) are
left out of the file, since TOML has no null, and so are empty tables.
"""

import dataclasses
import tomllib
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar, Union

import tomli_w

from discovery.core.config.search import SearchConfig
from discovery.core.errors import BadInput, unknown
from environments.task import YOUNGER, Task

T = TypeVar("T")

CONFIG = "config.toml"
"""The file in a run's folder that holds its config."""


def is_run(folder: str | Path) -> bool:
    """Whether a folder is a run's: it holds a config."""
    return (Path(folder) / CONFIG).is_file()


def dumps(config: Any) -> str:
    """A config dataclass as TOML text."""
    return tomli_w.dumps(plain(config))


def plain(value: Any) -> Any:
    """Dataclasses, tuples and mappings as dicts and lists, without what is None."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        pairs = ((f.name, plain(getattr(value, f.name))) for f in dataclasses.fields(value))
        return {name: item for name, item in pairs if item is not None and item != {}}
    if isinstance(value, Mapping):
        return {str(name): plain(item) for name, item in sorted(value.items())}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value


def recipe(task: Task) -> dict[str, Any]:
    """A task as plain data, for fingerprints: what came later counts only where it is set."""
    data = plain(task)
    data["setup"] = {
        name: value for name, value in data["setup"].items() if (name, value) not in YOUNGER.items()
    }
    return data


def load(path: Path) -> SearchConfig:
    """Read a search config.

    Raises:
        BadInput: if the file cannot be read, is no TOML, or holds an unknown or unsuitable setting.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise BadInput(f"config file {path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise BadInput(f"config file {path} is no text in UTF-8: {error}") from error
    return loads(text, f"config file {path}")


def loads(text: str, source: str) -> SearchConfig:
    """A search config from TOML text; `source` is what messages call it.

    Raises:
        BadInput: as for `load`.
    """
    try:
        data = tomllib.loads(text)
        config = build(SearchConfig, data)
        return from_suite(config, config.suite) if config.suite and "tasks" not in data else config
    except tomllib.TOMLDecodeError as error:
        raise BadInput(f"{source} is no valid TOML: {error}") from error
    except ValueError as error:
        raise BadInput(f"{source}: {error}") from error


def from_suite(config: SearchConfig, name: str) -> SearchConfig:
    """The same search on the tasks of a suite, in its splits.

    Raises:
        BadInput: there is no such suite, or it cannot be loaded.
    """
    from discovery.core.suites import load_suite

    suite = load_suite(name)
    tasks, selection, held_out = (
        tuple(dataclasses.replace(entry.task, reference=entry.ppo.mean) for entry in entries)
        for entries in (suite.train, suite.selection, suite.test)
    )
    return dataclasses.replace(config, suite=name, tasks=tasks, selection=selection, held_out=held_out)


def build(cls: type[T], data: Any, where: str = "") -> T:
    """A dataclass from plain data, every name and type checked; `where` is its place in messages."""
    if not isinstance(data, Mapping):
        raise BadInput(f"{where or 'the file'} must be a table, got {data!r}")
    fields = {f.name: f for f in dataclasses.fields(cls)}  # type: ignore[arg-type]
    for name in data:
        if name not in fields:
            raise unknown("setting", f"{where}.{name}" if where else name, _paths(fields, where))
    hints = typing.get_type_hints(cls)
    return cls(
        **{
            name: _convert(hints[name], value, f"{where}.{name}" if where else name)
            for name, value in data.items()
        }
    )


def _paths(names: Mapping[str, Any], where: str) -> list[str]:
    return [f"{where}.{name}" if where else name for name in names]


def _convert(hint: Any, value: Any, where: str) -> Any:
    """`value` as type `hint`, or a BadInput that says what was wanted."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if dataclasses.is_dataclass(hint):
        return build(typing.cast(type, hint), value, where)
    if origin is Literal:
        if value in args:
            return value
        raise unknown(f"value of {where}", str(value), [str(arg) for arg in args])
    if origin is tuple and isinstance(value, list):
        return tuple(_convert(args[0], item, f"{where}[{i}]") for i, item in enumerate(value))
    if origin in (Mapping, dict, typing.get_origin(Mapping[str, Any])) and isinstance(value, Mapping):
        return {name: _convert(args[1], item, f"{where}.{name}") for name, item in value.items()}
    if origin in (Union, types.UnionType):
        return _convert_union([arg for arg in args if arg is not type(None)], value, where)
    if hint is int and isinstance(value, float) and value.is_integer():
        return int(value)  # 2e4
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if isinstance(hint, type) and isinstance(value, hint) and not (hint is int and isinstance(value, bool)):
        return value
    raise BadInput(f"{where} must be {_name(hint)}, got {value!r}")


def _convert_union(choices: list[Any], value: Any, where: str) -> Any:
    exact = [choice for choice in choices if choice is type(value)]
    errors = []
    for choice in exact or choices:
        try:
            return _convert(choice, value, where)
        except BadInput as error:
            errors.append(error)
    raise (
        errors[0]
        if len(errors) == 1
        else BadInput(f"{where} must be {' or '.join(_name(choice) for choice in choices)}, got {value!r}")
    )


def _name(hint: Any) -> str:
    names = {int: "a whole number", float: "a number", str: "a text", bool: "true or false"}
    if typing.get_origin(hint) is tuple:
        return "a list"
    return names.get(hint, "a table" if typing.get_origin(hint) else getattr(hint, "__name__", str(hint)))
