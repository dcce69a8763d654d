"""Programs as optimizers and as schedules of the learning rate."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, PRNGKeyArray

from objectives.base import Memory, MetaParams, Optimizer, ParamInfo, Progress, Trajectory
from objectives.optimizers import clip_by_global_norm
from objectives.per_parameter import flat, precision, unflat
from objectives.programs.interpreter import interpret

MEAN_DECAYS = (0.9, 0.99, 0.999)
SQUARE_DECAYS = (0.99, 0.999)


class RunningMeans(NamedTuple):
    """Running means over all parameters as one vector.

    Attributes:
        means: of the gradient, ``[k, n]``, one for each decay.
        squares: of its square, likewise.
    """

    means: Float[Array, "k n"]
    squares: Float[Array, "k n"]


Step = Callable[..., Float[Array, " n"]]
"""``(gradient, parameter, means, squares, learning_rate, progress, layer) -> what is subtracted``, of all
parameters as vectors ``[n]``, with running means as in `RunningMeans`."""


def optimizer_of(
    step_of: Callable[[MetaParams], Step],
    mean_decays: tuple[float, ...],
    square_decays: tuple[float, ...],
    reads: tuple[str, ...],
) -> Optimizer:
    """An optimizer that makes steps after a norm clip. Its learning rate is the recipe's, annealed as the
    recipe says.

    Args:
        step_of: from `meta_params` to the step.
        mean_decays: of the running means of the gradient that it reads.
        square_decays: of those of its square.
        reads: other inputs that it reads; without "parameter" and "layer", it gets None for these.
    """

    def transformation(meta_params: MetaParams) -> optax.GradientTransformationExtraArgs:
        """The optimizer, for one tree of actor and critic."""
        clip = clip_by_global_norm(meta_params["max_grad_norm"], meta_params["clip_by_torso"])
        step = step_of(meta_params)

        def init(params: Any) -> RunningMeans:
            leaves = jax.tree.leaves(params)
            size, dtype = sum(leaf.size for leaf in leaves), precision(leaves)
            return RunningMeans(
                jnp.zeros((len(mean_decays), size), dtype), jnp.zeros((len(square_decays), size), dtype)
            )

        def update(
            updates: Any,
            state: RunningMeans,
            params: Any = None,
            *,
            progress: Progress,
            param_info: Any = None,
            **_: Any,
        ) -> tuple[Any, RunningMeans]:
            clipped: Any = clip.update(updates, optax.EmptyState())[0]
            leaves, treedef = jax.tree.flatten(clipped)
            gradient = flat(leaves, precision(leaves))
            means = averaged(state.means, gradient, jnp.asarray(mean_decays, gradient.dtype))
            square_decay = jnp.asarray(square_decays, gradient.dtype)
            squares = averaged(state.squares, jnp.square(gradient), square_decay)
            passed = jnp.asarray(progress.fraction, gradient.dtype)
            rate = meta_params["learning_rate"] * (1.0 - meta_params["anneal"] * passed)
            parameter = flat(jax.tree.leaves(params), gradient.dtype) if "parameter" in reads else None
            layer = depths(params, param_info, gradient.dtype) if "layer" in reads else None
            moved = step(gradient, parameter, means, squares, rate, passed, layer)
            return unflat(-moved, leaves, treedef), RunningMeans(means, squares)

        return optax.GradientTransformationExtraArgs(init, update)  # type: ignore[arg-type]

    return transformation


def averaged(
    means: Float[Array, "k n"], x: Float[Array, " n"], decay: Float[Array, " k"]
) -> Float[Array, "k n"]:
    """d m + (1 - d) x for each decay d."""
    return decay[:, None] * means + (1.0 - decay[:, None]) * x


def depths(params: Any, param_info: Any, dtype: Any) -> Float[Array, " n"]:
    """0 for each parameter of the layer next to the input, 1 at the output."""

    def of_one(tensor: Array, info: ParamInfo) -> Array:
        return jnp.full(tensor.shape, info.layer / max(info.n_layers - 1, 1))

    return flat(jax.tree.leaves(jax.tree.map(of_one, params, param_info)), dtype)


def _interpreted(meta_params: MetaParams) -> Step:
    """The step of the program ``meta_params["optimizer"]``, which runs once, over all parameters."""

    def step(
        gradient: Array,
        parameter: Array,
        means: Array,
        squares: Array,
        learning_rate: Array,
        progress: Array,
        layer: Array,
    ) -> Array:
        given = (gradient, parameter, *means, *squares, learning_rate, progress, layer)
        return interpret(meta_params["optimizer"], given)[0]

    return step


program_optimizer = optimizer_of(_interpreted, MEAN_DECAYS, SQUARE_DECAYS, ("parameter", "layer"))
"""The optimizer of the program ``meta_params["optimizer"]``."""


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
