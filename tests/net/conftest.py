"""Folders that several tests of the net share: each command, and each search, runs once."""

from pathlib import Path
from typing import Any

import pytest

from tests.net import exports, verbs


@pytest.fixture(scope="session")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs to export from."""
    return exports.begin(tmp_path_factory.mktemp("exports"))


@pytest.fixture(scope="session")
def said(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The facts of every command, by name."""
    return dict(verbs.facts(tmp_path_factory.mktemp("verbs")))
