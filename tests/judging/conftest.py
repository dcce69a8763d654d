"""A copy of a run to write to, and a way to run verbs that train nothing."""

import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from discovery.app.command_line import main
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


@pytest.fixture
def says(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Runs a verb: exit code, output, errors."""

    def run(*words: object) -> tuple[int, str, str]:
        capsys.readouterr()
        code = main([str(word) for word in words])
        out, err = capsys.readouterr()
        return code, out, err

    return run
