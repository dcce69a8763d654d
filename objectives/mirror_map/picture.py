"""The picture of a mirror map: its potential, its derivative, and its policies for given scores."""

import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from objectives.family import Found, NothingToDraw, Picture, differ
from objectives.mirror_map.algorithm import Projected
from objectives.mirror_map.potentials import Potential, l2, negative_entropy, tsallis
from objectives.mirror_map.simplex import project

FRACTIONS = (0.0, 0.5, 1.0)
"""Points n/N of a training at which a temporally-aware map is drawn."""

PROBABILITY = np.geomspace(1e-4, 1.0, 201)
LEAST, WIDEST = 0.01, 20.0
"""Arguments of phi start at the lowest one of this probability among all maps, but not below this."""

FIXED = (0.0, -0.5)
"""Scores of the second and the third action."""

KNOWN: dict[str, tuple[Potential, Any, int]] = {
    "negative entropy": (negative_entropy, (), 0),
    "l2": (l2, (), 2),
    "Tsallis 1.5": (tsallis, 1.5, 3),
}
"""Maps that are drawn next to the found one, with their color numbers."""

LINES = ("-", "--", ":")
ACTIONS = ("first action", "second", "third")


class Shown(NamedTuple):
    """A map as it is drawn; `color` is a number in the palette."""

    title: str
    potential: Potential
    weights: Any
    color: int
    line: Any = "-"
    width: float = 1.3


class Curves(NamedTuple):
    """phi^{-1} at `PROBABILITY`; phi and its derivative at x; and policies ``[Z, 3]`` by score."""

    inverse: Float[np.ndarray, " Y"]
    phi: Float[np.ndarray, " X"]
    slope: Float[np.ndarray, " X"]
    policy: Float[np.ndarray, "Z 3"]


def mirror_picture(found: Found, plots: Any) -> Figure:
    """The mirror map of an algorithm, next to negative entropy, l2 and Tsallis with q = 1.5.

    Above: phi^{-1} against the probability, phi against its argument, and phi's derivative: how far a score
    moves its probability. Below, a panel for each map: the policy relu(phi(z + lambda)) of three actions
    against the first one's score z = eta f; those of the other two are `FIXED`. A temporally-aware map is
    drawn at the points `FRACTIONS` of its training.

    A constant added to phi^{-1} changes no policy. It is chosen such that phi(1) = 1, as for the known maps.

    Raises:
        NothingToDraw: its policy is not a projection by a potential.
    """
    maps = shown_maps(found)
    x, scores = _ranges(maps)
    curves = [_curves(one.potential, one.weights, x, scores) for one in maps]
    figure = plots.Picture(figsize=(1.2 + 2.4 * max(len(maps), 4), 6.6), layout="constrained")
    halves: Any = figure.subfigures(2, 1, height_ratios=(1.1, 1))
    above, below = halves
    _draw_potentials(above.subplots(1, 3), maps, curves, x, plots)
    plots.add_legend(above)
    panels = below.subplots(1, len(maps), sharex=True, sharey=True)
    for panel, one, drawn in zip(panels, maps, curves, strict=True):
        for probability, line in zip(drawn.policy.T, LINES, strict=True):
            panel.plot(scores, probability, color=plots.COLORS[one.color], linestyle=line)
        plots.tidy(panel, title=one.title)
        panel.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        panel.set_xlabel("score η f of the first action")
    panels[0].set_ylabel("probability π(a|s)")
    key = [Line2D([], [], color="0.2", linestyle=line) for line in LINES]
    below.legend(key, ACTIONS, loc="outside lower center", ncols=3, frameon=False)
    plots.small_print(
        figure,
        f"Below, the scores η f of the second and the third action are {FIXED[0]:g} and {FIXED[1]:g}. A "
        "constant added to φ⁻¹ changes no policy; here it is such that φ(1) = 1.",
    )
    return figure


