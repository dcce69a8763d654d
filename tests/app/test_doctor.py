"""`discovery doctor`: what it finds here, and what is made wrong for it."""

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from discovery.app.commands import doctor
from tests.app.support import ROOT, Says


def test_what_it_finds_and_says(says: Says, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code, out, err = says("doctor", "--output", tmp_path)
    assert (code, err) == (0, "") and str(ROOT / "environments") in out
    monkeypatch.setattr(doctor, "worker", lambda: doctor.Finding("worker", 'said "no"', "wrong"))
    code, out, _ = says("doctor", "--output", tmp_path, "--json")
    found = [json.loads(line) for line in out.splitlines()]
    assert code == 1 and found[-1] == {"what": "worker", "found": 'said "no"', "verdict": "wrong"}
    assert {"python", "versions", "cores", "runs", "devices"} <= {finding["what"] for finding in found}


def test_it_tries_to_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    for output in ("/proc/xx", tmp_path / "file"):
        assert doctor.folder(Path(output)).verdict == "wrong"
    assert doctor.folder(tmp_path / "some" / "runs").verdict == "ok"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    monkeypatch.setattr(shutil, "disk_usage", lambda place: SimpleNamespace(free=2**20))
    assert doctor.folder(tmp_path).verdict == "hint"


def test_a_package_of_the_same_name_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = tmp_path / "llm_prompts"
    other.mkdir()
    (other / "__init__.py").write_text("")
    monkeypatch.syspath_prepend(str(tmp_path))
    found = next(found for found in doctor.packages() if found.what == "llm_prompts")
    assert found.verdict != "ok" and str(other) in found.found
