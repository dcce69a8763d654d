"""A verb's arguments, from the command line to a frozen dataclass: tyro, with errors of one line."""

import contextlib
import dataclasses
import difflib
import io
import re
import sys
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from discovery.core.errors import BadInput, unknown
from discovery.core.values import number, registry

T = TypeVar("T")


def parse(cls: type[T], argv: Sequence[str], prog: str, description: str, default: T | None = None) -> T:
    """The arguments of one verb as an instance of `cls`; `--help` prints and exits.

    Entries given for a mapping (``--algorithm-options width=8``) are added to those of `default`.

    Raises:
        BadInput: anything that does not fit, in one line.
    """
    try:
        parsed, rest = _tyro(cls, argv, prog, description, default)
    except _Refused as error:
        raise BadInput(_one_line(str(error), prog)) from None
    if rest:
        raise _unrecognized(rest, cls, prog, default)
    return parsed if default is None else merged(default, parsed)


def merged(default: Any, given: Any) -> Any:
    """`given`, with the entries of `default`'s mappings that it does not mention."""
    if dataclasses.is_dataclass(given) and not isinstance(given, type):
        values = {
            field.name: merged(getattr(default, field.name), getattr(given, field.name))
            for field in dataclasses.fields(given)
        }
        return given if _equal(given, values) else dataclasses.replace(given, **values)
    if isinstance(given, Mapping):
        return {**default, **given}
    if isinstance(given, tuple) and isinstance(default, tuple) and len(given) == len(default):
        return tuple(merged(a, b) for a, b in zip(default, given, strict=True))
    return given


def _equal(instance: Any, values: Mapping[str, Any]) -> bool:
    return all(getattr(instance, name) == value for name, value in values.items())


_HERE = "<description>"


class _Refused(Exception):
    """What tyro printed when it refused the arguments."""


class _Said(io.StringIO):
    """What tyro prints: help as it would be on standard output, errors in a form that `_one_line` reads."""

    def __init__(self, helping: bool) -> None:
        super().__init__()
        self._screen = sys.__stdout__ if helping else None

    def isatty(self) -> bool:
        return self._screen is not None and self._screen.isatty()

    @property
    def encoding(self) -> str:
        """Tyro draws boxes with what it has."""
        return "utf-8" if self._screen is None else self._screen.encoding


def _tyro(cls: Any, argv: Sequence[str], prog: str, description: str, default: Any) -> tuple[Any, list[str]]:
    import tyro

    said = _Said(bool({"-h", "--help"} & set(argv)))
    extra = {} if default is None else {"default": default}
    try:
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
            return tyro.cli(
                cls,
                prog=prog,
                args=list(argv),
                description=_HERE,
                return_unknown_args=True,
                registry=registry(),
                config=(tyro.conf.HelptextFromCommentsOff,),
                **extra,
            )
    except SystemExit as end:
        if end.code:
            raise _Refused(said.getvalue()) from None
        # tyro would join the lines of the description, and leave it to the terminal to break them.
        print(said.getvalue().replace(_HERE, description.strip()), end="")
        raise


def _one_line(box: str, prog: str) -> str:
    """What tyro's box of text says first, without the box."""
    plain = re.sub(r"\x1b\[[0-9;]*m", "", box)
    lines = [line.strip("│╭╮╰╯ \t") for line in plain.splitlines()[1:]]
    end = next((i for i, line in enumerate(lines) if not line or set(line) <= {"─"}), len(lines))
    text = " ".join(lines[:end]) or " ".join(plain.split())
    if choice := re.fullmatch(
        r"invalid choice '(.*)' for argument '(.*)'\. Expected one of \((.*)\)\.", text
    ):
        value, flag, names = choice.groups()
        return str(unknown(f"value of {flag}", value, re.findall(r"'([^']*)'", names)))
    if missing := re.fullmatch(r"Missing value for argument '(.*)'\. Expected .*", text):
        name = missing[1]
        what = f"{name} needs a value" if name.startswith("-") else f"{name.upper()} is missing"
        return f"{what}; see `{prog} --help`"
    if missing := re.match(r"Missing from .*?: (\S+)", text):
        return f"{missing[1]} is missing; see `{prog} --help`"
    if wrong := re.fullmatch(r"Error parsing (.*?): (.*)", text):
        place, why = wrong.groups()
        return f"{place}: {_plainly(why)}" if place.startswith("-") or place.isupper() else _plainly(why)
    return f"{text}; see `{prog} --help`"


_IN_WORDS = {"INT": "a whole number", "FLOAT": "a number"}


def _plainly(why: str) -> str:
    """Why a value was refused, where tyro's words are about types, or ours about files."""
    if kind := re.fullmatch(r"no type matching (.*) could be instantiated from \[(.*)\]\.?", why):
        wanted = kind[1].replace("{None}|", "").strip("{}")
        return f"{_IN_WORDS.get(wanted, wanted)} is wanted, got {kind[2]}"
    if parts := re.fullmatch(r"Could not find valid parse for arguments: \[(.*)\]", why):
        return f"{parts[1]} cannot be read"
    if ignored := re.match(r"\w+ would ignore (.+?); leave", why):
        options = set(re.findall(r"(?:^|, )([\w.]+)=", ignored[1])) - {"optimizer_options"}  # takes no None
        flags = [f"--meta.{option.replace('_', '-')} None" for option in sorted(options)]
        return f"{why}; `{' '.join(flags)}` unsets {'it' if len(flags) == 1 else 'them'}" if flags else why
    return why


def _unrecognized(rest: Sequence[str], cls: Any, prog: str, default: Any) -> BadInput:
    """A message for what tyro left over, with the nearest flags there are."""
    flag = next((item for item in rest if item.startswith("-")), None)
    if flag is None:
        return BadInput(f"unexpected argument {rest[0]!r}; see `{prog} --help`")
    name = flag.partition("=")[0].replace("_", "-")
    flags = _flags(cls, prog, default)
    mapping, _, entry = name.rpartition(".")
    if mapping in flags:
        return BadInput(
            f"there is no option {name}; entries of {mapping} are given as `{mapping} "
            f"{entry.replace('-', '_')}=VALUE`"
        )
    # Dashes are no likeness, and "no-" is one only to what has it too.
    bare = {
        known.lstrip("-"): known for known in flags if name.startswith("--no-") >= known.startswith("--no-")
    }
    close = [bare[known] for known in difflib.get_close_matches(name.lstrip("-"), bare, n=3, cutoff=0.6)]
    close += [known for known in flags if known.rpartition(".")[2] == name.lstrip("-") and known not in close]
    hint = f"did you mean {' or '.join(close[:4])}?" if close else f"see `{prog} --help`"
    return BadInput(f"there is no option {name}; {hint}")


def _flags(cls: Any, prog: str, default: Any) -> list[str]:
    """All flags of a verb, read from its help."""
    text = io.StringIO()
    with contextlib.redirect_stdout(text), contextlib.suppress(SystemExit):
        _tyro(cls, ["--help"], prog, "", default)
    options = re.findall(r"^[ │]*(--[a-z][\w.-]*(?:, --[\w.-]+)*)", text.getvalue(), re.MULTILINE)
    return sorted({flag for line in options for flag in line.split(", ")})


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
