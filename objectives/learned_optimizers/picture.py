"""The picture of a learned optimizer: the step of one parameter against its gradient, and the noise in it.

An optimizer may read anything about an agent, so a synthetic agent is used: one tensor, with the parameter
that is drawn and `COMPANY` others, and everything else in the middle of its range. After `HISTORY` steps with
constant gradients comes the step that is drawn. So every optimizer that follows the contract can be drawn,
with the state that it has after such steps.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key, PRNGKeyArray
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from objectives.base import MetaParams, Optimizer, ParamInfo, Progress
from objectives.family import Found, Picture
from objectives.optimizers import ADAM_DEFAULTS, adam

FRACTIONS = (0.0, 0.5, 1.0)
"""Shares of the training that have passed: at its first rollout, in its middle, at its last one."""
LIFE = np.linspace(0.0, 1.0, 11)
"""Shares at which the size of the noise is measured."""

HISTORY = 100
TYPICAL = 1e-3
"""Size of the gradients that the parameter has had."""
VALUE = 0.1
"""Value of the parameter and, with alternating signs, of all others: about their initial size."""
COMPANY = 64
"""Their gradients have sizes from a tenth to ten times the typical one, evenly in logarithms, and changing
signs."""
KEYS = 2048
"""Random keys over which the noise is measured."""

NEAR_ZERO = 1e-5
GRADIENT = np.concatenate(
    [
        -np.geomspace(0.1, NEAR_ZERO, 41),
        np.linspace(-NEAR_ZERO, NEAR_ZERO, 11),
        np.geomspace(NEAR_ZERO, 0.1, 41),
    ]
)
"""The parameter's gradient at the step that is drawn."""

PASTS: dict[str, tuple[float, int, Any]] = {
    "negative": (-TYPICAL, 0, "--"),
    "zero": (0.0, 6, ":"),
    "positive": (TYPICAL, 1, "-"),
}
"""Gradients of the past, and with them the momentum: name -> value, number of the color, and line."""

LAYER = "middle"

CAPTION = (
    "One parameter of value 0.1, after 100 steps at which its gradient was −0.001 (momentum negative), 0 or "
    "0.001 (positive). In its tensor, of the middle layer, are 64 others of values ±0.1 with gradients from "
    "0.0001 to 0.01, half of them negative. Dormancy 1, middle pass over a rollout, no clipping by norm. "
    "Noise: standard deviation of the step of an actor's parameter."
)


def optimizer_picture(found: Found, plots: Any) -> Figure:
    """The step of one parameter against its gradient at three points of a training, and the noise over a
    training.

    Thick lines are the optimizer's, thin ones Adam's for the same gradients, with the same recipe and
    annealing. Fixed are: the parameter, 0.1; its gradients at each of the last 100 steps, -0.001, 0 or 0.001,
    which make its momentum negative, zero or positive; in the same tensor 64 others of values +-0.1 with
    gradients from 1e-4 to 0.01, half of them negative, the same at every step; the tensor's layer, the middle
    one; the pass over the rollout, the middle one; the activity of neurons, equal (dormancy 1); and the point
    of training, also during those 100 steps. Gradients are not clipped by their norm. The parameter is a
    critic's, except where noise is measured: there it is an actor's, since only these get OPEN's noise. The
    size of the noise is the standard deviation of the step over `KEYS` random keys, at a gradient equal to
    the earlier ones.
    """
    numbers = {**ADAM_DEFAULTS, **found.meta_params}
    mine, noise = steps(found.algorithm.optimizer, found.meta_params, found.n_updates), noise_of(found)
    figure = plots.Picture(figsize=(13, 4.6), layout="constrained")
    axes = figure.subplots(1, 4)
    for panel in axes[1:3]:
        panel.sharey(axes[0])
        panel.tick_params(labelleft=False)
    for panel, fraction, own, known in zip(
        axes, FRACTIONS, mine, steps(adam, numbers, found.n_updates), strict=False
    ):
        _draw_steps(panel, own, known, plots)
        plots.tidy(panel, title=f"training proportion {fraction:g}")
    axes[0].set_ylabel("step of the parameter")
    _draw_noise(axes[3], noise, plots)
    names = [f"{found.label}, momentum {name}" for name in PASTS]
    key = [
        Line2D([], [], color=plots.COLORS[color], linestyle=line, linewidth=2)
        for _, color, line in PASTS.values()
    ]
    key.append(Line2D([], [], color="0.5", linewidth=0.9))
    figure.legend(key, [*names, "Adam, likewise"], loc="outside upper center", ncols=4, frameon=False)
    plots.small_print(figure, CAPTION + _adam_text(numbers))
    return figure


def steps(optimizer: Optimizer, meta_params: MetaParams, n_updates: int) -> Float[np.ndarray, "F M G"]:
    """Steps of a critic's parameter by `FRACTIONS`, `PASTS` and `GRADIENT`, with one random key.

    Args:
        optimizer: to draw.
        meta_params: complete.
        n_updates: N, which determines the progress at the last rollout.
    """
    present = np.broadcast_to(GRADIENT, (len(PASTS), GRADIENT.size))
    return _drawn(optimizer, "critic", 1, meta_params, _progress(FRACTIONS, n_updates), present)[:, :, 0]


def noise_of(found: Found) -> Float[np.ndarray, "L M"]:
    """Standard deviation of the step of an actor's parameter over random keys, by `LIFE` and `PASTS`."""
    progress, present = _progress(LIFE, found.n_updates), _pasts()[:, None]
    drawn = _drawn(found.algorithm.optimizer, "actor", KEYS, found.meta_params, progress, present)[..., 0]
    return np.std(drawn - drawn[..., :1], axis=-1)  # exactly zero where all are equal


