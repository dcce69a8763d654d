"""Formulas in LaTeX as pictures, so that a page needs no library and no network to show them."""

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.mathtext import MathTextParser

from discovery.display.plots import Picture

SIZE, SMALL = 15, 9
"""Points of the letters of formulas and of the legend."""
MARGIN = 6
"""Points around the picture."""


def formula_picture(lines: Sequence[str], where: Mapping[str, str]) -> Figure:
    """Formulas below one another, and what their symbols mean.

    Args:
        lines: in LaTeX as matplotlib reads it, without dollars.
        where: symbol, in LaTeX -> its meaning, in plain text.
    """
    texts = [(f"${line}$", SIZE) for line in lines]
    texts += [(f"${symbol}$   {meaning}", SMALL) for symbol, meaning in where.items()]
    parser = MathTextParser("path")
    boxes = [parser.parse(text, 72, FontProperties(size=size)) for text, size in texts]
    width = max(box.width for box in boxes) + 2 * MARGIN
    height = (
        sum(box.height + box.depth + size / 2 for box, (_, size) in zip(boxes, texts, strict=True))
        + 2 * MARGIN
    )
    figure = Picture(figsize=(width / 72, height / 72))
    top = height - MARGIN
    for (text, size), box in zip(texts, boxes, strict=True):
        top -= box.height
        figure.text(MARGIN / width, top / height, text, size=size, parse_math=True)
        top -= box.depth + size / 2
    return figure
