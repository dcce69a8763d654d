"""Training loops: one file each, selected by `Algorithm.loop`.

Every loop has the same four functions, which are pure except `check`:

    check(algorithm, setup)                                        raises a ValueError if they do not fit
    init(algorithm, setup, meta_params, key, lifetime, level=None) -> state
    advance(algorithm, setup, meta_params, state, n_updates)       -> state, Metrics summed over the updates
    report(setup, state)                                           -> Outcome

A state is one pytree of arrays with a field `update`, the number of updates made. A traced `n_updates` gives
a loop with that trip count, which has no reverse derivative; through a Python int one can differentiate.
"""

from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

from jaxtyping import Array, PRNGKeyArray

from discovery.core.jobs import Outcome
from discovery.inner.loops import exact, on_policy
from discovery.inner.record import Metrics
from environments.task import Setup
from objectives.base import Algorithm, MetaParams


@runtime_checkable
class Loop(Protocol):
    """The four functions; see the module's docstring."""

    check: Callable[[Algorithm, Setup], None]
    init: Callable[..., Any]
    advance: Callable[..., tuple[Any, Metrics]]
    report: Callable[[Setup, Any], Outcome]


LOOPS: dict[str, Loop] = {"exact": exact, "on_policy": on_policy}


def loop_of(algorithm: Algorithm) -> Loop:
    """The loop that trains `algorithm`.

    Raises:
        ValueError: there is no loop of that name.
    """
    if algorithm.loop not in LOOPS:
        raise ValueError(
            f"algorithm {algorithm.name!r} needs the loop {algorithm.loop!r}; there are: {', '.join(LOOPS)}"
        )
    return LOOPS[algorithm.loop]


def trained_on(algorithm: Algorithm, setup: Setup) -> Algorithm:
    """The algorithm for a setup's trainings: with the exact loop if the setup has exact values.

    So one mirror map can be judged with exact values on one task and with rollouts on another.
    """
    return algorithm._replace(loop="exact") if setup.exact else algorithm


def train(
    algorithm: Algorithm,
    setup: Setup,
    meta_params: MetaParams,
    key: PRNGKeyArray,
    lifetime: Array | int,
    level: Any = None,
) -> Outcome:
    """A whole training: `init`, `advance` by `lifetime` updates, `report`."""
    algorithm = trained_on(algorithm, setup)
    loop = loop_of(algorithm)
    state = loop.init(algorithm, setup, meta_params, key, lifetime, level)
    state, _ = loop.advance(algorithm, setup, meta_params, state, lifetime)
    return loop.report(setup, state)
