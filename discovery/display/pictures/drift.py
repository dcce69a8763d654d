"""The picture of a drift and of the objective's slope, over log-ratio and advantage."""

from collections.abc import Sequence

import matplotlib
import numpy as np
from jaxtyping import Float, Real
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from discovery.core.errors import BadInput
from discovery.display.plots import Picture, check_shape

RATIOS = (0.02, 0.05, 0.2, 0.5, 1, 2, 5, 20, 50)
NEAR_RATIOS = (0.2, 0.3, 0.5, 0.7, 1, 1.5, 2, 3, 5)


def drift_picture(
    log_ratio: Real[np.ndarray, " R"],
    advantage: Real[np.ndarray, " A"],
    panels: Sequence[tuple[str, Real[np.ndarray, "A R"], Real[np.ndarray, "A R"]]],
    clip: float = 98.0,
) -> Figure:
    """The LPO picture: drift f above, slope d(r A - f)/dr of the objective below, a column for each.

    Args:
        log_ratio: ``[R]`` values of log r, increasing; r is the new policy's probability of the
            action over the old one's.
        advantage: ``[A]`` values of the advantage, increasing.
        panels: (title, drift ``[A, R]``, slope ``[A, R]``) of each algorithm, or of one at several
            points of training. NaN cells are gray.
        clip: percentile of the absolute values of a row at which its common color scale ends, so that few
            large values do not make the others pale.
    """
    log_ratio, advantage = np.asarray(log_ratio), np.asarray(advantage)
    if not panels:
        raise BadInput("there is nothing to draw; give at least one (title, drift, slope) panel")
    figure = Picture(figsize=(1.6 + 2.5 * len(panels), 5.8), layout="constrained")
    axes = figure.subplots(2, len(panels), sharex=True, sharey=True, squeeze=False)
    for row, label in enumerate(("drift f", "slope d(r A \N{MINUS SIGN} f) / dr")):
        images = [np.asarray(panel[row + 1], np.float64) for panel in panels]
        for (title, *_), image in zip(panels, images, strict=True):
            check_shape(title, image, (advantage.size, log_ratio.size), "advantages x log-ratios")
        _draw_heat_maps(figure, axes[row], log_ratio, advantage, images, label, clip)
    for column, (title, *_) in enumerate(panels):
        _add_ratio_axis(axes[0, column], log_ratio)
        axes[0, column].set_title(title, fontsize=10)
        axes[1, column].set_xlabel("log r")
    for first in axes[:, 0]:
        first.set_ylabel("advantage A")
    return figure


def _draw_heat_maps(
    figure: Figure,
    axes: np.ndarray,
    log_ratio: Float[np.ndarray, " R"],
    advantage: Float[np.ndarray, " A"],
    images: Sequence[Float[np.ndarray, "A R"]],
    label: str,
    clip: float,
) -> None:
    """One row of heat maps on a common scale, symmetric about 0, with its color bar."""
    values = np.abs(np.stack(images))
    values = values[np.isfinite(values)]
    largest = values.max(initial=0.0)
    # A drift that is 0 nearly everywhere has a percentile of 0: then the scale ends at its largest value.
    limit = (np.percentile(values, clip) if values.size else 0.0) or largest or 1.0
    colors = matplotlib.colormaps["RdBu_r"].with_extremes(bad="0.7")
    for panel, image in zip(axes, images, strict=True):
        style = {"cmap": colors, "vmin": -limit, "vmax": limit, "shading": "nearest", "rasterized": True}
        mesh = panel.pcolormesh(log_ratio, advantage, np.ma.masked_invalid(image), **style)
        panel.axvline(0, color="0.3", linewidth=0.6)
        panel.axhline(0, color="0.3", linewidth=0.6)
    clipped = largest > limit
    note = f"\n(ends at the {clip:g}th percentile)" if clipped else ""
    figure.colorbar(
        mesh, ax=list(axes), extend="both" if clipped else "neither", label=label + note, pad=0.02
    )


def _add_ratio_axis(axes: Axes, log_ratio: Float[np.ndarray, " R"]) -> None:
    """Ticks of r along the top, at the logarithms of round ratios."""
    low, high = np.exp(log_ratio.min()), np.exp(log_ratio.max())
    candidates = RATIOS if high > 64 * low else NEAR_RATIOS
    if high < 4 * low:
        candidates = MaxNLocator(5).tick_values(low, high)
    ratios = [r for r in candidates if low <= r <= high]
    top = axes.secondary_xaxis("top")
    top.set_xticks(np.log(ratios), [f"{r:g}" for r in ratios], fontsize=8)
    top.set_xlabel("r", fontsize=9, labelpad=2)
