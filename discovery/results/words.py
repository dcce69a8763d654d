"""What the answers of a search are called in texts."""

from typing import NamedTuple

from discovery.core.config.generations import GenerationsConfig, NoiseConfig


class Words(NamedTuple):
    """Words for the answers of a method.

    Attributes:
        answer: for any of them.
        initial: for the one that the search begins with.
        chosen: why one of those that are not clearly worse than the best is chosen.
        kept: why it may be the one that the search begins with.
    """

    answer: str
    initial: str
    chosen: str
    kept: str


OF_NOISE = Words(
    answer="mean",
    initial="initial mean",
    chosen="has the best score on the selection seeds",
    kept="no later one scored better",
)
"""Methods that add noise to numbers answer with a mean."""
OF_OTHERS = Words(
    answer="answer",
    initial="start",
    chosen="is the simplest within a standard error of the best on the selection seeds",
    kept="none is clearly better, or as good and simpler",
)
"""See `discovery.search.selection.choose`."""


def words_of(method: GenerationsConfig) -> Words:
    """The words for a method."""
    return OF_NOISE if isinstance(method, NoiseConfig) else OF_OTHERS
