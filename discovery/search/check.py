"""Checks of a config before a run is made of it, beyond those of its dataclasses."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from discovery.core.config.search import SearchConfig
from discovery.core.errors import BadInput, one_line
from discovery.executors.cpu import ensure_single_thread, keep_to_cpu

if TYPE_CHECKING:
    from environments.task import Task
    from objectives.base import Algorithm


def check(config: SearchConfig) -> None:
    """Build everything that `config` names, so that errors are reported before any file is written.

    Starts jax, with one CPU thread. User-defined algorithms and environments are traced as well, because
    code that raises would fail every training.

    Raises:
        BadInput: an unknown algorithm, option, environment or number, or one that does not work.
    """
    if config.executor != "inline":
        keep_to_cpu()
    ensure_single_thread()
    from discovery.inner.compile import build_algorithm
    from discovery.inner.loops import loop_of, trained_on
    from discovery.inner.loops.on_policy import check_numbers
    from discovery.search.loop import meta_optimizer

    own = ":" in config.algorithm
    with _as_bad_input("", f"algorithm {config.algorithm!r} with {dict(config.algorithm_options)}", own):
        algorithm = build_algorithm(config.spec)
    for task in config.every_task:
        name = task.setup.environment
        with _as_bad_input(f"task {task.name!r}: ", f"environment {name!r}", ":" in name):
            task.environment()
        with _as_bad_input(f"task {task.name!r}: ", f"algorithm {config.algorithm!r}", own):
            check_numbers(algorithm, task.numbers)
            trained = trained_on(algorithm, task.setup)
            loop_of(trained).check(trained, task.setup)
        if own or ":" in name:
            with _as_bad_input(f"task {task.name!r}: ", f"a training with {config.algorithm!r}", True):
                _trace(trained, task)
    with _as_bad_input("", f"the initial mean of {config.algorithm!r}", own):
        meta_optimizer(config)


@contextmanager
def _as_bad_input(place: str, what: str, own: bool) -> Iterator[None]:
    """Turn an exception into a `BadInput` of one line.

    A ValueError keeps its text. A TypeError comes from options of the wrong type, and the user's `own` code
    may raise anything: these are reported with their type and with `what` raised them.
    """
    try:
        yield
    except ValueError as error:
        raise BadInput(f"{place}{error}") from error
    except Exception as error:
        if not own and not isinstance(error, TypeError):
            raise
        raise BadInput(f"{place}{what} raises {one_line(error)}") from error


def _trace(algorithm: "Algorithm", task: "Task") -> None:
    """Trace one training, without compiling or running it."""
    import jax
    import jax.numpy as jnp

    from discovery.inner.loops import loop_of
    from discovery.inner.loops.on_policy import complete

    def training(key: jax.Array) -> object:
        meta_params, loop = complete(algorithm, task.numbers, algorithm.init(key)), loop_of(algorithm)
        state = loop.init(algorithm, task.setup, meta_params, key, jnp.int32(1))
        return loop.advance(algorithm, task.setup, meta_params, state, jnp.int32(1))

    jax.eval_shape(training, jax.random.key(0))
