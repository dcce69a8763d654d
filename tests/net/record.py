"""Record the net's facts anew: all of them, or those whose names begin as said.

    python -m tests.net.record [searches/drift exports verbs schema2 ...]

Only in a commit whose purpose is to change numbers, and which says why they may. The runs below schema2/ stay
what they are: programs of that schema are gone once there is another.
"""

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.net import exports, searches, verbs
from tests.net.comparing import record

KINDS = ("searches", "exports", "verbs", "schema2")


def facts(kind: str, wanted: tuple[str, ...], folder: Path) -> Iterator[tuple[str, Any]]:
    """Names and facts of a kind, found below an empty folder."""
    if kind == "searches":
        for name in searches.NAMES:
            if f"searches/{name}".startswith(wanted):
                yield name, searches.facts_of(searches.search(name, folder))
    elif kind == "exports":
        exports.begin(folder)
        for name in exports.NAMES:
            if f"exports/{name}".startswith(wanted):
                yield name, exports.facts_of(folder, name)
    elif kind == "verbs":
        yield from verbs.facts(folder)
    else:
        run = searches.copied("judged", folder)
        yield from (("run", searches.facts_of(run)), ("reports", searches.facts_of(run, "reports")))


def main(wanted: tuple[str, ...]) -> None:
    """Record what is wanted."""
    for kind in KINDS:
        if any(name.startswith(kind) for name in wanted):
            with tempfile.TemporaryDirectory() as folder:
                for name, found in facts(kind, wanted, Path(folder)):
                    if f"{kind}/{name}".startswith(wanted):
                        record(f"{kind}/{name}", found)
                        print(f"{kind}/{name}", flush=True)


if __name__ == "__main__":
    main(tuple(sys.argv[1:]) or KINDS)
