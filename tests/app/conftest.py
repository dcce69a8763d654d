"""A folder with a finished run, and a way to run verbs."""

from pathlib import Path

import pytest

from discovery.app.command_line import main
from tests.app.support import TINY, Says, at


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder to work in, with a config and a finished run."""
    folder = tmp_path_factory.mktemp("home")
    (folder / "tiny.toml").write_text(TINY)
    assert main(["search", str(folder / "tiny.toml"), *at(folder), "--name", "done", "--quiet"]) == 0
    return folder


@pytest.fixture
def says(capfd: pytest.CaptureFixture[str]) -> Says:
    """Runs a verb: exit code, standard output, standard error."""

    def run(*argv: object) -> tuple[int, str, str]:
        capfd.readouterr()
        code = main([str(argument) for argument in argv])
        out, err = capfd.readouterr()
        return code, out, err

    return run
