"""Searches on a cluster of two nodes on this machine, of which something breaks in the middle.

Whatever happens, no training that was on record is lost, none is there twice, and in the end all scores are
bit for bit those of a search in worker processes that nothing happened to. What stopped goes on with the
command that it printed.
"""

import json
import re
import subprocess
import sys

import pytest

from benchmarks.faults import FAULTS, TRAININGS, Outcome

pytestmark = pytest.mark.faults

GOES_ON = {
    "worker": r"warning: ray/\d.*crashed: ActorDiedError.*trying again",
    "node": r"warning: ray/\d.*crashed: .*trying again",
    "hang": r"warning: ray/\d.*timeout: no answer within 60 s.*trying again",
    "memory": r"warning: ray/\d.*out_of_memory: .*trying again",
}
"""What the search survives, and what it says."""
STOPS = {
    "head": r"error: Ray is gone: .*refused.*`discovery resume .*head` goes on",
    "bridge": r"error: the process that talks to Ray has ended.*`discovery resume .*bridge` goes on",
    "driver": "",
    "flow": "",
}
"""What ends it, and what it says then."""


@pytest.fixture(scope="module", params=FAULTS)
def broken(request):
    """A fault, and what it led to; in a process of its own, as Ray's cluster utility forks."""
    command = [sys.executable, "-m", "benchmarks.faults", "--json", request.param]
    said = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert said.returncode == 0, said.stderr
    facts = json.loads(said.stdout.splitlines()[-1])
    assert facts.pop("fault") == request.param
    return request.param, Outcome(**facts)


def test_nothing_is_lost_and_the_scores_are_the_same(broken):
    fault, seen = broken
    assert seen.same and seen.failed == 0
    assert seen.rows == TRAININGS if fault in GOES_ON else 10 <= seen.rows < TRAININGS


def test_it_says_what_happened(broken):
    fault, seen = broken
    if fault in GOES_ON:
        assert seen.code == 0 and not seen.resumed and seen.attempts >= 2  # what was lost was tried again
    else:
        assert seen.code == (-9 if fault in ("driver", "flow") else 1) and seen.resumed
    assert re.fullmatch((GOES_ON | STOPS)[fault], seen.said)
