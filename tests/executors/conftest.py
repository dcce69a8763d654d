import logging
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
if str(ROOT) not in sys.path:  # workers resolve "tests.executors.fakes:..." along our sys.path
    sys.path.insert(0, str(ROOT))


@pytest.fixture(autouse=True)
def _quiet():
    """Faults are provoked here; their warnings would only fill the screen."""
    logging.getLogger("discovery.executors").setLevel(logging.ERROR)
    yield
    logging.getLogger("discovery.executors").setLevel(logging.NOTSET)
