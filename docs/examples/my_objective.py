r"""An objective of your own: a smooth version of PPO's clip, with searched widths above and below ratio 1.

Run these at the root of the repository; without --dry-run, the last one searches:

    PYTHONPATH=docs/examples discovery objectives my_objective:soft_clip
    PYTHONPATH=docs/examples discovery search lpo-catch --algorithm my_objective:soft_clip \
        --algorithm-options width=0.3 --dry-run
"""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, PRNGKeyArray

from objectives.base import Algorithm, MetaParams, Progress
from objectives.known import drift_loss
from objectives.parts import actor_critic


def soft_clip(width: float = 0.2) -> Algorithm:
    """PPO whose ratio saturates smoothly: 1 + w tanh((r - 1) / w), with a searched w above 1 and one below.

    Args:
        width: initial value of both widths.
    """
    if width <= 0:
        raise ValueError(f"width must be positive, got {width}")

    def init(key: PRNGKeyArray) -> dict[str, Any]:
        return {"log_width": jnp.log(jnp.full(2, width))}  # as logarithms, any number is a valid proposal

    def drift(meta_params: MetaParams, log_ratio: Array, advantage: Array, progress: Progress) -> Array:
        above, below = jnp.exp(meta_params["log_width"])
        change = jnp.expm1(log_ratio)  # r - 1
        w = jnp.where(change > 0, above, below)
        return jax.nn.relu((change - w * jnp.tanh(change / w)) * advantage)  # zero, and flat, at r = 1

    return actor_critic("soft_clip", drift_loss(drift), init)
