"""From an id to an environment: one object per process per id and options.

Ids are gymnax's own, "family/name" for the adapters in `FAMILIES`, or "package.module:function" for a
function of yours. Compiled programs are cached by the functions they were made from, so a second
object for the same id would compile everything again. Libraries are imported on first use: this module
is light.
"""

import difflib
import functools
import importlib
import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from environments.base import Environment

DOWNLOADS_DATA = ("MNISTBandit-bsuite",)
"""Registered in gymnax, but their constructor fetches files from the network."""


class Family(NamedTuple):
    """Where the environments of a prefix come from.

    Attributes:
        maker: "module:function": ``(name, vary, **options) -> Environment``.
        requires: the module that must be installed, "" for none.
        extra: the extra of ours that installs it.
    """

    maker: str
    requires: str = ""
    extra: str = ""


FAMILIES: Mapping[str, Family] = {
    "brax": Family("environments.brax:from_brax", "brax", "brax"),
    "chain": Family("environments.chain:from_chain"),
    "grid": Family("environments.levels:from_grid"),
}
"""Prefix of an id, as in "brax/ant", to where it leads."""

Pairs = tuple[tuple[str, Any], ...]
"""A mapping as pairs, so that it can be the key of a cache."""


def make(
    id: str,
    options: Mapping[str, Any] | None = None,
    vary: Mapping[str, tuple[float, float]] | None = None,
) -> "Environment":
    """Returns the environment called `id`, always the same object for the same arguments.

    Args:
        id: a gymnax id; "family/name"; or ``"package.module:function"`` for a function of yours that
            returns an `Environment`.
        options: of the family, or keyword arguments of your function. gymnax's have none.
        vary: parameters of the environment that differ between trainings, drawn uniformly from
            (lowest, highest) for each: fields of gymnax's parameters, or factors where the family says so.

    Raises:
        ValueError: nothing is called so, a library is not installed, an option or a parameter does not
            exist, or your function is not there, raises, or returns something else than an environment
            that keeps to the contract.
    """
    return _make(id, _pairs(options), _pairs(vary))


def _pairs(mapping: Mapping[str, Any] | None) -> Pairs:
    return tuple(sorted((mapping or {}).items()))


@functools.cache
def _make(id: str, options: Pairs, vary: Pairs) -> "Environment":
    import jax

    # The first call may come from within a traced function. The arrays an environment is built of
    # would then be tracers, and be kept here for ever.
    with jax.ensure_compile_time_eval():
        if ":" in id:
            return _from_function(id, dict(options), vary)
        if "/" in id:
            return _from_family(id, dict(options), dict(vary))
        return _from_gymnax(id, options, dict(vary))


def registered() -> tuple[str, ...]:
    """Returns the ids of all gymnax environments that `make` supports, the user's own included."""
    import gymnax

    return tuple(id for id in gymnax.registered_envs if id not in DOWNLOADS_DATA)


def nearest(name: str, names: Iterable[str], n: int = 3, cutoff: float = 0.0) -> list[str]:
    """The names most like `name`; case says nothing, and a cutoff of 0 always finds someone."""
    by_lower = {known.lower(): known for known in names}
    return [by_lower[close] for close in difflib.get_close_matches(name.lower(), list(by_lower), n, cutoff)]


def _unknown(id: str, names: Sequence[str]) -> str:
    """The message for an id that nothing has."""
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
    prefix, _, name = id.partition("/")
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
    module, _, function = family.maker.partition(":")
    maker = getattr(importlib.import_module(module), function)
    _check_options(id, options, list(inspect.signature(maker).parameters)[2:])
    try:
        return maker(name, vary, **options)
    except TypeError as error:
        raise ValueError(f"environment {id!r} does not accept {options}: {error}") from error


def _check_options(id: str, options: Mapping[str, Any], known: Sequence[str]) -> None:
    for option in options:
        if option not in known:
            raise ValueError(
                f"environment {id!r} has no option {option!r}; its options are: {', '.join(known) or 'none'}"
            )


