"""Files that exist completely or not at all."""

import os
from pathlib import Path

from discovery.core.errors import BadInput

OF_A_RUN = ("config.toml", "ledger.sqlite", "lock")
"""Files of a run's folder that must not be overwritten."""

EXPORTED = "Written by rl-discovery, to be copied into your project: it needs nothing of it."
"""Mark at the beginning of exported files, and of no others: only these are run when they are named."""


def check_writable(path: Path, flag: str, folder: bool = False) -> None:
    """Refuse a file (or a folder) that could not be written, before the work for it begins.

    Raises:
        BadInput: the message names the `flag` for another place.
    """
    if not folder and path.is_dir():
        raise BadInput(f"{path} is a folder; {flag} takes a file")
    there = path.absolute() if folder else path.absolute().parent
    if path.name in OF_A_RUN and all((there / name).exists() for name in OF_A_RUN[:2]):
        raise BadInput(f"{path} is the record of a run; choose another place with {flag}")
    while not there.exists():
        there = there.parent
    if not there.is_dir() or not os.access(there, os.W_OK):
        raise BadInput(f"{path} cannot be written: {there} is not a writable folder; choose another {flag}")


def write_whole(path: Path, text: str) -> Path:
    """Write `text` to `path`, creating its folders; a former file stays until all of it is written.

    Raises:
        OSError: it cannot be written; no partial file is left.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    try:
        part.write_text(text, encoding="utf-8")
        os.replace(part, path)
    except OSError:
        part.unlink(missing_ok=True)
        raise
    return path
