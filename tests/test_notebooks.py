"""The notebooks: the two forms are in step, and both run from the first cell to the last."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = sorted((ROOT / "notebooks").glob("*.py"))
every_notebook = pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)

pytest.importorskip("marimo", reason="the extra `notebooks` is not installed")
nbformat = pytest.importorskip("nbformat")


def environment() -> dict[str, str]:
    """Ours, with the packages of this tree importable, and without a run that a developer looks at."""
    kept = {name: value for name, value in os.environ.items() if name != "DISCOVERY_RUN"}
    return kept | {"PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu", "MPLBACKEND": "Agg"}


@every_notebook
def test_the_ipynb_is_what_make_notebooks_writes(source: Path, tmp_path: Path) -> None:
    fresh = tmp_path / "fresh.ipynb"
    export = ["marimo", "--quiet", "export", "ipynb", str(source), "--sort", "top-down", "-o", str(fresh)]
    done = subprocess.run(
        [sys.executable, "-m", *export], capture_output=True, text=True, timeout=120, env=environment()
    )
    assert done.returncode == 0, done.stderr
    kept, made = (nbformat.read(path, as_version=4).cells for path in (source.with_suffix(".ipynb"), fresh))
    assert [(cell.cell_type, cell.source) for cell in kept] == [
        (cell.cell_type, cell.source) for cell in made
    ]
    assert not any(cell.get("outputs") for cell in kept)


@pytest.mark.slow
@every_notebook
def test_the_script_runs(source: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, source], cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=800
    )
    assert done.returncode == 0, done.stderr
    assert "verified at 10,000 points" in done.stdout


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of the kernel's machinery, not ours
@every_notebook
def test_the_ipynb_runs_and_shows_pictures(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nbclient = pytest.importorskip("nbclient")
    book = nbformat.read(source.with_suffix(".ipynb"), as_version=4)
    for name, value in environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("MPLBACKEND")  # the kernel has its own
    monkeypatch.delenv("DISCOVERY_RUN", raising=False)
    nbclient.NotebookClient(book, timeout=800, resources={"metadata": {"path": str(tmp_path)}}).execute()
    shown = [
        set(output.data) for cell in book.cells for output in cell.get("outputs", ()) if "data" in output
    ]
    assert sum("image/png" in kinds for kinds in shown) == 4
    assert sum("text/html" in kinds for kinds in shown) >= 3
