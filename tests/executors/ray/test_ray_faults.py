"""Searches on a cluster of two nodes on this machine, of which something breaks in the middle."""

import json
import subprocess
import sys

import pytest

from benchmarks.faults import FAULTS, TRAININGS, Outcome

pytestmark = pytest.mark.faults

GOES_ON = {"worker": "crashed", "node": "crashed", "hang": "timeout", "memory": "out_of_memory"}
"""What the search survives, and what it calls that; after other faults it has to be resumed."""


@pytest.mark.parametrize("fault", FAULTS)
def test_nothing_is_lost_or_there_twice_and_the_scores_are_those_of_a_search_without_the_fault(fault):
    """In a process of its own, as Ray's cluster utility forks. It resumes by the command that was printed."""
    command = [sys.executable, "-m", "benchmarks.faults", "--json", fault]
    told = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert told.returncode == 0, told.stderr
    facts = json.loads(told.stdout.splitlines()[-1])
    assert facts.pop("fault") == fault
    seen = Outcome(**facts)
    assert seen.same and seen.failed == 0
    if fault in GOES_ON:
        assert seen.code == 0 and not seen.resumed and seen.rows == TRAININGS
        assert seen.attempts >= 2 and GOES_ON[fault] in seen.said  # what was lost was tried again
    else:
        assert seen.code == (-9 if fault in ("driver", "flow") else 1)
        assert seen.resumed and 10 <= seen.rows < TRAININGS
