import sys
from pathlib import Path

import pytest

from discovery.app.loaded import LoadedRun

ROOT = Path(__file__).parents[3]
if str(ROOT) not in sys.path:  # these tests share modules of their own: tests.display.report.fabricated
    sys.path.insert(0, str(ROOT))


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> LoadedRun:
    """A run that was searched and judged, with numbers chosen by hand. Not to be written to."""
    from tests.display.report.fabricated import whole_run

    return whole_run(tmp_path_factory.mktemp("made"))
