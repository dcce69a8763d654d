"""Exit codes, and what is said when something goes wrong that nobody foresaw."""

import os
import tempfile
import traceback
from pathlib import Path

from discovery.errors import RunError

FAILED, BAD_INPUT, INTERRUPTED = 1, 2, 130
"""Exit codes: a failed run, bad input, Ctrl-C."""


class Unexpected(RunError):
    """A mistake of ours, or of code that the user brought: its traceback was saved."""


def debugging() -> bool:
    """Whether tracebacks are shown: DISCOVERY_DEBUG is set, or --debug was given."""
    return os.environ.get("DISCOVERY_DEBUG", "") not in ("", "0")


def unexpected(error: BaseException, folder: Path | None = None, remedy: str = "") -> Unexpected:
    """One line for an exception that nobody foresaw, its traceback saved to a file.

    Args:
        error: the exception.
        folder: where the traceback goes; the system's folder for temporary files if it cannot.
        remedy: what to do now.
    """
    text = "".join(traceback.format_exception(error))
    what = " ".join(f"{type(error).__name__}: {error}".split())[:300]
    saved = _save(text, folder)
    place = f"its traceback is in {saved}" if saved else "run again with --debug to see its traceback"
    return Unexpected(f"unexpected {what}; {place}" + (f"; {remedy}" if remedy else ""))


def _save(text: str, folder: Path | None) -> Path | None:
    for place in (folder, None):
        try:
            descriptor, name = tempfile.mkstemp(".txt", "traceback-", place)
        except OSError:
            continue
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        return Path(name)
    return None
