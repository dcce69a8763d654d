"""How what was found is drawn: by the entries of `meta_params` that were searched, each in its own way."""

from collections.abc import Callable
from typing import NamedTuple

from matplotlib.figure import Figure

from discovery.core.errors import unknown
from discovery.display.pictures.loss import loss_picture
from discovery.display.pictures.lpg import lpg_picture
from discovery.display.pictures.mirror import mirror_picture
from discovery.display.pictures.optimizer import optimizer_picture
from discovery.results.learned import Learned


class Kind(NamedTuple):
    """A kind of picture.

    Attributes:
        name: of its file, without an ending.
        draw: makes it, or raises a BadInput that says why there is none.
        alt: what it shows, for those who do not see it.
        caption: what to look for.
    """

    name: str
    draw: Callable[[Learned], Figure]
    alt: str
    caption: str


LOSS = Kind(
    "objective",
    loss_picture,
    "Heat maps over log-ratio and advantage: the drift f above, the slope of the objective below, of what "
    "was found and of PPO and DPO. The tables of this section hold their means by quadrant.",
    "Above, the drift f: what is taken off r A. Below, the slope d(r A − f)/dr: how hard a sample pushes its "
    "action's probability up (red) or down (blue); white is no push.",
)

KINDS: dict[str, Kind] = {
    "drift": LOSS,
    "potential": Kind(
        "mirror-map",
        mirror_picture,
        "Curves of the found potential, its inverse and its derivative beside those of negative entropy, l2 "
        "and Tsallis 1.5; below, the policy that each makes of three scores, one of which moves.",
        "Above, the potential: where it is steep, a score moves its probability far; where it is 0, actions "
        "are given up. Below, the policy over three actions while the score of the first one moves.",
    ),
    "optimizer": Kind(
        "optimizer",
        optimizer_picture,
        "Curves of one parameter's step against its gradient, for negative, zero and positive momentum, at "
        "three points of a training, with Adam's; and the size of the noise over a training.",
        "The step of one parameter against its gradient, by its momentum and by the share of the training "
        "that has passed; thin lines are Adam's. On the right, the size of the noise that is added to the "
        "steps of the actor's parameters.",
    ),
    "lpg": Kind(
        "targets",
        lpg_picture,
        "Curves of the recommended policy target at each step of a delayed chain, after a good and a bad "
        "first action; beside them, the advantages of A2C.",
        "What is recommended at each step of a chain on which the first action alone matters, and is "
        "rewarded at the end. A2C with true values says so: only the first action counts.",
    ),
}
"""Searched entry -> how it is drawn. Any other is drawn as a drift is: it belongs to a loss of one's own."""


def kinds_of(found: Learned) -> dict[str, Kind]:
    """The picture of each searched entry, none of them twice; of a fixed algorithm that of its loss."""
    kinds = {name: KINDS.get(name, LOSS) for name in found.searched} or {"loss": LOSS}
    first = {kind.name: entry for entry, kind in reversed(kinds.items())}
    return {entry: kind for entry, kind in kinds.items() if first[kind.name] == entry}


def draw_found(found: Learned, part: str | None = None) -> Figure:
    """The picture of a searched entry; by default of the first one.

    Raises:
        BadInput: there is no such entry, or no picture of it.
    """
    kinds = kinds_of(found)
    if part is not None and part not in kinds:
        raise unknown("searched part", part, kinds)
    return kinds[part or next(iter(kinds))].draw(found)
