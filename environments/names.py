"""Error messages for unknown names."""

import difflib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any


def nearest(name: str, names: Iterable[str], n: int = 3, cutoff: float = 0.0) -> list[str]:
    """The names most like `name`, ignoring case; a cutoff of 0 always finds some."""
    by_lower = {known.lower(): known for known in names}
    return [by_lower[close] for close in difflib.get_close_matches(name.lower(), list(by_lower), n, cutoff)]


def check_options(id: str, options: Mapping[str, Any], known: Sequence[str]) -> None:
    """Raise a ValueError for an option that is not known."""
    for option in options:
        if option not in known:
            raise ValueError(
                f"environment {id!r} has no option {option!r}; its options are: {', '.join(known) or 'none'}"
            )
