"""Programs as optimizers and as schedules of the learning rate."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, PRNGKeyArray

from objectives.base import Memory, MetaParams, Optimizer, ParamInfo, Progress, Trajectory
from objectives.optimizers import clip_by_global_norm
from objectives.programs.interpreter import interpret

MEAN_DECAYS = (0.9, 0.99, 0.999)
SQUARE_DECAYS = (0.99, 0.999)


class OptimizerState(NamedTuple):
    """Running means over all parameters as one vector.

    Attributes:
        means: of the gradient, ``[3, n]``, by `MEAN_DECAYS`.
        squares: of its square, ``[2, n]``, by `SQUARE_DECAYS`.
    """

    means: Float[Array, "3 n"]
    squares: Float[Array, "2 n"]


def program_optimizer(meta_params: MetaParams) -> optax.GradientTransformationExtraArgs:
    """The optimizer of the program ``meta_params["optimizer"]``, after a norm clip.

    The program runs once, over all parameters as one vector. Its learning rate is the recipe's, annealed as
    the recipe says.
    """
    clip = clip_by_global_norm(meta_params["max_grad_norm"], meta_params["clip_by_torso"])

    def init(params: Any) -> OptimizerState:
        flat, _ = ravel_pytree(params)
        return OptimizerState(
            jnp.zeros((len(MEAN_DECAYS), flat.size), flat.dtype),
            jnp.zeros((len(SQUARE_DECAYS), flat.size), flat.dtype),
        )

    def update(
        updates: Any,
        state: OptimizerState,
        params: Any = None,
        *,
        progress: Progress,
        param_info: Any,
        **_: Any,
    ) -> tuple[Any, OptimizerState]:
        clipped: Any = clip.update(updates, optax.EmptyState())[0]
        gradient, unflatten = ravel_pytree(clipped)
        state = OptimizerState(
            _averaged(state.means, gradient, MEAN_DECAYS),
            _averaged(state.squares, jnp.square(gradient), SQUARE_DECAYS),
        )
        rate = meta_params["learning_rate"] * (1.0 - meta_params["anneal"] * progress.fraction)
        depths = ravel_pytree(jax.tree.map(_depth, params, param_info))[0]
        given = (
            gradient, ravel_pytree(params)[0], *state.means, *state.squares, rate, progress.fraction, depths,
        )  # fmt: skip
        (step,) = interpret(meta_params["optimizer"], given)
        return unflatten(-step), state

    return optax.GradientTransformationExtraArgs(init, update)  # type: ignore[arg-type]


def _averaged(means: Array, x: Array, decays: tuple[float, ...]) -> Array:
    """d m + (1 - d) x for each decay d."""
    decay = jnp.asarray(decays, means.dtype)[:, None]
    return decay * means + (1.0 - decay) * x


def _depth(tensor: Array, info: ParamInfo) -> Array:
    """0 next to the input, 1 at the output, in the tensor's shape."""
    return jnp.full(tensor.shape, info.layer / max(info.n_layers - 1, 1), tensor.dtype)


class ScheduleMemory(NamedTuple):
    """What a schedule remembers; scalars.

    Attributes:
        factor: on the learning rate, until the next update.
        largest: the largest size of a mean return so far.
    """

    factor: Float[Array, ""]
    largest: Float[Array, ""]


SMALLEST_FACTOR = 1e-8
"""In place of a factor that is not positive."""


def _factor(meta_params: MetaParams, last: Array, kl: Array, mean: Array, fraction: Array) -> Array:
    (factor,) = interpret(meta_params["schedule"], (fraction, kl, mean, last))
    return jnp.maximum(factor, SMALLEST_FACTOR)


def _first_factor(meta_params: MetaParams, params: Any, key: PRNGKeyArray) -> ScheduleMemory:
    zero, one = jnp.zeros(()), jnp.ones(())
    return ScheduleMemory(_factor(meta_params, one, zero, zero, zero), zero)


def _after_update(
    meta_params: MetaParams,
    memory: ScheduleMemory,
    trajectory: Trajectory,
    params: Any,
    metrics: Any,
    progress: Progress,
) -> ScheduleMemory:
    mean = jnp.where(metrics.episodes > 0, metrics.episode_return / jnp.maximum(metrics.episodes, 1.0), 0.0)
    largest = jnp.maximum(memory.largest, jnp.abs(mean))
    share = mean / jnp.where(largest > 0, largest, 1.0)
    following = progress._replace(update=progress.update + 1).fraction
    return ScheduleMemory(_factor(meta_params, memory.factor, metrics.named["kl"], share, following), largest)


schedule_memory = Memory(init=_first_factor, update=_after_update)
"""The memory of the program ``meta_params["schedule"]``."""


def scheduled(optimizer: Optimizer) -> Optimizer:
    """An optimizer whose learning rate is the recipe's times the factor in a `ScheduleMemory`."""

    def steps(meta_params: MetaParams) -> optax.GradientTransformationExtraArgs:
        def update(
            updates: Any, state: Any, params: Any = None, *, memory: ScheduleMemory, **extra: Any
        ) -> tuple[Any, Any]:
            rate = meta_params["learning_rate"] * memory.factor
            inner = optimizer({**meta_params, "learning_rate": rate, "anneal": jnp.zeros(())})
            return inner.update(updates, state, params, memory=memory, **extra)

        return optax.GradientTransformationExtraArgs(optimizer(meta_params).init, update)  # type: ignore[arg-type]

    return steps