def _from_function(id: str, options: dict[str, Any], vary: Pairs) -> "Environment":
    """Calls the user's function named by ``"package.module:function"``."""
    from environments.base import Environment

    if vary:
        raise ValueError(f"environment {id!r}: what varies is its own affair (sample_level), got vary={vary}")
    module_name, _, function_name = id.partition(":")
    try:
        module = importlib.import_module(module_name)
    except Exception as error:  # a ValueError: an empty module name; others: the module's own
        missing = isinstance(error, ImportError | ValueError)
        hint = "; it must be installed, or lie on PYTHONPATH" if missing else ""
        raise ValueError(
            f"environment {id!r}: cannot import module {module_name!r} ({_one_line(error)}){hint}"
        ) from error
    function = getattr(module, function_name, None)
    if not callable(function):
        public = [name for name, value in vars(module).items() if callable(value) and name[0] != "_"]
        close = nearest(function_name, public)
        raise ValueError(
            f"environment {id!r}: module {module_name!r} has no function {function_name!r}; "
            f"nearest: {', '.join(close) or 'none, it defines no public function'}"
        )
    if options:
        _check_options(id, options, list(inspect.signature(function).parameters))
    environment = _called(f"environment {id!r}: the function", functools.partial(function, **options))
    if not isinstance(environment, Environment):
        raise ValueError(
            f"environment {id!r}: the function must return an environments.base.Environment, "
            f"got {type(environment).__name__}"
        )
    _check_own(f"environment {id!r}", environment)
    return environment


def _check_own(who: str, environment: "Environment") -> None:
    """Traces what a user's environment is made of, without running it, and compares with the contract.

    Raises:
        ValueError: a function raises, or what it returns has another type or shape than `Environment` says.
    """
    import jax
    import jax.numpy as jnp

    from environments.base import Step

    def check(what: str, got: Any, wanted: str, why: str = "") -> None:
        if (found := _types(got)) != wanted:
            raise ValueError(f"{who}: {what} is {_text(found)}, but must be {wanted}{why}")

    shape, dtype = ((environment.n_actions,), jnp.float32) if environment.continuous else ((), jnp.int32)
    key, action = jax.random.key(0), jax.ShapeDtypeStruct(shape, dtype)
    level = _called(f"{who}: sample_level", jax.eval_shape, environment.sample_level, key)
    made = _called(f"{who}: reset", jax.eval_shape, environment.reset, key, level)
    if not (isinstance(made, tuple) and len(made) == 2):
        raise ValueError(f"{who}: reset must return (state, observation), got {_text(_types(made))}")
    state, observation = made
    made = _called(f"{who}: step", jax.eval_shape, environment.step, key, state, action, level)
    if not (isinstance(made, tuple) and len(made) == 2 and isinstance(made[1], Step)):
        raise ValueError(
            f"{who}: step must return (state, environments.base.Step), got {_text(_types(made))}"
        )
    following, step = made
    size = environment.observation_size
    vector, why = f"float32[{size}]", f", as observation_size is {size}"
    check("the observation of reset", observation, vector, why)
    check("the observation of step", step.observation, vector, why)
    check("the final_observation of step", step.final_observation, vector, why)
    check("the reward of step", step.reward, "float32[]")
    check("terminated of step", step.terminated, "bool[]")
    check("truncated of step", step.truncated, "bool[]")
    if jax.tree.flatten(_types(following)) != jax.tree.flatten(_types(state)):
        found, wanted = _text(_types(following)), _text(_types(state))
        raise ValueError(f"{who}: the state that step returns is {found}, but must be {wanted}, as reset's")


def _called(what: str, function: Callable[..., Any], *arguments: Any) -> Any:
    """What `function` returns; whatever it raises becomes a ValueError that says whose fault it is."""
    try:
        return function(*arguments)
    except Exception as error:
        raise ValueError(f"{what} raises {_one_line(error)}") from error


def _one_line(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"


def _types(tree: Any) -> Any:
    """A tree of arrays as one of texts such as "float32[2]"."""
    import jax

    return jax.tree.map(lambda leaf: f"{leaf.dtype}[{', '.join(map(str, leaf.shape))}]", tree)


def _text(types: Any) -> str:
    return str(types).replace("'", "")[:300]
