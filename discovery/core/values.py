"""Values on the command line: numbers, untyped options, entries of mappings."""

import contextlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, get_args, get_origin


def whole(text: str) -> int:
    """A whole number, also written as 5e4 or 50_000."""
    with contextlib.suppress(ValueError):
        return int(text)
    with contextlib.suppress(ValueError, OverflowError):
        if int(float(text)) == float(text):
            return int(float(text))
    raise ValueError(f"expected a whole number, got {text!r}")


def number(text: str) -> float:
    """A number."""
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"expected a number, got {text!r}") from None


def option(text: str) -> bool | int | float | str:
    """A value without a declared type: true, 8, 0.5, or text."""
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    for kind in (int, float):
        with contextlib.suppress(ValueError):
            return kind(text)
    return text


def ends(text: str) -> tuple[float, float]:
    """A range, LOWEST:HIGHEST."""
    low, colon, high = text.partition(":")
    if not colon:
        raise ValueError(f"expected a range LOWEST:HIGHEST, got {text!r}")
    return number(low), number(high)


def entries(texts: Sequence[str], convert: Callable[[str], Any]) -> dict[str, Any]:
    """NAME=VALUE pairs as a dict."""
    pairs = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not (name and equals):
            raise ValueError(f"expected NAME=VALUE, got {text!r}")
        try:
            pairs[name.replace("-", "_")] = convert(value)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from None
    return pairs


def registry() -> Any:
    """Rules by which tyro reads and shows these."""
    from tyro.constructors import ConstructorRegistry

    rules = ConstructorRegistry()
    rules.primitive_rule(_numbers)
    rules.primitive_rule(_mappings)
    return rules


def _numbers(info: Any) -> Any:
    from tyro.constructors import PrimitiveConstructorSpec

    if info.type not in (int, float):
        return None
    convert = whole if info.type is int else number
    return PrimitiveConstructorSpec(
        nargs=1,
        metavar=info.type.__name__.upper(),
        instance_from_str=lambda texts: convert(texts[0]),
        is_instance=lambda value: isinstance(value, info.type) and not isinstance(value, bool),
        str_from_instance=lambda value: [str(value)],
    )


def _mappings(info: Any) -> Any:
    from tyro.constructors import PrimitiveConstructorSpec

    if get_origin(info.type) is not get_origin(Mapping[str, int]):
        return None
    kind = get_args(info.type)[1]
    convert = number if kind is float else ends if get_origin(kind) is tuple else option
    return PrimitiveConstructorSpec(
        nargs="*",
        metavar="[NAME=VALUE ...]",
        instance_from_str=lambda texts: entries(texts, convert),
        is_instance=lambda value: isinstance(value, Mapping),
        str_from_instance=lambda value: [f"{name}={_shown(entry)}" for name, entry in value.items()],
    )


def _shown(entry: Any) -> str:
    return ":".join(map(str, entry)) if isinstance(entry, tuple) else str(entry)
