"""A folder with a finished run."""

from pathlib import Path

import pytest

from discovery.app.command_line import main
from tests.app.support import TINY, at


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder to work in, with a config and a finished run."""
    folder = tmp_path_factory.mktemp("home")
    (folder / "tiny.toml").write_text(TINY)
    assert main(["search", str(folder / "tiny.toml"), *at(folder), "--name", "done", "--quiet"]) == 0
    return folder
