"""Parsing a verb's arguments into a frozen dataclass with tyro, whose messages users see."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from discovery.core.values import number, registry

T = TypeVar("T")


def parse(cls: type[T], argv: Sequence[str], prog: str, description: str, default: T | None = None) -> T:
    """The arguments of one verb as an instance of `cls`.

    Entries given for a mapping (``--algorithm-options width=8``) are added to those of `default`.

    Raises:
        SystemExit: with code 0 after ``--help``, or with code 2 after tyro has printed what does not fit.
        BadInput: the config refuses the arguments' values.
    """
    import tyro

    if {"-h", "--help"} & set(argv):
        print(f"{description.strip()}\n")
    given: dict[str, Any] = {} if default is None else {"default": default}
    parsed = tyro.cli(
        cls,
        prog=prog,
        args=list(argv),
        description="",
        registry=registry(),
        config=(tyro.conf.HelptextFromCommentsOff, tyro.conf.AvoidSubcommands),
        **given,
    )
    return parsed if default is None else merged(default, parsed)


def merged(default: Any, given: Any) -> Any:
    """`given`, with the entries of `default`'s mappings that it does not mention."""
    if dataclasses.is_dataclass(given) and not isinstance(given, type):
        values = {
            field.name: merged(getattr(default, field.name), getattr(given, field.name))
            for field in dataclasses.fields(given)
        }
        changed = {name: value for name, value in values.items() if getattr(given, name) != value}
        return dataclasses.replace(given, **changed)
    if isinstance(given, Mapping):
        return {**default, **given}
    if isinstance(given, tuple) and isinstance(default, tuple) and len(given) == len(default):
        return tuple(merged(a, b) for a, b in zip(default, given, strict=True))
    return given


def positional(argv: Sequence[str], switches: frozenset[str]) -> tuple[str | None, list[str]]:
    """The first argument that is neither a flag nor a flag's value, and the arguments without it.

    `switches` are the names, without dashes, of the flags that take no value.
    """
    expects_value = False
    for index, item in enumerate(argv):
        if item.startswith("-") and not _is_number(item):
            name = item.lstrip("-").replace("_", "-")
            last = name.rpartition(".")[2].removeprefix("no-")
            expects_value = "=" not in item and last not in switches
        elif expects_value:
            expects_value = False
        elif "=" not in item:
            return item, [*argv[:index], *argv[index + 1 :]]
    return None, list(argv)


def _is_number(text: str) -> bool:
    try:
        number(text)
    except ValueError:
        return False
    return True
