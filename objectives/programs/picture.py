"""The picture of a program: its results against each input that it reads, next to those of the start.

Inputs that are not varied are at typical values, or follow from others (`TIES`): an optimizer's running means
are those of a constant gradient. Inputs that select a case, such as the sign of an advantage, give several
lines. A program that reduces over the minibatch is drawn for one sample among `COMPANY` others of usual size.
"""

import functools
import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from objectives.family import Found, Picture
from objectives.programs.code import Code, decode
from objectives.programs.graph import Program
from objectives.programs.interpreter import interpret
from objectives.programs.primitives import PRIMITIVES
from objectives.programs.slots import SLOTS, Input, Slot, slot_of
from objectives.programs.steps import SMALLEST_FACTOR

POINTS = 121
COMPANY = 63
REACH = 3.0
"""How many usual sizes an input is varied, if it has no limits."""

CASES: Mapping[str, tuple[float, ...]] = {
    "advantage": (1.0, -1.0),
    "delta_sign": (1.0, -1.0),
    "done": (0.0, 1.0),
    "progress": (0.0, 0.5, 1.0),
}
"""Inputs that give several lines, with their values; the first two that are read do."""
DISCRETE = ("delta_sign", "done")
"""Inputs that no axis shows."""

Values = Mapping[str, Any]
"""Numbers or arrays by the name of an input."""

TIES: Mapping[str, Mapping[str, Callable[[Values], Any]]] = {
    "optimizer": {
        **{name: lambda at: at["gradient"] for name in ("mean_9", "mean_99", "mean_999")},
        **{name: lambda at: at["gradient"] ** 2 for name in ("square_99", "square_999")},
    },
    "loss": {"log_prob": lambda at: at["old_log_prob"] + at["log_ratio"]},
}
"""Inputs that follow from others, by slot."""

TYPICAL = {"delta_sign": 1.0, "done": 0.0, "gae": 1.0, "gradient": 0.01, "old_log_prob": -1.0}
"""Typical values where `typical` has no rule."""

LINES = ("-", "--", ":")
MOST_COLUMNS = 4
"""Most panels in a row of a program with several results, each with a row of its own."""
MOST_CLIPPED = 0.02
"""Share of the values that lie outside of a panel, at each end, if they would make it much higher."""


class Panel(NamedTuple):
    """What one panel shows.

    Attributes:
        output: number of the result.
        varied: the input on its horizontal axis.
        x: its values.
        found, start: by the values of the cases, the results.
    """

    output: int
    varied: Input
    x: Float[np.ndarray, " X"]
    found: Mapping[tuple[float, ...], Float[np.ndarray, " X"]]
    start: Mapping[tuple[float, ...], Float[np.ndarray, " X"]]


def response_picture(slot_name: str, found: Found, plots: Any) -> Figure:
    """The program of a slot: a panel for each result and input, with the start's program in gray."""
    slot = slot_of(slot_name)
    cases, panels = panels_of(slot, found)
    several, varied = len(slot.outputs) > 1, len(panels) // len(slot.outputs)
    columns = varied if several and varied <= MOST_COLUMNS else plots.PANELS_IN_A_ROW
    figure, axes = plots.panel_grid(len(panels), (3.3, 2.7), margin=(0.6, 1.1), columns=columns)
    for one, panel in zip(axes, panels, strict=True):
        _draw(one, panel, cases, plots)
        name = slot.outputs[panel.output]
        plots.tidy(one, ylabel="" if several else name, title=name if several else "")
        one.set_xlabel(panel.varied.name)
        if "unit" in slot.conditions:
            one.set_ylim(-0.05, 1.05)
    figure.legend(*_key(found.label, cases, plots), loc="outside upper center", ncols=4, frameon=False)
    plots.small_print(figure, _small_print(slot, cases))
    return figure


def panels_of(slot: Slot, found: Found) -> tuple[tuple[str, ...], list[Panel]]:
    """Names of the inputs that give several lines, and the panels."""
    codes = [found.meta_params[slot.name], found.algorithm.init(jax.random.key(0))[slot.name]]
    programs = [decode(slot.name, jax.tree.map(np.asarray, code)) for code in codes]
    read = {name for program in programs for name in program.inputs}
    cases = tuple(name for name in CASES if name in read and name in slot.names)[:2]
    ties = TIES.get(slot.name, {})
    varied = [
        one
        for place, one in enumerate(slot.inputs)
        if place == 0 or (one.name in programs[0].inputs and one.name not in (*ties, *DISCRETE))
    ]
    reductions = max(map(_reductions, programs))
    axes = [
        (one, _values_of(one), case)
        for one in varied
        for case in itertools.product(*(CASES[name] for name in cases))
    ]
    points = np.stack([_points(slot, one, x, dict(zip(cases, case, strict=True))) for one, x, case in axes])
    results = [np.asarray(_respond(slot.name, reductions, code, points)) for code in codes]  # [rows, K, X]
    panels = []
    for output, one in itertools.product(range(len(slot.outputs)), varied):
        rows = [row for row, (other, *_) in enumerate(axes) if other is one]
        # An input that is varied has no cases of its own: the lines of the others are there several times.
        lines = [{axes[row][2]: result[row, output] for row in rows} for result in results]
        panels.append(Panel(output, one, axes[rows[0]][1], *lines))
    return cases, panels


def typical(one: Input) -> float:
    """A typical value: the middle of the limits, the usual size above a lower limit, else 0."""
    if one.name in TYPICAL:
        return TYPICAL[one.name]
    if np.isfinite(one.low):
        return (one.low + one.high) / 2 if np.isfinite(one.high) else one.scale
    return 0.0


