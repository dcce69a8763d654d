"""The optax optimizer that moves an evolution strategy's mean."""

import inspect
from typing import Any

import jax
import numpy as np
import optax

from discovery.core.config.evolution import ESConfig
from discovery.core.errors import BadInput, unknown


def outer_optimizer(config: ESConfig) -> optax.GradientTransformation:
    """The optimizer that the resolved `config` names; its state holds the learning rate.

    `with_learning_rate` sets the rate from the number of the generation, not from the number of updates,
    because a skipped generation must not delay the schedule.
    """
    factory = getattr(optax, str(config.optimizer))
    arguments = inspect.signature(factory).parameters
    for name in config.optimizer_options:
        if name == "learning_rate":
            raise BadInput("optimizer_options cannot set learning_rate; set the option learning_rate")
        if name not in arguments:
            known = [argument for argument in arguments if argument != "learning_rate"]
            raise unknown(f"option of optax.{config.optimizer}", name, known)
    constants = [name for name in arguments if name != "learning_rate"]
    optimizer = optax.inject_hyperparams(factory, static_args=constants)(
        learning_rate=config.learning_rate, **config.optimizer_options
    )
    _check_runs(optimizer, config)
    return optimizer


def _check_runs(optimizer: optax.GradientTransformation, config: ESConfig) -> None:
    """Trace one update, so that an option of the wrong type raises `BadInput`."""
    vector = np.zeros(2, np.float32)
    try:
        jax.eval_shape(lambda: optimizer.update(vector, optimizer.init(vector), vector))
    except (TypeError, ValueError) as error:
        raise BadInput(
            f"optax.{config.optimizer} does not accept optimizer_options="
            f"{dict(config.optimizer_options)!r}: {error}"
        ) from error


def with_learning_rate(optimizer_state: Any, learning_rate: float) -> Any:
    """The state of an `outer_optimizer` with another learning rate."""
    hyperparams = {**optimizer_state.hyperparams, "learning_rate": np.asarray(learning_rate, np.float32)}
    return optimizer_state._replace(hyperparams=hyperparams)
