"""An algorithm's policy objective as functions of numbers, for pictures, tests and users' code.

    found = objective_of(AlgorithmSpec("lpo"), meta_params, task.numbers)
    loss = found(log_prob, old_log_prob, advantage)                # minimize its mean
    found.drift(log_ratio, advantage), found.slope(log_ratio, advantage)

Everything here is elementwise over arrays of any common shape, and differentiable.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache, partial
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from discovery.core.errors import BadInput
from discovery.core.jobs import AlgorithmSpec
from discovery.results.learned import Learned, learned_of
from objectives.base import PolicyLoss, Progress


@dataclass(frozen=True, eq=False)
class Objective:
    """An elementwise policy loss with its weights; make one with `objective_of`.

    Attributes:
        label: what tables and pictures call it.
        spec: which algorithm.
        meta_params: everything numeric it reads, searched entries and plain numbers.
    """

    label: str
    spec: AlgorithmSpec
    meta_params: Mapping[str, Any] = field(repr=False)
    _loss: PolicyLoss = field(repr=False)

    @property
    def normalize_advantage(self) -> bool:
        """Whether it expects advantages standardized over the minibatch."""
        return self._loss.normalize_advantage

    def __call__(
        self,
        log_prob: ArrayLike,
        old_log_prob: ArrayLike,
        advantage: ArrayLike,
        fraction: ArrayLike = 0.0,
    ) -> jax.Array:
        """The loss per sample, to be minimized.

        Args:
            log_prob: log pi(a|s) of the policy that learns.
            old_log_prob: log pi_old(a|s) of the policy that acted.
            advantage: A, standardized where `normalize_advantage` says so.
            fraction: n/N, the share of the training that has passed: a scalar in [0, 1).
        """
        new, old, advantage = jnp.broadcast_arrays(log_prob, old_log_prob, advantage)
        progress = Progress(fraction, 1)  # type: ignore[arg-type]  # its `fraction` is then exactly this one
        return self._loss.per_sample(self.meta_params, new, old, advantage, progress)

    def drift(self, log_ratio: ArrayLike, advantage: ArrayLike, fraction: ArrayLike = 0.0) -> jax.Array:
        """The drift f(r, A) = loss + r A, shifted by a function of A such that f(1, A) = 0.

        Drift families satisfy f(1, A) = 0 by construction. For others (A2C, VSOP) this formula defines the
        drift, at an old probability of 1.
        """
        log_ratio, advantage = jnp.broadcast_arrays(log_ratio, advantage)
        here = self(log_ratio, 0.0, advantage, fraction) + jnp.exp(log_ratio) * advantage
        return here - (self(0.0, 0.0, advantage, fraction) + advantage)

    def slope(self, log_ratio: ArrayLike, advantage: ArrayLike, fraction: ArrayLike = 0.0) -> jax.Array:
        """d(r A - f)/dr = -d(loss)/dr: the direction and strength of a sample's push on its action."""
        log_ratio, advantage = jnp.broadcast_arrays(
            jnp.asarray(log_ratio, float), jnp.asarray(advantage, float)
        )

        def total(ratio: jax.Array) -> jax.Array:
            return -jnp.sum(self(jnp.log(ratio), 0.0, advantage, fraction))

        return jax.grad(total)(jnp.exp(log_ratio))


def objective_of(
    spec: AlgorithmSpec,
    meta_params: Mapping[str, Any] | None = None,
    numbers: Mapping[str, float] | None = None,
    label: str = "",
) -> Objective:
    """The objective of an algorithm.

    Args:
        spec: which algorithm.
        meta_params: its searched entries; none for a known algorithm.
        numbers: plain numbers of a task's recipe, over the algorithm's defaults.
        label: what pictures call it; its name by default.

    Raises:
        BadInput: the algorithm has no elementwise policy loss, its entries are missing, or it does
            not read one of the numbers.
    """
    return objective_in(learned_of(spec, meta_params, numbers, label))


@cache
def objective_in(learned: Learned) -> Objective:
    """The objective of a learned algorithm; the same object for the same algorithm.

    Raises:
        BadInput: it has no elementwise policy loss.
    """
    policy_loss = learned.algorithm.policy_loss
    if policy_loss is None:
        raise BadInput(
            f"algorithm {learned.spec.name!r} has no elementwise policy loss, so there is no value at a "
            "point; look at its trainings instead (`RunData.curves`)"
        )
    return Objective(learned.label, learned.spec, learned.meta_params, policy_loss)


@partial(jax.jit, static_argnums=0)
def drift_and_slope(
    objective: Objective, log_ratio: ArrayLike, advantage: ArrayLike, fraction: ArrayLike = 0.0
) -> tuple[jax.Array, jax.Array]:
    """`Objective.drift` and `Objective.slope`, compiled once for all fractions."""
    return (
        objective.drift(log_ratio, advantage, fraction),
        objective.slope(log_ratio, advantage, fraction),
    )


def is_temporal(objective: Objective) -> bool:
    """Whether the drift changes during training, somewhere on a coarse grid."""
    log_ratio, advantage = jnp.linspace(-1.5, 1.5, 13), jnp.linspace(-2.0, 2.0, 5)[:, None]
    early, late = (drift_and_slope(objective, log_ratio, advantage, fraction)[0] for fraction in (0.0, 0.75))
    return not jnp.array_equal(early, late, equal_nan=True)
