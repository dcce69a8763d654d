"""Printing with rich: fitted to a terminal; elsewhere in whole lines, for `grep`."""

import io
import sys
from collections.abc import Sequence
from typing import Any


def show(renderable: Any, width: int = 240) -> None:
    """Print text or anything that rich can render; `width` is used where output is not a terminal."""
    if isinstance(renderable, str) and not sys.stdout.isatty():
        print(renderable)
        return
    from rich.console import Console

    console = Console(highlight=False, markup=False)
    if console.is_terminal:
        console.print(renderable)
        return
    text = io.StringIO()
    Console(file=text, highlight=False, markup=False, width=width).print(renderable)
    print("\n".join(line.rstrip() for line in text.getvalue().splitlines()))


def table(header: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[str] = ()) -> Any:
    """A plain table; columns named in `right` are right-aligned, and the first is never folded."""
    from rich.table import Table

    found = Table(box=None, pad_edge=False, header_style="bold")
    for index, name in enumerate(header):
        justify = "right" if name in right else "left"
        found.add_column(name, justify=justify, no_wrap=index == 0, overflow="fold")
    for row in rows:
        found.add_row(*row)
    return found
