"""What is searched: learning algorithms as pure maths on jax, flax and optax.

Read `objectives/base.py` first. This module imports no jax until an algorithm is built.
"""

import difflib
import importlib
import inspect
from collections.abc import Callable, Mapping
from numbers import Integral, Real
from typing import Any

__distribution__ = "rl-discovery"

FACTORIES: dict[str, str] = {
    "a2c": "objectives.known:a2c",
    "ampo": "objectives.mirror_map:ampo",
    "disco": "objectives.disco:disco",
    "dpo": "objectives.known:dpo",
    "lodo": "objectives.lodo:lodo",
    "lpg": "objectives.lpg:lpg",
    "lpo": "objectives.drift:lpo",
    "open": "objectives.learned_optimizer:open_optimizer",
    "optim4rl": "objectives.optim4rl:optim4rl",
    "policy_gradient": "objectives.known:policy_gradient",
    "ppo": "objectives.known:ppo",
    "ppo_kl": "objectives.known:ppo_kl",
    "random": "objectives.known:random_policy",
    "vsop": "objectives.known:vsop",
}
"""Names to factories, for the command line and records; nothing else looks at names."""

LEARNED_OPTIMIZERS = ("lodo", "open", "optim4rl")
"""Those of them whose learned part is the optimizer, which others can take."""

__all__ = [
    "FACTORIES",
    "LEARNED_OPTIMIZERS",
    "__distribution__",
    "all_options",
    "build",
    "factory",
    "is_known",
    "parts_of",
]


def is_known(name: str) -> bool:
    """Whether `name` is, or is made of, names in `FACTORIES` and places of your own functions."""
    return all(part in FACTORIES or ":" in part for part in name.split("+"))


def parts_of(name: str, options: Mapping[str, Any] | None = None) -> list[tuple[str, dict[str, Any]]]:
    """What `name` is made of, each with its own options.

    "lpo+open" with the option ``lpo_width = 8`` is ``[("lpo", {"width": 8}), ("open", {})]``; a name without
    "+" is itself.
    """
    names = name.split("+")
    if len(names) == 1:
        return [(name, dict(options or {}))]
    starts = [f"{_short(part)}_" for part in names]
    return [
        (part, {key.removeprefix(start): v for key, v in (options or {}).items() if key.startswith(start)})
        for part, start in zip(names, starts, strict=True)
    ]


def factory(name: str) -> Callable[..., Any]:
    """The function that makes the algorithm called `name`, or "package.module:function" of your own.

    "lpo+open" makes `lpo` with the optimizer of `open`, both to be searched; its options are those of both,
    as ``lpo_width`` and ``open_width``.

    Raises:
        ValueError: for an unknown name, with the nearest ones; or for parts that do not go together.
    """
    if "+" in name:
        return _combined(name)
    path = FACTORIES.get(name, name)
    module, separator, attribute = path.partition(":")
    if not separator:
        close = difflib.get_close_matches(name, FACTORIES, n=3, cutoff=0.4)
        hint = f"did you mean {' or '.join(close)}?" if close else f"there are: {', '.join(FACTORIES)}"
        raise ValueError(
            f'there is no algorithm named {name!r}; {hint} Your own is "package.module:function"'
        )
    try:
        return getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        hint = "; it must be installed, or lie on PYTHONPATH" if isinstance(error, ImportError) else ""
        raise ValueError(f"algorithm {name!r} cannot be imported: {error}{hint}") from error


def all_options(name: str, options: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The options of a factory, those that are not given at their defaults.

    Raises:
        ValueError: for an unknown name.
        TypeError: for an option that it does not have, or one without a default that is not given.
    """
    bound = inspect.signature(factory(name)).bind(**(options or {}))
    bound.apply_defaults()
    return bound.arguments


def build(name: str, options: Mapping[str, Any] | None = None) -> Any:
    """Make an `Algorithm` by name, with keyword options of its factory.

    Raises:
        ValueError: for an unknown name or option, with the valid ones; for an option of another type than the
            factory declares; and for a function of your own that returns something else.
    """
    make = factory(name)
    valid = inspect.signature(make).parameters
    for option, value in (options or {}).items():
        if option not in valid:
            near = difflib.get_close_matches(option, valid)
            hint = f"did you mean {' or '.join(near)}, of" if near else "its options are:"
            raise ValueError(
                f"algorithm {name!r} has no option {option!r}; {hint} {', '.join(valid) or 'none'}"
            )
        wanted, kind = _WANTED.get(valid[option].annotation, ("", object))
        if not isinstance(value, kind) or (isinstance(value, bool) and kind in (Integral, Real)):
            raise ValueError(f"option {option!r} of algorithm {name!r} must be {wanted}, got {value!r}")
    algorithm = make(**(options or {}))

    from objectives.base import Algorithm

    if not isinstance(algorithm, Algorithm):
        raise ValueError(
            f"algorithm {name!r} must return an objectives.base.Algorithm, got {type(algorithm).__name__}"
        )
    return algorithm


_WANTED: dict[Any, tuple[str, type]] = {
    int: ("a whole number", Integral),
    float: ("a number", Real),
    bool: ("true or false", bool),
    str: ("text", str),
}
"""The declared types of options that are checked: what they ask for, in words and as a class."""


def _short(name: str) -> str:
    """What the options of a part begin with: its name, of your own function the last part of its place."""
    return name.rpartition(":")[2]


def _combined(name: str) -> Callable[..., Any]:
    """A factory of one algorithm with the optimizer of another, with the options of both."""
    names = name.split("+")
    if len(names) == 2 and not is_known(names[1]):
        factory(names[1])  # says which names are near
    if len(names) != 2 or not (names[1] in LEARNED_OPTIMIZERS or ":" in names[1]):
        raise ValueError(
            f"an algorithm of two parts is one with the learned optimizer of another, for example lpo+open; "
            f"behind the + stands one of {', '.join(LEARNED_OPTIMIZERS)}, got {name!r}"
        )
    one, other = (f"{_short(part)}_" for part in names)
    if one.startswith(other) or other.startswith(one):
        raise ValueError(f"the parts of {name!r} are called alike, so that nothing tells their options apart")
    makes = [factory(part) for part in names]

    def make(**options: Any) -> Any:
        from objectives.parts import with_optimizer

        first, second = (each(**own) for each, (_, own) in zip(makes, parts_of(name, options), strict=True))
        return with_optimizer(first, second)

    parameters = [
        parameter.replace(name=f"{_short(part)}_{parameter.name}", kind=inspect.Parameter.KEYWORD_ONLY)
        for part, each in zip(names, makes, strict=True)
        for parameter in inspect.signature(each).parameters.values()
    ]
    make.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    make.__doc__ = f"{names[0]} with the optimizer of {names[1]}, both to be searched."
    return make
