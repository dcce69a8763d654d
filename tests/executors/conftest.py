import logging
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
if str(ROOT) not in sys.path:  # workers resolve "tests.executors.fakes:..." along our sys.path
    sys.path.insert(0, str(ROOT))


def wait_gone(pids, seconds=10.0):
    """Whether all processes end in time (a zombie has ended)."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if not any(_alive(pid) for pid in pids):
            return True
        time.sleep(0.05)
    return False


def _alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] not in "ZX"
    except OSError:
        return False


@pytest.fixture(autouse=True)
def _quiet():
    """Faults are provoked here; their warnings would only fill the screen."""
    logging.getLogger("discovery.executors").setLevel(logging.ERROR)
    yield
    logging.getLogger("discovery.executors").setLevel(logging.NOTSET)
