"""Searches that end in the middle, and how two runs compare."""

from discovery.app.api import Silence
from discovery.store.differences import same_numbers
from discovery.store.ledger import Ledger


class Interrupted(Exception):
    pass


class Interrupting(Silence):
    """Ends a search after so many trainings."""

    def __init__(self, after: int) -> None:
        self.left = after

    def finished(self, job, result):
        self.left -= 1
        if self.left == 0:
            raise Interrupted


def differences(one, other) -> list[str]:
    """In which numbers the runs in two folders differ."""
    with Ledger.open(one) as ours, Ledger.open(other) as theirs:
        return same_numbers(ours, theirs)
