"""Started as a module in a process of its own: runs that have their first mean and nothing else.

    python -m tests.net.beginning FOLDER CONFIG ...

Each becomes a run of its file's name below FOLDER. It is interrupted before anything is trained or compiled.
"""

import contextlib
import sys
from pathlib import Path

import discovery as d


class Interruption:
    """A listener that stops the search at the first thing that it is told."""

    def __getattr__(self, name: str):
        def told(*_: object, **__: object) -> None:
            raise KeyboardInterrupt

        return told


if __name__ == "__main__":
    folder, *configs = map(Path, sys.argv[1:])
    for config in configs:
        with contextlib.suppress(KeyboardInterrupt):
            d.discover(config, folder, config.stem, listener=Interruption())  # pyright: ignore[reportArgumentType]
