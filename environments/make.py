"""From an id to an environment: one object per process per id.

Compiled programs are cached by the functions they were made from, so a second object for the same
id would compile everything again. Libraries are imported on first use: this module is light.
"""

import difflib
import functools
import importlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

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
        ValueError: nothing is called so, or the function is not there, raises, or returns something else
            than an environment that keeps to the contract.
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
    except Exception as error:  # a ValueError: an empty module name; others: the module's own
        missing = isinstance(error, ImportError | ValueError)
        hint = "; it must be installed, or lie on PYTHONPATH" if missing else ""
        raise ValueError(
            f"environment {id!r}: cannot import module {module_name!r} ({_one_line(error)}){hint}"
        ) from error
    function = getattr(module, function_name, None)
    if not callable(function):
        public = [name for name, value in vars(module).items() if callable(value) and name[0] != "_"]
        close = difflib.get_close_matches(function_name, public, n=3, cutoff=0.0)
        raise ValueError(
            f"environment {id!r}: module {module_name!r} has no function {function_name!r}; "
            f"nearest: {', '.join(close) or 'none, it defines no public function'}"
        )
    environment = _called(f"environment {id!r}: the function", function)
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
