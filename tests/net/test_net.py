"""What must not change: scores and means of six searches, values of exported files, facts of every verb.

`python -m tests.net.record` records them anew. Run this alone, on one core: `pytest -m slow tests/net -n 0`.
"""

from pathlib import Path
from typing import Any

import pytest

from tests.net import exports, searches, verbs
from tests.net.comparing import check
from tests.net.conditions import discovery

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("name", searches.NAMES)
def test_a_search(name: str, tmp_path: Path) -> None:
    check(f"searches/{name}", searches.facts_of(searches.search(name, tmp_path)))


@pytest.mark.parametrize("name", exports.NAMES)
def test_an_exported_file(name: str, begun: Path) -> None:
    check(f"exports/{name}", exports.facts_of(begun, name))


@pytest.mark.parametrize("name", verbs.VERBS)
def test_a_verb(name: str, said: dict[str, Any]) -> None:
    check(f"verbs/{name}", said[name])


def test_every_verb_is_tried() -> None:
    listed = discovery("--help", folder=Path(__file__).parent).stdout
    named = {line.split()[0] for line in listed.split("Verbs:")[1].split("Examples:")[0].splitlines() if line}
    assert named <= {verb.command.split()[0] for verb in verbs.VERBS.values()}


def test_a_run_of_schema_2_is_read(tmp_path: Path) -> None:
    run = searches.copied("judged", tmp_path)
    check("schema2/run", searches.facts_of(run))
    check("schema2/reports", searches.facts_of(run, "reports"))


def test_a_run_of_schema_2_goes_on_to_the_same_numbers(tmp_path: Path) -> None:
    run = searches.copied("interrupted", tmp_path)
    done = discovery("resume", run, "--quiet", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    # The programs of that schema are gone; those of now round the last digits of some metrics otherwise.
    check("schema2/run", searches.facts_of(run), bits=False)
