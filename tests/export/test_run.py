"""Taking away what a run found: where a file may be written, and that one which fails its proof is not."""

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from discovery.app.commands.export import take
from discovery.core.errors import BadInput, RunError
from discovery.export.run import export_run
from discovery.results.loaded import load_run


def test_a_file_is_written_and_proved_and_replaced(finished_run: SimpleNamespace, tmp_path: Path) -> None:
    path, report = take(finished_run.folder, "jax", tmp_path / "deep" / "found.py")
    assert "verified at 10,000 points" in report
    first = path.read_text()
    assert export_run(load_run(finished_run.folder), "purejaxrl", path) == path
    assert path.read_text() != first


@pytest.mark.parametrize("name", ["config.toml", "ledger.sqlite"])
def test_a_run_is_never_overwritten(name: str, finished_run: SimpleNamespace) -> None:
    path = finished_run.folder / name
    before = path.read_bytes()
    with pytest.raises(BadInput, match=f"{name} exists"):
        export_run(load_run(finished_run.folder), "jax", path)
    assert path.read_bytes() == before


def test_nothing_is_written_that_fails_its_proof(
    finished_run: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.modules["discovery.export.verify"], "LONGEST_SECONDS", 0.01)
    path = export_run(load_run(finished_run.folder), "jax", tmp_path / "found.py")
    before = path.read_text()
    for out in (path, tmp_path / "new.py"):
        with pytest.raises(RunError, match=r"did not finish within 0\.01 s"):
            take(finished_run.folder, "purejaxrl", out)
    assert path.read_text() == before and not (tmp_path / "new.py").exists()
