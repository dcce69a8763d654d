"""Exit codes, unexpected errors, and interrupts."""

import contextlib
import os
import signal
import sys
import tempfile
import threading
import traceback
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

from discovery.core.errors import RunError

FAILED, BAD_INPUT, INTERRUPTED = 1, 2, 130
"""Exit codes: a failed run, bad input, Ctrl-C."""


class Unexpected(RunError):
    """A bug in this project or in the user's code; its traceback was saved."""


def debugging() -> bool:
    """Whether tracebacks are shown: DISCOVERY_DEBUG is set, or --debug was given."""
    return os.environ.get("DISCOVERY_DEBUG", "") not in ("", "0")


def unexpected(error: BaseException, folder: Path | None = None, remedy: str = "") -> Unexpected:
    """An unexpected exception as one line, with its traceback saved to a file.

    Args:
        error: the exception.
        folder: where the traceback is saved; else, or if that fails, the system's temporary folder.
        remedy: what the user can do.
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


_interrupts: list[int] = []
"""Signals that asked this process to stop, since `interruptible` began."""


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Let SIGINT and SIGTERM end a verb as Ctrl-C does: workers ended, ledger closed. A second one kills.

    Python loses a KeyboardInterrupt that is raised inside a callback of the garbage collector or of jax, so
    the signal is also noted for `stop_if_interrupted`, which a search calls between trainings.
    """
    signals = signal.SIGINT, signal.SIGTERM

    def interrupt(number: int, frame: FrameType | None) -> None:
        _interrupts.append(number)
        for each in signals:
            signal.signal(each, signal.SIG_DFL)
        raise KeyboardInterrupt

    def report(lost: Any) -> None:
        if not isinstance(lost.exc_value, KeyboardInterrupt):
            report_before(lost)

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    _interrupts.clear()
    report_before, sys.unraisablehook = sys.unraisablehook, report
    former = {number: signal.signal(number, interrupt) for number in signals}
    try:
        yield
    finally:
        sys.unraisablehook = report_before
        for number, handler in former.items():
            signal.signal(number, handler)


def stop_if_interrupted() -> None:
    """Raise the KeyboardInterrupt that was lost, if one was."""
    if _interrupts:
        raise KeyboardInterrupt
