"""Printing with rich: fitted to a terminal, and in whole lines, as `grep` wants them, anywhere else."""

import io
import sys
from collections.abc import Sequence
from typing import Any


def show(renderable: Any, width: int = 240) -> None:
    """Print text, or something else that rich can render; `width` is that of what is no terminal."""
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
    """A plain table; the columns named in `right` are aligned to the right, and the first is never folded."""
    from rich.table import Table

    found = Table(box=None, pad_edge=False, header_style="bold")
    for index, name in enumerate(header):
        justify = "right" if name in right else "left"
        found.add_column(name, justify=justify, no_wrap=index == 0, overflow="fold")
    for row in rows:
        found.add_row(*row)
    return found
