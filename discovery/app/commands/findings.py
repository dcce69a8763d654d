"""What `discovery doctor` finds."""

from typing import NamedTuple

READY_SECONDS = 120.0
"""How long a worker may take to start."""


class Finding(NamedTuple):
    """One line: what was checked, what was found, and the verdict "ok", "hint" or "wrong"."""

    what: str
    found: str
    verdict: str = "ok"
