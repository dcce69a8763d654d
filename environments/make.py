"""From an id to an environment: one object per process per id and options.

Ids are gymnax's, "family/name" for the adapters in `FAMILIES`, or "package.module:function" for a
user-defined function. Compiled programs are cached by the functions they were made from, so a second object
for the same id would compile everything again. Libraries are imported on first use.
"""

import functools
import importlib
import importlib.util
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from environments.names import check_options, nearest

if TYPE_CHECKING:
    from environments.base import Environment

DOWNLOADS_DATA = ("MNISTBandit-bsuite",)
"""Registered in gymnax, but their constructor fetches files from the network."""


class Family(NamedTuple):
    """The source of the environments with a prefix.

    Attributes:
        maker: "module:function": ``(name, vary, **options) -> Environment``; or "module:mapping" from names
            to functions ``(vary, **options) -> Environment``, each with its options.
        requires: the module that must be installed, "" for none.
        extra: this package's extra that installs it.
    """

    maker: str
    requires: str = ""
    extra: str = ""


FAMILIES: Mapping[str, Family] = {
    "brax": Family("environments.brax:from_brax", "brax", "brax"),
    "chain": Family("environments.chain:from_chain"),
    "craftax": Family("environments.craftax:from_craftax", "craftax", "craftax"),
    "grid": Family("environments.levelsets:from_grid"),
    "jumanji": Family("environments.jumanji:from_jumanji", "jumanji", "jumanji"),
    "memory": Family("environments.memory:TASKS"),
    "navix": Family("environments.navix:from_navix", "navix", "navix"),
    "pgx": Family("environments.pgx:from_pgx", "pgx", "pgx"),
    "xminigrid": Family("environments.xminigrid:from_xminigrid", "xminigrid", "xminigrid"),
}
"""Prefix of an id, as in "brax/ant" -> its family."""

Pairs = tuple[tuple[str, Any], ...]
"""A mapping as pairs, so that it can be the key of a cache."""


def make(
    id: str,
    options: Mapping[str, Any] | None = None,
    vary: Mapping[str, tuple[float, float]] | None = None,
) -> "Environment":
    """Returns the environment called `id`, always the same object for the same arguments.

    Args:
        id: a gymnax id; "family/name"; or ``"package.module:function"`` for a user-defined function that
            returns an `Environment`.
        options: of the family, or keyword arguments of the user-defined function. gymnax's have none.
        vary: parameters of the environment that differ between trainings, drawn uniformly from
            (lowest, highest) for each: fields of gymnax's parameters, or factors, depending on the family.

    Raises:
        ValueError: the id is unknown, a library is not installed, an option or a parameter does not exist, or
            a user-defined function is missing, raises, or does not return an environment that follows the
            contract.
    """
    return _make(id, _pairs(options), _pairs(vary))


def _pairs(mapping: Mapping[str, Any] | None) -> Pairs:
    return tuple(sorted((mapping or {}).items()))


@functools.cache
def _make(id: str, options: Pairs, vary: Pairs) -> "Environment":
    import jax

    # The first call may come from within a traced function. The arrays an environment is built of
    # would then be tracers, and be cached here.
    with jax.ensure_compile_time_eval():
        if ":" in id:
            from environments.own import from_function

            return from_function(id, dict(options), dict(vary))
        if "/" in id:
            return _from_family(id, dict(options), dict(vary))
        return _from_gymnax(id, options, dict(vary))


def options_of(id: str) -> dict[str, Any]:
    """The options of an environment of a family, with their defaults; empty for all others."""
    prefix, slash, _ = id.partition("/")
    if not slash or prefix not in FAMILIES:
        return {}
    return {name: parameter.default for name, parameter in _parameters(_maker(id)).items()}


def _parameters(maker: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    """The options of a maker, besides `vary`."""
    return dict(list(inspect.signature(maker).parameters.items())[1:])


def _maker(id: str) -> "Callable[..., Environment]":
    """The function ``(vary, **options)`` that makes the environment `id` of a family."""
    prefix, _, name = id.partition("/")
    module, _, attribute = FAMILIES[prefix].maker.partition(":")
    found = getattr(importlib.import_module(module), attribute)
    if not isinstance(found, Mapping):
        return functools.partial(found, name)
    if name not in found:
        raise ValueError(f"no environment is called {id!r}; there are: {', '.join(found)}")
    return found[name]


def registered() -> tuple[str, ...]:
    """Returns the ids of all gymnax environments that `make` supports, including user-registered ones."""
    from environments.gymnax import gymnax

    return tuple(id for id in gymnax.registered_envs if id not in DOWNLOADS_DATA)


def _unknown(id: str, names: Sequence[str]) -> str:
    """The message for an unknown id."""
    if id in DOWNLOADS_DATA:
        return f"environment {id!r} is not supported: it downloads data; choose another one"
    return (
        f"no environment is called {id!r}; nearest: {', '.join(nearest(id, names))} "
        '(your own: "package.module:function")'
    )


def _from_gymnax(id: str, options: Pairs, vary: Mapping[str, tuple[float, float]]) -> "Environment":
    names = registered()
    if id not in names:
        raise ValueError(_unknown(id, names))
    if options:
        raise ValueError(f"environment {id!r} has no options, got {', '.join(name for name, _ in options)}")

    from environments.gymnax import from_gymnax

    return from_gymnax(id, vary)


def _from_family(id: str, options: dict[str, Any], vary: Mapping[str, tuple[float, float]]) -> "Environment":
    prefix = id.partition("/")[0]
    if prefix not in FAMILIES:
        raise ValueError(
            f"no environment is called {id!r}: families are {', '.join(FAMILIES)}, got {prefix!r}"
        )
    family = FAMILIES[prefix]
    if family.requires and importlib.util.find_spec(family.requires) is None:
        raise ValueError(
            f"environment {id!r} needs {family.requires}, which is not installed; "
            f"`pip install 'rl-discovery[{family.extra}]'` installs it"
        )
    maker = _maker(id)
    check_options(id, options, list(_parameters(maker)))
    try:
        return maker(vary, **options)
    except TypeError as error:
        raise ValueError(f"environment {id!r} does not accept {options}: {error}") from error
