"""A learning algorithm with its numbers, from which pictures of its parts are drawn."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp

from discovery.core.errors import BadInput
from discovery.core.jobs import AlgorithmSpec
from discovery.inner.compile import build_algorithm
from discovery.inner.loops.on_policy import check_numbers, complete
from objectives.base import Algorithm


@dataclass(frozen=True, eq=False)
class Learned:
    """An algorithm and everything that it reads; make one with `learned_of`.

    Attributes:
        label: what pictures call it.
        spec: which algorithm.
        numbers: plain numbers of a task's recipe.
        n_updates: N, rollouts in the training that is drawn.
        algorithm: its parts.
        meta_params: everything numeric it reads, searched entries and plain numbers.
    """

    label: str
    spec: AlgorithmSpec
    numbers: Mapping[str, float]
    n_updates: int
    algorithm: Algorithm = field(repr=False)
    meta_params: Mapping[str, Any] = field(repr=False)

    @property
    def searched(self) -> tuple[str, ...]:
        """Entries of `meta_params` that a search proposes, without plain numbers."""
        plain = dict(self.algorithm.defaults)
        return tuple(name for name in self.meta_params if name not in plain)


def learned_of(
    spec: AlgorithmSpec,
    meta_params: Mapping[str, Any] | None = None,
    numbers: Mapping[str, float] | None = None,
    label: str = "",
    n_updates: int = 1000,
) -> Learned:
    """An algorithm with its numbers.

    Args:
        spec: which algorithm.
        meta_params: its searched entries; none for a known algorithm.
        numbers: plain numbers of a task's recipe, over the algorithm's defaults.
        label: what pictures call it; its name by default.
        n_updates: N, rollouts in the training that is drawn.

    Raises:
        BadInput: its code is missing, its entries are missing, or it does not read one of the numbers.
    """
    try:
        algorithm = build_algorithm(spec)
        check_numbers(algorithm, numbers or {})
        full = complete(algorithm, numbers or {}, jax.tree.map(jnp.asarray, meta_params or {}))
    except (ValueError, TypeError) as error:
        raise BadInput(str(error)) from error
    missing = sorted(set(jax.eval_shape(algorithm.init, jax.random.key(0))) - set(meta_params or {}))
    if missing:
        raise BadInput(
            f"algorithm {spec.name!r} needs its searched entries {', '.join(missing)}; "
            "take them from a run: RunData.meta_params()"
        )
    return Learned(label or spec.name, spec, dict(numbers or {}), n_updates, algorithm, full)


def part_of_entries(spec: AlgorithmSpec) -> dict[str, AlgorithmSpec]:
    """Searched entry -> the part of an algorithm that reads it: of "lpo+open", `lpo` reads "drift"."""
    return {
        entry: part
        for part in spec.parts
        for entry in jax.eval_shape(build_algorithm(part).init, jax.random.key(0))
    }