def shown_maps(found: Found) -> list[Shown]:
    """The maps of the picture: the found one, at several points of a training if it changes, and known ones.

    Raises:
        NothingToDraw: its policy is not a projection by a potential.
    """
    projected = found.algorithm.policy.distribution
    if not isinstance(projected, Projected):
        raise NothingToDraw(
            f"the policy of {found.label} is not an objectives.mirror_map.algorithm.Projected, so there is "
            "no potential to draw"
        )
    weights = [
        projected.weights(found.meta_params, jnp.asarray(fraction), jnp.float32) for fraction in FRACTIONS
    ]
    titles = [f"{found.label}, n/N = {fraction:g}" for fraction in FRACTIONS]
    if not differ(weights[0], weights[-1]):
        weights, titles = weights[:1], [found.label]
    lines = LINES[::-1] if len(weights) > 1 else LINES
    mine = [
        Shown(title, projected.potential, each, 1, line, 2.4)
        for title, each, line in zip(titles, weights, lines, strict=False)
    ]
    return mine + [Shown(title, *known) for title, known in KNOWN.items()]


def _ranges(maps: Sequence[Shown]) -> tuple[Float[np.ndarray, " X"], Float[np.ndarray, " Z"]]:
    """Arguments of phi, up to 1, and scores of the first action."""
    spans = []
    for one in maps:
        low, high = np.asarray(one.potential.inverse(one.weights, jnp.asarray([LEAST, 1.0])))
        spans.append(high - low)
    reach = min(np.max(spans, where=np.isfinite(spans), initial=0.0), WIDEST)
    return np.linspace(1.0 - reach, 1.0, 300), np.linspace(-reach, reach, 241)


@functools.partial(jax.jit, static_argnums=0)
def _evaluate(potential: Potential, weights: Any, x: jax.Array, scores: jax.Array) -> Curves:
    prepared, top = potential.prepare(weights), potential.inverse(weights, jnp.ones(())) - 1.0
    at = x + top
    phi, slope = jax.jvp(lambda at: potential.phi(prepared, at), (at,), (jnp.ones_like(at),))
    z = jnp.stack([scores, *(jnp.full_like(scores, score) for score in FIXED)], axis=-1)
    inverse = potential.inverse(weights, jnp.asarray(PROBABILITY)) - top
    return Curves(inverse, phi, slope, project(potential, weights, z))  # type: ignore[arg-type]


def _curves(potential: Potential, weights: Any, x: np.ndarray, scores: np.ndarray) -> Curves:
    return jax.tree.map(np.asarray, _evaluate(potential, weights, jnp.asarray(x), jnp.asarray(scores)))


def _draw_potentials(
    axes: Any, maps: Sequence[Shown], curves: Sequence[Curves], x: Float[np.ndarray, " X"], plots: Any
) -> None:
    inverse, phi, slope = axes
    for one, drawn in zip(maps, curves, strict=True):
        look: dict[str, Any] = {
            "color": plots.COLORS[one.color],
            "linestyle": one.line,
            "linewidth": one.width,
        }
        inverse.plot(PROBABILITY, drawn.inverse, **look, label=one.title)
        phi.plot(x, drawn.phi, **look)
        slope.plot(x, np.where(drawn.slope > 0, drawn.slope, np.nan), **look)
    inverse.set_xscale("log")
    plots.number_ticks(inverse.xaxis, 10.0 ** np.arange(-4, 1))
    inverse.set_ylim(1.0 - 2.0 * (x[-1] - x[0]), 1.0 + 0.1 * (x[-1] - x[0]))
    slope.set_yscale("log")
    slope.set_ylim(1e-3, None)
    plots.number_ticks(slope.yaxis, 10.0 ** np.arange(-3, 7))
    labels = (
        ("φ⁻¹(y)", "probability y"),
        ("potential φ(x)", "x = η f + λ"),
        ("derivative dφ/dx", "x = η f + λ"),
    )
    for panel, (title, xlabel) in zip(axes, labels, strict=True):
        plots.tidy(panel, title=title)
        panel.set_xlabel(xlabel)


PICTURE = Picture(
    "mirror-map",
    mirror_picture,
    "Curves of the found potential, its inverse and its derivative next to those of negative entropy, l2 "
    "and Tsallis 1.5; below, the policy that each makes of three scores, one of which moves.",
    "Above, the potential: where it is steep, a score moves its probability far; where it is 0, actions "
    "are given up. Below, the policy over three actions while the score of the first one moves.",
)
