"""User-defined environments: found by name, and checked against the contract before they are used."""

import functools
import importlib
import inspect
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from environments.base import Environment, Step
from environments.names import check_options, nearest


def from_function(id: str, options: Mapping[str, Any], vary: Mapping[str, Any]) -> Environment:
    """Calls the user's function named by ``"package.module:function"``, and checks what it returns.

    Raises:
        ValueError: see `environments.make.make`.
    """
    if vary:
        raise ValueError(
            f"environment {id!r}: vary is not supported, use sample_level; got vary={dict(vary)}"
        )
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
        check_options(id, options, list(inspect.signature(function).parameters))
    environment = _called(f"environment {id!r}: the function", functools.partial(function, **options))
    if not isinstance(environment, Environment):
        raise ValueError(
            f"environment {id!r}: the function must return an environments.base.Environment, "
            f"got {type(environment).__name__}"
        )
    _check_own(f"environment {id!r}", environment)
    return environment


def _check_own(who: str, environment: Environment) -> None:
    """Traces the functions of a user's environment, without running them, and checks the contract.

    Raises:
        ValueError: a function raises, or its result has another type or shape than in `Environment`.
    """

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
    """The result of `function`; any exception becomes a ValueError that names the function."""
    try:
        return function(*arguments)
    except Exception as error:
        raise ValueError(f"{what} raises {_one_line(error)}") from error


def _one_line(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"


def _types(tree: Any) -> Any:
    """A tree of arrays as one of texts such as "float32[2]"."""
    return jax.tree.map(lambda leaf: f"{leaf.dtype}[{', '.join(map(str, leaf.shape))}]", tree)


def _text(types: Any) -> str:
    return str(types).replace("'", "")[:300]
