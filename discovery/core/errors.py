"""The exceptions of this package, as one tree.

DiscoveryError
├── BadInput          the user's request is invalid                   (exit code 2)
└── RunError          a run could not continue                        (exit code 1)
    ├── LedgerError   its records cannot be read or written
    └── ExecutorError its workers cannot be started or kept

A proposal that diverges, times out or crashes raises no exception: it is a recorded outcome.
Ctrl-C is Python's own KeyboardInterrupt                              (exit code 130).
"""

import difflib
from collections.abc import Iterable


class DiscoveryError(Exception):
    """Base of everything this package raises on purpose; its text is meant for the user."""

    exit_code = 1


class BadInput(DiscoveryError, ValueError):
    """The user's request is invalid; the message says what is possible."""

    exit_code = 2


class RunError(DiscoveryError):
    """A run could not continue; what was recorded is kept."""


class LedgerError(RunError):
    """A run's records cannot be read or written."""


class ExecutorError(RunError):
    """Workers cannot be started or kept."""


def one_line(error: BaseException) -> str:
    """The type and the text of an error in one line of limited length."""
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"


def unknown(kind: str, name: str, names: Iterable[str]) -> BadInput:
    """A `BadInput` for a name that is not in `names`, naming the nearest ones."""
    names = sorted(names)
    close = difflib.get_close_matches(name, names, n=3, cutoff=0.4)
    hint = f"did you mean {' or '.join(close)}?" if close else f"there are: {', '.join(names)}"
    return BadInput(f"there is no {kind} named {name!r}; {hint}")