def _drawn(
    optimizer: Optimizer,
    role: str,
    n_keys: int,
    meta_params: MetaParams,
    progress: Progress,
    present: Float[np.ndarray, "M G"],
) -> Float[np.ndarray, "F M K G"]:
    numbers = {**meta_params, "max_grad_norm": jnp.inf}  # no clipping
    gradients = (jnp.asarray(x, jnp.float32) for x in (_pasts(), present))
    return np.asarray(_every(optimizer, role, n_keys, numbers, progress, *gradients), np.float64)


def _pasts() -> Float[np.ndarray, " M"]:
    return np.array([past for past, *_ in PASTS.values()])


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def _every(
    optimizer: Optimizer,
    role: str,
    n_keys: int,
    meta_params: MetaParams,
    progress: Progress,
    past: Float[Array, " M"],
    present: Float[Array, "M G"],
) -> Float[Array, "F M K G"]:
    keys = jax.random.split(jax.random.key(0), n_keys)
    last = functools.partial(_last_steps, optimizer, role, keys, meta_params)
    by_past = jax.vmap(last, (None, 0, 0))
    return jax.vmap(by_past, (Progress(0, None, None, None), None, None))(progress, past, present)  # type: ignore[arg-type]


def _progress(shares: Any, n_updates: int) -> Progress:
    """The first rollout at share 0 and the last one at 1, in the middle of the passes over it."""
    return Progress(jnp.asarray(shares, jnp.float32) * (n_updates - 1), n_updates, 1, 3)


def _last_steps(
    optimizer: Optimizer,
    role: str,
    keys: Key[Array, " K"],
    meta_params: MetaParams,
    progress: Progress,
    past: Float[Array, ""],
    present: Float[Array, " G"],
) -> Float[Array, "K G"]:
    """The parameter's step at each of the present gradients, after `HISTORY` steps at the past one."""
    signs = jnp.where(jnp.arange(1 + COMPANY) % 2, -1.0, 1.0)
    others = TYPICAL * jnp.logspace(-1, 1, COMPANY // 2).repeat(2) * signs[:COMPANY]
    transformation = optimizer(meta_params)
    params = _tensor(role, VALUE * signs)

    def step(state: Any, gradient: Array, key: PRNGKeyArray) -> tuple[Any, Any]:
        gradients = _tensor(role, jnp.concatenate([gradient[None], others]))
        return transformation.update(
            gradients,
            state,
            params,
            key=key,
            progress=progress,
            activations={role: {LAYER: jnp.ones((1, 1))}},
            param_info={role: {LAYER: {"kernel": ParamInfo(role, 1, 3, (role, LAYER), 1)}}},
        )

    def live(state: Any, key: PRNGKeyArray) -> tuple[Any, None]:
        return step(state, past, key)[1], None

    state, _ = jax.lax.scan(live, transformation.init(params), jax.random.split(keys[0], HISTORY))
    every = jax.vmap(jax.vmap(step, (None, 0, None)), (None, None, 0))
    return every(state, present, keys)[0][role][LAYER]["kernel"][..., 0, 0]


def _tensor(role: str, values: Float[Array, " n"]) -> Any:
    return {role: {LAYER: {"kernel": values[:, None]}}}


def _draw_steps(
    axes: Axes, mine: Float[np.ndarray, "M G"], adam: Float[np.ndarray, "M G"], plots: Any
) -> None:
    looks = list(zip(mine, adam, PASTS.values(), strict=True))
    for own, known, (_, color, line) in reversed(looks):  # dashes above curves that they may coincide with
        look: dict[str, Any] = {"color": plots.COLORS[color], "linestyle": line}
        axes.plot(GRADIENT, known, linewidth=0.9, alpha=0.6, **look)
        axes.plot(GRADIENT, own, linewidth=2, **look)
    axes.set_xscale("symlog", linthresh=NEAR_ZERO, linscale=0.5)
    plots.number_ticks(axes.xaxis, (-0.1, -1e-3, 0.0, 1e-3, 0.1))
    axes.set_xlabel("gradient")


def _draw_noise(axes: Axes, noise: Float[np.ndarray, "L M"], plots: Any) -> None:
    plots.tidy(axes, title="size of the noise")
    axes.set_xlabel("training proportion")
    axes.set_ylabel("standard deviation of the step")
    for size, (_, color, line) in reversed(list(zip(noise.T, PASTS.values(), strict=True))):
        axes.plot(LIFE, size, color=plots.COLORS[color], linestyle=line, linewidth=2)
    if not noise.any():
        axes.set_yticks([0.0])
        axes.annotate("none", (0.5, 0.6), xycoords="axes fraction", ha="center", color="0.35")
    else:
        axes.set_ylim(0, None)


def _adam_text(numbers: MetaParams) -> str:
    rate, anneal = (float(numbers[name]) for name in ("learning_rate", "anneal"))
    falling = f", falling by {anneal:.0%} over the life" if anneal else ""
    return f" Adam has the recipe's learning rate, {rate:g}{falling}."


PICTURE = Picture(
    "optimizer",
    optimizer_picture,
    "Curves of one parameter's step against its gradient, for negative, zero and positive momentum, at "
    "three points of a training, with Adam's; and the size of the noise over a training.",
    "The step of one parameter against its gradient, by its momentum and by the share of the training "
    "that has passed; thin lines are Adam's. On the right, the size of the noise that is added to the "
    "steps of the actor's parameters.",
)
