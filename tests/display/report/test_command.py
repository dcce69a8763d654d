"""``discovery report`` from the command line."""

import webbrowser
from pathlib import Path

import pytest

from discovery.app.command_line import main
from discovery.app.loaded import LoadedRun
from discovery.display.report.figures import Images


def test_it_writes_and_says_where(
    made: LoadedRun, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []
    monkeypatch.setattr(webbrowser, "open", opened.append)
    monkeypatch.setattr(
        "discovery.display.report.write.draw", lambda *_: Images()
    )  # they are drawn in other tests
    out = tmp_path / "sub" / "found.html"
    assert main(["report", str(made.folder), "--out", str(out)]) == 0
    assert capsys.readouterr().out.split() == [str(out), str(out.with_suffix(".json"))]
    assert out.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    assert not opened


def test_it_opens_a_browser_when_asked(
    made: LoadedRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []
    monkeypatch.setattr(webbrowser, "open", opened.append)
    monkeypatch.setattr("discovery.display.report.write_report", lambda run, out: out)
    assert main(["report", str(made.folder), "--out", str(tmp_path / "x.html"), "--open", "yes"]) == 0
    assert opened == [(tmp_path / "x.html").as_uri()]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nothing-here"], "nothing-here"),
        (["{run}", "--out", "{tmp}/x.json"], ".html"),
        (["{run}", "--open", "perhaps"], "perhaps"),
        ([], "RUN"),
    ],
)
def test_bad_input_is_one_message_and_exit_2(
    arguments: list[str], said: str, made: LoadedRun, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    filled = [text.format(run=made.folder, tmp=tmp_path) for text in arguments]
    assert main(["report", *filled]) == 2
    error = capsys.readouterr().err
    assert "Traceback" not in error
    assert said in error
