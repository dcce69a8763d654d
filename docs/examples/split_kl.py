r"""A family in one file: a KL penalty with one searched strength for good actions and one for bad ones.

Run these at the root of the repository; without --dry-run, the last one searches:

    PYTHONPATH=docs/examples discovery objectives split_kl:SPLIT_KL
    PYTHONPATH=docs/examples discovery search lpo-catch --algorithm split_kl:SPLIT_KL \
        --algorithm-options start=0.5 --dry-run
"""

from math import inf
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PRNGKeyArray

from objectives.base import Algorithm, MetaParams, Progress
from objectives.family import Family, Found, Picture
from objectives.known import drift_loss
from objectives.parts import actor_critic


def split_kl(start: float = 1.0) -> Algorithm:
    """PPO with a penalty k (r - 1 - log r) in place of its clip; k depends on the sign of the advantage.

    Reads "kl_scale", which multiplies both strengths.

    Args:
        start: the strength at which both searches begin.
    """
    if start <= 0:
        raise ValueError(f"start must be positive, got {start}")

    def init(key: PRNGKeyArray) -> dict[str, Any]:
        return {"log_strength": jnp.log(jnp.full(2, start))}

    def drift(meta_params: MetaParams, log_ratio: Array, advantage: Array, progress: Progress) -> Array:
        logarithms = jnp.asarray(meta_params["log_strength"], log_ratio.dtype)  # `--verify` runs in float64
        good, bad = meta_params["kl_scale"] * jnp.exp(logarithms)
        return jnp.where(advantage >= 0, good, bad) * (jnp.expm1(log_ratio) - log_ratio)

    return actor_critic("split_kl", drift_loss(drift), init, kl_scale=1.0)


def draw(found: Found, plots: Any) -> Any:
    """Both penalties against the ratio."""
    ratio = np.linspace(0.2, 3.0, 141)
    strengths = found.meta_params["kl_scale"] * np.exp(np.asarray(found.meta_params["log_strength"]))
    figure = plots.Picture(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    for strength, label, color in zip(strengths, ("A > 0", "A < 0"), plots.COLORS, strict=False):
        axes.plot(ratio, strength * (ratio - 1 - np.log(ratio)), color=color, label=label)
    axes.set_xlabel("ratio r")
    plots.tidy(axes, ylabel="penalty", title=found.label)
    plots.add_legend(figure)
    return figure


SPLIT_KL = Family(
    split_kl,
    limits={"kl_scale": (0.0, inf)},
    baselines=("ppo", "ppo_kl"),
    starts=("start",),
    picture=Picture(
        "penalties",
        draw,
        "Two curves of the penalty against the ratio, one for good actions and one for bad ones.",
        "The penalty on moving the policy, by the sign of the advantage.",
    ),
)
