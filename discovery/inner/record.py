"""The record of a training, in memory that does not grow with its length."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from discovery.core.jobs import Outcome


class Metrics(NamedTuple):
    """Sums over a part of a training, so parts can be added; see `means`.

    `updates` updates were made; `episodes` were completed, with total undiscounted return `episode_return`
    and total length `episode_length`. `named` has the loop's other metrics: per-update means, summed.
    """

    updates: Float[Array, "*K"]
    episodes: Float[Array, "*K"]
    episode_return: Float[Array, "*K"]
    episode_length: Float[Array, "*K"]
    named: Mapping[str, Float[Array, "*K"]]

    def means(self) -> dict[str, Array]:
        """Mean return and length per episode, and means of `named` per update; NaN where there was none."""
        return {
            "episode_return": self.episode_return / self.episodes,
            "episode_length": self.episode_length / self.episodes,
            **{name: total / self.updates for name, total in self.named.items()},
        }


def zero_metrics(names: Iterable[str], shape: tuple[int, ...] = ()) -> Metrics:
    """Zero sums, for a loop that reports `names`."""
    zero = jnp.zeros(shape)
    return Metrics(zero, zero, zero, zero, {name: zero for name in names})


class Record(NamedTuple):
    """Sums per window of the training (K windows), and when anything first became non-finite.

    `nonfinite_update` is the index of that update, or -1.
    """

    windows: Metrics
    nonfinite_update: Int[Array, ""]


def empty_record(names: Iterable[str], points: int) -> Record:
    """An empty record with `points` windows, for a loop that reports `names`."""
    return Record(zero_metrics(names, (points,)), jnp.int32(-1))


def add_to_record(record: Record, update: Array, lifetime: Array, metrics: Metrics, finite: Array) -> Record:
    """Add one update's metrics to the window in which it ends, ``ceil((update + 1) K / lifetime) - 1``."""
    points = record.windows.updates.shape[0]
    window = jnp.minimum(((update + 1) * points - 1) // jnp.maximum(lifetime, 1), points - 1)
    here = jnp.arange(points) == window
    windows = jax.tree.map(lambda total, x: total + jnp.where(here, x, 0.0), record.windows, metrics)
    first = jnp.where((record.nonfinite_update < 0) & ~finite, update, record.nonfinite_update)
    return Record(windows, first.astype(jnp.int32))


def _carry_forward(curve: Float[Array, " K"]) -> Float[Array, " K"]:
    """Fill empty windows with the last known value, and those before the first with the first."""

    def fill(last: Array, x: Array) -> tuple[Array, Array]:
        value = jnp.where(jnp.isnan(x), last, x)
        return value, value

    first = curve[jnp.argmax(~jnp.isnan(curve))]
    return jax.lax.scan(fill, first, curve)[1]


def summarize(record: Record, steps_per_update: int) -> Outcome:
    """Turn a record into an `Outcome`; `score` equals `final` until the task sets it.

    `final` is the mean return of the episodes completed in the last fifth of the windows, or in the
    last window that has any; NaN if none was completed, or anything became non-finite.
    """
    windows, means = record.windows, record.windows.means()
    points = windows.updates.shape[0]
    filled = _carry_forward(means["episode_return"])
    last = jnp.arange(points) >= points - max(1, points // 5)
    episodes = jnp.sum(jnp.where(last, windows.episodes, 0.0))
    total = jnp.sum(jnp.where(last, windows.episode_return, 0.0))
    final = jnp.where(episodes > 0, total / jnp.maximum(episodes, 1.0), filled[-1])
    failed = record.nonfinite_update >= 0
    final = jnp.where(failed, jnp.nan, final)
    auc = jnp.where(failed, jnp.nan, filled.mean())
    step = jnp.where(failed, record.nonfinite_update * steps_per_update, -1)
    return Outcome(
        score=final,
        final=final,
        auc=auc,
        curve=means["episode_return"],
        episodes=windows.episodes,
        length=means["episode_length"],
        nonfinite_step=step,
        metrics={name: means[name] for name in windows.named},
    )


def finite(*trees: Any) -> Array:
    """Whether every number in `trees` is finite."""
    leaves = [jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(trees)]
    return jnp.all(jnp.stack(leaves))
