"""The found algorithm as a formula: a drift network with its features and weights, or programs."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from discovery.core.jobs import AlgorithmSpec
from discovery.display.report.searched import leaves
from discovery.export.literals import plain
from objectives import all_options, family_of
from objectives.programs.graph import Program
from objectives.programs.printer import latex_lines
from objectives.programs.slots import LOG_RATIO, slot_of
from objectives.programs.text import read


@dataclass(frozen=True)
class Formula:
    """A loss as a formula.

    Attributes:
        lines: name -> expression, in the order of computation; the last is the loss.
        where: symbol -> its meaning.
        zero: the algorithm that it equals when all weights are 0.
        weights: array by name, as nested tuples.
    """

    lines: Mapping[str, str]
    where: Mapping[str, str]
    zero: str
    weights: Mapping[str, Any]


@dataclass(frozen=True)
class ProgramFormula:
    """A program as formulas.

    Attributes:
        slot: the part of the algorithm that it is.
        lines: in LaTeX: its results, and then the symbols that they use.
        where: symbol, in LaTeX -> its meaning.
    """

    slot: str
    lines: tuple[str, ...]
    where: Mapping[str, str]


def formulas_in(source: str) -> tuple[ProgramFormula, ...]:
    """The formulas of the programs in a text, one per slot."""
    return tuple(_program(program) for program in read(source).values())


def _program(program: Program) -> ProgramFormula:
    lines, text = latex_lines(program), " ".join(latex_lines(program))
    where = {}
    for one in slot_of(program.slot).inputs:
        if one.name in program.inputs:
            is_ratio = one == LOG_RATIO and LOG_RATIO.latex not in text
            where |= RATIO if is_ratio else {one.latex: f"{one.name}: {one.what}"}
    return ProgramFormula(program.slot, lines, where)


RATIO = {"r": "the ratio pi(a|s) / pi_old(a|s)"}
"""What formulas have in the place of the exponential of the log-ratio."""


def formula_of(spec: AlgorithmSpec, meta_params: Mapping[str, Any]) -> Formula | None:
    """The formula of a drift network; None for any other family."""
    options = drift_options(spec)
    return None if options is None else _drift(options, meta_params["drift"])


def drift_options(spec: AlgorithmSpec) -> dict[str, Any] | None:
    """Options of the drift network that is the algorithm or one of its parts; None if there is none."""
    for part in spec.parts:
        if family_of(part.name) is family_of("lpo"):
            return all_options(part.name, dict(part.options))
    return None


def _drift(options: Mapping[str, Any], drift: Mapping[str, Any]) -> Formula:
    """f = relu([f_PPO +] g(x) - xi) with a network g; see objectives/drift.py."""
    weights = dict(leaves(drift))
    features, width = weights["w_in"].shape
    anchored, temporal, limit = options["anchored"], options["temporal"], f"{options['log_ratio_clip']:g}"
    lines = {
        "l": f"clip(log(r), -{limit}, {limit})",
        "u": "(l, l², 1 - exp(l), (1 - exp(l))²)",
        "x": "(u, A u, p u, p A u)" if temporal else "(u, A u)",
        "g": f"w_out · {options['activation']}(x W_in)",
    }
    if anchored:
        lines["f_ppo"] = "max(0, (r - clip(r, 1 - c, 1 + c)) A)"
    lines["f"] = f"max(0, {'f_ppo + ' if anchored else ''}g - {options['xi']:g})"
    lines["loss"] = "f - r A"
    where = {
        "r": "probability of the action under the new policy over that under the old one",
        "A": "advantage, standardized over the minibatch",
        "W_in": f"{features} × {width} weights",
        "w_out": f"{width} weights",
    }
    where |= {"p": "share of the training that has passed, n/N"} if temporal else {}
    where |= {"c": "PPO's clip range, a number of the task's recipe"} if anchored else {}
    zero = "PPO, except for the small offset" if anchored else "the policy gradient without a trust region"
    return Formula(lines, where, zero, {name: _nested(array) for name, array in weights.items()})


def _nested(array: np.ndarray) -> Any:
    """The array as nested tuples of the shortest decimals that round to the same numbers."""
    return plain(array[()]) if array.ndim == 0 else tuple(_nested(row) for row in array)