def _values_of(one: Input) -> Float[np.ndarray, " X"]:
    """The values of an input along an axis."""
    low = one.low if np.isfinite(one.low) else -REACH * one.scale
    high = one.high if np.isfinite(one.high) else REACH * one.scale
    return np.linspace(low, high, POINTS)


def _points(
    slot: Slot, varied: Input, x: Float[np.ndarray, " X"], case: Mapping[str, float]
) -> Float[np.ndarray, "I X"]:
    """Values of all inputs while one is varied."""
    at: dict[str, Any] = {one.name: typical(one) for one in slot.inputs} | dict(case) | {varied.name: x}
    at |= {name: tied(at) for name, tied in TIES.get(slot.name, {}).items()}
    return np.stack([np.broadcast_to(at[name], x.shape) for name in slot.names])


def _reductions(program: Program) -> int:
    return sum(PRIMITIVES[name].reduces for name in program.operations)


@functools.partial(jax.jit, static_argnums=(0, 1))
def _respond(
    slot_name: str, reductions: int, code: Code, points: Float[Array, "rows I X"]
) -> Float[Array, "rows K X"]:
    """The results at each point, as they take effect."""
    slot = slot_of(slot_name)
    if reductions:
        others = jnp.asarray(_company(slot))

        def alone(point: Float[Array, " I"]) -> Float[Array, " K"]:
            batch = jnp.concatenate([point[:, None], others], axis=1)
            batch = jnp.where(
                jnp.asarray([[one.kind == "scalar"] for one in slot.inputs]), point[:, None], batch
            )
            return jnp.stack(interpret(code, tuple(batch), reductions))[:, 0]

        results = jax.vmap(jax.vmap(alone, in_axes=1, out_axes=1))(points)
    else:
        results = jnp.stack(interpret(code, tuple(points.swapaxes(0, 1))), axis=1)
    if "unit" in slot.conditions:
        results = jnp.clip(results, 0.0, 1.0)
    return jnp.maximum(results, SMALLEST_FACTOR) if "positive" in slot.conditions else results


def _company(slot: Slot) -> Float[np.ndarray, "I N"]:
    """Other samples of the minibatch."""
    rng = np.random.default_rng(0)
    rows = [
        np.clip(typical(one) + one.scale * rng.normal(size=COMPANY), one.low, one.high) for one in slot.inputs
    ]
    return np.stack(rows)


def _draw(axes: Axes, panel: Panel, cases: Sequence[str], plots: Any) -> None:
    """The lines of one panel; where a case is varied along the axis, those of the other case."""
    drawn = set[tuple[float, ...]]()
    for case in panel.found:
        own = {name: value for name, value in zip(cases, case, strict=True) if name != panel.varied.name}
        if tuple(own.values()) not in drawn:
            drawn.add(tuple(own.values()))
            axes.plot(panel.x, panel.start[case], **START)
            axes.plot(panel.x, panel.found[case], **_look(cases, own, plots))
    _limit(axes, [*panel.found.values(), *panel.start.values()])


START: Mapping[str, Any] = {"color": "0.65", "linewidth": 1.2, "zorder": 1}
PLAIN = "0.15"


def _look(cases: Sequence[str], case: Values, plots: Any) -> dict[str, Any]:
    """The first case gives the color, the second one the line style."""
    color, line = PLAIN, LINES[0]
    for place, name in enumerate(cases):
        if name in case:
            number = CASES[name].index(case[name])
            color, line = (plots.COLORS[1 + number], line) if place == 0 else (color, LINES[number])
    return {"color": color, "linestyle": line, "linewidth": 2.0}


def _key(label: str, cases: Sequence[str], plots: Any) -> tuple[list[Line2D], list[str]]:
    """Lines and texts of the legend."""
    lines, texts = [Line2D([], [], **_look((), {}, plots)), Line2D([], [], **START)], [label, "start"]
    for name in cases:
        lines += [Line2D([], [], **_look(cases, {name: value}, plots)) for value in CASES[name]]
        texts += [f"{name} {value:g}".replace("-", "\N{MINUS SIGN}") for value in CASES[name]]
    return lines, texts


def _limit(axes: Axes, curves: Sequence[Float[np.ndarray, " X"]]) -> None:
    """Let a few extreme values lie outside, where they would flatten all others."""
    every = np.concatenate(curves)
    low, high = np.quantile(every, (MOST_CLIPPED, 1 - MOST_CLIPPED))
    if np.ptp(every) > 3 * (high - low) > 0:
        margin = 0.15 * (high - low)
        axes.set_ylim(low - margin, high + margin)


def _small_print(slot: Slot, cases: Sequence[str]) -> str:
    ties = TIES.get(slot.name, {})
    fixed = [one for one in slot.inputs if one.name not in (*cases, *ties)]
    values = ", ".join(f"{one.name} {typical(one):g}" for one in fixed)
    text = f"{slot.what[0].upper()}{slot.what[1:]}. Where they are not varied: {values}."
    return text + (f" {TOLD[slot.name]}" if slot.name in TOLD else "")


TOLD = {
    "optimizer": "The running means are those of a constant gradient: itself, and its square.",
    "loss": "log_prob is old_log_prob + log_ratio.",
}
"""`TIES` in words."""


def _picture(slot: Slot) -> Picture:
    return Picture(
        f"program-{slot.name.replace('_', '-')}",
        functools.partial(response_picture, slot.name),
        f"Curves of the found program for {slot.name} against its inputs, next to those of the program that "
        "the search began with.",
        f"The found program for {slot.name} against each input that it reads; in gray, the program that the "
        "search began with.",
    )


PICTURES: Mapping[str, Picture] = {
    name: _picture(slot) for name, slot in SLOTS.items() if name != "policy_loss"
}
"""By the searched entry; a policy loss is drawn like those of other families."""
