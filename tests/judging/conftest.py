"""A copy of a run to write to, and an executor that trains nothing."""

import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.judging.fakes import Pretender


@pytest.fixture
def copy(finished_run: SimpleNamespace, tmp_path: Path) -> Path:
    return shutil.copytree(finished_run.folder, tmp_path / "copy")


@pytest.fixture
def pretender(monkeypatch: pytest.MonkeyPatch) -> Pretender:
    """What every verb trains with."""
    executor = Pretender()
    monkeypatch.setattr("discovery.executors.make_executor", lambda *_, **__: executor)
    return executor
