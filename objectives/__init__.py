"""Families of learning algorithms to search, as pure functions on jax, flax and optax.

Read `objectives/base.py` first, then `objectives/family.py`. This module imports no jax until a family is
requested.
"""

import difflib
import inspect
import sys
from collections.abc import Callable, Mapping
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from objectives.family import Family

__distribution__ = "rl-discovery"

FAMILIES: dict[str, str] = {
    "a2c": "objectives.known:a2c",
    "ampo": "objectives.mirror_map:AMPO",
    "disco": "objectives.disco:DISCO",
    "dpo": "objectives.known:dpo",
    "lodo": "objectives.learned_optimizers.lodo:LODO",
    "lpg": "objectives.lpg:LPG",
    "lpo": "objectives.drift:LPO",
    "open": "objectives.learned_optimizers.open:OPEN",
    "optim4rl": "objectives.learned_optimizers.optim4rl:OPTIM4RL",
    "policy_gradient": "objectives.known:policy_gradient",
    "ppo": "objectives.known:ppo",
    "ppo_kl": "objectives.known:ppo_kl",
    "pqn": "objectives.q_learning:PQN",
    "programs": "objectives.programs.algorithm:PROGRAMS",
    "random": "objectives.known:random_policy",
    "vsop": "objectives.known:vsop",
}
"""Name -> import path of the `Family` record."""

__all__ = [
    "FAMILIES",
    "__distribution__",
    "all_options",
    "baselines_of",
    "build",
    "factory",
    "family_of",
    "is_known",
    "parts_of",
    "place_of",
]


def is_known(name: str) -> bool:
    """Whether `name` consists of names in `FAMILIES` and import paths of user-defined algorithms."""
    return all(part in FAMILIES or ":" in part for part in name.split("+"))


def parts_of(name: str, options: Mapping[str, Any] | None = None) -> list[tuple[str, dict[str, Any]]]:
    """The parts of `name`, each with its options.

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


def family_of(name: str) -> "Family":
    """The family called `name`, or the one at "package.module:name": a `Family`, or a function that makes an
    `Algorithm`.

    A function belongs to the family whose record in its module has it; without such a record, to one with no
    picture, lesson or exporter. "lpo+open" is `lpo` with the optimizer of `open`, and both are searched; it
    has the options of both, as ``lpo_width`` and ``open_width``.

    Raises:
        ValueError: for an unknown name, with the nearest ones; for an object that cannot be imported or is
            neither; or for parts that do not go together.
    """
    from objectives.family import Family, load

    if "+" in name:
        return _combined(name)
    place = FAMILIES.get(name, name)
    if ":" not in place:
        close = difflib.get_close_matches(name, FAMILIES, n=3, cutoff=0.4)
        hint = f"did you mean {' or '.join(close)}?" if close else f"there are: {', '.join(FAMILIES)}"
        raise ValueError(
            f'there is no algorithm named {name!r}; {hint} User-defined ones are "package.module:function"'
        )
    try:
        found = load(place)
    except (ImportError, AttributeError) as error:
        hint = "; it must be installed, or lie on PYTHONPATH" if isinstance(error, ImportError) else ""
        raise ValueError(f"algorithm {name!r} cannot be imported: {error}{hint}") from error
    if isinstance(found, Family):
        return found
    if not callable(found):
        raise ValueError(
            f"algorithm {name!r} must be an objectives.family.Family, or a function that makes an Algorithm; "
            f"got {type(found).__name__}"
        )
    records = vars(sys.modules[place.partition(":")[0]]).values()
    declared = (one for one in records if isinstance(one, Family) and one.build is found)
    return next(declared, None) or Family(found)  # type: ignore[arg-type]


def baselines_of(name: str) -> tuple[str, ...]:
    """Known algorithms to compare a finding with; PPO and DPO if the family's code is missing."""
    try:
        return family_of(name).baselines
    except ValueError:
        return ("ppo", "dpo")


def factory(name: str) -> Callable[..., Any]:
    """The function that makes the algorithm called `name`; see `family_of`."""
    return family_of(name).build


def place_of(name: str) -> str:
    """The import path "package.module:function" of an algorithm's factory."""
    make = factory(name)
    return f"{make.__module__}:{make.__qualname__}"


def all_options(name: str, options: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The options of a factory, with defaults for those that are not given.

    Raises:
        ValueError: for an unknown name.
        TypeError: for an option that it does not have, or one without a default that is not given.
    """
    bound = inspect.signature(factory(name)).bind(**(options or {}))
    bound.apply_defaults()
    return bound.arguments


def build(name: str, options: Mapping[str, Any] | None = None) -> Any:
    """Make an `Algorithm` by name, with options of its family.

    Raises:
        ValueError: for an unknown name or option, with the valid ones; for an option of another type than the
            factory declares; and for a user-defined function that returns something else.
    """
    family = family_of(name)
    valid = family.options
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
    algorithm = family.build(**(options or {}))

    from objectives.base import Algorithm

    if not isinstance(algorithm, Algorithm):
        raise ValueError(
            f"algorithm {name!r} must return an objectives.base.Algorithm, got {type(algorithm).__name__}"
        )
    return algorithm._replace(limits=tuple(family.limits.items()))


_WANTED: dict[Any, tuple[str, type]] = {
    int: ("a whole number", Integral),
    float: ("a number", Real),
    bool: ("true or false", bool),
    str: ("text", str),
}
"""The declared types of options that are checked, in words and as a class."""


def _short(name: str) -> str:
    """The prefix of a part's options: its name, or the name of a user-defined function."""
    return name.rpartition(":")[2]


def _combined(name: str) -> "Family":
    """One algorithm with the optimizer of another, with the options of both."""
    from objectives.family import Family

    names = name.split("+")
    families = [family_of(part) for part in names[:2]]
    if len(names) != 2 or not (families[1].optimizer or ":" in names[1]):
        optimizers = ", ".join(each for each in FAMILIES if family_of(each).optimizer)
        raise ValueError(
            f"an algorithm of two parts is one with the learned optimizer of another, for example lpo+open; "
            f"after the + comes one of {optimizers}, got {name!r}"
        )
    one, other = (f"{_short(part)}_" for part in names)
    if one.startswith(other) or other.startswith(one):
        raise ValueError(
            f"the parts of {name!r} have the same name, so their options cannot be distinguished"
        )

    def make(**options: Any) -> Any:
        from objectives.parts import with_optimizer

        own = [each for _, each in parts_of(name, options)]
        return with_optimizer(*(family.build(**each) for family, each in zip(families, own, strict=True)))

    parameters = [
        parameter.replace(name=f"{_short(part)}_{parameter.name}", kind=inspect.Parameter.KEYWORD_ONLY)
        for part, family in zip(names, families, strict=True)
        for parameter in family.options.values()
    ]
    make.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    make.__doc__ = f"{names[0]} with the learned optimizer of {names[1]}."
    limits = {**families[0].limits, **families[1].limits}
    return Family(make, limits=limits, baselines=families[0].baselines)
