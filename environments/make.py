"""From an id to an environment: one object per process per id.

Compiled programs are cached by the functions they were made from, so a second object for the same
id would compile everything again. Libraries are imported on first use: this module is light.
"""

import difflib
import functools
import importlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from environments.base import Environment

DOWNLOADS_DATA = ("MNISTBandit-bsuite",)
"""Registered in gymnax, but their constructor fetches files from the network."""


@functools.cache
def make(id: str) -> "Environment":
    """Returns the environment called `id`, always the same object.

    Args:
        id: a gymnax id, or ``"package.module:function"`` for a function of yours that takes no
            argument and returns an `Environment`.

    Raises:
        ValueError: nothing is called so, or the function is not there or returns something else.
    """
    import jax

    # The first call may come from within a traced function. The arrays an environment is built of
    # would then be tracers, and be kept here for ever.
    with jax.ensure_compile_time_eval():
        return _from_function(id) if ":" in id else _from_gymnax(id)


def registered() -> tuple[str, ...]:
    """Returns the ids of all gymnax environments that `make` supports, the user's own included."""
    import gymnax

    return tuple(id for id in gymnax.registered_envs if id not in DOWNLOADS_DATA)


def _unknown(id: str, names: Sequence[str]) -> str:
    """The message for an id that nothing has."""
    if id in DOWNLOADS_DATA:
        return f"environment {id!r} is not supported: it downloads data; choose another one"
    # Case says nothing about what was meant, and a cutoff of 0 always finds someone.
    by_lower = {name.lower(): name for name in names}
    close = difflib.get_close_matches(id.lower(), list(by_lower), n=3, cutoff=0.0)
    nearest = ", ".join(by_lower[name] for name in close)
    return f'no environment is called {id!r}; nearest: {nearest} (your own: "package.module:function")'


def _from_gymnax(id: str) -> "Environment":
    names = registered()
    if id not in names:
        raise ValueError(_unknown(id, names))

    from environments.gymnax import from_gymnax

    return from_gymnax(id)


def _from_function(id: str) -> "Environment":
    """Calls the user's function named by ``"package.module:function"``."""
    from environments.base import Environment

    module_name, _, function_name = id.partition(":")
    try:
        module = importlib.import_module(module_name)
    except (ImportError, ValueError) as error:  # ValueError: an empty module name
        raise ValueError(
            f"environment {id!r}: cannot import module {module_name!r} ({error}); "
            "it must be installed, or lie on PYTHONPATH"
        ) from error
    function = getattr(module, function_name, None)
    if not callable(function):
        public = [name for name, value in vars(module).items() if callable(value) and name[0] != "_"]
        close = difflib.get_close_matches(function_name, public, n=3, cutoff=0.0)
        raise ValueError(
            f"environment {id!r}: module {module_name!r} has no function {function_name!r}; "
            f"nearest: {', '.join(close) or 'none, it defines no public function'}"
        )
    environment = function()
    if not isinstance(environment, Environment):
        raise ValueError(
            f"environment {id!r}: the function must return an environments.base.Environment, "
            f"got {type(environment).__name__}"
        )
    return environment
