"""Searches on a cluster of two nodes on this machine, of which something breaks in the middle.

Whatever happens, no training that was on record is lost, none is there twice, and in the end all scores are
bit for bit those of a search in worker processes that nothing happened to.
"""

import os
import re

import pytest

from benchmarks.faults import FAULTS, TRAININGS, suffer, undisturbed
from discovery.executors.raymessages import LOOPBACK, QUIET

pytestmark = pytest.mark.faults

STOPS = {
    "head": r"error: Ray is gone: .*refused.*`discovery resume .*head` goes on",
    "bridge": r"error: the process that talks to Ray has ended.*",
    "driver": "",
}
"""What ends the search, and what it says then."""
GOES_ON = {
    "worker": r"warning: ray/\d.*crashed: ActorDiedError.*trying again",
    "node": r"warning: .*",
    "hang": r"warning: ray/\d.*timeout: no answer within 60 s.*trying again",
    "memory": r"warning: ray/\d.*out_of_memory: .*trying again",
}
"""What does not, and what it says."""


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (LOOPBACK | QUIET).items():
            patch.setenv(name, value)
        yield tmp_path_factory.mktemp("faults")


@pytest.fixture(scope="module")
def reference(place):
    found = undisturbed(place)
    assert len(found) == TRAININGS and all(error is None for _, error in found.values())
    return found


def test_every_fault_is_here():
    assert set(STOPS) | set(GOES_ON) == set(FAULTS)


@pytest.mark.parametrize("fault", GOES_ON)
def test_it_goes_on(fault, place, reference):
    seen = suffer(fault, place, reference)
    assert seen.code == 0 and not seen.resumed
    assert (seen.rows, seen.failed) == (TRAININGS, 0)
    assert seen.same
    assert re.fullmatch(GOES_ON[fault], seen.said)


@pytest.mark.parametrize("fault", STOPS)
def test_it_stops_and_is_resumed(fault, place, reference):
    seen = suffer(fault, place, reference)
    assert seen.code == (-9 if fault == "driver" else 1)
    assert 10 <= seen.rows < TRAININGS and seen.failed == 0
    assert seen.resumed and seen.same
    assert re.fullmatch(STOPS[fault], seen.said)
    assert os.path.exists(place / fault / "ledger.sqlite")
