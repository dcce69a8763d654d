"""How far a program is from the known algorithms of its slot, by what it computes.

distances(program, Size())      # {"ppo": 0.0, "tr_ppo": 0.12, ...}, nearest first
"""

import numpy as np
from jaxtyping import Float

from objectives.programs.checks import ORDINARY, probe
from objectives.programs.code import Size, encode
from objectives.programs.graph import Program
from objectives.programs.known import SOURCES, known
from objectives.programs.slots import slot_of

MEASURE = "relative root-mean-square difference of results and derivatives on random inputs"
"""What `distance` measures, in words."""


def distance(one: Float[np.ndarray, "K N"], other: Float[np.ndarray, "K N"]) -> float:
    """The relative root-mean-square difference of K quantities of two programs at N points.

        d = sqrt(mean_k |x_k - y_k|^2 / (|x_k|^2 + |y_k|^2))

    over the quantities x_k, y_k that are not zero for both. It is 0 for equal programs, 1 for unrelated ones,
    and at most sqrt 2. It compares programs only if both have the same quantities.
    """
    sizes = np.square(one).sum(axis=1) + np.square(other).sum(axis=1)
    differences = np.square(one - other).sum(axis=1)[sizes > 0] / sizes[sizes > 0]
    return float(np.sqrt(differences.mean())) if differences.size else 0.0


def distances(program: Program, size: Size) -> dict[str, float]:
    """The known algorithms of a program's slot with their distances from it, nearest first.

    Raises:
        ProgramError: the program, or a known one, is larger than `size`.
    """
    own = quantities(program, size)
    found = {
        name: distance(own, quantities(known(program.slot, name), size)) for name in SOURCES[program.slot]
    }
    return dict(sorted(found.items(), key=lambda item: item[1]))


def quantities(program: Program, size: Size) -> Float[np.ndarray, "K N"]:
    """The results, and the derivatives of their sum by each input, on the ordinary probes of `checks`."""
    reductions = size.reductions if slot_of(program.slot).couples else 0
    both = np.concatenate(probe(program.slot, encode(program, size), reductions), axis=1)[:ORDINARY]
    return both.astype(np.float64).swapaxes(0, 1).reshape(both.shape[1], -1)
